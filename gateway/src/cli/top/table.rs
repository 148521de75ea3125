//! The table of `headwater top`.
//!
//! In: looks, a size. Out: lines, none wider and not more than fit. Pure. When not everything fits, sinks keep their lines
//! (they are few, and where trouble shows) and the last line says how much is missing.

use super::rates::Looks;
use crate::cli::status::seen::{Seen, Sink, Traffic, WriteBudget};
use crate::cli::status::words::{bytes, plain, span};

/// What to draw.
pub(super) struct View<'a> {
    pub(super) looks: &'a Looks,
    /// Why the last look failed; the table is of the one before then.
    pub(super) trouble: Option<&'a str>,
    pub(super) columns: usize,
    pub(super) rows: usize,
}

/// Lines above the tables, and those between and below.
const HEAD_LINES: usize = 4;

/// The lines, from the top.
pub(super) fn draw(view: &View<'_>) -> Vec<String> {
    let Some(seen) = view.looks.last() else { return Vec::new() };
    let mut lines = head(view, seen);
    lines.truncate(HEAD_LINES);
    let mut sinks: Vec<String> = seen.health.sinks.iter().flat_map(sink_lines).collect();
    if !sinks.is_empty() {
        sinks.insert(
            0,
            format!("{:<27} {:>12} {:>9} {:>11}  {}", "SINK: STREAM", "BACKLOG", "OUT/S", "ETA", "STATE"),
        );
        sinks.push(String::new());
    }
    let room = view.rows.saturating_sub(lines.len());
    // Streams get at least half of the room.
    cut(&mut sinks, room.div_ceil(2), "sinks");
    let mut streams = stream_lines(view.looks, seen);
    cut(&mut streams, room.saturating_sub(sinks.len()), "streams and shards");
    lines.extend(sinks);
    lines.extend(streams);
    lines.truncate(view.rows);
    lines.iter().map(|line| fit(line, view.columns)).collect()
}

fn head(view: &View<'_>, seen: &Seen) -> Vec<String> {
    let (health, looks) = (&seen.health, view.looks);
    let count = |name: &str| seen.metrics.count(name);
    let up = span(health.uptime_s.saturating_mul(1_000));
    let title = format!("{}  {}  up {up}  headwater {}", health.name, health.state, health.version);
    let title = if view.rows == usize::MAX { title } else { format!("{title}  q quits") };
    let second = match (view.trouble, &health.journal.reason) {
        (Some(trouble), _) => trouble.to_owned(),
        (None, Some(reason)) => format!("journal {}: {reason}", health.journal.state),
        (None, None) => format!(
            "journal {}, {}, written {}/s  memory {}{}",
            health.journal.state,
            bytes(count("headwater_journal_bytes_live")),
            per_second_bytes(
                looks.rate_of(|seen| seen.metrics.count("headwater_journal_bytes_written_total"))
            ),
            bytes(count("process_resident_memory_bytes")),
            health.journal.write_budget.as_ref().and_then(budget).unwrap_or_default(),
        ),
    };
    let flow = &health.ledger;
    let third = format!(
        "devices {} connected, {} known  publishes {}/s, acks {}/s  lost {}, dead {}",
        seen.clients(),
        count("headwater_routes_devices_in_memory"),
        per_second(looks.rate_of(Seen::publishes)),
        per_second(looks.rate_of(|seen| seen.metrics.count("headwater_mqtt_acks_total"))),
        flow.lost_at_devices,
        flow.dead_lettered,
    );
    vec![title, second, third, String::new()]
}

/// How much of the budget of a day was written in the last one, and how long writes wait for its sake.
fn budget(budget: &WriteBudget) -> Option<String> {
    let percent = u128::from(budget.day_bytes) * 100 / u128::from(budget.bytes_a_day?.max(1));
    let linger = if budget.linger_ms > 0 { format!(" +{} ms", budget.linger_ms) } else { String::new() };
    Some(format!("  budget {percent} %{linger}"))
}

fn sink_lines(sink: &Sink) -> Vec<String> {
    let name = fit(&format!("{}: {}", sink.sink, sink.stream), 27);
    let eta = match sink.drained_in_ms {
        _ if sink.waiting == 0 => "-".to_owned(),
        Some(eta_ms) => span(eta_ms),
        None => "never".to_owned(),
    };
    let state = if sink.connected { "connected" } else { "away" };
    let rate = per_second(Some(sink.delivered_per_s));
    let mut lines = vec![format!("{name:<27} {:>12} {rate:>9} {eta:>11}  {state}", sink.waiting)];
    lines.extend(sink.trouble.as_ref().map(|trouble| format!("  {trouble}")));
    lines
}

fn stream_lines(looks: &Looks, seen: &Seen) -> Vec<String> {
    let before = looks.first().map(Seen::streams).unwrap_or_default();
    let mut lines = vec![format!(
        "{:<27} {:>12} {:>9} {:>11} {:>9}",
        "STREAM, SHARDS", "RECORDS", "REC/S", "BYTES/S", "READ/S"
    )];
    for (name, stream) in seen.streams() {
        let earlier = before.get(&name).cloned().unwrap_or_default();
        lines.push(row(looks, &name, &earlier.total, &stream.total));
        for (shard, traffic) in &stream.shards {
            // A shard that was opened meanwhile had nothing before.
            let earlier = earlier.shards.get(shard).copied().unwrap_or_default();
            lines.push(row(looks, &format!("  {shard}"), &earlier, traffic));
        }
    }
    lines
}

fn row(looks: &Looks, name: &str, before: &Traffic, now: &Traffic) -> String {
    let rate = |of: fn(&Traffic) -> u64| looks.rate(of(before), of(now));
    let (records, read) = (rate(|traffic| traffic.records), rate(|traffic| traffic.records_read));
    format!(
        "{:<27} {:>12} {:>9} {:>11} {:>9}",
        fit(name, 27),
        now.records,
        per_second(records),
        per_second_bytes(rate(|traffic| traffic.bytes)),
        per_second(read)
    )
}

/// Leaves `room` lines, the last of which then says how many are missing.
fn cut(lines: &mut Vec<String>, room: usize, what: &str) {
    if lines.len() > room {
        lines.truncate(room.saturating_sub(1));
        if room > 0 {
            lines.push(format!("  ... more {what} in a taller terminal"));
        }
    }
}

fn per_second(rate: Option<f64>) -> String {
    match rate {
        None => "-".to_owned(),
        Some(rate) if rate < 1_000.0 => format!("{rate:.1}"),
        Some(rate) => format!("{rate:.0}"),
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rate for people, never negative"
)]
fn per_second_bytes(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".to_owned(), |rate| bytes(rate.max(0.0) as u64))
}

/// At most `columns` characters, none of which moves the cursor.
fn fit(text: &str, columns: usize) -> String {
    let text = plain(text);
    match text.char_indices().nth(columns) {
        None => text,
        Some(_) => text.chars().take(columns.saturating_sub(1)).chain(['~']).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::status::metrics::Metrics;
    use serde_json::json;
    use std::time::Duration;
    use tokio::time::Instant;

    fn seen(uptime_s: u64, records: u64, shards: u32) -> Seen {
        let flow = json!({
            "received": 1, "stored": 1, "downlink_only": 0, "repeated": 0, "dead_lettered": 4, "unmatched": 0, "ignored": 0,
            "rejected": 0, "records": 1, "lost_at_devices": 3,
        });
        let sink = |name: &str, waiting: u64, trouble: Option<&str>| {
            json!({
                "sink": name, "stream": "telemetry", "target": "t", "connected": trouble.is_none(), "trouble": trouble,
                "stored": 9, "delivered": 9, "waiting": waiting, "dead_lettered": 0, "dropped": {}, "balances": true,
                "delivered_per_s": 512.25, "drained_in_ms": (waiting > 0).then_some(90_000),
            })
        };
        let raw = json!({
            "state": "ok", "journal": { "state": "open", "reason": null }, "name": "barn", "version": "0.1.0",
            "uptime_s": uptime_s, "ledger": flow, "sinks": [sink("cloud", 45_000, None), sink("far", 0, Some("no\x1b[2J route"))],
            "recovery": { "clean": true, "lost_ranges": 0, "groups_lost": 0, "unreadable": [] },
        });
        let mut page =
            "headwater_mqtt_clients_connected_total 20\nheadwater_mqtt_clients_disconnected_total 1\n"
                .to_owned();
        for shard in 0..shards {
            let labels = format!("{{stream=\"telemetry\",shard=\"shardId-{shard:012}\"}}");
            page += &format!("kinesis_shard_incoming_records_total{labels} {records}\n");
            page += &format!("kinesis_shard_incoming_bytes_total{labels} {}\n", records * 512);
        }
        for (name, each) in [("records", records), ("bytes", records * 512)] {
            let total = each * u64::from(shards);
            page += &format!("kinesis_incoming_{name}_total{{stream=\"telemetry\"}} {total}\n");
        }
        let health = serde::Deserialize::deserialize(&raw).unwrap();
        let metrics = Metrics::parse(&page);
        Seen { health, shards: metrics.clone(), metrics, raw }
    }

    fn looks(looked: impl IntoIterator<Item = Seen>) -> Looks {
        let (mut looks, start) = (Looks::default(), Instant::now());
        for (second, seen) in looked.into_iter().enumerate() {
            looks.add(start + Duration::from_secs(second as u64), seen);
        }
        looks
    }

    #[test]
    fn two_looks_give_rates_of_streams_and_shards_and_the_way_of_sinks() {
        let looks = looks([seen(10, 100, 2), seen(12, 140, 2)]);
        let view = View { looks: &looks, trouble: None, columns: 80, rows: 24 };
        let lines = draw(&view);
        let expected = [
            "barn  ok  up 12 s  headwater 0.1.0  q quits",
            "journal open, 0 B, written 0 B/s  memory 0 B",
            "devices 19 connected, 0 known  publishes 0.0/s, acks 0.0/s  lost 3, dead 4",
            "",
            "SINK: STREAM                     BACKLOG     OUT/S         ETA  STATE",
            "cloud: telemetry                   45000     512.2       1 min  connected",
            "far: telemetry                         0     512.2           -  away",
            "  no\\u{1b}[2J route",
            "",
            "STREAM, SHARDS                   RECORDS     REC/S     BYTES/S    READ/S",
            "telemetry                            280      80.0    40.0 KiB       0.0",
            "  shardId-000000000000               140      40.0    20.0 KiB       0.0",
            "  shardId-000000000001               140      40.0    20.0 KiB       0.0",
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_was_written_of_the_budget_is_on_the_line_of_the_disk() {
        let mut seen = seen(10, 100, 1);
        seen.health.journal.write_budget = Some(WriteBudget {
            bytes_a_day: Some(300_000_000),
            day_bytes: 240_000_000,
            linger_ms: 350,
            ..WriteBudget::default()
        });
        let lines = draw(&View { looks: &looks([seen]), trouble: None, columns: 80, rows: 24 });
        assert!(lines[1].ends_with("memory 0 B  budget 80 % +350 ms"), "{}", lines[1]);
    }

    #[test]
    fn nothing_is_wider_or_longer_than_the_terminal_and_what_is_missing_is_said() {
        let looks = looks([seen(10, 100, 500)]);
        for (columns, rows) in [(80, 24), (40, 10), (20, 5), (1, 1), (300, 4), (80, 0)] {
            let lines = draw(&View { looks: &looks, trouble: Some("gone\nnow"), columns, rows });
            assert!(
                lines.len() <= rows && lines.iter().all(|line| line.chars().count() <= columns),
                "{lines:?}"
            );
            if rows == 24 {
                assert_eq!(lines.len(), 24);
                assert_eq!(lines[1], "gone\\nnow");
                assert_eq!(lines[23], "  ... more streams and shards in a taller terminal");
            }
        }
    }

    #[test]
    fn a_gateway_that_was_started_anew_has_no_rates_until_the_second_look() {
        let mut looks = looks([seen(10, 100, 1), seen(11, 200, 1)]);
        assert_eq!(looks.rate_of(|_| 0), Some(0.0));
        looks.add(Instant::now() + Duration::from_secs(9), seen(1, 5, 1));
        assert_eq!(looks.rate_of(|_| 0), None);
    }
}
