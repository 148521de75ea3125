//! What a control call passes before it runs: the table's rates, and how much an account may have at once.
//!
//! In: the call as it came. Out: its refusal, or nothing. Invariant: AWS's order. A call that fails its checks against the
//! model, or names a stream that does not exist, passes: the operation itself answers it, and it counts for nothing.

use super::call_exceeded;
use super::table;
use crate::api::address::StreamAddress;
use crate::api::{ApiError, Call, ErrorType, Fields, model};
use crate::definition::{StreamMode, StreamStatus};
use crate::engine::Engine;
use crate::limits;
use crate::names::{StreamArn, StreamName};
use serde_json::Value;

/// Lets a call pass when the limits of its operation allow it.
///
/// # Errors
/// `LimitExceededException` beyond them.
pub(crate) fn admit(engine: &Engine, operation: &str, call: &Call) -> Result<(), ApiError> {
    let Some(throttle) = &engine.0.throttle else { return Ok(()) };
    let Some(row) = table::of(operation) else { return Ok(()) };
    let declared = model::OPERATIONS.iter().find(|declared| declared.name == operation);
    let Some(fields) = declared.and_then(|declared| Fields::read(call, declared.input).ok()) else {
        return Ok(());
    };
    let named = named(engine, &fields);
    let stream = named.as_ref().and_then(|name| engine.stream(name));
    let creates = operation == "CreateStream";
    if named.is_some() && stream.is_some() == creates {
        return Ok(());
    }
    let number = stream.map(|stream| stream.number());
    let now_ms = engine.0.clock.now_ms();
    if !throttle.call(row, number, now_ms) {
        return Err(call_exceeded(engine, named.as_ref()));
    }
    if creates {
        streams_at_once(engine, is_on_demand(&fields))?;
    }
    Ok(())
}

/// The stream a request is about: by its name, its ARN, or the ARN of something that belongs to it.
fn named(engine: &Engine, fields: &Fields) -> Option<StreamName> {
    let address = StreamAddress::of(fields);
    if address.name.is_some() || address.arn.is_some() {
        return address.resolve(engine).ok();
    }
    let arn = ["ConsumerARN", "ResourceARN"].iter().find_map(|member| fields.text(member))?;
    // arn:…:stream/NAME and arn:…:stream/NAME/consumer/…
    let end = arn.match_indices('/').nth(1).map_or(arn.len(), |(at, _)| at);
    StreamArn::parse(&arn[..end]).ok().map(|arn| arn.name().clone())
}

fn is_on_demand(fields: &Fields) -> bool {
    let details = fields.map("StreamModeDetails");
    details.and_then(|details| details.get("StreamMode")).and_then(Value::as_str) == Some("ON_DEMAND")
}

/// Model, `CreateStream`: no more than five in the CREATING state. Quota: 50 on-demand streams.
fn streams_at_once(engine: &Engine, on_demand: bool) -> Result<(), ApiError> {
    let streams = engine.streams();
    let count = |is: fn(StreamStatus, StreamMode) -> bool| {
        let states = streams.iter().map(|stream| stream.state());
        states.filter(|state| is(state.definition.status, state.definition.mode)).count()
    };
    let account = &engine.0.account;
    let refused = |message: String| Err(ApiError::new(ErrorType::LimitExceeded, message));
    if count(|status, _| status == StreamStatus::Creating) >= limits::STREAMS_CREATING_MAX {
        return refused(format!(
            "Account {account} already has {} streams in the CREATING state.",
            limits::STREAMS_CREATING_MAX
        ));
    }
    if on_demand && count(|_, mode| mode == StreamMode::OnDemand) >= limits::ON_DEMAND_STREAMS_MAX as usize {
        return refused(format!(
            "Account {account} already has {} streams in ON_DEMAND mode.",
            limits::ON_DEMAND_STREAMS_MAX
        ));
    }
    Ok(())
}
