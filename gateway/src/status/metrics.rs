//! `/metrics`: every counter in the text format of Prometheus.

use super::Status;
use headwater_engine::storage::LogState;
use std::fmt::{Display, Write as _};

/// Topics without a route that are shown by name. Each is a time series at whoever scrapes; `/health` has them all.
const TOPICS_SHOWN: usize = 20;

/// Counters that go up and down.
const LEVELS: [&str; 4] = ["segments_live", "segments_pooled", "bytes_live", "lost_ranges"];

/// All metrics.
pub(super) fn render(status: &Status) -> String {
    let mut out = Text(String::with_capacity(16 * 1024));
    out.metric("headwater_up_seconds", "gauge", "Time since the start.", status.started.elapsed().as_secs());
    if let Some(bytes) = resident_bytes() {
        out.metric("process_resident_memory_bytes", "gauge", "Resident memory.", bytes);
    }
    status.reloads.render(&mut out);
    mqtt(&mut out, status);
    routes(&mut out, status);
    engine(&mut out, status);
    let ledger = status.ledger();
    super::streams::render(&mut out, &ledger);
    super::sinks::render(&mut out, &ledger.carried);
    super::kinesis::render(&mut out, &status.engine().metrics());
    out.0
}

/// Kinesis' metrics with every open shard one by one, monitored or not: for `headwater top`, which looks for a while.
pub(super) fn shards(status: &Status) -> String {
    let mut out = Text(String::with_capacity(16 * 1024));
    super::kinesis::render(&mut out, &status.engine().metrics_of_open_shards());
    out.0
}

fn mqtt(out: &mut Text, status: &Status) {
    let mqtt = status.mqtt.snapshot();
    for (name, value) in mqtt.named() {
        out.metric(&format!("headwater_mqtt_{name}_total"), "counter", "", value);
    }
    out.head("headwater_mqtt_refused_total", "counter", "Refused connections and packets by reason.");
    for (reason, count) in &mqtt.refused {
        out.labelled("headwater_mqtt_refused_total", &[("reason", &reason.to_string())], count);
    }
}

fn routes(out: &mut Text, status: &Status) {
    for (name, value) in status.router.counters().named() {
        out.metric(&format!("headwater_routes_{name}_total"), "counter", "", value);
    }
    let devices = status.router.devices_in_memory();
    out.metric("headwater_routes_devices_in_memory", "gauge", "Devices whose marks are in memory.", devices);
    let (topics, others) = status.router.unmatched();
    let name = "headwater_routes_unmatched_topic_total";
    out.head(name, "counter", "Publishes without a route, by topic; an empty topic is all others.");
    let (shown, rest) = topics.split_at(topics.len().min(TOPICS_SHOWN));
    for (topic, count) in shown {
        out.labelled(name, &[("topic", topic)], count);
    }
    let others = others + rest.iter().map(|(_, count)| count).sum::<u64>();
    if others > 0 {
        out.labelled(name, &[("topic", "")], others);
    }
}

fn engine(out: &mut Text, status: &Status) {
    let state = match status.engine().state() {
        LogState::Open => "open",
        LogState::Full => "full",
        LogState::Failed { .. } => "failed",
    };
    out.head("headwater_journal_state", "gauge", "1 for the state the journal is in.");
    for known in ["open", "full", "failed"] {
        out.labelled("headwater_journal_state", &[("state", known)], u8::from(known == state));
    }
    let engine = status.engine().counters();
    for (name, value) in [
        ("records_put", engine.records_put),
        ("bytes_put", engine.bytes_put),
        ("records_refused", engine.records_refused),
        ("records_read", engine.records_read),
        ("bytes_read", engine.bytes_read),
        ("lost_ranges_read", engine.lost_ranges_read),
        ("connections", engine.connections),
    ] {
        out.metric(&format!("headwater_engine_{name}_total"), "counter", "", value);
    }
    out.metric("headwater_engine_streams", "gauge", "Streams there are.", engine.streams);
    out.metric("headwater_engine_open_shards", "gauge", "Open shards there are.", engine.open_shards);
    let queues = status.engine().queue_counters();
    out.metric("headwater_engine_queues", "gauge", "Queues there are.", queues.queues);
    let help = "Records that left their queue unacknowledged, because the stream no longer has them.";
    out.metric("headwater_engine_queue_records_expired_total", "counter", help, queues.records_expired);
    let help = "Records that became dead letters.";
    out.metric("headwater_engine_queue_records_dead_total", "counter", help, queues.records_dead);
    let name = "headwater_engine_calls_total";
    out.head(name, "counter", "Calls of the Kinesis API by operation and outcome.");
    for tally in engine.operations.iter().filter(|tally| tally.calls > 0) {
        let failed = tally.client_errors + tally.server_errors;
        for (outcome, count) in [
            ("ok", tally.calls.saturating_sub(failed)),
            ("client_error", tally.client_errors),
            ("server_error", tally.server_errors),
        ] {
            out.labelled(name, &[("operation", tally.operation), ("outcome", outcome)], count);
        }
    }
    super::unread::Unread::of(status).render(out);
    if let Some(budget) = status.engine().write_budget() {
        super::budget::render(out, &budget);
    }
    if let Some(journal) = engine.journal {
        for (name, value) in journal_counters(&journal) {
            match LEVELS.contains(&name) {
                true => out.metric(&format!("headwater_journal_{name}"), "gauge", "", value),
                false => out.metric(&format!("headwater_journal_{name}_total"), "counter", "", value),
            }
        }
    }
}

fn journal_counters(journal: &headwater_journal::Counters) -> [(&'static str, u64); 15] {
    [
        ("bytes_received", journal.bytes_received),
        ("bytes_written", journal.bytes_written),
        ("bytes_zeroed", journal.bytes_zeroed),
        ("flushes", journal.flushes),
        ("device_writes", journal.device_writes),
        ("groups", journal.groups),
        ("records", journal.records),
        ("refused_full", journal.refused_full),
        ("refused_busy", journal.refused_busy),
        ("late_segments", journal.late_segments),
        ("bytes_copied", journal.bytes_copied),
        ("segments_live", journal.segments_live),
        ("segments_pooled", journal.segments_pooled),
        ("bytes_live", journal.bytes_live),
        ("lost_ranges", journal.lost_ranges),
    ]
}

/// Resident memory of this process, where the system tells it in `/proc` (Linux).
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

/// A page of metrics.
pub(super) struct Text(String);

const NEVER: &str = "a String takes everything";

impl Text {
    pub(super) fn metric(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        writeln!(self.0, "{name} {value}").expect(NEVER);
    }

    pub(super) fn head(&mut self, name: &str, kind: &str, help: &str) {
        if !help.is_empty() {
            writeln!(self.0, "# HELP {name} {help}").expect(NEVER);
        }
        writeln!(self.0, "# TYPE {name} {kind}").expect(NEVER);
    }

    pub(super) fn labelled(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (n, (label, text)) in labels.iter().enumerate() {
            let escaped = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            write!(self.0, "{}{label}=\"{escaped}\"", if n == 0 { '{' } else { ',' }).expect(NEVER);
        }
        writeln!(self.0, "}} {value}").expect(NEVER);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut out = Text(String::new());
        out.labelled("a_total", &[("topic", "a\"b\\c\nd"), ("x", "y")], 3);
        assert_eq!(out.0, "a_total{topic=\"a\\\"b\\\\c\\nd\",x=\"y\"} 3\n");
    }

    #[test]
    fn resident_memory_is_known_on_linux() {
        assert!(resident_bytes().is_some_and(|bytes| bytes > 100_000));
    }
}
