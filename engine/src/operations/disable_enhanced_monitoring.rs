//! DisableEnhancedMonitoring: fewer metrics per shard, from then on.
//!
//! Where AWS is silent: it takes effect at once and the stream stays ACTIVE; metrics that are off already stay off.

use super::Outcome;
use super::enable_enhanced_monitoring::change;
use crate::api::{Call, Fields, model};
use crate::engine::Engine;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::DISABLE_ENHANCED_MONITORING)?;
    change(engine, &call, &fields, |is_on, is_named| is_on && !is_named).await
}
