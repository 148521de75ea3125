//! RocksDB of the distribution through its C interface: the dozen functions that a synced write takes.

use std::ffi::{CString, c_char, c_void};
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::contender::{Contender, RECORD_BYTES, payload};

type Pointer = *mut c_void;

#[link(name = "rocksdb")]
unsafe extern "C" {
    fn rocksdb_options_create() -> Pointer;
    fn rocksdb_options_destroy(options: Pointer);
    fn rocksdb_options_set_create_if_missing(options: Pointer, yes: u8);
    fn rocksdb_options_set_compression(options: Pointer, kind: i32);
    fn rocksdb_open(options: Pointer, name: *const c_char, error: *mut *mut c_char) -> Pointer;
    fn rocksdb_close(db: Pointer);
    fn rocksdb_writeoptions_create() -> Pointer;
    fn rocksdb_writeoptions_destroy(options: Pointer);
    fn rocksdb_writeoptions_set_sync(options: Pointer, yes: u8);
    fn rocksdb_writebatch_create() -> Pointer;
    fn rocksdb_writebatch_destroy(batch: Pointer);
    fn rocksdb_writebatch_put(
        batch: Pointer,
        key: *const u8,
        key_len: usize,
        value: *const u8,
        value_len: usize,
    );
    fn rocksdb_write(db: Pointer, options: Pointer, batch: Pointer, error: *mut *mut c_char);
}

/// An open database.
pub struct Rocks {
    db: Pointer,
    write: Pointer,
    next: AtomicU64,
    payload: [u8; RECORD_BYTES],
}

// SAFETY: rocksdb/c.h wraps rocksdb::DB, whose writes may be called from any thread; the write options are only read.
unsafe impl Sync for Rocks {}

impl Rocks {
    /// Opens a new database, without compression: the payload does not compress and the time would only be wasted.
    pub fn open(directory: &Path) -> anyhow::Result<Self> {
        let name = CString::new(directory.join("rocksdb").to_string_lossy().as_bytes())?;
        let mut error = null_mut();
        // SAFETY: all pointers come from the matching create functions; the name outlives the call.
        let (db, write) = unsafe {
            let options = rocksdb_options_create();
            rocksdb_options_set_create_if_missing(options, 1);
            rocksdb_options_set_compression(options, 0);
            let db = rocksdb_open(options, name.as_ptr(), &raw mut error);
            rocksdb_options_destroy(options);
            let write = rocksdb_writeoptions_create();
            rocksdb_writeoptions_set_sync(write, 1);
            (db, write)
        };
        anyhow::ensure!(error.is_null(), "RocksDB does not open");
        Ok(Self { db, write, next: AtomicU64::new(0), payload: payload() })
    }
}

impl Contender for Rocks {
    fn name(&self) -> &'static str {
        "RocksDB, sync"
    }

    fn append(&self, writer: usize, count: usize) -> anyhow::Result<()> {
        let first = self.next.fetch_add(count as u64, Ordering::Relaxed);
        let mut error = null_mut();
        // SAFETY: the batch is made, filled, written and destroyed here; key and value are copied by put.
        unsafe {
            let batch = rocksdb_writebatch_create();
            for sequence in first..first + count as u64 {
                let mut key = [0; 12];
                key[..4].copy_from_slice(&(writer as u32 % 4).to_be_bytes());
                key[4..].copy_from_slice(&sequence.to_be_bytes());
                rocksdb_writebatch_put(
                    batch,
                    key.as_ptr(),
                    key.len(),
                    self.payload.as_ptr(),
                    self.payload.len(),
                );
            }
            rocksdb_write(self.db, self.write, batch, &raw mut error);
            rocksdb_writebatch_destroy(batch);
        }
        anyhow::ensure!(error.is_null(), "RocksDB refused a write");
        Ok(())
    }
}

impl Drop for Rocks {
    fn drop(&mut self) {
        // SAFETY: nobody else holds them, and they are not used again.
        unsafe {
            rocksdb_writeoptions_destroy(self.write);
            rocksdb_close(self.db);
        }
    }
}
