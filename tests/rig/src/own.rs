//! The rig's disk under the kernel, asked by ordinary system calls: it keeps what each kind of sync promises, and no more.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::process::Command;

use rustix::fs::OFlags;

use crate::disk::{Disk, Fates, Mode};
use crate::mount::Mounted;
use crate::power::{Aim, Moment};

/// The argument that asks for [`write()`].
pub(crate) const WRITE: &str = "--own-write";

/// The argument that asks for [`check`].
pub(crate) const CHECK: &str = "--own-check";

/// Writes in every way there is, cuts, and looks at what is left.
pub(crate) fn keeps_what_was_synced_and_nothing_else(at: &Path) -> Result<String, String> {
    let said = |error: std::io::Error| error.to_string();
    let mounted = Mounted::new(Disk::new(), at).map_err(said)?;
    in_a_process(WRITE, at)?;
    mounted.arm(Moment { aim: Aim::Any, skip: 0, done: false }, Fates::new(Mode::Nothing, 0));
    mounted.cut();
    mounted.release();
    let (disk, toll) = mounted.unmount().map_err(said)?;
    let mounted = Mounted::new(disk, at).map_err(said)?;
    in_a_process(CHECK, at)?;
    mounted.unmount().map_err(said)?;
    Ok(format!(
        "own disk: {} of {} unsynced sectors and {} of {} names dropped",
        toll.sectors_lost, toll.sectors, toll.names_lost, toll.names
    ))
}

/// The part that opens files, in a process of its own: one that serves a FUSE disk and has a file of it open cannot be killed.
fn in_a_process(part: &str, at: &Path) -> Result<(), String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(program).arg(part).arg(at).output().map_err(|error| error.to_string())?;
    let said = || String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{part}: {}: {}", output.status, said())) }
}

/// What is left, against what must be.
pub(crate) fn check(at: &Path) -> Result<(), String> {
    let said = |error: std::io::Error| error.to_string();
    let mut left: Vec<(String, String)> = Vec::new();
    for entry in std::fs::read_dir(at).map_err(said)? {
        let path = entry.map_err(said)?.path();
        let bytes = std::fs::read(&path).map_err(said)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        left.push((name, String::from_utf8_lossy(&bytes).into_owned()));
    }
    left.sort();
    let expected = [
        ("appended", "1"),
        ("closed", ""),
        ("direct", "4096 bytes"),
        ("dsync", "1"),
        ("fdatasync", "1"),
        ("fsync", "1"),
        ("old", "1"),
        ("syncfs", ""),
    ];
    let short = |bytes: &str| if bytes.len() == 4096 { "4096 bytes".to_owned() } else { bytes.to_owned() };
    let left: Vec<(String, String)> = left.into_iter().map(|(name, bytes)| (name, short(&bytes))).collect();
    if left.iter().map(|(name, bytes)| (name.as_str(), bytes.as_str())).eq(expected) {
        Ok(())
    } else {
        Err(format!("the disk kept {left:?}, expected {expected:?}"))
    }
}

/// Writes in every way there is.
pub(crate) fn write(at: &Path) -> std::io::Result<()> {
    let with = |name: &str, flags: OFlags| {
        let flags = i32::try_from(flags.bits()).map_err(std::io::Error::other)?;
        OpenOptions::new().write(true).create_new(true).custom_flags(flags).open(at.join(name))
    };
    for name in ["appended", "closed", "fdatasync", "fsync", "old", "syncfs"] {
        with(name, OFlags::empty())?;
    }
    let dsync = with("dsync", OFlags::DSYNC)?;
    let direct = with("direct", OFlags::DIRECT)?;
    File::open(at)?.sync_all()?;

    (&dsync).write_all(b"1")?;
    let open = |name: &str| OpenOptions::new().append(true).open(at.join(name));
    let text = |name: &str, sync: fn(&File) -> std::io::Result<()>| -> std::io::Result<()> {
        let mut file = open(name)?;
        file.write_all(b"1")?;
        sync(&file)
    };
    text("fsync", File::sync_all)?;
    text("fdatasync", File::sync_data)?;
    text("old", File::sync_all)?;
    text("closed", |_| Ok(()))?;
    text("syncfs", |file| Ok(rustix::fs::syncfs(file)?))?;
    text("appended", File::sync_all)?;
    text("appended", |_| Ok(()))?;
    // The journal's way: past the page cache, then fdatasync.
    direct.write_all_at(&[b'x'; 4096], 0)?;
    direct.sync_data()?;
    // Its bytes are synced; that it replaces the old file is not.
    let mut new = File::create_new(at.join("new"))?;
    new.write_all(b"2")?;
    new.sync_all()?;
    std::fs::rename(at.join("new"), at.join("old"))
}
