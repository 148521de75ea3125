//! ListStreams: all streams by name, a page at a time.

use super::Outcome;
use crate::api::token::{Kind, Token};
use crate::api::{ApiError, Call, Fields, Reply, model};
use crate::engine::Engine;
use crate::limits;
use crate::names::{ShardId, StreamName, StreamNumber};
use crate::storage::{Position, ShardKey};

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::LIST_STREAMS)?;
    let now_ms = engine.0.clock.now_ms();
    let after = after(&fields, now_ms)?;
    let page = fields.count("Limit").unwrap_or(limits::LIST_STREAMS_PAGE).min(limits::LIST_STREAMS_PAGE);
    let streams = engine.streams();
    let start = after.map_or(0, |after| streams.partition_point(|stream| *stream.name() <= after));
    let end = streams.len().min(start + page);
    let listed = &streams[start..end];
    let mut answer = call.writer();
    answer.open_object();
    answer.key("StreamNames").open_array();
    listed.iter().for_each(|stream| answer.text(stream.name().as_str()));
    answer.close_array();
    answer.key("StreamSummaries").open_array();
    for stream in listed {
        let definition = &stream.state().definition;
        answer.open_object();
        answer.key("StreamName").text(stream.name().as_str());
        answer.key("StreamARN").text(stream.arn());
        answer.key("StreamStatus").text(definition.status.as_str());
        answer.key("StreamModeDetails").open_object();
        answer.key("StreamMode").text(definition.mode.as_str());
        answer.close_object();
        answer.key("StreamCreationTimestamp").time(definition.created_ms);
        answer.close_object();
    }
    answer.close_array();
    let more = end < streams.len();
    answer.key("HasMoreStreams").boolean(more);
    if let Some(last) = listed.last().filter(|_| more) {
        let nowhere = ShardKey { stream: StreamNumber(0), shard: ShardId(0) };
        let name = last.name().clone();
        let token = Token { issued_ms: now_ms, shard: nowhere, position: Position::default(), name };
        answer.key("NextToken").text(&token.seal(Kind::ListStreams));
    }
    answer.close_object();
    Ok(Reply::written(answer))
}

/// The name after which the page begins: from the older member or from the token, which then decides.
fn after(fields: &Fields, now_ms: u64) -> Result<Option<StreamName>, ApiError> {
    if let Some(token) = fields.text("NextToken") {
        return Token::page(token, Kind::ListStreams, now_ms).map(|token| Some(token.name));
    }
    let name = fields.text("ExclusiveStartStreamName").map(StreamName::parse).transpose();
    name.map_err(|error| ApiError::invalid(error.to_string()))
}
