//! ReceiveDeadLetterQueueRecords: up to ten records that were received too often, waiting for the first one.

use super::Outcome;
use super::receive_queue_records::receive;
use crate::api::{Call, Fields, model};
use crate::engine::Engine;
use crate::queues::Side;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::RECEIVE_DEAD_LETTER_QUEUE_RECORDS)?;
    receive(engine, &call, &fields, Side::Dead).await
}
