//! UpdateDeadLetterQueueRecordsVisibility: how long received dead letters stay invisible from now on.

use super::Outcome;
use super::update_queue_records_visibility::hide;
use crate::api::{Call, Fields, model};
use crate::engine::Engine;
use crate::queues::{self, Side};

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::UPDATE_DEAD_LETTER_QUEUE_RECORDS_VISIBILITY)?;
    queues::judge(engine, &call, &fields, Side::Dead, hide).await
}
