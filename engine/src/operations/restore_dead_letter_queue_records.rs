//! RestoreDeadLetterQueueRecords: dead letters that are delivered again, as if they had never been received.

use super::Outcome;
use crate::api::{Call, Fields, model};
use crate::engine::Engine;
use crate::queues::{self, Side, Verdict};

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::RESTORE_DEAD_LETTER_QUEUE_RECORDS)?;
    queues::judge(engine, &call, &fields, Side::Dead, |_| Verdict::Restore).await
}
