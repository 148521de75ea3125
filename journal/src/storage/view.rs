//! A directory of files as a [`Storage`] that changes nothing in it.
//!
//! In: a directory that no journal writes to. Out: its bytes; what is written, made, renamed or removed is so in memory only, for whoever
//! looks through this view, and is gone with it.
//! Invariants: files are opened for reading alone, so the kernel itself refuses a mistake of ours; while a view lives nobody opens the
//! directory for writing, and where somebody has, no view opens. Memory holds what is written through the view and nothing else.
//! Not here: why anybody writes to a view (an opening renews the last group and the newest snapshot).

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::files::{SharedLock, is_journal_file, named};
use super::{Storage, StorageFile, check_alignment};
use crate::blocks::{BLOCK_BYTES, Blocks};

/// A directory that is looked at. Several views of one directory may live at the same time.
#[derive(Clone, Debug)]
pub struct ViewStorage {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// As the view shows them.
    files: Mutex<BTreeMap<String, Entry>>,
    _lock: Option<SharedLock>,
}

#[derive(Debug)]
enum Entry {
    /// In the directory, and not opened yet.
    Listed(PathBuf),
    Opened(ViewFile),
}

/// A file of a [`ViewStorage`].
#[derive(Clone, Debug)]
pub struct ViewFile(Arc<Content>);

#[derive(Debug)]
struct Content {
    path: PathBuf,
    /// `None` for a file that only the view has.
    base: Option<Arc<File>>,
    base_bytes: u64,
    changes: Mutex<Changes>,
}

/// What was written through the view.
#[derive(Debug)]
struct Changes {
    len: u64,
    /// By block number.
    blocks: BTreeMap<u64, Box<[u8]>>,
}

impl ViewStorage {
    /// Opens a view of `dir`.
    ///
    /// # Errors
    /// [`io::ErrorKind::ResourceBusy`] with the directory and the other process when a journal is open there;
    /// [`io::ErrorKind::NotFound`] when there is no such directory; else what the file system says.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let path = std::path::absolute(dir)?;
        // Before the lock: its error is the clearer one.
        std::fs::read_dir(&path).map_err(|error| named(&path, "list", &error))?;
        let lock = SharedLock::take(&path)?;
        let mut files = BTreeMap::new();
        for entry in std::fs::read_dir(&path).map_err(|error| named(&path, "list", &error))? {
            let entry = entry.map_err(|error| named(&path, "list", &error))?;
            if let Some(name) = is_journal_file(&entry) {
                files.insert(name, Entry::Listed(entry.path()));
            }
        }
        Ok(Self { inner: Arc::new(Inner { path, files: Mutex::new(files), _lock: lock }) })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.path
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.inner.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Storage for ViewStorage {
    type File = ViewFile;

    fn list(&self) -> io::Result<Vec<String>> {
        Ok(self.files().keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<ViewFile> {
        let mut files = self.files();
        let path = match files.get(name) {
            Some(Entry::Opened(file)) => return Ok(file.clone()),
            Some(Entry::Listed(path)) => path.clone(),
            None => return Err(io::Error::new(io::ErrorKind::NotFound, format!("no file {name}"))),
        };
        let base = File::open(&path).map_err(|error| named(&path, "open", &error))?;
        let bytes = base.metadata().map_err(|error| named(&path, "ask for the length", &error))?.len();
        let file = ViewFile::new(path, Some(Arc::new(base)), bytes);
        files.insert(name.to_owned(), Entry::Opened(file.clone()));
        Ok(file)
    }

    fn create(&self, name: &str, len: u64) -> io::Result<ViewFile> {
        let mut files = self.files();
        if files.contains_key(name) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, format!("there is a file {name}")));
        }
        let file = ViewFile::new(self.inner.path.join(name), None, len);
        files.insert(name.to_owned(), Entry::Opened(file.clone()));
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.files();
        let file = files.remove(from);
        let file = file.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no file {from}")))?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let removed = self.files().remove(name);
        removed.map(drop).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("no file {name}")))
    }

    fn sync_dir(&self) -> io::Result<()> {
        Ok(())
    }

    fn free_bytes(&self) -> io::Result<u64> {
        // Files made here are holes in memory.
        Ok(u64::MAX)
    }
}

impl ViewFile {
    fn new(path: PathBuf, base: Option<Arc<File>>, base_bytes: u64) -> Self {
        let changes = Mutex::new(Changes { len: base_bytes, blocks: BTreeMap::new() });
        Self(Arc::new(Content { path, base, base_bytes, changes }))
    }

    /// The same file as it is in the directory, without what was written through the view.
    pub(crate) fn untouched(&self) -> Self {
        Self::new(self.0.path.clone(), self.0.base.clone(), self.0.base_bytes)
    }

    /// Whether it is in the directory, and not made through the view.
    pub(crate) fn is_there(&self) -> bool {
        self.0.base.is_some()
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.0.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes below the changes: of the file, zeros where it has none.
    fn read_base(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        buf.fill(0);
        let Some(base) = &self.0.base else { return Ok(()) };
        let mut read = 0;
        while read < buf.len() {
            match base.read_at(&mut buf[read..], offset + read as u64) {
                Ok(0) => break,
                Ok(more) => read += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(named(&self.0.path, "read", &error)),
            }
        }
        Ok(())
    }
}

impl StorageFile for ViewFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changes().len)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let changes = self.changes();
        let end = offset.checked_add(buf.len() as u64).filter(|&end| end <= changes.len);
        let end = end.ok_or_else(|| named(&self.0.path, "read", &io::ErrorKind::UnexpectedEof.into()))?;
        self.read_base(buf, offset)?;
        let block_bytes = BLOCK_BYTES as u64;
        for (&number, block) in changes.blocks.range(offset / block_bytes..end.div_ceil(block_bytes)) {
            let at = number * block_bytes;
            let (from, to) = (at.max(offset), (at + block_bytes).min(end));
            // Differences inside one block and inside `buf`.
            let place = |position: u64, start: u64| usize::try_from(position - start).unwrap_or(0);
            buf[place(from, offset)..place(to, offset)]
                .copy_from_slice(&block[place(from, at)..place(to, at)]);
        }
        Ok(())
    }

    fn write_at(&self, blocks: &Blocks, offset: u64) -> io::Result<()> {
        check_alignment(blocks.len(), offset)?;
        let mut changes = self.changes();
        for (number, block) in (offset / BLOCK_BYTES as u64..).zip(blocks.as_slice().chunks(BLOCK_BYTES)) {
            changes.blocks.insert(number, block.into());
        }
        changes.len = changes.len.max(offset + blocks.len() as u64);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{FileStorage, IoMode};

    #[test]
    fn what_is_written_through_a_view_is_seen_there_and_nowhere_else() {
        let dir = tempfile::tempdir().expect("makes a directory");
        std::fs::write(dir.path().join("a"), [1; 3 * BLOCK_BYTES]).expect("writes");
        let view = ViewStorage::open(dir.path()).expect("opens");
        let file = view.open("a").expect("opens");
        file.write_at(&Blocks::from(&[2; BLOCK_BYTES][..]), BLOCK_BYTES as u64).expect("writes");
        let mut bytes = vec![0; BLOCK_BYTES + 2];
        file.read_at(&mut bytes, BLOCK_BYTES as u64 - 1).expect("reads");
        assert_eq!((bytes[0], bytes[1], bytes[BLOCK_BYTES], bytes[BLOCK_BYTES + 1]), (1, 2, 2, 1));
        view.create("b", 10_000).expect("creates").read_at(&mut bytes, 0).expect("reads");
        assert!(bytes.iter().all(|&byte| byte == 0));
        view.rename("a", "c").expect("renames");
        view.remove("b").expect("removes");
        assert_eq!(view.list().expect("lists"), ["c"]);
        assert!(file.read_at(&mut bytes, 2 * BLOCK_BYTES as u64).is_err(), "past the end");
        assert_eq!(std::fs::read(dir.path().join("a")).expect("reads"), [1; 3 * BLOCK_BYTES]);
        assert_eq!(std::fs::read_dir(dir.path()).expect("lists").count(), 1, "not even a lock was made");
    }

    #[test]
    fn a_view_and_a_writer_exclude_each_other_and_two_views_do_not() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let writer = FileStorage::open(dir.path(), IoMode::Buffered).expect("opens");
        let busy = ViewStorage::open(dir.path()).expect_err("a writer is there");
        assert_eq!(busy.kind(), io::ErrorKind::ResourceBusy);
        assert!(busy.to_string().contains(&format!("process {}", std::process::id())), "{busy}");
        drop(writer);
        let views =
            [ViewStorage::open(dir.path()), ViewStorage::open(dir.path())].map(|view| view.expect("opens"));
        let busy = FileStorage::open(dir.path(), IoMode::Buffered).expect_err("views are there");
        assert_eq!(busy.kind(), io::ErrorKind::ResourceBusy);
        drop(views);
        FileStorage::open(dir.path(), IoMode::Buffered).expect("opens");
    }
}
