//! UpdateQueue: another visibility timeout, another number of receives; durable before the answer. No attribute at all
//! changes nothing.

use super::Outcome;
use super::create_queue::Attributes;
use crate::api::{Call, Fields, Reply, model};
use crate::engine::Engine;
use crate::queues::{self, QueueStatus, Update};

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::UPDATE_QUEUE)?;
    let attributes = Attributes::of(fields.map("QueueAttributes"))?;
    let queue = queues::target(engine, &fields)?;
    let Attributes { visibility_seconds, receives_max } = attributes;
    queues::update(engine, &queue, Update { visibility_seconds, receives_max }).await?;
    Ok(Reply::written(queues::write_description(engine, &call, &queue, Some(QueueStatus::Updating))))
}
