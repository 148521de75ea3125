//! What the sinks are doing: metrics for Prometheus, JSON for `/health`.

use super::metrics::Text;
use crate::forward::Carried;
use serde_json::{Value, json};

/// The metrics of every stream of every sink.
pub(super) fn render(out: &mut Text, carried: &[Carried]) {
    if carried.is_empty() {
        return;
    }
    let name = "headwater_sink_records_total";
    out.head(name, "counter", "Records since the sink began with the stream, over restarts: all that were stored, and what became of them.");
    for one in carried {
        let ledger = &one.ledger;
        for (outcome, count) in [
            ("stored", ledger.stored),
            ("delivered", ledger.delivered),
            ("dead_lettered", ledger.dead_lettered),
        ] {
            out.labelled(name, &[("sink", &one.sink), ("stream", &one.stream), ("outcome", outcome)], count);
        }
        for (reason, count) in one.dropped() {
            let outcome = format!("dropped_{reason}");
            out.labelled(name, &[("sink", &one.sink), ("stream", &one.stream), ("outcome", &outcome)], count);
        }
    }
    type Get = fn(&Carried) -> u64;
    let rows: [(&str, &str, &str, Get); 9] = [
        ("waiting_records", "gauge", "Records that still have to be delivered.", |one| one.waiting),
        ("held_bytes", "gauge", "Bytes of records in memory.", |one| one.held.1),
        ("connected", "gauge", "1 while the target answers.", |one| u64::from(one.is_connected)),
        ("calls_total", "counter", "Calls with records that were made.", |one| one.calls),
        ("calls_failed_total", "counter", "Calls with records that failed as a whole.", |one| {
            one.calls_failed
        }),
        ("looks_failed_total", "counter", "Questions about the target and its shards that failed.", |one| {
            one.looks_failed
        }),
        ("records_retried_total", "counter", "Records that were refused in a call and sent again.", |one| {
            one.records_retried
        }),
        ("bytes_sent_total", "counter", "Bytes of keys and data in calls.", |one| one.bytes_sent),
        ("delivered_bytes_total", "counter", "Bytes of keys and data delivered.", |one| {
            one.ledger.delivered_bytes
        }),
    ];
    for (name, kind, help, get) in rows {
        let name = format!("headwater_sink_{name}");
        out.head(&name, kind, help);
        for one in carried {
            out.labelled(&name, &[("sink", &one.sink), ("stream", &one.stream)], get(one));
        }
    }
    let name = "headwater_sink_before_records";
    out.head(
        name,
        "gauge",
        "Records of the stream from before the sink began with it; absent until it has looked at its shards.",
    );
    for one in carried {
        if let Some(before) = one.before {
            out.labelled(name, &[("sink", &one.sink), ("stream", &one.stream)], before);
        }
    }
    let name = "headwater_sink_drained_in_seconds";
    out.head(
        name,
        "gauge",
        "When nothing will be waiting at the rate of the last 15 s; absent when that is never.",
    );
    for one in carried {
        if let Some(eta_ms) = one.eta_ms {
            out.labelled(name, &[("sink", &one.sink), ("stream", &one.stream)], eta_ms.div_ceil(1_000));
        }
    }
}

/// The same for people.
pub(super) fn json(carried: &[Carried]) -> Value {
    let one = |one: &Carried| {
        let dropped: serde_json::Map<String, Value> =
            one.dropped().map(|(reason, count)| (reason.to_owned(), count.into())).collect();
        json!({
            "sink": one.sink, "stream": one.stream, "target": one.target,
            "connected": one.is_connected, "trouble": one.trouble,
            "stored": one.ledger.stored, "delivered": one.ledger.delivered, "waiting": one.waiting,
            "dead_lettered": one.ledger.dead_lettered, "dropped": dropped, "before": one.before,
            "balances": one.balances(),
            "delivered_per_s": one.delivered_per_s, "drained_in_ms": one.eta_ms,
            "clock_behind_ms": one.clock_behind_ms,
        })
    };
    carried.iter().map(one).collect()
}
