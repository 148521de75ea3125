//! UpdateQueueRecordsVisibility: how long received records stay invisible from now on.

use super::Outcome;
use crate::api::check::whole;
use crate::api::{Call, Fields, model};
use crate::engine::Engine;
use crate::queues::{self, Side, Verdict};
use serde_json::Value;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::UPDATE_QUEUE_RECORDS_VISIBILITY)?;
    queues::judge(engine, &call, &fields, Side::Live, hide).await
}

/// The verdict of one entry; its seconds are within the model's limits.
pub(super) fn hide(entry: &Value) -> Verdict {
    let seconds = entry.get("VisibilityTimeoutSeconds").and_then(Value::as_number).map_or(0, whole);
    Verdict::Hide(u64::try_from(seconds).unwrap_or(0) * 1_000)
}
