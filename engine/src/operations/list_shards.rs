//! ListShards: the shards of a stream, filtered by when they were open, a page at a time.

use super::{Outcome, write_shard};
use crate::api::address::StreamAddress;
use crate::api::fields::time_ms;
use crate::api::token::{Kind, Token};
use crate::api::{ApiError, Call, ErrorType, Fields, Reply, model};
use crate::definition::Shard;
use crate::engine::Engine;
use crate::limits;
use crate::names::ShardId;
use crate::storage::{Position, ShardKey};
use crate::stream::StreamHandle;
use serde_json::Value;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::LIST_SHARDS)?;
    let now_ms = engine.0.clock.now_ms();
    let (stream, after, filter) = match fields.text("NextToken") {
        Some(token) => go_on(engine, &fields, token, now_ms)?,
        None => begin(engine, &fields)?,
    };
    let state = stream.state();
    let horizon_ms = engine.horizon_ms(&state.definition);
    let page = fields.count("MaxResults").unwrap_or(limits::LIST_SHARDS_PAGE).min(limits::LIST_SHARDS_PAGE);
    let behind = |shard: &&Shard| after.is_none_or(|after| shard.id > after);
    let mut wanted = state.shards.all().iter().filter(behind).filter(|shard| filter.takes(shard, horizon_ms));
    let mut answer = call.writer();
    let mut last = None;
    answer.open_object();
    answer.key("Shards").open_array();
    for shard in wanted.by_ref().take(page) {
        write_shard(&mut answer, &stream, shard);
        last = Some(shard.id);
    }
    answer.close_array();
    if let Some(last) = last.filter(|_| wanted.next().is_some()) {
        let token = filter.token(&stream, last, now_ms);
        answer.key("NextToken").text(&token.seal(Kind::ListShards));
    }
    answer.close_object();
    Ok(Reply::written(answer))
}

type Listing = (StreamHandle, Option<ShardId>, ShardFilter);

fn begin(engine: &Engine, fields: &Fields) -> Result<Listing, ApiError> {
    let stream = StreamAddress::of(fields).find(engine)?;
    if let Some(created_ms) = fields.time_ms("StreamCreationTimestamp")
        // Clients have the time with whole seconds or with milliseconds.
        && created_ms / 1_000 != stream.state().definition.created_ms / 1_000
    {
        return Err(ApiError::no_stream(stream.name().as_str(), &engine.0.account));
    }
    let after = fields.text("ExclusiveStartShardId").map(ShardId::parse).transpose();
    let after = after.map_err(|error| ApiError::invalid(error.to_string()))?;
    Ok((stream, after, ShardFilter::read(fields)?))
}

fn go_on(engine: &Engine, fields: &Fields, token: &str, now_ms: u64) -> Result<Listing, ApiError> {
    if fields.text("StreamName").is_some() || fields.text("StreamARN").is_some() {
        return Err(ApiError::invalid("NextToken and StreamName cannot be provided together."));
    }
    if fields.time_ms("StreamCreationTimestamp").is_some() {
        return Err(ApiError::invalid("NextToken and StreamCreationTimestamp cannot be provided together."));
    }
    let token = Token::page(token, Kind::ListShards, now_ms)?;
    let stream = engine.stream(&token.name).filter(|stream| stream.number() == token.shard.stream);
    let stream = stream.ok_or_else(|| ApiError::no_stream(token.name.as_str(), &engine.0.account))?;
    Ok((stream, Some(token.shard.shard), ShardFilter::of_token(&token)))
}

/// Which shards are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ShardFilter {
    /// Those not older than retention: the default.
    FromTrimHorizon,
    /// Those open when the oldest readable record arrived.
    AtTrimHorizon,
    /// Those open now.
    AtLatest,
    /// Those open at a time.
    AtTimestamp(u64),
    /// Those open at a time or later.
    FromTimestamp(u64),
    /// Those after a shard.
    AfterShardId(ShardId),
}

impl ShardFilter {
    fn read(fields: &Fields) -> Result<Self, ApiError> {
        let Some(filter) = fields.map("ShardFilter") else { return Ok(ShardFilter::FromTrimHorizon) };
        let kind = filter.get("Type").and_then(Value::as_str).unwrap_or_default();
        let at_ms = || {
            let at_ms = filter.get("Timestamp").and_then(time_ms);
            at_ms.ok_or_else(|| {
                ApiError::invalid(format!("Timestamp must be provided when the ShardFilter type is {kind}."))
            })
        };
        Ok(match kind {
            "AT_TRIM_HORIZON" => ShardFilter::AtTrimHorizon,
            "AT_LATEST" => ShardFilter::AtLatest,
            "AT_TIMESTAMP" => ShardFilter::AtTimestamp(at_ms()?),
            "FROM_TIMESTAMP" => ShardFilter::FromTimestamp(at_ms()?),
            "AFTER_SHARD_ID" => {
                let id = filter.get("ShardId").and_then(Value::as_str).ok_or_else(|| {
                    ApiError::invalid("ShardId must be provided when the ShardFilter type is AFTER_SHARD_ID.")
                })?;
                let id = ShardId::parse(id);
                ShardFilter::AfterShardId(
                    id.map_err(|e| ApiError::new(ErrorType::InvalidArgument, e.to_string()))?,
                )
            }
            _ => ShardFilter::FromTrimHorizon,
        })
    }

    /// Times before the horizon count as the horizon. A stream younger than its retention has all its shards from its
    /// creation on, so shards it was created with are open at every earlier time.
    fn takes(self, shard: &Shard, horizon_ms: u64) -> bool {
        let open_since = |at_ms: u64| shard.closed.is_none_or(|closed| closed.at_ms >= at_ms.max(horizon_ms));
        let opened_by = |at_ms: u64| shard.generation == 0 || shard.opened_ms <= at_ms.max(horizon_ms);
        match self {
            ShardFilter::FromTrimHorizon => open_since(horizon_ms),
            ShardFilter::AtTrimHorizon => opened_by(horizon_ms) && open_since(horizon_ms),
            ShardFilter::AtLatest => shard.closed.is_none(),
            ShardFilter::AtTimestamp(at_ms) => opened_by(at_ms) && open_since(at_ms),
            ShardFilter::FromTimestamp(at_ms) => open_since(at_ms),
            ShardFilter::AfterShardId(id) => shard.id > id && open_since(horizon_ms),
        }
    }

    /// A token that goes on after `last`. A filter by id is then behind us; the others fit into the position's place.
    fn token(self, stream: &StreamHandle, last: ShardId, now_ms: u64) -> Token {
        let (index, position) = match self {
            ShardFilter::FromTrimHorizon | ShardFilter::AfterShardId(_) => (0, 0),
            ShardFilter::AtTrimHorizon => (1, 0),
            ShardFilter::AtLatest => (2, 0),
            ShardFilter::AtTimestamp(at_ms) => (3, at_ms),
            ShardFilter::FromTimestamp(at_ms) => (4, at_ms),
        };
        Token {
            issued_ms: now_ms,
            shard: ShardKey { stream: stream.number(), shard: last },
            position: Position { position, index },
            name: stream.name().clone(),
        }
    }

    fn of_token(token: &Token) -> Self {
        match token.position.index {
            1 => ShardFilter::AtTrimHorizon,
            2 => ShardFilter::AtLatest,
            3 => ShardFilter::AtTimestamp(token.position.position),
            4 => ShardFilter::FromTimestamp(token.position.position),
            _ => ShardFilter::FromTrimHorizon,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::split_evenly;
    use crate::shards::Closed;

    /// A stream created at 1,000: shard 0 was closed at 2,000 and shard 1 opened from it.
    fn shards() -> [Shard; 2] {
        let shard = |id, generation, opened_ms, closed_ms: Option<u64>| Shard {
            id: ShardId(id),
            generation,
            range: split_evenly(1)[0],
            parent: None,
            adjacent_parent: None,
            opened_ms,
            closed: closed_ms.map(|at_ms| Closed { at_ms, end: Position::default() }),
        };
        [shard(0, 0, 1_000, Some(2_000)), shard(1, 1, 2_000, None)]
    }

    #[test]
    fn filters_choose_by_the_lifetime_of_shards() {
        use ShardFilter::*;
        // (filter, horizon, shards listed)
        let cases: [(ShardFilter, u64, &[u32]); 12] = [
            (FromTrimHorizon, 0, &[0, 1]),
            (FromTrimHorizon, 2_001, &[1]),
            (AtTrimHorizon, 0, &[0]),
            (AtTrimHorizon, 2_500, &[1]),
            (AtLatest, 0, &[1]),
            (AtTimestamp(1_500), 0, &[0]),
            (AtTimestamp(2_500), 0, &[1]),
            (AtTimestamp(1_500), 2_500, &[1]),
            (FromTimestamp(1_500), 0, &[0, 1]),
            (FromTimestamp(2_500), 0, &[1]),
            (AfterShardId(ShardId(0)), 0, &[1]),
            (AfterShardId(ShardId(1)), 0, &[]),
        ];
        for (filter, horizon_ms, expected) in cases {
            let listed: Vec<_> =
                shards().iter().filter(|s| filter.takes(s, horizon_ms)).map(|s| s.id.0).collect();
            assert_eq!(listed, expected, "{filter:?} {horizon_ms}");
        }
    }
}
