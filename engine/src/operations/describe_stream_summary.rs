//! DescribeStreamSummary: a stream without its shards.

use super::describe_stream::write_common;
use super::{Outcome, account, warm};
use crate::api::address::StreamAddress;
use crate::api::{Call, Fields, Reply, model};
use crate::consumers;
use crate::definition::StreamMode;
use crate::engine::Engine;
use crate::queues;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::DESCRIBE_STREAM_SUMMARY)?;
    let stream = StreamAddress::of(&fields).find(engine)?;
    let state = stream.state();
    let mut answer = call.writer();
    answer.open_object();
    answer.key("StreamDescriptionSummary").open_object();
    write_common(&mut answer, &stream, &state.definition);
    answer.key("OpenShardCount").count(state.shards.open_count());
    answer.key("ConsumerCount").count(consumers::count(engine, stream.number()));
    answer.key("ChannelCount").count(0);
    answer.key("QueueCount").count(queues::of_stream(engine, stream.number()).len());
    answer.key("MaxRecordSizeInKiB").integer(state.definition.record_kib_max);
    answer.key("RecordDistributionStrategy").text(state.definition.settings.distribution.as_str());
    // As the model has it: only where it can be set.
    if state.definition.mode == StreamMode::OnDemand && account::is_committed(engine)? {
        warm::write(&mut answer, &state);
    }
    answer.close_object();
    answer.close_object();
    Ok(Reply::written(answer))
}
