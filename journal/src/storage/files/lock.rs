//! One process per directory. The lock is the kernel's (flock), so it goes with its process; the file's text only says whose it is.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::FlockOperation;
use rustix::io::Errno;

/// The file that carries the lock. Never removed: a lock on a removed file would lock nothing.
pub(super) const LOCK_NAME: &str = "lock";

/// Enough for any process id; a longer text is not ours.
const TEXT_BYTES_MAX: u64 = 32;

/// Held while it lives.
#[derive(Debug)]
pub(super) struct DirLock {
    _held: Held,
}

/// A file that is locked. Unlocked by hand: a process that is being started by another thread has all our files for a moment, and the lock of
/// one that is merely closed would stay for as long.
#[derive(Debug)]
struct Held(File);

impl Drop for Held {
    fn drop(&mut self) {
        // Closing it does the same, but for the moment above.
        let _ = rustix::fs::flock(&self.0, FlockOperation::Unlock);
    }
}

impl DirLock {
    /// Locks `dir` or fails at once with [`io::ErrorKind::ResourceBusy`], naming the directory and the process if it is known.
    pub(super) fn take(dir: &Path) -> io::Result<Self> {
        let path = dir.join(LOCK_NAME);
        let opened =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = opened.map_err(|error| super::named(&path, "open", &error))?;
        let mut held = take(dir, &path, file, FlockOperation::NonBlockingLockExclusive)?;
        // For the person who reads the error of a second opener. A full disk must not stop a start, so failures are passed over.
        let _ =
            held.0.set_len(0).and_then(|()| held.0.write_all(format!("{}\n", std::process::id()).as_bytes()));
        Ok(Self { _held: held })
    }
}

/// Held by whoever only looks: others may look too, nobody may write.
#[derive(Debug)]
pub(in crate::storage) struct SharedLock {
    _held: Held,
}

impl SharedLock {
    /// Locks `dir` without changing a byte in it; fails at once like [`DirLock::take`]. `None` when no journal was ever opened there
    /// (a copy of one, say): there is nothing to lock then, and making it would be a change.
    pub(in crate::storage) fn take(dir: &Path) -> io::Result<Option<Self>> {
        let path = dir.join(LOCK_NAME);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(super::named(&path, "open", &error)),
        };
        Ok(Some(Self { _held: take(dir, &path, file, FlockOperation::NonBlockingLockShared)? }))
    }
}

fn take(dir: &Path, path: &Path, file: File, how: FlockOperation) -> io::Result<Held> {
    loop {
        match rustix::fs::flock(&file, how) {
            Ok(()) => return Ok(Held(file)),
            Err(Errno::INTR) => {}
            Err(Errno::WOULDBLOCK) => return Err(busy(dir, &file)),
            Err(error) => return Err(super::named(path, "lock", &error.into())),
        }
    }
}

fn busy(dir: &Path, file: &File) -> io::Error {
    let mut text = String::new();
    let read = file.take(TEXT_BYTES_MAX).read_to_string(&mut text);
    let holder = match (read, text.trim().parse::<u32>()) {
        // Those who only look do not write who they are: the text may be of a process that is gone.
        (Ok(_), Ok(pid)) if !is_gone(pid) => format!("process {pid}"),
        _ => "another process".to_owned(),
    };
    io::Error::new(io::ErrorKind::ResourceBusy, format!("{}: in use by {holder}", dir.display()))
}

/// Whether there is surely no such process. Where there is no /proc nobody is sure.
fn is_gone(pid: u32) -> bool {
    Path::new("/proc/self").exists() && !Path::new("/proc").join(pid.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_given_back_although_a_process_that_is_being_started_has_its_file() {
        let dir = tempfile::tempdir().unwrap();
        let lock = DirLock::take(dir.path()).unwrap();
        let inherited = lock._held.0.try_clone().unwrap();
        assert_eq!(DirLock::take(dir.path()).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        drop(lock);
        DirLock::take(dir.path()).unwrap();
        drop(inherited);
    }
}
