//! The floor: one write and one flush of the same group size, straight to a file that was written with zeros before.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::Context;
use headwater_journal::blocks::Blocks;

use crate::contender::Contender;

/// The file is written round and round.
const FILE_BYTES: u64 = 256 << 20;
/// The unit of direct writes.
const BLOCK_BYTES: usize = 4096;

/// Bare O_DIRECT write and fdatasync, one at a time.
pub struct Bare {
    file: File,
    group: Mutex<(Blocks, u64)>,
    flushes: AtomicU64,
}

impl Bare {
    /// Prepares the file; a group is one block until [`Bare::set_group`].
    pub fn open(directory: &Path) -> anyhow::Result<Self> {
        let path = directory.join("bare");
        std::fs::write(&path, vec![0; usize::try_from(FILE_BYTES)?])?;
        let direct = rustix::fs::OFlags::DIRECT.bits().cast_signed();
        let file = OpenOptions::new()
            .write(true)
            .custom_flags(direct)
            .open(&path)
            .context("O_DIRECT; choose --dir on a disk")?;
        file.sync_all()?;
        let group = Blocks::zeroed(BLOCK_BYTES);
        Ok(Self { file, group: Mutex::new((group, 0)), flushes: AtomicU64::new(0) })
    }

    /// Writes groups of so many bytes from now on, rounded up to a block.
    pub fn set_group(&self, bytes: usize) {
        let mut state = self.group.lock().expect("no writer panics");
        state.0 = Blocks::zeroed(bytes.next_multiple_of(BLOCK_BYTES).max(BLOCK_BYTES));
    }
}

impl Contender for Bare {
    fn name(&self) -> &'static str {
        "bare write + flush"
    }

    fn append(&self, _: usize, _: usize) -> anyhow::Result<()> {
        let mut state = self.group.lock().expect("no writer panics");
        let (group, at) = &mut *state;
        if *at + group.len() as u64 > FILE_BYTES {
            *at = 0;
        }
        self.file.write_all_at(group.as_slice(), *at)?;
        self.file.sync_data()?;
        *at += group.len() as u64;
        self.flushes.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn flushes(&self) -> Option<u64> {
        Some(self.flushes.load(Ordering::Relaxed))
    }
}
