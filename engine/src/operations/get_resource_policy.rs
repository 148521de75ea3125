//! GetResourcePolicy: the policy of a stream or consumer, as it was put.
//!
//! Where AWS is silent: a resource without a policy answers with the policy `{}`.

use super::Outcome;
use super::resource::Resource;
use crate::api::{Call, Fields, Reply, model};
use crate::engine::Engine;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::GET_RESOURCE_POLICY)?;
    let resource = Resource::find(engine, &fields)?;
    let stored = engine.0.meta.get(&resource.policy_key(engine));
    let policy = stored.as_ref().map_or("{}".into(), |stored| String::from_utf8_lossy(&stored.value));
    let mut answer = call.writer();
    answer.open_object();
    answer.key("Policy").text(&policy);
    answer.close_object();
    Ok(Reply::written(answer))
}
