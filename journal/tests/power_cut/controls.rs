//! Storages that break one promise each. A check that lets them pass checks nothing.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use headwater_journal::blocks::Blocks;
use headwater_journal::storage::{SimDisk, SimFile};
use headwater_journal::{Storage, StorageFile};

use crate::run_world;
use crate::world::Over;

/// Which promise is broken.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lie {
    /// A sync of a file does nothing.
    NoSync,
    /// A sync returns before its data is durable; it happens before the next write or sync of that file.
    EarlyAck,
    /// A sync of the directory does nothing.
    NoDirSync,
}

struct Liar<const LIE: u8>;

impl<const LIE: u8> Over for Liar<LIE> {
    type Storage = LyingDisk;
    fn over(disk: SimDisk) -> LyingDisk {
        let lie = [Lie::NoSync, Lie::EarlyAck, Lie::NoDirSync][usize::from(LIE)];
        LyingDisk { disk, lie }
    }
}

struct LyingDisk {
    disk: SimDisk,
    lie: Lie,
}

struct LyingFile {
    file: SimFile,
    lie: Lie,
    owed: AtomicBool,
}

impl LyingDisk {
    fn file(&self, file: SimFile) -> LyingFile {
        LyingFile { file, lie: self.lie, owed: AtomicBool::new(false) }
    }
}

impl Storage for LyingDisk {
    type File = LyingFile;

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<LyingFile> {
        self.disk.open(name).map(|file| self.file(file))
    }

    fn create(&self, name: &str, len: u64) -> io::Result<LyingFile> {
        self.disk.create(name, len).map(|file| self.file(file))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        if self.lie == Lie::NoDirSync { Ok(()) } else { self.disk.sync_dir() }
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
}

impl LyingFile {
    fn pay(&self) -> io::Result<()> {
        if self.owed.swap(false, Ordering::Relaxed) { self.file.sync() } else { Ok(()) }
    }
}

impl StorageFile for LyingFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, blocks: &Blocks, offset: u64) -> io::Result<()> {
        self.pay()?;
        self.file.write_at(blocks, offset)
    }

    fn sync(&self) -> io::Result<()> {
        match self.lie {
            Lie::NoSync => Ok(()),
            Lie::EarlyAck => {
                self.pay()?;
                self.owed.store(true, Ordering::Relaxed);
                Ok(())
            }
            Lie::NoDirSync => self.file.sync(),
        }
    }
}

/// How many of a hundred worlds the checks find fault with.
fn caught<O: Over>() -> usize {
    (0..100).filter(|seed| run_world::<O>(*seed, false).is_err()).count()
}

#[test]
fn a_disk_that_never_syncs_is_caught() {
    let caught = caught::<Liar<0>>();
    assert!(caught >= 90, "only {caught} of 100 worlds");
}

#[test]
fn a_disk_that_acknowledges_before_it_syncs_is_caught() {
    let caught = caught::<Liar<1>>();
    assert!(caught >= 60, "only {caught} of 100 worlds");
}

#[test]
fn a_disk_that_never_syncs_its_directory_is_caught() {
    let caught = caught::<Liar<2>>();
    assert!(caught >= 60, "only {caught} of 100 worlds");
}
