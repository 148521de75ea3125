//! UpdateStreamMode: who decides on the number of shards from now on. The shards stay as they are.
//!
//! Where AWS is silent: the mode that the stream has is taken, changes nothing and does not count; a stream that distributes
//! its records itself (`AUTO`) is refused to become provisioned before its strategy is changed, since producers without
//! keys would fail from then on; warm throughput ends with the on-demand mode.

use super::{Outcome, active, warm};
use crate::api::address::StreamAddress;
use crate::api::{ApiError, Call, ErrorType, Fields, Reply, model};
use crate::definition::{Definition, StreamMode};
use crate::engine::Engine;
use crate::limits;
use crate::queues;
use crate::settings::Distribution;
use serde_json::Value;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::UPDATE_STREAM_MODE)?;
    let stream = StreamAddress { name: None, arn: fields.text("StreamARN") }.find(engine)?;
    let details = fields.map("StreamModeDetails").and_then(|details| details.get("StreamMode"));
    let mode = match details.and_then(Value::as_str) {
        Some("ON_DEMAND") => StreamMode::OnDemand,
        _ => StreamMode::Provisioned,
    };
    active(engine, &stream)?;
    if mode == StreamMode::Provisioned {
        queues::none_of(engine, &stream, "switched to provisioned capacity mode")?;
    }
    let warm_mib = warm::target(engine, &fields, mode)?;
    let now_ms = engine.0.clock.now_ms();
    let limited = engine.0.throttle.is_some();
    let change = move |definition: &mut Definition| change(definition, mode, warm_mib, limited, now_ms);
    warm::apply(engine, &stream, warm_mib, change).await?;
    Ok(Reply::empty())
}

fn change(
    definition: &mut Definition,
    mode: StreamMode,
    warm_mib: Option<u32>,
    limited: bool,
    now_ms: u64,
) -> Result<(), ApiError> {
    let name = definition.name.clone();
    let settings = &mut definition.settings;
    if definition.mode != mode {
        let changes = settings.mode_changes.within_a_day(now_ms);
        if limited && changes >= limits::MODE_CHANGES_A_DAY_MAX {
            return Err(ApiError::new(
                ErrorType::LimitExceeded,
                format!(
                    "The capacity mode of stream {name} was changed {changes} times within the last 24 hours, which is the \
                     limit."
                ),
            ));
        }
        if mode == StreamMode::Provisioned && settings.distribution == Distribution::Auto {
            return Err(ApiError::invalid(format!(
                "Stream {name} uses the record distribution strategy AUTO, which the PROVISIONED capacity mode does not \
                 support. Use UpdateStreamRecordDistributionStrategy first."
            )));
        }
        settings.mode_changes.add(now_ms);
    }
    settings.warm_mib = match mode {
        StreamMode::OnDemand => warm_mib.unwrap_or(settings.warm_mib),
        StreamMode::Provisioned => 0,
    };
    definition.mode = mode;
    Ok(())
}
