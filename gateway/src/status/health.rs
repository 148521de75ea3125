//! `/health`: is it well, as JSON for machines that people read too.

use super::Status;
use super::unread::Unread;
use headwater_engine::ClockState;
use headwater_engine::storage::LogState;
use serde_json::json;
use std::sync::atomic::Ordering::Relaxed;

/// `jumped_by_ms` is absent when no jump matters any more to what can be read; `held_ms` says for how long it still does.
fn clock(state: &ClockState) -> serde_json::Value {
    json!({
        "certain": state.is_certain,
        "jumped_by_ms": state.jumped_by_ms,
        "jumped_ago_ms": state.jumped_by_ms.map(|_| state.jumped_ago_ms),
        "held_ms": state.held_ms,
    })
}

/// How the gateway is, what of its journal, and why.
pub(super) fn state(status: &Status, unread: &Unread) -> (&'static str, &'static str, Option<String>) {
    match status.engine().state() {
        _ if status.stopping.load(Relaxed) => ("stopping", "open", None),
        // It takes publishes: what it cannot do is read all that it has.
        LogState::Open if unread.count > 0 => ("degraded", "open", unread.warning()),
        LogState::Open => ("ok", "open", None),
        LogState::Full => ("full", "full", Some("the disk is full down to its reserve".to_owned())),
        LogState::Failed { reason } => ("failed", "failed", Some(reason)),
    }
}

/// Whether the gateway takes publishes, and why or why not. It does while it is degraded.
pub(super) fn report(status: &Status) -> (bool, String) {
    let unread = Unread::of(status);
    let (state, journal, reason) = state(status, &unread);
    let recovery = &status.recovery;
    let ledger = status.ledger();
    let routes = ledger.routes;
    let (topics, others) = status.router.unmatched();
    let unmatched: Vec<_> =
        topics.iter().map(|(topic, count)| json!({ "topic": topic, "count": count })).collect();
    let body = json!({
        "state": state,
        "journal": {
            "state": journal,
            "reason": reason,
            "unread": unread.json(status),
            "write_budget": status.engine().write_budget().as_ref().map(super::budget::json),
        },
        "name": status.name,
        "version": env!("CARGO_PKG_VERSION"),
        "uptime_s": status.started.elapsed().as_secs(),
        "configuration": status.reloads.json(),
        "clock": clock(&status.engine().clock_state()),
        "recovery": {
            "clean": recovery.is_clean(),
            "segments": recovery.segments,
            "torn_bytes": recovery.torn_bytes,
            "lost_ranges": recovery.lost.len(),
            "groups_lost": recovery.groups_lost,
            "metadata_lost": recovery.metadata_lost,
            "unreadable": recovery.unreadable,
        },
        "ledger": {
            "received": routes.received,
            "stored": routes.stored,
            "downlink_only": routes.downlink_only,
            "repeated": routes.repeated,
            "dead_lettered": routes.dead_lettered,
            "unmatched": routes.unmatched,
            "ignored": routes.ignored,
            "rejected": routes.rejected,
            "records": routes.records,
            "lost_at_devices": routes.lost_at_devices,
            "acknowledged": ledger.publishes.acks,
            "qos0_dropped_full": ledger.publishes.dropped_full,
            "balances": ledger.balances(),
        },
        "streams": super::streams::json(&ledger.streams),
        "sinks": super::sinks::json(&ledger.carried),
        "unmatched": { "topics": unmatched, "other_topics": others },
    });
    (matches!(state, "ok" | "degraded"), format!("{body:#}\n"))
}
