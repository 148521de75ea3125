//! The ledger: metrics for Prometheus and JSON for `/health` of what came in and what became of it, over restarts.

use super::metrics::Text;
use crate::books::StreamRow;
use crate::gateway::Ledger;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// Streams that `/metrics` shows by name, in their order; others are added up under an empty name. Each is a dozen time series at
/// whoever scrapes; `/health` has them all.
const STREAMS_SHOWN: usize = 200;

/// The ledger's metrics.
pub(super) fn render(out: &mut Text, ledger: &Ledger) {
    let name = "headwater_ledger_publishes_total";
    out.head(
        name,
        "counter",
        "Publishes since the beginning, over restarts: received, and what became of them.",
    );
    let routes = &ledger.routes;
    for (outcome, count) in [
        ("received", routes.received),
        ("stored", routes.stored),
        ("downlink_only", routes.downlink_only),
        ("repeated", routes.repeated),
        ("dead_lettered", routes.dead_lettered),
        ("unmatched", routes.unmatched),
        ("ignored", routes.ignored),
        ("rejected", routes.rejected),
        ("acknowledged", ledger.publishes.acks),
        ("qos0_dropped_full", ledger.publishes.dropped_full),
        ("qos2_repeated", ledger.publishes.repeats_qos2),
    ] {
        out.labelled(name, &[("outcome", outcome)], count);
    }
    let name = "headwater_ledger_records";
    out.head(name, "gauge", "Records of a stream since it was created, over restarts: received = stored + in_flight + torn; expired and damaged are of stored.");
    let mut others: BTreeMap<&str, u64> = BTreeMap::new();
    for (place, row) in ledger.streams.iter().enumerate() {
        for (outcome, count) in row.named() {
            if place < STREAMS_SHOWN {
                out.labelled(name, &[("stream", &row.stream), ("outcome", outcome)], count);
            } else {
                *others.entry(outcome).or_default() += count;
            }
        }
    }
    for (outcome, count) in others {
        out.labelled(name, &[("stream", ""), ("outcome", outcome)], count);
    }
    let help = "1 while every record of every stream is somewhere.";
    out.metric("headwater_ledger_balances", "gauge", help, u8::from(ledger.balances()));
}

/// The same for people.
pub(super) fn json(rows: &[StreamRow]) -> Value {
    let one = |row: &StreamRow| {
        let mut members = Map::new();
        members.insert("stream".to_owned(), json!(row.stream));
        members.extend(row.named().map(|(name, count)| (name.to_owned(), json!(count))));
        members.insert("balances".to_owned(), json!(row.balances()));
        Value::Object(members)
    };
    rows.iter().map(one).collect()
}
