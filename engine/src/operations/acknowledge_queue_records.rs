//! AcknowledgeQueueRecords: records that are never delivered again, durable before the answer.

use super::Outcome;
use crate::api::{Call, Fields, model};
use crate::engine::Engine;
use crate::queues::{self, Side, Verdict};

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::ACKNOWLEDGE_QUEUE_RECORDS)?;
    queues::judge(engine, &call, &fields, Side::Live, |_| Verdict::Acknowledge).await
}
