//! `headwater buffer ls`: what is there, without reading a record.

use super::opened::Opened;
use super::{Exit, Failed, Place, bytes_text};
use crate::cli::say;
use crate::config::Config;
use crate::forward::cursor;
use crate::route::time::Utc;
use clap::Args;
use headwater_journal::{Holdings, ShardKey};
use headwater_relay::Progress;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What keys of sinks' cursors begin with: `g/sink/{sink}/{stream number}/{shard}`.
const CURSORS: &str = "g/sink/";

#[derive(Debug, Args)]
pub(super) struct Options {
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

/// How far a sink is with a shard.
struct Reader {
    sink: String,
    /// `None` when its cursor cannot be read: it would begin anew.
    checkpoint: Option<u64>,
    waiting: u64,
}

pub(super) fn list(config: &Config, place: &Place, options: &Options) -> Result<Exit, Failed> {
    let opened = Opened::open(config, place)?;
    let holdings = opened.journal.holdings();
    let readers = readers(&opened);
    let mut by_stream: BTreeMap<(String, u32), Vec<&Holdings>> = BTreeMap::new();
    for &number in opened.streams.keys() {
        by_stream.insert((opened.name(number), number), Vec::new());
    }
    for held in &holdings {
        by_stream.entry((opened.name(held.shard.stream), held.shard.stream)).or_default().push(held);
    }
    if options.json {
        let streams: Vec<Value> = by_stream
            .iter()
            .map(|((name, number), held)| stream_json(&opened, name, *number, held, &readers))
            .collect();
        say(json!({ "directory": opened.dir, "streams": streams }));
        return Ok(Exit::Ok);
    }
    if by_stream.is_empty() {
        say(format_args!("{}: no stream", opened.dir.display()));
    }
    for ((name, number), held) in &by_stream {
        show_stream(&opened, name, *number, held, &readers);
    }
    Ok(Exit::Ok)
}

fn readers(opened: &Opened) -> BTreeMap<ShardKey, Vec<Reader>> {
    let mut readers: BTreeMap<ShardKey, Vec<Reader>> = BTreeMap::new();
    for (key, value) in opened.journal.meta_list(CURSORS.as_bytes()) {
        let Some((sink, shard)) = parse(&key) else { continue };
        let progress = cursor::decode(&value.value);
        let waiting = waiting(opened, shard, progress.as_ref());
        let checkpoint = progress.map(|progress| progress.checkpoint.0);
        readers.entry(shard).or_default().push(Reader { sink, checkpoint, waiting });
    }
    readers
}

/// From the right: a shard, a stream, and what is left is the sink.
fn parse(key: &[u8]) -> Option<(String, ShardKey)> {
    let mut parts = std::str::from_utf8(key).ok()?.strip_prefix(CURSORS)?.rsplitn(3, '/');
    let (shard, stream) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some((parts.next()?.to_owned(), ShardKey { stream, shard }))
}

/// Records that the sink has neither delivered nor set aside.
fn waiting(opened: &Opened, shard: ShardKey, progress: Option<&Progress>) -> u64 {
    let Some(progress) = progress else { return opened.journal.count(shard, 0, u64::MAX) };
    let done = progress.done.iter().map(|range| opened.journal.count(shard, range.start.0, range.end.0));
    let aside = progress.set_aside.iter().map(|place| opened.journal.count(shard, place.0, place.0 + 1));
    let behind = opened.journal.count(shard, progress.checkpoint.0, u64::MAX);
    behind.saturating_sub(done.chain(aside).sum())
}

fn show_stream(
    opened: &Opened,
    name: &str,
    number: u32,
    held: &[&Holdings],
    readers: &BTreeMap<ShardKey, Vec<Reader>>,
) {
    let (records, bytes) = totals(held);
    let about = opened.streams.get(&number).map_or_else(
        || "no definition names it".to_owned(),
        |stream| {
            let state = stream.state();
            let definition = &state.definition;
            let encrypted = if definition.settings.encryption.is_some() { ", encrypted" } else { "" };
            let open = state.shards.open_count();
            format!("{open} open shards, {} h{encrypted}", definition.retention_hours)
        },
    );
    say(format_args!("{name} ({about}): {records} records, {} in files", bytes_text(bytes)));
    for held in held {
        let (shard, bounds) = (held.shard, held.bounds);
        say(format_args!(
            "  shardId-{:012}: {} records, {}",
            shard.shard,
            held.records,
            bytes_text(held.bytes)
        ));
        if held.records > 0 {
            say(format_args!(
                "    first {}  {}",
                opened.number_text(shard, bounds.first),
                Utc(bounds.oldest_ms)
            ));
            say(format_args!(
                "    last  {}  {}",
                opened.number_text(shard, bounds.end - 1),
                Utc(bounds.newest_ms)
            ));
        }
        for reader in readers.get(&shard).into_iter().flatten() {
            match reader.checkpoint {
                Some(at) => say(format_args!(
                    "    sink {}: {} records wait, from {}",
                    reader.sink,
                    reader.waiting,
                    opened.number_text(shard, at)
                )),
                None => say(format_args!("    sink {}: its cursor cannot be read", reader.sink)),
            }
        }
        if let Some(from) = held.hold {
            say(format_args!("    held from {}", opened.number_text(shard, from)));
        }
        for lost in &held.lost {
            let (first, last) = (opened.number_text(shard, lost.first), opened.number_text(shard, lost.last));
            say(format_args!("    lost {} records, {first} to {last}", lost.last - lost.first + 1));
        }
    }
}

fn totals(held: &[&Holdings]) -> (u64, u64) {
    (held.iter().map(|held| held.records).sum(), held.iter().map(|held| held.bytes).sum())
}

fn stream_json(
    opened: &Opened,
    name: &str,
    number: u32,
    held: &[&Holdings],
    readers: &BTreeMap<ShardKey, Vec<Reader>>,
) -> Value {
    let (records, bytes) = totals(held);
    let state = opened.streams.get(&number).map(|stream| stream.state());
    let definition = state.as_ref().map(|state| &state.definition);
    json!({
        "name": definition.map(|_| name),
        "number": number,
        "status": definition.map(|definition| definition.status.as_str()),
        "encrypted": definition.map(|definition| definition.settings.encryption.is_some()),
        "retention_hours": definition.map(|definition| definition.retention_hours),
        "records": records,
        "bytes": bytes,
        "shards": held.iter().map(|held| shard_json(opened, held, readers.get(&held.shard))).collect::<Vec<_>>(),
    })
}

fn shard_json(opened: &Opened, held: &Holdings, readers: Option<&Vec<Reader>>) -> Value {
    let (shard, bounds) = (held.shard, held.bounds);
    let place =
        |position: u64| json!({ "sequence": opened.number_json(shard, position), "position": position });
    let end = |position: u64, time_ms: u64| {
        let mut place = place(position);
        place["time_ms"] = json!(time_ms);
        place["time"] = json!(Utc(time_ms).to_string());
        place
    };
    let filled = held.records > 0;
    let lost = held.lost.iter().map(|lost| {
        json!({ "first": place(lost.first), "last": place(lost.last), "records": lost.last - lost.first + 1 })
    });
    let sinks = readers.into_iter().flatten().map(|reader| {
        json!({ "sink": reader.sink, "checkpoint": reader.checkpoint.map(place), "waiting": reader.waiting })
    });
    json!({
        "shard": format!("shardId-{:012}", shard.shard),
        "records": held.records,
        "bytes": held.bytes,
        "first": filled.then(|| end(bounds.first, bounds.oldest_ms)),
        "last": filled.then(|| end(bounds.end - 1, bounds.newest_ms)),
        "hold": held.hold.map(place),
        "sinks": sinks.collect::<Vec<_>>(),
        "lost": lost.collect::<Vec<_>>(),
    })
}
