//! DescribeStream: a stream with its shards, a page of them at a time.

use super::{Outcome, write_shard};
use crate::api::address::StreamAddress;
use crate::api::{ApiError, Fields, Json, Reply, model};
use crate::definition::Definition;
use crate::engine::Engine;
use crate::limits;
use crate::names::ShardId;
use crate::stream::StreamHandle;
use bytes::Bytes;

pub(super) async fn run(engine: &Engine, body: Bytes) -> Outcome {
    let fields = Fields::read(&body, model::DESCRIBE_STREAM)?;
    let stream = StreamAddress::of(&fields).find(engine)?;
    let after = fields.text("ExclusiveStartShardId").map(ShardId::parse).transpose();
    let after = after.map_err(|error| ApiError::invalid(error.to_string()))?;
    let page =
        fields.count("Limit").unwrap_or(limits::DESCRIBE_STREAM_PAGE).min(limits::DESCRIBE_STREAM_PAGE);
    let state = stream.state();
    let shards = state.shards.all();
    let start = after.map_or(0, |after| shards.partition_point(|shard| shard.id <= after));
    let end = shards.len().min(start + page);
    let mut json = Json::default();
    json.open_object();
    json.key("StreamDescription").open_object();
    write_common(&mut json, &stream, &state.definition);
    json.key("Shards").open_array();
    shards[start..end].iter().for_each(|shard| write_shard(&mut json, &stream, shard));
    json.close_array();
    json.key("HasMoreShards").boolean(end < shards.len());
    json.close_object();
    json.close_object();
    Ok(Reply::json(json))
}

/// What DescribeStream and DescribeStreamSummary have in common.
pub(super) fn write_common(json: &mut Json, stream: &StreamHandle, definition: &Definition) {
    json.key("StreamName").text(stream.name().as_str());
    json.key("StreamARN").text(stream.arn());
    json.key("StreamStatus").text(definition.status.as_str());
    json.key("StreamModeDetails").open_object();
    json.key("StreamMode").text(definition.mode.as_str());
    json.close_object();
    json.key("RetentionPeriodHours").integer(definition.retention_hours);
    json.key("StreamCreationTimestamp").time(definition.created_ms);
    json.key("EnhancedMonitoring").open_array();
    json.open_object();
    json.key("ShardLevelMetrics").open_array();
    json.close_array();
    json.close_object();
    json.close_array();
    json.key("EncryptionType").text("NONE");
}
