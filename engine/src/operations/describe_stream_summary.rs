//! DescribeStreamSummary: a stream without its shards.

use super::Outcome;
use super::describe_stream::write_common;
use crate::api::address::StreamAddress;
use crate::api::{Fields, Json, Reply, model};
use crate::engine::Engine;
use bytes::Bytes;

pub(super) async fn run(engine: &Engine, body: Bytes) -> Outcome {
    let fields = Fields::read(&body, model::DESCRIBE_STREAM_SUMMARY)?;
    let stream = StreamAddress::of(&fields).find(engine)?;
    let state = stream.state();
    let mut json = Json::default();
    json.open_object();
    json.key("StreamDescriptionSummary").open_object();
    write_common(&mut json, &stream, &state.definition);
    json.key("OpenShardCount").count(state.shards.open_count());
    json.key("ConsumerCount").count(0);
    json.key("ChannelCount").count(0);
    json.key("QueueCount").count(0);
    json.key("MaxRecordSizeInKiB").integer(state.definition.record_kib_max);
    json.key("RecordDistributionStrategy").text("USER_PARTITION_KEY");
    json.close_object();
    json.close_object();
    Ok(Reply::json(json))
}
