//! DescribeLimits: how many shards and streams there are and may be.

use super::Outcome;
use crate::api::{Fields, Json, Reply, model};
use crate::definition::StreamMode;
use crate::engine::Engine;
use crate::limits;
use bytes::Bytes;

pub(super) async fn run(engine: &Engine, body: Bytes) -> Outcome {
    Fields::read(&body, model::DESCRIBE_LIMITS)?;
    let streams = engine.streams();
    let on_demand = streams.iter().filter(|stream| stream.state().definition.mode == StreamMode::OnDemand);
    let mut json = Json::default();
    json.open_object();
    json.key("ShardLimit").integer(limits::SHARDS_MAX);
    json.key("OpenShardCount").count(engine.0.registry.open_shards());
    json.key("OnDemandStreamCount").count(on_demand.count());
    json.key("OnDemandStreamCountLimit").integer(limits::ON_DEMAND_STREAMS_MAX);
    json.close_object();
    Ok(Reply::json(json))
}
