//! DescribeLimits: how many shards and streams there are and may be.

use super::Outcome;
use crate::api::{Call, Fields, Reply, model};
use crate::definition::StreamMode;
use crate::engine::Engine;
use crate::limits;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    Fields::read(&call, model::DESCRIBE_LIMITS)?;
    let streams = engine.streams();
    let on_demand = streams.iter().filter(|stream| stream.state().definition.mode == StreamMode::OnDemand);
    let mut answer = call.writer();
    answer.open_object();
    answer.key("ShardLimit").integer(limits::SHARDS_MAX);
    answer.key("OpenShardCount").count(engine.0.registry.open_shards());
    answer.key("OnDemandStreamCount").count(on_demand.count());
    answer.key("OnDemandStreamCountLimit").integer(limits::ON_DEMAND_STREAMS_MAX);
    answer.close_object();
    Ok(Reply::written(answer))
}
