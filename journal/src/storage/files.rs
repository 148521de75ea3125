//! The file system as a [`Storage`]: one directory, one process.
//!
//! In: whole blocks in aligned memory. Out: `std::io` errors with the file's name in them.
//! Always: the directory is locked while a [`FileStorage`] of it lives; files are 0600, a directory made here 0700; writes go
//! past the page cache (O_DIRECT) where the file system allows it, reads always through it, by a descriptor of their own.
//! Not here: retries. A short write is continued; any other failure is the caller's to see, a failed fdatasync above all.

mod lock;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::OFlags;

use self::lock::DirLock;
pub(super) use self::lock::SharedLock;
use super::{Storage, StorageFile, check_alignment};
use crate::blocks::{BLOCK_BYTES, Blocks};

/// Zeros written at once when a file is made: the size from which on a device runs at full bandwidth.
const ZERO_BYTES: usize = 1 << 20;

/// Written and removed when a directory is opened, to learn whether O_DIRECT works there.
const PROBE_NAME: &str = "probe";

/// How writes reach the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IoMode {
    /// Past the page cache where the file system allows it, else through it.
    #[default]
    Auto,
    /// Past the page cache; opening fails where the file system refuses (tmpfs, some network file systems).
    Direct,
    /// Through the page cache: half the bandwidth, for file systems whose O_DIRECT is broken.
    Buffered,
    /// Through the page cache, and files get their space as they are written: quick to begin with, for data that is thrown away
    /// soon. A file system that fills up meanwhile stops the journal instead of making it full.
    Sparse,
}

/// A directory of files, locked for this process while this value or a clone of it lives, or until it is [released](Storage::release).
#[derive(Clone, Debug)]
pub struct FileStorage {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    // Kept open: a directory moved away under us is still the one that is synced.
    directory: File,
    direct: bool,
    /// New files are holes.
    sparse: bool,
    lock: Mutex<Option<DirLock>>,
}

/// An open file of a [`FileStorage`].
#[derive(Debug)]
pub struct DiskFile {
    path: PathBuf,
    buffered: File,
    direct: Option<File>,
}

impl FileStorage {
    /// Opens `dir`, made with mode 0700 when missing, and locks it.
    ///
    /// # Errors
    /// [`io::ErrorKind::ResourceBusy`] with the directory and the other process when it is locked;
    /// [`io::ErrorKind::Unsupported`] when `mode` is [`IoMode::Direct`] and the file system refuses; else what the file system says.
    pub fn open(dir: &Path, mode: IoMode) -> io::Result<Self> {
        let path = std::path::absolute(dir)?;
        make_directory(&path).map_err(|error| named(&path, "create the directory", &error))?;
        let directory = File::open(&path).map_err(|error| named(&path, "open the directory", &error))?;
        let lock = DirLock::take(&path)?;
        let refused = match mode {
            IoMode::Buffered | IoMode::Sparse => Some(io::Error::other("switched off")),
            IoMode::Auto | IoMode::Direct => probe_direct(&path)?,
        };
        if let (IoMode::Direct, Some(refused)) = (mode, &refused) {
            let found = format!("{}: the file system refuses direct writes: {refused}", path.display());
            return Err(io::Error::new(io::ErrorKind::Unsupported, found));
        }
        let (direct, sparse) = (refused.is_none(), mode == IoMode::Sparse);
        Ok(Self { inner: Arc::new(Inner { path, directory, direct, sparse, lock: Mutex::new(Some(lock)) }) })
    }

    /// Whether writes go past the page cache.
    #[must_use]
    pub fn direct(&self) -> bool {
        self.inner.direct
    }

    fn path(&self, name: &str) -> io::Result<PathBuf> {
        if name.is_empty() || name.starts_with('.') || name.contains('/') || is_own(name) {
            let found = format!("{name:?} is not the name of a journal file");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, found));
        }
        Ok(self.inner.path.join(name))
    }

    fn open_path(&self, path: PathBuf, create: bool) -> io::Result<DiskFile> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(create).mode(0o600);
        let buffered = options.open(&path).map_err(|error| named(&path, "open", &error))?;
        let direct = if self.inner.direct {
            Some(open_direct(&path).map_err(|error| named(&path, "open for direct writes", &error))?)
        } else {
            None
        };
        Ok(DiskFile { path, buffered, direct })
    }
}

impl Storage for FileStorage {
    type File = DiskFile;

    fn list(&self) -> io::Result<Vec<String>> {
        let path = &self.inner.path;
        let mut names = Vec::new();
        for entry in std::fs::read_dir(path).map_err(|error| named(path, "list", &error))? {
            let entry = entry.map_err(|error| named(path, "list", &error))?;
            names.extend(is_journal_file(&entry));
        }
        Ok(names)
    }

    fn open(&self, name: &str) -> io::Result<DiskFile> {
        self.open_path(self.path(name)?, false)
    }

    fn create(&self, name: &str, len: u64) -> io::Result<DiskFile> {
        let file = self.open_path(self.path(name)?, true)?;
        let made = match self.inner.sparse {
            true => file.buffered.set_len(len),
            false => file.fill_zeros(len),
        };
        match made {
            Ok(()) => Ok(file),
            Err(error) => {
                // Half a file is of no use and holds space that was just found short. The first error is the one to report.
                let _ = std::fs::remove_file(&file.path);
                Err(named(&file.path, "fill with zeros", &error))
            }
        }
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.path(from)?, self.path(to)?);
        std::fs::rename(&from, &to).map_err(|error| named(&from, "rename", &error))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let path = self.path(name)?;
        std::fs::remove_file(&path).map_err(|error| named(&path, "remove", &error))
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.inner.directory.sync_all().map_err(|error| named(&self.inner.path, "sync the directory", &error))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let found = rustix::fs::fstatvfs(&self.inner.directory)
            .map_err(|error| named(&self.inner.path, "ask for free space", &error.into()))?;
        // Available to us, not free: a root reserve does not count.
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn release(&self) {
        self.inner.lock.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl DiskFile {
    /// Zeros by ordinary writes: space that was only reserved (fallocate) costs a metadata write per flush later.
    fn fill_zeros(&self, len: u64) -> io::Result<()> {
        let mut zeros = Blocks::zeroed(ZERO_BYTES);
        let mut offset = 0;
        while len - offset >= ZERO_BYTES as u64 {
            self.writer().write_all_at(zeros.as_slice(), offset)?;
            offset += ZERO_BYTES as u64;
        }
        let rest = usize::try_from(len - offset).map_err(io::Error::other)?;
        zeros.resize(rest - rest % BLOCK_BYTES);
        self.writer().write_all_at(zeros.as_slice(), offset)?;
        // The part of a block that direct writes cannot have.
        self.buffered.set_len(len)?;
        self.buffered.sync_all()
    }

    fn writer(&self) -> &File {
        self.direct.as_ref().unwrap_or(&self.buffered)
    }
}

impl StorageFile for DiskFile {
    fn len(&self) -> io::Result<u64> {
        let metadata =
            self.buffered.metadata().map_err(|error| named(&self.path, "ask for the length", &error))?;
        Ok(metadata.len())
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let read = match i64::try_from(offset) {
            Ok(_) => self.buffered.read_exact_at(buf, offset),
            // The kernel calls such an offset invalid; to the caller, who may have it from damaged data, it is past the end.
            Err(_) => Err(io::ErrorKind::UnexpectedEof.into()),
        };
        read.map_err(|error| named(&self.path, "read", &error))
    }

    fn write_at(&self, blocks: &Blocks, offset: u64) -> io::Result<()> {
        let bytes = blocks.as_slice();
        check_alignment(bytes.len(), offset)?;
        // Continues after a signal or a short write.
        self.writer().write_all_at(bytes, offset).map_err(|error| named(&self.path, "write", &error))
    }

    fn sync(&self) -> io::Result<()> {
        self.writer().sync_data().map_err(|error| named(&self.path, "sync", &error))
    }
}

fn open_direct(path: &Path) -> io::Result<File> {
    let flags = i32::try_from(OFlags::DIRECT.bits()).map_err(io::Error::other)?;
    OpenOptions::new().read(true).write(true).custom_flags(flags).open(path)
}

/// Tries what the journal will do; `Some` is why the file system refuses.
///
/// Tried rather than asked: statx does not know on every file system, and a device with sectors over 4 KiB opens but refuses to write.
fn probe_direct(dir: &Path) -> io::Result<Option<io::Error>> {
    let path = dir.join(PROBE_NAME);
    let tried = || -> io::Result<Option<io::Error>> {
        let made = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
        let opened = made.and_then(|_| open_direct(&path));
        match opened.and_then(|file| file.write_all_at(Blocks::zeroed(BLOCK_BYTES).as_slice(), 0)) {
            Ok(()) => Ok(None),
            Err(error)
                if matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) =>
            {
                Ok(Some(error))
            }
            // A full disk must still open: reading it out is the way to empty it. The journal's own writes will tell.
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(None),
            Err(error) => Err(error),
        }
    };
    let result = tried().map_err(|error| named(&path, "probe", &error));
    // Left behind after a crash it is written anew by the next probe, so a failed removal costs one block.
    let _ = std::fs::remove_file(&path);
    result
}

/// Makes missing directories, with every name on the way durable when this returns.
///
/// While `path` is empty that includes names of directories that were there: whoever made them (a caller, an earlier start that was
/// killed here) may not have synced them, and a cut would take all that is below.
fn make_directory(path: &Path) -> io::Result<()> {
    make_missing(path)?;
    if std::fs::read_dir(path)?.next().is_none() {
        for parent in path.ancestors().skip(1) {
            // A directory of others that cannot be read or synced is theirs to look after.
            let _ = File::open(parent).and_then(|directory| directory.sync_all());
        }
    }
    Ok(())
}

/// From the outermost in.
fn make_missing(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = path.parent().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
    make_missing(parent)?;
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        Err(error) => Err(error),
        Ok(()) => File::open(parent)?.sync_all(),
    }
}

/// The name of a file that is the journal's. One that is not UTF-8 is not ours, nor is a directory (lost+found).
pub(super) fn is_journal_file(entry: &std::fs::DirEntry) -> Option<String> {
    let name = entry.file_name().into_string().ok()?;
    let ours = !is_own(&name) && !name.starts_with('.') && entry.file_type().is_ok_and(|kind| kind.is_file());
    ours.then_some(name)
}

fn is_own(name: &str) -> bool {
    name == lock::LOCK_NAME || name == PROBE_NAME
}

/// The same error, saying which file and what was tried. The kind stays, so that callers can still tell a full disk.
pub(super) fn named(path: &Path, tried: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: cannot {tried}: {error}", path.display()))
}

#[cfg(test)]
mod tests;
