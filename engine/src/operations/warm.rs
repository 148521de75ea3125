//! Warm throughput: what an on-demand stream was asked to be ready for, and what it is.

use super::account::is_committed;
use crate::api::{ApiError, Fields, Writer};
use crate::control::{Begin, begin};
use crate::definition::{Definition, StreamMode, StreamState};
use crate::engine::Engine;
use crate::limits;
use crate::reshard::Plan;
use crate::stream::StreamHandle;

/// The target that a request gives, checked: `None` when it gives none.
///
/// # Errors
/// `InvalidArgumentException` unless the stream is (or becomes) on-demand, the account is committed to a minimum throughput
/// and the target is one a stream can have.
pub(super) fn target(engine: &Engine, fields: &Fields, mode: StreamMode) -> Result<Option<u32>, ApiError> {
    let Some(mib) = fields.integer("WarmThroughputMiBps") else { return Ok(None) };
    if mode != StreamMode::OnDemand {
        return Err(ApiError::invalid(
            "WarmThroughputMiBps is only supported for data streams with the ON_DEMAND capacity mode.",
        ));
    }
    if !is_committed(engine)? {
        return Err(ApiError::invalid(
            "WarmThroughputMiBps is only supported for accounts that have MinimumThroughputBillingCommitment enabled.",
        ));
    }
    let target = u32::try_from(mib).ok().filter(|&mib| mib <= limits::WARM_MIB_MAX);
    target.map(Some).ok_or_else(|| {
        ApiError::invalid(format!(
            "WarmThroughputMiBps {mib} is too large: a stream can be scaled to at most {} MiB per second.",
            limits::WARM_MIB_MAX
        ))
    })
}

/// Carries out a change of a stream with its warm throughput: opens as many shards as that takes, and closes none.
///
/// # Errors
/// What `change` says, `LimitExceededException` when there may not be so many shards.
pub(super) async fn apply(
    engine: &Engine,
    stream: &StreamHandle,
    target: Option<u32>,
    change: impl FnOnce(&mut Definition) -> Result<(), ApiError> + Send + 'static,
) -> Result<(), ApiError> {
    let open = stream.state().shards.open_count();
    match target.filter(|&mib| mib as usize > open) {
        None => engine.update(stream.name(), change).await,
        Some(shards) => {
            let plan = move |stream: &mut Begin<'_>| {
                change(stream.definition)?;
                Ok(Plan::Resize { shards })
            };
            begin(engine, stream.name(), plan).await
        }
    }
}

/// Writes `WarmThroughput` under that name. A shard takes 1 MiB/s, so what the stream is ready for is its open shards.
pub(super) fn write(answer: &mut Writer, state: &StreamState) {
    answer.key("WarmThroughput").open_object();
    answer.key("TargetMiBps").integer(state.definition.settings.warm_mib);
    answer.key("CurrentMiBps").count(state.shards.open_count());
    answer.close_object();
}
