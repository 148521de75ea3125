//! DescribeQueue: what a queue is set to, and its state.

use super::Outcome;
use crate::api::{Call, Fields, Reply, model};
use crate::engine::Engine;
use crate::queues;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::DESCRIBE_QUEUE)?;
    let queue = queues::target(engine, &fields)?;
    Ok(Reply::written(queues::write_description(engine, &call, &queue, None)))
}
