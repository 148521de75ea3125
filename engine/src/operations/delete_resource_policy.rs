//! DeleteResourcePolicy: a stream or consumer has no policy any more.
//!
//! Where AWS is silent: without a policy the answer is `ResourceNotFoundException`.

use super::Outcome;
use super::resource::Resource;
use crate::api::{ApiError, Call, ErrorType, Fields, Reply, model};
use crate::control::StreamError;
use crate::engine::Engine;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::DELETE_RESOURCE_POLICY)?;
    let key = Resource::find(engine, &fields)?.policy_key(engine);
    let _one_at_a_time = engine.0.control.lock().await;
    let Some(stored) = engine.0.meta.get(&key) else {
        let arn = fields.text("ResourceARN").unwrap_or_default();
        let message = format!("No resource policy found for resource ARN {arn}.");
        return Err(ApiError::new(ErrorType::ResourceNotFound, message));
    };
    engine.0.meta.delete(&key, stored.version).await.map_err(StreamError::from)?;
    Ok(Reply::empty())
}
