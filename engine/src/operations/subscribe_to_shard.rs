//! SubscribeToShard: records pushed as soon as they are durable.
//!
//! Where AWS is silent:
//! - The first event comes 20 ms after the answer, empty when there is nothing to give, so that a client knows where to go
//!   on from before the first record; idle subscriptions get an event every five seconds. An event has at most 1 MiB of
//!   keys and data, or one record.
//! - The continuation number lies between the last record given and the next, so that `AT_SEQUENCE_NUMBER` and
//!   `AFTER_SEQUENCE_NUMBER` mean the same there.
//! - The five seconds between two calls run from the last successful one, also when its subscription has ended.
//! - A subscription that was taken over ends with `ResourceInUseException`; one whose consumer or stream is gone with
//!   `ResourceNotFoundException`; one that is over, and all when the server stops, without an exception.
//! - A client that takes nothing for 30 s loses its connection.

use super::describe_stream_consumer::by_arn;
use super::get_shard_iterator::{Start, cursor, locate, shard_of};
use super::{Outcome, dry_run};
use crate::api::fields::time_ms;
use crate::api::{ApiError, Call, ErrorType, Fields, Reply, model};
use crate::consumers::{self, Asked, Consumer};
use crate::engine::Engine;
use crate::storage::ShardKey;
use crate::stream::StreamHandle;
use serde_json::Value;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::SUBSCRIBE_TO_SHARD)?;
    let (stream, consumer) = by_arn(engine, fields.text("ConsumerARN").unwrap_or_default())?;
    let now_ms = engine.0.clock.now_ms();
    active(engine, &stream, &consumer)?;
    super::usable(engine, &stream)?;
    let shard = shard_of(engine, &stream, fields.text("ShardId").unwrap_or_default())?;
    let position = fields.map("StartingPosition");
    let member = |name: &str| position.and_then(|position| position.get(name));
    let start = Start {
        kind: member("Type").and_then(Value::as_str).unwrap_or_default(),
        number: member("SequenceNumber").and_then(Value::as_str),
        time_ms: member("Timestamp").and_then(time_ms),
    };
    let cursor = cursor(engine, &stream, shard, start, now_ms)?;
    let shard = ShardKey { stream: stream.number(), shard };
    if fields.is_true("DryRun") {
        consumers::check_free(engine, &stream, shard, &consumer)?;
        return Err(dry_run());
    }
    let from = locate(engine, shard, cursor).await?;
    let asked = Asked { stream, shard, consumer, from, format: call.format };
    Ok(Reply::events(consumers::subscribe(engine, asked)?))
}

fn active(engine: &Engine, stream: &StreamHandle, consumer: &Consumer) -> Result<(), ApiError> {
    if consumer.status(engine.steady_ms()) == "ACTIVE" {
        return Ok(());
    }
    // The blanks are AWS's.
    let message = format!(
        "Consumer {} with creation timestamp {} under stream: {} , account {} is not in ACTIVE status.",
        consumer.name,
        consumer.created_ms / 1_000,
        stream.name(),
        engine.0.account
    );
    Err(ApiError::new(ErrorType::ResourceInUse, message))
}
