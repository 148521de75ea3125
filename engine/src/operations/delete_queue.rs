//! DeleteQueue: delivers nothing more from the answer on; the stream and its records stay.

use super::Outcome;
use crate::api::{Call, Fields, Reply, model};
use crate::engine::Engine;
use crate::queues;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::DELETE_QUEUE)?;
    let queue = queues::target(engine, &fields)?;
    // Deleting what is being deleted is done already.
    if !queue.is_gone() {
        queues::delete(engine, &queue).await?;
    }
    Ok(Reply::empty())
}
