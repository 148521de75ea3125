//! DescribeStream: a stream with its shards, a page of them at a time.

use super::{Outcome, write_shard};
use crate::api::address::StreamAddress;
use crate::api::{ApiError, Call, Fields, Reply, Writer, model};
use crate::definition::Definition;
use crate::engine::Engine;
use crate::limits;
use crate::names::ShardId;
use crate::stream::StreamHandle;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::DESCRIBE_STREAM)?;
    let stream = StreamAddress::of(&fields).find(engine)?;
    let after = fields.text("ExclusiveStartShardId").map(ShardId::parse).transpose();
    let after = after.map_err(|error| ApiError::invalid(error.to_string()))?;
    let page =
        fields.count("Limit").unwrap_or(limits::DESCRIBE_STREAM_PAGE).min(limits::DESCRIBE_STREAM_PAGE);
    let state = stream.state();
    let horizon_ms = engine.horizon_ms(&state.definition);
    let all = state.shards.all();
    let start = after.map_or(0, |after| all.partition_point(|shard| shard.id <= after));
    let mut shards = all[start..].iter().filter(|shard| !shard.is_expired(horizon_ms));
    let mut answer = call.writer();
    answer.open_object();
    answer.key("StreamDescription").open_object();
    write_common(&mut answer, &stream, &state.definition);
    answer.key("Shards").open_array();
    shards.by_ref().take(page).for_each(|shard| write_shard(&mut answer, &stream, shard));
    answer.close_array();
    answer.key("HasMoreShards").boolean(shards.next().is_some());
    answer.close_object();
    answer.close_object();
    Ok(Reply::written(answer))
}

/// What DescribeStream and DescribeStreamSummary have in common.
pub(super) fn write_common(answer: &mut Writer, stream: &StreamHandle, definition: &Definition) {
    answer.key("StreamName").text(stream.name().as_str());
    answer.key("StreamARN").text(stream.arn());
    answer.key("StreamStatus").text(definition.status.as_str());
    answer.key("StreamModeDetails").open_object();
    answer.key("StreamMode").text(definition.mode.as_str());
    answer.close_object();
    answer.key("RetentionPeriodHours").integer(definition.retention_hours);
    answer.key("StreamCreationTimestamp").time(definition.created_ms);
    answer.key("EnhancedMonitoring").open_array();
    answer.open_object();
    answer.key("ShardLevelMetrics").open_array();
    definition.settings.shard_level_metrics.iter().for_each(|metric| answer.text(metric));
    answer.close_array();
    answer.close_object();
    answer.close_array();
    match &definition.settings.encryption {
        Some(encryption) => {
            answer.key("EncryptionType").text("KMS");
            answer.key("KeyId").text(&encryption.key_id);
        }
        None => answer.key("EncryptionType").text("NONE"),
    }
}
