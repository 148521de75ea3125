//! IncreaseStreamRetentionPeriod and DecreaseStreamRetentionPeriod: how long records can be read.
//!
//! Reads keep to it at once. An increase makes nothing readable that had expired, as AWS documents, also when the disk still
//! has it; a decrease frees the disk when the next segment is dropped. Closed shards that had expired stay gone.

use super::{Outcome, active};
use crate::api::address::StreamAddress;
use crate::api::{ApiError, Call, Fields, Reply, model};
use crate::engine::Engine;
use crate::limits;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Increase,
    Decrease,
}

pub(super) async fn increase(engine: &Engine, call: Call) -> Outcome {
    change(engine, call, Direction::Increase).await
}

pub(super) async fn decrease(engine: &Engine, call: Call) -> Outcome {
    change(engine, call, Direction::Decrease).await
}

async fn change(engine: &Engine, call: Call, direction: Direction) -> Outcome {
    let fields = Fields::read(&call, model::INCREASE_STREAM_RETENTION_PERIOD)?;
    let stream = StreamAddress::of(&fields).find(engine)?;
    active(engine, &stream)?;
    let hours = requested(&fields)?;
    let name = stream.name().clone();
    let shown = name.clone();
    let asked = engine.clone();
    engine
        .update(&name, move |definition| {
            let existing = definition.retention_hours;
            let (wrong, word, other) = match direction {
                Direction::Increase => (hours < existing, "shorter", "DecreaseRetentionPeriod"),
                Direction::Decrease => (hours > existing, "longer", "IncreaseRetentionPeriod"),
            };
            if wrong {
                return Err(ApiError::invalid(format!(
                    "Requested retention period ({hours} hours) for stream {shown} can not be {word} than existing \
                     retention period ({existing} hours). Use {other} API."
                )));
            }
            definition.readable_from_ms = asked.horizon_ms(definition);
            definition.retention_hours = hours;
            Ok(())
        })
        .await?;
    Ok(Reply::empty())
}

fn requested(fields: &Fields) -> Result<u32, ApiError> {
    let hours = fields.integer("RetentionPeriodHours").unwrap_or(0);
    let (least, most) = (limits::RETENTION_HOURS_DEFAULT, limits::RETENTION_HOURS_MAX);
    if hours < i64::from(least) {
        return Err(ApiError::invalid(format!(
            "Minimum allowed retention period is {least} hours. Requested retention period ({hours} hours) is too short."
        )));
    }
    u32::try_from(hours).ok().filter(|&hours| hours <= most).ok_or_else(|| {
        ApiError::invalid(format!(
            "Maximum allowed retention period is {most} hours. Requested retention period ({hours} hours) is too long."
        ))
    })
}
