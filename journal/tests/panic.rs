//! A flush that panics: the journal stops, and everybody learns of it.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use headwater_journal::blocks::Blocks;
use headwater_journal::storage::{SimDisk, Storage, StorageFile};
use headwater_journal::{AppendError, AppendSet, Config, Core, ShardKey, State};

/// A disk whose writes panic once told to.
struct Cursed {
    disk: SimDisk,
    armed: Arc<AtomicBool>,
}

struct CursedFile {
    file: <SimDisk as Storage>::File,
    armed: Arc<AtomicBool>,
}

impl Cursed {
    fn file(&self, file: io::Result<<SimDisk as Storage>::File>) -> io::Result<CursedFile> {
        Ok(CursedFile { file: file?, armed: Arc::clone(&self.armed) })
    }
}

impl Storage for Cursed {
    type File = CursedFile;

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<CursedFile> {
        self.file(self.disk.open(name))
    }

    fn create(&self, name: &str, len: u64) -> io::Result<CursedFile> {
        self.file(self.disk.create(name, len))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
}

impl StorageFile for CursedFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_at(buf, offset)
    }

    fn write_at(&self, blocks: &Blocks, offset: u64) -> io::Result<()> {
        assert!(!self.armed.load(Ordering::Relaxed), "a bug in a flush");
        self.file.write_at(blocks, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }
}

#[test]
fn a_flush_that_panics_is_told_to_listeners_and_nothing_more_is_taken() {
    let armed = Arc::new(AtomicBool::new(false));
    let storage = Cursed { disk: SimDisk::new(1), armed: Arc::clone(&armed) };
    let (core, _) = Core::open_on(storage, Config::small(), 1, 1).expect("opens");
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    core.on_commit(Box::new(move |outcome| listener.lock().expect("no panic here").push(outcome.is_ok())));
    let mut set = AppendSet::new();
    set.batch(ShardKey { stream: 1, shard: 0 });
    set.record(b"k", b"x");
    core.append(&set, 1).expect("appends");
    core.commit().expect("commits");
    core.append(&set, 1).expect("appends");
    armed.store(true, Ordering::Relaxed);
    assert!(catch_unwind(AssertUnwindSafe(|| core.commit())).is_err(), "the panic goes on");
    assert_eq!(*told.lock().expect("no panic here"), [true, false]);
    assert!(matches!(core.state(), State::Failed { .. }));
    assert!(matches!(core.append(&set, 1), Err(AppendError::Failed(_))));
    assert!(core.commit().is_err());
}
