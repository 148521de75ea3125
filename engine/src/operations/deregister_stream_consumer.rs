//! DeregisterStreamConsumer: durable before the answer; the consumer's subscriptions end.

use super::Outcome;
use super::describe_stream_consumer::addressed;
use super::resource::forget_policy;
use crate::api::{Call, Fields, Reply, model};
use crate::consumers;
use crate::engine::Engine;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::DEREGISTER_STREAM_CONSUMER)?;
    let (stream, consumer) = addressed(engine, &fields)?;
    consumers::deregister(engine, &stream, &consumer).await?;
    forget_policy(engine, &stream, &consumer).await?;
    Ok(Reply::empty())
}
