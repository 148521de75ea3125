//! GetShardIterator: a position in a shard, to read from within five minutes.

use super::{Outcome, dry_run, open};
use crate::api::address::StreamAddress;
use crate::api::token::{Kind, Token};
use crate::api::{ApiError, Call, ErrorType, Fields, Reply, model};
use crate::engine::Engine;
use crate::names::ShardId;
use crate::sequence::SequenceNumber;
use crate::storage::{Cursor, Position, ShardKey};
use crate::stream::StreamHandle;
use crate::throttle::shard_exceeded;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::GET_SHARD_ITERATOR)?;
    let stream = StreamAddress::of(&fields).find(engine)?;
    open(engine, &stream)?;
    let shard = shard_of(engine, &stream, fields.text("ShardId").unwrap_or_default())?;
    let now_ms = engine.0.clock.now_ms();
    let start = Start {
        kind: fields.text("ShardIteratorType").unwrap_or_default(),
        number: fields.text("StartingSequenceNumber"),
        time_ms: fields.time_ms("Timestamp"),
    };
    let cursor = cursor(engine, &stream, shard, start, now_ms)?;
    if fields.is_true("DryRun") {
        return Err(dry_run());
    }
    let key = ShardKey { stream: stream.number(), shard };
    if engine.0.throttle.as_ref().is_some_and(|throttle| !throttle.iterator(key.stream, shard, now_ms)) {
        return Err(shard_exceeded(engine, stream.name(), shard));
    }
    let position = locate(engine, key, cursor).await?;
    let token = Token { issued_ms: now_ms, shard: key, position, name: stream.name().clone() };
    let mut answer = call.writer();
    answer.open_object();
    answer.key("ShardIterator").text(&token.seal(Kind::ShardIterator));
    answer.close_object();
    Ok(Reply::written(answer))
}

/// A sequence number names a position before anything is read: what is trimmed is skipped by the read. Finding a time may
/// need a key, and what this operation can answer then is that access is denied.
pub(super) async fn locate(engine: &Engine, shard: ShardKey, cursor: Cursor) -> Result<Position, ApiError> {
    match cursor {
        Cursor::At(position) => Ok(position),
        cursor => Ok(engine.0.log.locate(shard, cursor).await?),
    }
}

pub(super) fn shard_of(engine: &Engine, stream: &StreamHandle, text: &str) -> Result<ShardId, ApiError> {
    let (name, account) = (stream.name(), &engine.0.account);
    let Ok(shard) = ShardId::parse(text) else {
        let message = format!("Could not find shard {text} in stream {name} under account {account}.");
        return Err(ApiError::new(ErrorType::ResourceNotFound, message));
    };
    if stream.state().shards.get(shard).is_none() {
        let message = format!("Shard {shard} in stream {name} under account {account} does not exist");
        return Err(ApiError::new(ErrorType::ResourceNotFound, message));
    }
    Ok(shard)
}

/// Where a request wants to begin: the type of position with what belongs to it. `SubscribeToShard` has the same.
pub(super) struct Start<'a> {
    pub(super) kind: &'a str,
    pub(super) number: Option<&'a str>,
    pub(super) time_ms: Option<u64>,
}

pub(super) fn cursor(
    engine: &Engine,
    stream: &StreamHandle,
    shard: ShardId,
    Start { kind, number, time_ms }: Start<'_>,
    now_ms: u64,
) -> Result<Cursor, ApiError> {
    let both = |found: &str| {
        ApiError::invalid(format!(
            "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) \
             TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified {kind} and {found} \
             StartingSequenceNumber."
        ))
    };
    match (kind, number) {
        ("AT_SEQUENCE_NUMBER", Some(number)) => Ok(Cursor::At(position(engine, stream, shard, number)?)),
        ("AFTER_SEQUENCE_NUMBER", Some(number)) => {
            Ok(Cursor::At(position(engine, stream, shard, number)?.after()))
        }
        (_, Some(_)) => Err(both("also a")),
        ("TRIM_HORIZON", None) => Ok(Cursor::TrimHorizon),
        ("LATEST", None) => Ok(Cursor::Latest),
        ("AT_TIMESTAMP", None) => at_timestamp(time_ms, now_ms),
        (_, None) => Err(both("no")),
    }
}

fn at_timestamp(time_ms: Option<u64>, now_ms: u64) -> Result<Cursor, ApiError> {
    let Some(time_ms) = time_ms else {
        return Err(ApiError::invalid(
            "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no \
             timestamp parameter.",
        ));
    };
    if time_ms > now_ms {
        return Err(ApiError::invalid(format!(
            "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis. timestampInMillis: \
             {time_ms}, currentTimestampInMillis: {now_ms}"
        )));
    }
    Ok(Cursor::AtTime(time_ms))
}

fn position(
    engine: &Engine,
    stream: &StreamHandle,
    shard: ShardId,
    text: &str,
) -> Result<Position, ApiError> {
    let (name, account) = (stream.name(), &engine.0.account);
    let wrong = |why: &str| {
        ApiError::invalid(format!(
            "StartingSequenceNumber {text} used in GetShardIterator on shard {shard} in stream {name} under account \
             {account} is invalid{why}."
        ))
    };
    let number = SequenceNumber::parse(text).map_err(|_| wrong(""))?;
    let state = stream.state();
    let generation = state.shards.get(shard).map(|shard| shard.generation);
    if number.stream != stream.number() || (number.shard == shard && Some(number.generation) != generation) {
        return Err(wrong(" because it did not come from this stream"));
    }
    if number.shard != shard {
        return Err(ApiError::invalid(format!(
            "Invalid StartingSequenceNumber. It encodes {}, while it was used in a call to a shard with {shard}",
            number.shard
        )));
    }
    Ok(number.position)
}
