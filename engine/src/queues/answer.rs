//! What queue operations have in common: finding the queue, verdicts entry by entry, descriptions.
//!
//! In: checked fields. Out: answers. Not here: steps on queues (queue, control).

use super::control::is_heard;
use super::core::{Receipt, Refusal, Side, Verdict};
use super::definition::{QueueDefinition, QueueStatus, Start};
use super::handle::open_receipt;
use super::queue::Queue;
use super::refusal;
use crate::api::{ApiError, Call, Fields, Reply, Writer};
use crate::engine::Engine;
use serde_json::Value;
use std::sync::Arc;

/// The queue a request is about.
///
/// # Errors
/// `ResourceNotFoundException`.
pub(crate) fn target(engine: &Engine, fields: &Fields) -> Result<Arc<Queue>, ApiError> {
    super::find(engine, fields.text("QueueARN").unwrap_or_default())
}

/// One entry of a request and its outcome.
struct Judged<'a> {
    handle: &'a str,
    outcome: Result<(), (&'static str, &'static str)>,
}

/// Takes a verdict on every entry of a request, in one step, and answers for each when all of them are durable.
///
/// # Errors
/// `ResourceNotFoundException`, and failures of the log.
pub(crate) async fn judge(
    engine: &Engine,
    call: &Call,
    fields: &Fields,
    side: Side,
    verdict: impl Fn(&Value) -> Verdict,
) -> Result<Reply, ApiError> {
    let queue = target(engine, fields)?;
    if queue.is_gone() {
        return Err(super::not_found(&queue));
    }
    let entries = fields.list("Entries");
    let handle = |entry: &'_ Value| entry.get("ReceiptHandle").and_then(Value::as_str).map(str::to_owned);
    let handles: Vec<String> = entries.iter().map(|entry| handle(entry).unwrap_or_default()).collect();
    let receipts: Vec<Option<Receipt>> = handles
        .iter()
        .map(|handle| open_receipt(queue.number, handle).filter(|receipt| receipt.side == side))
        .collect();
    let verdicts: Vec<Verdict> = entries.iter().map(verdict).collect();
    let stepped = queue.step(engine, |state, now_ms| {
        let was_full = state.core.is_full();
        let judge = |(receipt, verdict): (&Option<Receipt>, &Verdict)| {
            receipt.as_ref().map(|receipt| state.core.judge(now_ms, receipt, *verdict))
        };
        let outcomes: Vec<_> = receipts.iter().zip(&verdicts).map(judge).collect();
        (outcomes, was_full)
    });
    let ((outcomes, was_full), durable) = stepped.await.map_err(refusal)?;
    if was_full || verdicts.iter().any(|verdict| is_heard(*verdict)) {
        queue.wake();
    }
    durable.await?;
    let judged =
        handles.iter().zip(outcomes).map(|(handle, outcome)| Judged { handle, outcome: worded(outcome) });
    Ok(Reply::written(write_judged(call, &judged.collect::<Vec<_>>())))
}

fn worded(outcome: Option<Result<(), Refusal>>) -> Result<(), (&'static str, &'static str)> {
    match outcome {
        Some(Ok(())) => Ok(()),
        None => {
            Err(("InvalidArgumentException", "The receipt handle is not valid for this queue and operation."))
        }
        Some(Err(Refusal::Stale)) => Err((
            "ResourceNotFoundException",
            "The receipt handle is no longer valid: the record was received again or changed since.",
        )),
        Some(Err(Refusal::Gone)) => Err((
            "ResourceNotFoundException",
            "The record was acknowledged or is past the stream's retention period.",
        )),
    }
}

fn write_judged(call: &Call, judged: &[Judged<'_>]) -> Writer {
    let mut answer = call.writer();
    answer.open_object();
    answer.key("Successful").open_array();
    for entry in judged.iter().filter(|entry| entry.outcome.is_ok()) {
        answer.open_object();
        answer.key("ReceiptHandle").text(entry.handle);
        answer.close_object();
    }
    answer.close_array();
    answer.key("Failed").open_array();
    for entry in judged {
        let Err((code, message)) = entry.outcome else { continue };
        answer.open_object();
        answer.key("ReceiptHandle").text(entry.handle);
        answer.key("ErrorCode").text(code);
        answer.key("ErrorMessage").text(message);
        answer.close_object();
    }
    answer.close_array();
    answer.close_object();
    answer
}

/// Writes `{"QueueDescription": …}`, with the state `status` or the one the queue is in.
pub(crate) fn write_description(
    engine: &Engine,
    call: &Call,
    queue: &Queue,
    status: Option<QueueStatus>,
) -> Writer {
    let now_ms = engine.steady_ms();
    let definition = queue.definition();
    let status = status.unwrap_or_else(|| definition.status(now_ms));
    let mut answer = call.writer();
    answer.open_object();
    answer.key("QueueDescription").open_object();
    answer.key("QueueName").text(&definition.name);
    answer.key("QueueARN").text(&queue.arn);
    answer.key("QueueStatus").text(status.as_str());
    answer.key("QueueCreationTimestamp").time(definition.created_ms);
    answer.key("StreamConfigurationList").open_array();
    answer.open_object();
    answer.key("StreamARN").text(&definition.stream_arn(&engine.0.region, &engine.0.account));
    answer.key("StartingPosition").open_object();
    answer.key("Type").text(definition.start.as_str());
    if let Some(time_ms) = effective_start(engine, queue, &definition, status) {
        answer.key("Timestamp").time(time_ms);
    }
    answer.close_object();
    answer.close_object();
    answer.close_array();
    answer.key("QueueAttributes").open_object();
    answer.key("VisibilityTimeoutSeconds").integer(definition.visibility_seconds);
    answer.key("DeadLetterConfiguration").open_object();
    match definition.receives_max {
        Some(receives_max) => {
            answer.key("TargetType").text("BUILT_IN");
            answer.key("MaxReceiveCount").integer(receives_max);
        }
        None => answer.key("TargetType").text("NONE"),
    }
    answer.close_object();
    answer.close_object();
    answer.close_object();
    answer.close_object();
    answer
}

/// The time from which records are delivered, as far as it is known.
fn effective_start(
    engine: &Engine,
    queue: &Queue,
    definition: &QueueDefinition,
    status: QueueStatus,
) -> Option<u64> {
    if status == QueueStatus::Creating {
        return match definition.start {
            Start::AtTimestamp(time_ms) => Some(time_ms),
            Start::Latest | Start::TrimHorizon => None,
        };
    }
    let stream = queue.stream(engine);
    let retention_ms = stream.as_ref().map_or(0, |stream| stream.state().definition.retention_ms());
    // At the queue's creation for the horizon: later the stream's oldest records are no longer where delivery began.
    let readable_ms = |at_ms: u64| at_ms.saturating_sub(retention_ms).max(definition.stream_created_ms);
    Some(match definition.start {
        Start::Latest => definition.created_ms,
        Start::TrimHorizon => readable_ms(definition.created_ms),
        // What had expired before the retention grew stays expired.
        Start::AtTimestamp(time_ms) => {
            let horizon_ms = stream.map_or(0, |stream| engine.horizon_ms(&stream.state().definition));
            time_ms.max(horizon_ms).max(definition.stream_created_ms)
        }
    })
}
