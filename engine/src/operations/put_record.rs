//! PutRecord: one record, answered when it is durable.

use super::Outcome;
use super::put_records::{Prepared, Sealing, prepare};
use crate::api::put::PutRequest;
use crate::api::{ApiError, Call, Fields, Reply, model};
use crate::counters::Tally;
use crate::engine::Engine;
use crate::limits;
use crate::names::{ShardId, StreamName};
use crate::sequence::SequenceNumber;
use crate::storage::{AppendError, Cursor, ShardKey};
use crate::stream::StreamHandle;
use crate::throttle::shard_exceeded;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    if let Some(request) = PutRequest::scan_one(&call)
        && let Ok(prepared) = prepare(engine, &request)
    {
        return put(engine, &call, &request, prepared).await;
    }
    let fields = Fields::read(&call, model::PUT_RECORD)?;
    let request = PutRequest::one(&fields);
    let prepared = prepare(engine, &request)?;
    put(engine, &call, &request, prepared).await
}

async fn put(engine: &Engine, call: &Call, request: &PutRequest<'_>, prepared: Prepared) -> Outcome {
    let meter = engine.0.meters.of(prepared.stream.number());
    let (started_ms, bytes) = (engine.0.clock.now_ms(), prepared.batch.set().record_bytes());
    let outcome = put_measured(engine, call, request, prepared).await;
    if outcome.is_ok() {
        meter.record_put(bytes);
    }
    meter.put_record.ended(engine.0.clock.now_ms().saturating_sub(started_ms), outcome.is_ok());
    outcome
}

async fn put_measured(engine: &Engine, call: &Call, request: &PutRequest<'_>, prepared: Prepared) -> Outcome {
    if let Some(after) = request.after {
        check_after(engine, &prepared.stream, after).await?;
    }
    check_rate(engine, &prepared)?;
    let mut sealing = Sealing::before(engine, &prepared.stream);
    let staged = engine.append_within(&prepared.batch, limits::BUSY_WAIT).await;
    sealing.after(engine, &prepared.stream);
    let commit = staged.inspect_err(|error| {
        Tally::add(&engine.0.tally.records_refused, 1);
        if *error == AppendError::Busy {
            engine.0.meters.of(prepared.stream.number()).beyond_rate(prepared.batch.set(), |_| true);
        }
    });
    let mut commit = commit.map_err(|error| append_error(engine, error))?;
    (&mut commit).await?;
    let mut answer = call.writer().with_capacity(160);
    answer.open_object();
    if let Some((shard, number)) = commit.placed().next() {
        answer.key("SequenceNumber").text(&number.to_string());
        answer.key("ShardId").text(&shard.to_string());
    }
    sealing.write(&mut answer);
    answer.close_object();
    Ok(Reply::written(answer))
}

fn append_error(engine: &Engine, error: AppendError) -> ApiError {
    match error {
        AppendError::NoKey(shard) => engine.0.keys.refusal(shard.stream, None).into(),
        error => error.into(),
    }
}

/// The rate of the record's shard.
fn check_rate(engine: &Engine, prepared: &Prepared) -> Result<(), ApiError> {
    let Some(throttle) = &engine.0.throttle else { return Ok(()) };
    let set = prepared.batch.set();
    if throttle.put(prepared.stream.number(), set, engine.0.clock.now_ms()).is_none() {
        return Ok(());
    }
    Tally::add(&engine.0.tally.records_refused, 1);
    engine.0.meters.of(prepared.stream.number()).beyond_rate(set, |_| true);
    let shard = set.shards().first().map_or(ShardId(0), |(key, _)| key.shard);
    Err(shard_exceeded(engine, prepared.stream.name(), shard))
}

/// `SequenceNumberForOrdering`: the new record must sort after this one, which every new record of a shard does when the
/// number is one the stream has given.
async fn check_after(engine: &Engine, stream: &StreamHandle, text: &str) -> Result<(), ApiError> {
    let Ok(number) = SequenceNumber::parse(text) else { return Err(invalid(engine, stream.name(), text)) };
    if number.stream != stream.number() || stream.state().shards.get(number.shard).is_none() {
        return Err(invalid(engine, stream.name(), text));
    }
    let shard = ShardKey { stream: number.stream, shard: number.shard };
    let end = engine.0.log.locate(shard, Cursor::Latest).await?;
    if number.position >= end {
        return Err(invalid(engine, stream.name(), text));
    }
    Ok(())
}

fn invalid(engine: &Engine, stream: &StreamName, number: &str) -> ApiError {
    let account = &engine.0.account;
    ApiError::invalid(format!(
        "ExclusiveMinimumSequenceNumber {number} used in PutRecord on stream {stream} under account {account} is invalid."
    ))
}
