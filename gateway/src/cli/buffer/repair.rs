//! `headwater buffer repair`: what a start does, and what readers would note later, done now and said.
//!
//! Order: everything is read; damaged files are copied aside while nobody can write; the journal is opened as a start opens it; every
//! lost range is read once, so that it is noted; the journal is closed. A crash in between leaves what a crash of a start leaves.

use super::opened::{Opened, settings};
use super::verify::{as_json, look, show};
use super::{Exit, Failed, Place};
use crate::cli::say;
use crate::config::Config;
use clap::Args;
use headwater_journal::{Journal, Lost, META_STREAM, ReadLimits, Standing, Unread, Verification};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes copied at once, and the part of them that one unreadable place costs.
const COPY_BYTES: usize = 1 << 20;
const SECTOR_BYTES: usize = 4096;

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Do it.
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Say what would be done, change nothing.
    #[arg(long)]
    dry_run: bool,
    /// Where damaged files are copied to; else a new directory `damaged-<time>` beside the journal's files.
    #[arg(long, value_name = "DIR")]
    aside: Option<PathBuf>,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

pub(super) fn repair(config: &Config, place: &Place, options: &Options) -> Result<Exit, Failed> {
    let opened = Opened::open(config, place)?;
    let found = look(&opened);
    if !options.json {
        show(&opened, &found);
    }
    let open = found.findings.iter().filter(|finding| finding.standing != Standing::Known);
    let files: BTreeSet<String> = open.clone().map(|finding| finding.file.clone()).collect();
    let needed = open.count() > 0 || found.metadata_lost;
    let (repaired, dir) = (needed && options.yes, opened.dir.clone());
    let kept = if repaired { keep_aside(&opened, options.aside.as_deref(), &files)? } else { None };
    let mut report = as_json(&opened, &found);
    // Whoever looks keeps writers out.
    drop(opened);
    if repaired {
        note(config, &dir, &found.lost())?;
    }
    if options.json {
        report["repaired"] = json!(repaired);
        report["damaged_files"] = json!(files);
        report["kept_in"] = json!(kept);
        say(report);
    } else {
        say(conclusion(&found, needed, repaired));
        if let Some(kept) = kept {
            say(format_args!("the damaged files are kept in {}", kept.display()));
        }
    }
    Ok(if needed && !options.yes && !options.dry_run { Exit::Usage } else { Exit::Ok })
}

fn conclusion(found: &Verification, needed: bool, repaired: bool) -> String {
    let lost = found.lost();
    let of_streams = lost.iter().filter(|lost| lost.shard.stream != META_STREAM);
    let lost: u64 = of_streams.map(|lost| lost.range.last - lost.range.first + 1).sum();
    match (needed, repaired) {
        (false, _) => "nothing to repair".to_owned(),
        (true, true) => {
            format!("repaired: at most {lost} records are lost, and noted; readers go on behind them")
        }
        (true, false) => format!(
            "nothing was changed; --yes would note that at most {lost} records are lost, and keep copies of the damaged files"
        ),
    }
}

/// Copies the damaged files, as far as they can be read.
fn keep_aside(
    opened: &Opened,
    to: Option<&Path>,
    files: &BTreeSet<String>,
) -> Result<Option<PathBuf>, Failed> {
    let from = opened.journal.directory();
    // A file that is missing is damage, too.
    let files: Vec<&String> = files.iter().filter(|name| from.join(name).is_file()).collect();
    if files.is_empty() {
        return Ok(None);
    }
    let dir = to.map_or_else(|| opened.dir.join(format!("damaged-{}", now_ms())), Path::to_owned);
    let failed = |error| Failed::Io(format!("keeping damaged files in {}", dir.display()), error);
    DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(failed)?;
    for name in files {
        if !copy(&from.join(name), &dir.join(name)).map_err(failed)? {
            replace(&from.join(name), &dir).map_err(failed)?;
        }
    }
    File::open(&dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
    Ok(Some(dir))
}

/// Puts a copy with zeros in the place of a file that the disk does not read to its end, so that no start waits for it again. The file
/// itself stays beside its copy as `*.unread`, where that is on the same disk: another disk controller may still read it.
fn replace(path: &Path, aside: &Path) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default();
    let (copied, mended) = (aside.join(name), path.with_extension("mended"));
    if let Err(error) = fs::hard_link(path, copied.with_extension("unread")) {
        tracing::warn!(file = %path.display(), %error, "the file that cannot be read is not kept");
    }
    fs::copy(&copied, &mended)?;
    File::open(&mended)?.sync_all()?;
    fs::rename(&mended, path)?;
    File::open(path.parent().unwrap_or(path))?.sync_all()
}

/// Copies a file; what cannot be read of it becomes zeros. Whether all of it was read.
fn copy(from: &Path, to: &Path) -> io::Result<bool> {
    let from = File::open(from)?;
    let bytes = from.metadata()?.len();
    let mut to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    let (mut at, mut buffer, mut is_whole) = (0, vec![0; COPY_BYTES], true);
    while at < bytes {
        let length = usize::try_from(bytes - at).unwrap_or(COPY_BYTES).min(COPY_BYTES);
        let part = &mut buffer[..length];
        if from.read_exact_at(part, at).is_err() {
            for (number, sector) in (0u64..).zip(part.chunks_mut(SECTOR_BYTES)) {
                if from.read_exact_at(sector, at + number * SECTOR_BYTES as u64).is_err() {
                    sector.fill(0);
                    is_whole = false;
                }
            }
        }
        to.write_all(part)?;
        at += length as u64;
    }
    to.sync_all()?;
    Ok(is_whole)
}

/// Opens the journal as a start does and meets every loss, so that it is noted.
fn note(config: &Config, dir: &Path, lost: &[Lost]) -> Result<(), Failed> {
    let now_ms = now_ms();
    // What the disk does not read was waited for by whoever asked for this.
    let settings = headwater_journal::Config { unread: Unread::LOST, ..settings(config) };
    let (journal, _) = Journal::open(dir, settings, now_ms).map_err(|error| Failed::opening(error, dir))?;
    let limits = ReadLimits { records: 1_000, bytes: 1 << 20 };
    for lost in lost.iter().filter(|lost| lost.shard.stream != META_STREAM) {
        let mut from = lost.range.first;
        while from <= lost.range.last {
            match journal.read(lost.shard, from, limits) {
                Ok(page) if page.next > from => from = page.next,
                // Runs that are sealed are found damaged before a key is asked for; the others are whole.
                Ok(_) | Err(_) => break,
            }
        }
    }
    while journal.keep_house() {}
    let noted = journal.commit().map(drop);
    journal.close();
    noted.map_err(|error| Failed::Io(format!("writing {}", dir.display()), io::Error::other(error)))
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_copy_takes_the_place_and_the_file_itself_is_kept() {
        let dir = tempfile::tempdir().expect("makes a directory");
        let (lane, aside) = (dir.path().join("lane-0"), dir.path().join("aside"));
        for made in [&lane, &aside] {
            fs::create_dir(made).expect("makes a directory");
        }
        fs::write(lane.join("1.seg"), "as it was").expect("writes");
        fs::write(aside.join("1.seg"), "as it is read").expect("writes");
        replace(&lane.join("1.seg"), &aside).expect("replaces");
        let read = |path: PathBuf| fs::read_to_string(path).expect("reads");
        assert_eq!(read(lane.join("1.seg")), "as it is read");
        assert_eq!(read(aside.join("1.unread")), "as it was");
        assert_eq!(fs::read_dir(&lane).expect("lists").count(), 1, "nothing else is left");
    }
}
