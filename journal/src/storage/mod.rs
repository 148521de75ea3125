//! The room's seam to the disk: files by name in one directory.
//!
//! In: whole 4 KiB blocks at an offset, and names. Out: bytes, and errors of the kinds `std::io` knows.
//! Always: a write is durable when the file's [`StorageFile::sync`] has returned after it, a name (created, renamed or
//! removed) when [`Storage::sync_dir`] has; before that a power cut may keep it, lose it or tear it at sectors of 512 bytes,
//! in any order. After an error from `sync` or `write_at` nothing may be assumed about what was not yet durable.
//! Not here: what the bytes mean, retries (a failed flush is never tried again), threads.

pub(crate) mod files;
pub(crate) mod sim;
pub(crate) mod view;

use std::io;

pub use self::files::{FileStorage, IoMode};
pub use self::sim::{Fate, Fault, Operation, Pending, SimCounters, SimDisk, SimFile, Step};
pub use self::view::{ViewFile, ViewStorage};
use crate::blocks::{BLOCK_BYTES, Blocks};

/// One flat directory of files, of which this process is the only user.
pub trait Storage: Send + Sync + 'static {
    /// An open file of this directory.
    type File: StorageFile;

    /// Names of all files, in no particular order. The storage's own files (a lock) are not listed.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Opens an existing file for reading and writing; [`io::ErrorKind::NotFound`] when there is none.
    fn open(&self, name: &str) -> io::Result<Self::File>;

    /// Creates a file of `len` zero bytes and syncs its content. Slow: not for the append path.
    ///
    /// The name is durable after [`Storage::sync_dir`]. [`io::ErrorKind::AlreadyExists`] when there is one of that name.
    /// After any other error a partly written file may stay behind under the name.
    fn create(&self, name: &str, len: u64) -> io::Result<Self::File>;

    /// Gives a file another name; a file that had it is replaced, atomically. Durable after [`Storage::sync_dir`].
    ///
    /// Open handles stay with their file, whatever its name.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Durable after [`Storage::sync_dir`].
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes all creations, renames and removals so far durable.
    fn sync_dir(&self) -> io::Result<()>;

    /// Bytes that this process may still allocate on the file system.
    fn free_bytes(&self) -> io::Result<u64>;

    /// The journal is closed: nothing is written through this value any more, and another may have the directory.
    fn release(&self) {}
}

/// An open file. Reads and writes carry their offset, so one handle serves several threads.
pub trait StorageFile: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        self.len().map(|len| len == 0)
    }

    /// Fills `buf` from `offset`; any offset and length. [`io::ErrorKind::UnexpectedEof`] when the file ends before.
    ///
    /// Sees every write that has returned, durable or not.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `blocks` (padded to whole blocks) at `offset`, a multiple of 4096. Durable after [`StorageFile::sync`].
    ///
    /// Past the end the file grows. After an error any part of it may have been written.
    fn write_at(&self, blocks: &Blocks, offset: u64) -> io::Result<()>;

    /// Makes every write that returned before this call durable, with the file's length.
    ///
    /// After an error the data may be lost although a later call succeeds: the caller stops and reopens.
    fn sync(&self) -> io::Result<()>;
}

/// What [`StorageFile::write_at`] takes: whole blocks on a block boundary.
fn check_alignment(len: usize, offset: u64) -> io::Result<()> {
    if len.is_multiple_of(BLOCK_BYTES) && offset.is_multiple_of(BLOCK_BYTES as u64) {
        return Ok(());
    }
    let found = format!("write of {len} bytes at {offset}, expected multiples of {BLOCK_BYTES}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, found))
}

#[cfg(test)]
mod tests;
