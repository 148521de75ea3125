//! ListStreamConsumers: the consumers of a stream by name, a page at a time.

use super::register_stream_consumer::write_consumer;
use super::{Outcome, usable};
use crate::api::address::StreamAddress;
use crate::api::token::{Kind, Token};
use crate::api::{ApiError, Call, Fields, Reply, model};
use crate::consumers;
use crate::engine::Engine;
use crate::limits;
use crate::names::{ShardId, StreamName};
use crate::storage::{Position, ShardKey};
use crate::stream::StreamHandle;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::LIST_STREAM_CONSUMERS)?;
    let now_ms = engine.0.clock.now_ms();
    let stream = StreamAddress::of(&fields).find(engine)?;
    usable(engine, &stream)?;
    let after = after(engine, &fields, &stream, now_ms)?;
    let page =
        fields.count("MaxResults").unwrap_or(limits::LIST_CONSUMERS_PAGE).min(limits::LIST_CONSUMERS_PAGE);
    let all = consumers::list(engine, stream.number());
    let start =
        after.map_or(0, |after| all.partition_point(|consumer| consumer.name.as_str() <= after.as_str()));
    let end = all.len().min(start + page);
    let mut answer = call.writer();
    answer.open_object();
    answer.key("Consumers").open_array();
    for consumer in &all[start..end] {
        answer.open_object();
        write_consumer(&mut answer, engine, &stream, consumer);
        answer.close_object();
    }
    answer.close_array();
    // Names of consumers and of streams follow the same pattern of the model.
    let last = all[start..end].last().filter(|_| end < all.len());
    if let Some(name) = last.and_then(|consumer| StreamName::parse(&consumer.name).ok()) {
        let shard = ShardKey { stream: stream.number(), shard: ShardId(0) };
        let token = Token { issued_ms: now_ms, shard, position: Position::default(), name };
        answer.key("NextToken").text(&token.seal(Kind::ListStreamConsumers));
    }
    answer.close_object();
    Ok(Reply::written(answer))
}

/// The name after which the page begins.
fn after(
    engine: &Engine,
    fields: &Fields,
    stream: &StreamHandle,
    now_ms: u64,
) -> Result<Option<StreamName>, ApiError> {
    let created_ms = fields.time_ms("StreamCreationTimestamp");
    let Some(token) = fields.text("NextToken") else {
        // Clients have the time with whole seconds or with milliseconds.
        let other = |ms: u64| ms / 1_000 != stream.state().definition.created_ms / 1_000;
        return match created_ms.is_some_and(other) {
            true => Err(ApiError::no_stream(stream.name().as_str(), &engine.0.account)),
            false => Ok(None),
        };
    };
    if created_ms.is_some() {
        return Err(ApiError::invalid("NextToken and StreamCreationTimestamp cannot be provided together."));
    }
    let token = Token::page(token, Kind::ListStreamConsumers, now_ms)?;
    if token.shard.stream != stream.number() {
        return Err(ApiError::invalid("Invalid NextToken."));
    }
    Ok(Some(token.name))
}
