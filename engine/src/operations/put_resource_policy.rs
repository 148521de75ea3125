//! PutResourcePolicy: attaches a policy to a stream, consumer or queue, in place of the one before. Stored and checked; what it
//! allows is not enforced yet.

use super::resource::Resource;
use super::{Outcome, policy};
use crate::api::{Call, Fields, Reply, model};
use crate::control::StreamError;
use crate::engine::Engine;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::PUT_RESOURCE_POLICY)?;
    let resource = Resource::find(engine, &fields)?;
    let text = fields.text("Policy").unwrap_or_default();
    policy::check(text, fields.text("ResourceARN").unwrap_or_default())?;
    let _one_at_a_time = engine.0.control.lock().await;
    // Again under the lock: the resource may have been removed, and a policy must not outlive it.
    let key = Resource::find(engine, &fields).map(|_| resource.policy_key(engine))?;
    let version = engine.0.meta.get(&key).map_or(0, |stored| stored.version);
    engine.0.meta.put(&key, text.as_bytes(), version).await.map_err(StreamError::from)?;
    Ok(Reply::empty())
}
