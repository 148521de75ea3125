//! `headwater buffer export`: records taken out of a journal, page by page.
//!
//! In: a stream, shards, a range. Out: records on standard output or in a file for each shard. Records older than their stream's retention
//! are there as long as their segment is. Invariant: memory holds a page; what is lost inside the range is said, and makes exit code 65.

use super::bound::{self, Bound};
use super::form::{Form, Sheet};
use super::opened::Opened;
use super::verify::lost_text;
use super::{Exit, Failed, Place};
use crate::cli::say;
use crate::config::Config;
use clap::Args;
use headwater_engine::StreamHandle;
use headwater_journal::{Lost, LostRange, ReadError, ReadLimits, ShardKey};
use std::collections::BTreeMap;
use std::fs::{DirBuilder, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// One page: what is in memory at a time.
const PAGE: ReadLimits = ReadLimits { records: 10_000, bytes: 1 << 20 };

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Its name; `#` and its number when no definition names it any more.
    stream: String,
    /// Only this shard: shardId-000000000003 or 3. May be given again.
    #[arg(long, value_name = "SHARD", value_parser = parse_shard)]
    shard: Vec<u32>,
    /// From this record or time on: a sequence number (56 digits), 2026-11-21T08:30:00Z, or @ and seconds since 1970.
    #[arg(long, value_name = "PLACE", value_parser = bound::parse)]
    from: Option<Bound>,
    /// Up to and with this record, or before this time.
    #[arg(long, value_name = "PLACE", value_parser = bound::parse)]
    to: Option<Bound>,
    /// How records are written.
    #[arg(long, value_name = "FORM", default_value = "jsonl")]
    format: Form,
    /// A file for each shard in this directory, instead of standard output. Nothing is overwritten.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

fn parse_shard(text: &str) -> Result<u32, String> {
    let digits = text.strip_prefix("shardId-").unwrap_or(text);
    digits.parse().map_err(|_| "must be as shardId-000000000003, or 3".to_owned())
}

pub(super) fn export(config: &Config, place: &Place, options: &Options) -> Result<Exit, Failed> {
    let opened = Opened::open(config, place)?;
    let number = opened.number(&options.stream)?;
    let shards = shards(&opened, number, options)?;
    // Master keys that cannot be used are no reason to refuse what was never encrypted.
    let encrypted = |stream: &StreamHandle| stream.state().definition.settings.newest_key > 0;
    let closed = match opened.streams.get(&number).is_none_or(encrypted) {
        true => opened.unlock(config, place)?,
        false => BTreeMap::new(),
    };
    let export = Export { opened: &opened, options, closed };
    let mut whole = true;
    match &options.out {
        Some(dir) => {
            for shard in shards {
                whole &= export.to_file(dir, shard)?;
            }
        }
        None => {
            let sheet = Sheet::new(BufWriter::new(io::stdout().lock()), options.format, &export.name(number));
            match sheet.map_err(Stop::Io).and_then(|mut sheet| {
                for shard in shards {
                    whole &= export.shard(shard, &mut sheet)?.1;
                }
                sheet.finish().map_err(Stop::Io)
            }) {
                Ok(_) => {}
                // Whoever reads has seen enough (`| head`).
                Err(Stop::Io(error)) if error.kind() == ErrorKind::BrokenPipe => return Ok(Exit::Ok),
                Err(Stop::Io(error)) => return Err(Failed::Io("writing records".into(), error)),
                Err(Stop::Failed(failed)) => return Err(failed),
            }
        }
    }
    Ok(if whole { Exit::Ok } else { Exit::Data })
}

/// The shards that are asked for, in order.
fn shards(opened: &Opened, stream: u32, options: &Options) -> Result<Vec<ShardKey>, Failed> {
    let there: Vec<ShardKey> = opened
        .journal
        .holdings()
        .iter()
        .map(|held| held.shard)
        .filter(|shard| shard.stream == stream)
        .collect();
    let mut asked = options.shard.clone();
    for (option, bound) in [("--from", options.from), ("--to", options.to)] {
        if let Some(Bound::Number(number)) = bound {
            if number.stream.0 != stream {
                return Err(Failed::Asked(format!(
                    "{option}: this sequence number is not of stream `{}`",
                    options.stream
                )));
            }
            if asked.iter().any(|&shard| shard != number.shard.0) {
                return Err(Failed::Asked(format!(
                    "{option}: this sequence number is of {}, and of no other shard",
                    number.shard
                )));
            }
            asked = vec![number.shard.0];
        }
    }
    if asked.is_empty() {
        return Ok(there);
    }
    let state = opened.streams.get(&stream).map(|stream| stream.state());
    let is_known = |shard: u32| {
        state.as_ref().is_some_and(|state| state.shards.get(headwater_engine::ShardId(shard)).is_some())
    };
    for &shard in &asked {
        let key = ShardKey { stream, shard };
        if !there.contains(&key) && !is_known(shard) {
            return Err(Failed::Asked(format!("stream `{}` has no shardId-{shard:012}", options.stream)));
        }
    }
    Ok(there.into_iter().filter(|key| asked.contains(&key.shard)).collect())
}

struct Export<'a> {
    opened: &'a Opened,
    options: &'a Options,
    /// Why keys do not open.
    closed: BTreeMap<(u32, u16), String>,
}

/// Why writing records ended.
enum Stop {
    Io(io::Error),
    Failed(Failed),
}

impl Export<'_> {
    fn name(&self, stream: u32) -> String {
        self.opened.name(stream)
    }

    fn to_file(&self, dir: &Path, shard: ShardKey) -> Result<bool, Failed> {
        let name = format!(
            "{}.shardId-{:012}.{}",
            self.name(shard.stream),
            shard.shard,
            self.options.format.extension()
        );
        let path = dir.join(name);
        let failed = |error| Failed::Io(path.display().to_string(), error);
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        let written = Sheet::new(BufWriter::new(file), self.options.format, &self.name(shard.stream))
            .map_err(Stop::Io)
            .and_then(|mut sheet| {
                let counted = self.shard(shard, &mut sheet)?;
                let file =
                    sheet.finish().and_then(|out| out.into_inner().map_err(io::IntoInnerError::into_error));
                file.and_then(|file| file.sync_all()).map_err(Stop::Io)?;
                Ok(counted)
            });
        match written {
            Ok((records, whole)) => {
                say(format_args!("{}: {records} records", path.display()));
                Ok(whole)
            }
            Err(Stop::Io(error)) => Err(failed(error)),
            Err(Stop::Failed(error)) => Err(error),
        }
    }

    /// Writes one shard's records; how many, and whether none is missing.
    fn shard<W: Write>(&self, shard: ShardKey, sheet: &mut Sheet<W>) -> Result<(u64, bool), Stop> {
        let journal = &self.opened.journal;
        let reading = |error| Stop::Failed(self.unreadable(error));
        let mut next = match self.options.from {
            None => 0,
            Some(Bound::Number(number)) => number.position.position,
            Some(Bound::Time(ms)) => journal.seek_time(shard, ms).map_err(reading)?,
        };
        let last = match self.options.to {
            None => u64::MAX,
            Some(Bound::Number(number)) => number.position.position,
            Some(Bound::Time(ms)) => match journal.seek_time(shard, ms).map_err(reading)?.checked_sub(1) {
                Some(last) => last,
                None => return Ok((0, true)),
            },
        };
        sheet.shard(shard.shard);
        let (mut records, mut whole) = (0, true);
        while next <= last {
            let page = journal.read(shard, next, PAGE).map_err(reading)?;
            for gap in page.gaps.iter().filter(|gap| gap.first <= last) {
                whole = false;
                let range = LostRange { first: gap.first, last: gap.last.min(last) };
                eprintln!("lost: {}", lost_text(self.opened, &Lost { shard, range }));
            }
            for record in page.records().take_while(|record| record.sequence <= last) {
                let number = self.opened.number_text(shard, record.sequence);
                sheet.record(&number, &record).map_err(Stop::Io)?;
                records += 1;
            }
            if page.next >= page.end || page.next <= next {
                break;
            }
            next = page.next;
        }
        Ok((records, whole))
    }

    fn unreadable(&self, error: ReadError) -> Failed {
        let (shard, key) = match error {
            ReadError::KeyUnknown { shard, key_id, .. } | ReadError::KeyWrong { shard, key_id, .. } => {
                (shard, key_id)
            }
            error => return Failed::Read(error),
        };
        let name = self.name(shard.stream);
        let reason = self
            .closed
            .get(&(shard.stream, key))
            .map_or("its key is not in the directory `keys` beside the journal", String::as_str);
        Failed::Sealed(format!(
            "stream `{name}` is encrypted, and its key {key} does not open: {reason}\nname the file of its master keys with \
             --master-keys FILE, or as kinesis.master_keys in the configuration"
        ))
    }
}
