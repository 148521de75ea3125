//! `headwater status`: how a running gateway is.
//!
//! In: what its status port says. Out: the same for a person, or as JSON; and whether it is well, as the exit code.
//! Not here: what makes a gateway take publishes (`crate::status`), the same again and again (`top`).

pub(in crate::cli) mod ask;
pub(in crate::cli) mod metrics;
pub(in crate::cli) mod seen;
pub(in crate::cli) use crate::words;

use self::seen::{Reload, Seen, Sink, Stream, Traffic};
use super::signals::with_signals;
use super::{Exit, say};
use crate::config::Config;
use clap::Args;
use serde_json::json;
use std::time::Duration;
use words::{bytes, span};

#[derive(Debug, Args)]
pub(super) struct Options {
    /// Everything as one JSON object, for programs.
    #[arg(long)]
    json: bool,
}

/// Whether the sums of a sink match is asked again after this: its numbers change between two looks of its own.
const SECOND_LOOK: Duration = Duration::from_millis(500);

pub(super) fn status(config: &Config, options: &Options) -> Exit {
    let addr = config.http.listen;
    with_signals(|stop| async move {
        let looked = tokio::select! {
            looked = look(addr) => looked,
            () = stop.wait() => return Exit::Temporary,
        };
        match looked {
            Ok(seen) => tell(&seen, options),
            Err(error) => {
                match options.json {
                    true => say(json!({ "running": false, "well": false, "reasons": [error.to_string()] })),
                    false => eprintln!("{error}"),
                }
                Exit::Unavailable
            }
        }
    })
}

async fn look(addr: std::net::SocketAddr) -> Result<Seen, ask::AskError> {
    let seen = Seen::ask(addr).await?;
    let health = &seen.health;
    if health.sinks.iter().all(|sink| sink.balances) && health.streams.iter().all(|held| held.balances) {
        return Ok(seen);
    }
    tokio::time::sleep(SECOND_LOOK).await;
    Seen::ask(addr).await
}

fn tell(seen: &Seen, options: &Options) -> Exit {
    let reasons = reasons(seen);
    match options.json {
        true => say(in_json(seen, &reasons)),
        false => lines(seen, &reasons).iter().for_each(say),
    }
    if reasons.is_empty() { Exit::Ok } else { Exit::Failure }
}

/// Everything that is not well; nothing when all is.
fn reasons(seen: &Seen) -> Vec<String> {
    let health = &seen.health;
    let mut reasons = Vec::new();
    if health.state != "ok" {
        let why = health.journal.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
        reasons.push(format!("the gateway is {}{why}", health.state));
    }
    if let Some(Reload { at, error: Some(error), .. }) = &health.configuration.last {
        reasons.push(format!("the configuration read at {at} was refused, the former one stays: {error}"));
    }
    if let Some(trouble) = health.journal.write_budget.as_ref().and_then(|budget| budget.trouble()) {
        reasons.push(trouble.to_owned());
    }
    for held in health.streams.iter().filter(|held| !held.balances) {
        reasons.push(format!("stream {}: its records do not add up, please report this", held.stream));
    }
    for sink in &health.sinks {
        if let Some(trouble) = &sink.trouble {
            reasons.push(format!("sink {} of {}: {trouble}", sink.sink, sink.stream));
        } else if !sink.connected && sink.waiting > 0 {
            let waiting = sink.waiting;
            reasons.push(format!("sink {} of {}: no answer yet, {waiting} waiting", sink.sink, sink.stream));
        }
        if !sink.balances {
            let why = "its records do not add up, please report this";
            reasons.push(format!("sink {} of {}: {why}", sink.sink, sink.stream));
        }
    }
    reasons
}

fn in_json(seen: &Seen, reasons: &[String]) -> String {
    let streams: Vec<_> = seen.streams().iter().map(|(name, stream)| stream_json(name, stream)).collect();
    let body = json!({
        "running": true, "well": reasons.is_empty(), "reasons": reasons,
        "clients": seen.clients(), "streams": streams, "ledger": ledger(seen), "health": seen.raw,
    });
    format!("{body:#}")
}

fn stream_json(name: &str, stream: &Stream) -> serde_json::Value {
    let of = |traffic: &Traffic| json!({ "records": traffic.records, "bytes": traffic.bytes, "records_read": traffic.records_read });
    let shards: serde_json::Map<_, _> =
        stream.shards.iter().map(|(id, traffic)| (id.clone(), of(traffic))).collect();
    json!({ "stream": name, "since_start": of(&stream.total), "open_shards": shards })
}

fn lines(seen: &Seen, reasons: &[String]) -> Vec<String> {
    let health = &seen.health;
    let mut lines = Vec::new();
    let up = span(health.uptime_s.saturating_mul(1_000));
    lines.push(format!("{}: {}, version {}, up {up}", health.name, health.state, health.version));
    let live = bytes(seen.metrics.count("headwater_journal_bytes_live"));
    lines.push(format!("journal: {}, {live} of records", health.journal.state));
    if let Some(budget) = &health.journal.write_budget {
        let near = budget.warning.iter().filter(|_| budget.trouble().is_none());
        lines.push(format!("disk: {}", budget.line()));
        lines.extend(near.map(|warning| format!("disk: {warning}")));
    }
    let unread = &health.journal.unread;
    lines.extend(unread.places.iter().map(|place| format!("disk: not read: {}", place.line())));
    let more = unread.count.saturating_sub(unread.places.len() as u64);
    lines.extend((more > 0).then(|| format!("disk: not read: {more} places more")));
    lines.extend(unread.remedy.iter().map(|remedy| format!("disk: {remedy}")));
    let devices = seen.metrics.count("headwater_routes_devices_in_memory");
    lines.push(format!("clients: {} connected; devices in memory: {devices}", seen.clients()));
    lines.extend(health.clock.jump().map(|jump| format!("clock: {jump}")));
    if let Some(Reload { at, result, .. }) = &health.configuration.last {
        lines.push(format!("configuration: {result} at {at}"));
    }
    let waiting = &health.configuration.needs_restart;
    if !waiting.is_empty() {
        lines.push(format!("changed and waiting for a restart: {}", waiting.join(", ")));
    }
    let recovery = &health.recovery;
    if !recovery.clean {
        lines.push(format!(
            "the last start found damage: {} ranges of records and {} groups lost, {} files unreadable",
            recovery.lost_ranges,
            recovery.groups_lost,
            recovery.unreadable.len()
        ));
    }
    let streams = seen.streams();
    lines.push(format!("streams: {}", streams.len()));
    for (name, Stream { total, shards }) in &streams {
        let (count, size) = (shards.len(), bytes(total.bytes));
        let word = if count == 1 { "shard" } else { "shards" };
        lines.push(format!("  {name}: {count} {word}, {} records, {size} since the start", total.records));
    }
    lines.push(format!("sinks: {}", health.sinks.len()));
    lines.extend(health.sinks.iter().map(|sink| format!("  {}", sink_line(sink))));
    lines.push(format!("ledger: {}", ledger(seen)));
    lines.extend(reasons.iter().map(|reason| format!("not well: {reason}")));
    lines
}

fn sink_line(sink: &Sink) -> String {
    let Sink { sink: name, stream, target, waiting, delivered_per_s, .. } = sink;
    let state = if sink.connected { "connected" } else { "not connected" };
    let rest = match sink.drained_in_ms {
        _ if *waiting == 0 => String::new(),
        Some(eta_ms) => format!(", empty in {}", span(eta_ms)),
        None => ", not getting less".to_owned(),
    };
    format!("{name}: {stream} to {target}, {state}, {waiting} waiting, {delivered_per_s:.1} records/s{rest}")
}

/// The line a gateway ends with, as far as it is now.
fn ledger(seen: &Seen) -> String {
    let flow = &seen.health.ledger;
    let mut line = format!(
        "received {} = stored {} + subscribers only {} + repeated {} + dead-lettered {} + unmatched {} + ignored {} + \
         rejected {}; records {}, lost at devices {}, acknowledged {}",
        flow.received,
        flow.stored,
        flow.downlink_only,
        flow.repeated,
        flow.dead_lettered,
        flow.unmatched,
        flow.ignored,
        flow.rejected,
        flow.records,
        flow.lost_at_devices,
        flow.acknowledged,
    );
    for held in seen.health.streams.iter().filter(|held| held.received > 0) {
        let others = held.received.saturating_sub(held.by_routes + held.by_api);
        line.push_str(&format!(
            "; stream {}: received {} (routes {}, API {}, others {others}) = stored {} + in flight {}",
            held.stream, held.received, held.by_routes, held.by_api, held.stored, held.in_flight
        ));
        for (count, what) in
            [(held.torn, " + torn off"), (held.expired, "; expired"), (held.damaged, ", damaged")]
        {
            if count > 0 {
                line.push_str(&format!("{what} {count}"));
            }
        }
    }
    for sink in &seen.health.sinks {
        let dropped: u64 = sink.dropped.values().sum();
        line.push_str(&format!(
            "; sink {} of {}: stored {} = delivered {} + waiting {} + dead-lettered {} + dropped {dropped}",
            sink.sink, sink.stream, sink.stored, sink.delivered, sink.waiting, sink.dead_lettered
        ));
        if let Some(before) = sink.before.filter(|before| *before > 0) {
            line.push_str(&format!(", before the sink {before}"));
        }
    }
    line
}
