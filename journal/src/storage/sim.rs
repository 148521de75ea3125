//! A disk in memory, with a seed: loses, tears and reorders what was not synced, fails on demand, flips bits.
//!
//! In: what [`Storage`] is asked, plus faults and power cuts from a test. Out: the same answers a real disk may give, the same
//! ones for the same seed. Always: what a returned sync covered survives every cut; handles from before a cut fail.
//! Not here: time (nothing waits), misdirected writes.
//!
//! The model of a cut. Each write since the last sync of its file meets its own [`Fate`]: kept, lost, or kept in some sectors
//! of 512 bytes only. Losing the later of two overlapping writes and keeping the earlier is how reordering looks from outside.
//! Each creation, renaming and removal since the last directory sync is kept or lost as a whole; one that builds on a lost one
//! (same name or same file) is lost with it. A file's length belongs to the writes that made it grow.
//!
//! ```
//! use headwater_journal::storage::{SimDisk, Storage, StorageFile};
//!
//! let disk = SimDisk::new(7);
//! disk.create("kept", 4096)?;
//! disk.sync_dir()?;
//! disk.remove("kept")?; // not synced: a cut may undo it
//! let disk = disk.power_cut_with(|_| headwater_journal::storage::Fate::Lost);
//! assert_eq!(disk.list()?, ["kept"]);
//! # std::io::Result::Ok(())
//! ```

mod bad;
mod chance;
mod content;
mod disk;
mod fate;
mod names;
mod record;

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::chance::{Fault, Operation};
use self::content::Page;
use self::disk::Disk;
use super::{Storage, StorageFile};
use crate::blocks::Blocks;

/// A handle to a simulated disk; clones share it.
///
/// As a [`Storage`] it works until the next [`SimDisk::power_cut`] or [`SimDisk::kill`], which give the handle that works from
/// then on. Its own methods work in any life.
#[derive(Clone)]
pub struct SimDisk {
    disk: Arc<Mutex<Disk>>,
    life: u64,
}

/// An open file of a [`SimDisk`]. Fails once the disk's power was cut.
pub struct SimFile {
    disk: Arc<Mutex<Disk>>,
    life: u64,
    file: u64,
}

/// What becomes of a pending change when power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is on the platter.
    Kept,
    /// It never happened.
    Lost,
    /// A write of which only the first sectors are on the platter. A directory change counts as kept.
    Head {
        /// How many sectors of 512 bytes.
        sectors: u64,
    },
    /// A write of which sector `i` is on the platter when bit `i % 64` is set; 0 keeps its length only. A directory change counts
    /// as kept.
    Sectors {
        /// One bit per sector, repeated.
        mask: u64,
    },
}

/// A change that no sync has covered, about to meet its fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending<'a> {
    /// [`Operation::Write`], or the directory operation.
    pub operation: Operation,
    /// The file's name after the directory changes have met their fates; for those, the name they concern.
    pub name: &'a str,
    /// Where a write starts, in bytes.
    pub offset: u64,
    /// How much it wrote, in bytes; 0 for a directory change.
    pub len: u64,
}

/// One operation as recorded by [`SimDisk::record_steps`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What was asked.
    pub operation: Operation,
    /// Of which file; `from > to` for a renaming.
    pub name: String,
    /// Where, in bytes; 0 where it has no meaning.
    pub offset: u64,
    /// How much, in bytes; 0 where it has no meaning.
    pub len: u64,
    /// The fault it met.
    pub fault: Option<Fault>,
}

/// What the disk was asked since it was made; failed operations count too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SimCounters {
    /// Operations that change something; what [`SimDisk::fail_step`] counts.
    pub steps: u64,
    /// Calls of `write_at`.
    pub writes: u64,
    /// Bytes they were asked to write.
    pub bytes_written: u64,
    /// Calls of `sync`.
    pub syncs: u64,
    /// Calls of `sync_dir`.
    pub dir_syncs: u64,
    /// Calls of `read_at`.
    pub reads: u64,
    /// Bytes they were asked to read.
    pub bytes_read: u64,
    /// Calls of `create`.
    pub creates: u64,
    /// Calls of `rename`.
    pub renames: u64,
    /// Calls of `remove`.
    pub removes: u64,
}

impl SimDisk {
    /// An empty disk with no faults planned and no size limit. Everything it does by chance follows from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { disk: Arc::new(Mutex::new(Disk::new(seed))), life: 0 }
    }

    /// Cuts the power and brings the disk back, with pending changes in a state drawn from `seed`.
    ///
    /// Planned faults, the fault rate and an earlier [`Fault::PowerOff`] end with it; the size limit stays.
    #[must_use]
    pub fn power_cut(&self, seed: u64) -> Self {
        let mut disk = self.lock();
        let mut choose = fate::seeded_fates(seed, disk.pending());
        let life = disk.cut(&mut choose);
        drop(disk);
        self.in_life(life)
    }

    /// As [`SimDisk::power_cut`], with the fate of each pending change from `choose`: directory changes first, oldest first, then
    /// writes by file name, oldest first. A change that falls with a lost one it builds on is not asked about.
    #[must_use]
    pub fn power_cut_with(&self, mut choose: impl FnMut(Pending<'_>) -> Fate) -> Self {
        let life = self.lock().cut(&mut choose);
        self.in_life(life)
    }

    /// Ends the process, not the power: old handles fail, pending changes stay pending and visible. Planned faults end.
    #[must_use]
    pub fn kill(&self) -> Self {
        let life = self.lock().next_life();
        self.in_life(life)
    }

    /// An independent copy of the disk as it is now, pending changes included. Cheap: blocks are shared until written.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self { disk: Arc::new(Mutex::new(self.lock().clone())), life: self.life }
    }

    /// Turns the power off without bringing it back: every operation fails until [`SimDisk::power_cut`].
    pub fn power_off(&self) {
        self.lock().powered = false;
    }

    /// Plans a fault at the step after the next `skip` steps. It happens once.
    pub fn fail_step(&self, skip: u64, fault: Fault) {
        self.lock().faults.plan(None, skip, fault);
    }

    /// Plans a fault at the operation of this kind after the next `skip` of them. It happens once.
    pub fn fail_operation(&self, operation: Operation, skip: u64, fault: Fault) {
        self.lock().faults.plan(Some(operation), skip, fault);
    }

    /// Lets one step in so many fail by chance, by EIO mostly; 0 is never.
    pub fn fail_rate(&self, one_in: u64) {
        self.lock().faults.one_in = one_in;
    }

    /// Sets the size of the disk: more than this in all files' lengths is ENOSPC.
    pub fn limit_bytes(&self, bytes: u64) {
        self.lock().limit_bytes = bytes;
    }

    /// Damages one bit of a stored byte, beyond the file's end never.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when there is no such file, [`io::ErrorKind::UnexpectedEof`] when it ends before `offset`.
    pub fn flip_bit(&self, name: &str, offset: u64, bit: u8) -> io::Result<()> {
        self.lock().flip(name, offset, bit)
    }

    /// Reads of these bytes of a file fail with EIO, over cuts and kills, until they are written or [made good](Self::make_good).
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when there is no such file.
    pub fn make_bad(&self, name: &str, bytes: Range<u64>) -> io::Result<()> {
        self.lock().make_bad(name, bytes)
    }

    /// Reads of every file give back what is there.
    pub fn make_good(&self) {
        self.lock().bad.clear();
    }

    /// How many changes no sync has covered: what a cut now would choose fates for.
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.lock().pending()
    }

    /// What was asked so far.
    #[must_use]
    pub fn counters(&self) -> SimCounters {
        self.lock().counters
    }

    /// One number for everything it was asked so far, in order, reads too, with every byte that was written: the same for two lives
    /// that did the same. A kill and a cut leave it as it is.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.lock().record.digest()
    }

    /// Every file as a reader sees it now: name and bytes, by name.
    #[must_use]
    pub fn image(&self) -> Vec<(String, Vec<u8>)> {
        self.lock().image()
    }

    /// Keeps a record of each operation from now on, for [`SimDisk::steps`].
    pub fn record_steps(&self) {
        self.lock().record.keep();
    }

    /// The operations recorded so far; empty without [`SimDisk::record_steps`].
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        self.lock().record.steps()
    }

    fn in_life(&self, life: u64) -> Self {
        Self { disk: Arc::clone(&self.disk), life }
    }

    fn lock(&self) -> MutexGuard<'_, Disk> {
        lock(&self.disk)
    }

    fn file(&self, file: u64) -> SimFile {
        SimFile { disk: Arc::clone(&self.disk), life: self.life, file }
    }
}

impl Storage for SimDisk {
    type File = SimFile;

    fn list(&self) -> io::Result<Vec<String>> {
        self.lock().list(self.life)
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        let file = self.lock().open(self.life, name)?;
        Ok(self.file(file))
    }

    fn create(&self, name: &str, len: u64) -> io::Result<SimFile> {
        let file = self.lock().create(self.life, name, len)?;
        Ok(self.file(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.lock().rename(self.life, from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.lock().remove(self.life, name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.lock().sync_dir(self.life)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.lock().free_bytes(self.life)
    }
}

impl StorageFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        lock(&self.disk).file_len(self.life, self.file)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        lock(&self.disk).read(self.life, self.file, buf, offset)
    }

    fn write_at(&self, blocks: &Blocks, offset: u64) -> io::Result<()> {
        let bytes = blocks.as_slice();
        super::check_alignment(bytes.len(), offset)?;
        let pages = bytes.chunks_exact(content::PAGE_BYTES).map(|chunk| {
            let mut page = [0; content::PAGE_BYTES];
            page.copy_from_slice(chunk);
            Page::new(page)
        });
        lock(&self.disk).write(self.life, self.file, offset / content::PAGE_BYTES as u64, pages.collect())
    }

    fn sync(&self) -> io::Result<()> {
        lock(&self.disk).sync(self.life, self.file)
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        lock(&self.disk).close(self.life, self.file);
    }
}

// A test that panicked elsewhere with the lock held is reported there; the disk itself stays usable.
fn lock(disk: &Mutex<Disk>) -> MutexGuard<'_, Disk> {
    disk.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
