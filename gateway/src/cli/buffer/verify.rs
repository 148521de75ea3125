//! `headwater buffer verify`: every byte that counts, read and compared with its checksum.

use super::opened::Opened;
use super::{Exit, Failed, Place, bytes_text};
use crate::cli::say;
use crate::config::Config;
use clap::Args;
use headwater_journal::{Finding, Lost, META_STREAM, Progress, Standing, Verification};
use serde_json::{Value, json};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a terminal is told how far it is.
const SHOW_EVERY: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(super) struct Options {
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

pub(super) fn verify(config: &Config, place: &Place, options: &Options) -> Result<Exit, Failed> {
    let opened = Opened::open(config, place)?;
    let verification = look(&opened);
    match options.json {
        true => say(as_json(&opened, &verification)),
        false => show(&opened, &verification),
    }
    Ok(exit(&verification))
}

/// What was noted before is accounted for; everything else is damage.
fn exit(verification: &Verification) -> Exit {
    let open = verification.findings.iter().any(|finding| finding.standing != Standing::Known);
    if open || verification.metadata_lost { Exit::Data } else { Exit::Ok }
}

/// Verifies with a line of progress on a terminal.
pub(super) fn look(opened: &Opened) -> Verification {
    let terminal = std::io::stderr().is_terminal();
    let mut shown = Instant::now();
    let verification = opened.journal.verify(&mut |at: Progress| {
        if terminal && shown.elapsed() >= SHOW_EVERY {
            shown = Instant::now();
            let (done, all) = (bytes_text(at.bytes), bytes_text(at.bytes_all));
            eprint!("\rread {done} of {all}, {} of {} files\x1b[K", at.files, at.files_all);
            let _ = std::io::stderr().flush();
        }
    });
    if terminal {
        eprint!("\r\x1b[K");
    }
    verification
}

pub(super) fn show(opened: &Opened, verification: &Verification) {
    for finding in &verification.findings {
        let word = match finding.standing {
            Standing::Lost => "damaged",
            Standing::Known => "known damage",
            Standing::Intact => "damaged, no record lost",
        };
        say(format_args!("{word}: {} at byte {}: {}", finding.file, finding.offset, finding.what));
        finding.lost.iter().for_each(|lost| say(format_args!("  lost: {}", lost_text(opened, lost))));
    }
    if verification.metadata_lost {
        say(
            "damaged: metadata is lost; streams, cursors and marks of repeats may be older than acknowledged",
        );
    }
    let (records, bytes) = (verification.records, bytes_text(verification.bytes));
    say(format_args!(
        "read {} files, {bytes}, {records} records in {} groups",
        verification.files, verification.groups
    ));
    if verification.torn_bytes > 0 {
        let torn = bytes_text(verification.torn_bytes);
        say(format_args!(
            "{torn} at the end were being written when the machine stopped and never acknowledged"
        ));
    }
    match (&verification.findings[..], exit(verification)) {
        ([], Exit::Ok) => say("every checksum is right"),
        (_, Exit::Ok) => say("what is damaged was noted before; everything else is right"),
        _ => {}
    }
}

/// Stream, shard and range of what is lost.
pub(super) fn lost_text(opened: &Opened, lost: &Lost) -> String {
    let (shard, range) = (lost.shard, lost.range);
    let count = range.last - range.first + 1;
    if shard.stream == META_STREAM {
        return format!("{count} changes of metadata");
    }
    let (first, last) = (opened.number_text(shard, range.first), opened.number_text(shard, range.last));
    let name = opened.name(shard.stream);
    format!("{name} shardId-{:012}: at most {count} records, {first} to {last}", shard.shard)
}

pub(super) fn as_json(opened: &Opened, verification: &Verification) -> Value {
    json!({
        "directory": opened.journal.directory(),
        "damaged": exit(verification) != Exit::Ok,
        "files": verification.files,
        "bytes": verification.bytes,
        "groups": verification.groups,
        "records": verification.records,
        "torn_bytes": verification.torn_bytes,
        "metadata_lost": verification.metadata_lost,
        "findings": verification.findings.iter().map(|finding| finding_json(opened, finding)).collect::<Vec<_>>(),
    })
}

fn finding_json(opened: &Opened, finding: &Finding) -> Value {
    json!({
        "file": finding.file,
        "offset": finding.offset,
        "what": finding.what,
        "standing": match finding.standing {
            Standing::Lost => "lost",
            Standing::Known => "known",
            Standing::Intact => "intact",
        },
        "lost": finding.lost.iter().map(|lost| lost_json(opened, lost)).collect::<Vec<_>>(),
    })
}

pub(super) fn lost_json(opened: &Opened, lost: &Lost) -> Value {
    let (shard, range) = (lost.shard, lost.range);
    json!({
        "stream": opened.name(shard.stream),
        "shard": format!("shardId-{:012}", shard.shard),
        "first": { "sequence": opened.number_json(shard, range.first), "position": range.first },
        "last": { "sequence": opened.number_json(shard, range.last), "position": range.last },
        "records": range.last - range.first + 1,
    })
}
