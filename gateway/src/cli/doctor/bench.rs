//! How fast the state directory's disk makes writes durable.
//!
//! In: the directory, or the nearest above it that exists. Out: free space, kind of file system, latencies of syncs.
//! Invariant: the one file it makes is removed, also when it fails. Blocks for a second.

use rustix::fs::{fstatvfs, statfs};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long syncs are measured.
const DURATION: Duration = Duration::from_secs(1);

/// What the smallest commit writes: one page.
const WRITE: [u8; 4_096] = [0x5a; 4_096];

/// The file is written over and over, as the journal writes into segments that exist: no sync waits for metadata.
const PAGES: u64 = 64;

/// Syncs measured at most; enough to tell, and little on a card.
const SYNCS_MAX: usize = 2_000;

/// File systems in memory (statfs(2): tmpfs, ramfs).
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// What was measured.
#[derive(Debug)]
pub(super) struct Measured {
    /// The directory that was looked at.
    pub(super) dir: PathBuf,
    pub(super) free_bytes: u64,
    pub(super) total_bytes: u64,
    pub(super) is_in_memory: bool,
    /// Sorted latencies, or why nothing could be written.
    pub(super) syncs: io::Result<Vec<Duration>>,
}

pub(super) fn measure(state: &Path) -> io::Result<Measured> {
    let dir = existing(state)?;
    let space = fstatvfs(&File::open(&dir)?)?;
    let kind = statfs(&dir)?.f_type;
    let kind = u64::try_from(kind).unwrap_or_default();
    let syncs = syncs(&dir);
    Ok(Measured {
        free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
        total_bytes: space.f_blocks.saturating_mul(space.f_frsize),
        is_in_memory: IN_MEMORY.contains(&kind),
        syncs,
        dir,
    })
}

/// The directory, or the nearest above it that exists.
fn existing(dir: &Path) -> io::Result<PathBuf> {
    let dir = std::path::absolute(dir)?;
    let found = dir.ancestors().find(|dir| dir.is_dir());
    found.map(Path::to_owned).ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
}

/// Removes its file at the end, whatever happens.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // A file that stays is 256 KiB with a name that says whose it is.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn syncs(dir: &Path) -> io::Result<Vec<Duration>> {
    let path = dir.join(format!(".headwater-doctor-{}", std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    let _scratch = Scratch(path);
    let page_bytes = WRITE.len() as u64;
    for page in 0..PAGES {
        file.write_all_at(&WRITE, page * page_bytes)?;
    }
    file.sync_all()?;
    let (start, mut taken) = (Instant::now(), Vec::new());
    while start.elapsed() < DURATION && taken.len() < SYNCS_MAX {
        let begun = Instant::now();
        file.write_all_at(&WRITE, taken.len() as u64 % PAGES * page_bytes)?;
        file.sync_data()?;
        taken.push(begun.elapsed());
    }
    taken.sort_unstable();
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_does_not_exist_yet_is_measured_where_it_will_be_and_nothing_stays() {
        let dir = tempfile::tempdir().unwrap();
        let measured = measure(&dir.path().join("a/b")).unwrap();
        assert_eq!(measured.dir, dir.path());
        assert!(measured.free_bytes <= measured.total_bytes && measured.total_bytes > 0);
        assert!(!measured.syncs.unwrap().is_empty());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
