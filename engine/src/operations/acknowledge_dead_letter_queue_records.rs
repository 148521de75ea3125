//! AcknowledgeDeadLetterQueueRecords: dead letters that are discarded, durable before the answer.

use super::Outcome;
use crate::api::{Call, Fields, model};
use crate::engine::Engine;
use crate::queues::{self, Side, Verdict};

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::ACKNOWLEDGE_DEAD_LETTER_QUEUE_RECORDS)?;
    queues::judge(engine, &call, &fields, Side::Dead, |_| Verdict::Acknowledge).await
}
