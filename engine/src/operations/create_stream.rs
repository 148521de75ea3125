//! CreateStream: durable before the answer, and active too unless states are shown for a time; then it is CREATING, and
//! records can be put and read from ACTIVE on.

use super::refusal::refusal;
use super::resource::tags;
use super::{Outcome, warm};
use crate::api::{ApiError, Call, ErrorType, Fields, Reply, model};
use crate::control::{Effect, NewStream};
use crate::definition::{StreamMode, StreamStatus};
use crate::engine::Engine;
use crate::limits;
use crate::names::StreamName;
use crate::settings::Distribution;
use serde_json::Value;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::CREATE_STREAM)?;
    let name = StreamName::parse(fields.text("StreamName").unwrap_or_default())
        .map_err(|error| ApiError::invalid(error.to_string()))?;
    let mode = mode(&fields);
    let mut new = NewStream::new(name, shards(&fields, mode)?);
    new.mode = mode;
    if let Some(kib) = fields.integer("MaxRecordSizeInKiB") {
        new.record_kib_max = u32::try_from(kib).unwrap_or(new.record_kib_max);
    }
    new.tags = tags(fields.map("Tags"))?;
    if new.tags.len() > limits::TAGS_PER_STREAM_MAX {
        return Err(ApiError::invalid(format!(
            "A stream cannot have more than {} tags.",
            limits::TAGS_PER_STREAM_MAX
        )));
    }
    new.settings.distribution = distribution(&fields, mode)?;
    if let Some(mib) = warm::target(engine, &fields, mode)? {
        new.settings.warm_mib = mib;
        new.shards = new.shards.max(mib);
    }
    on_demand_streams(engine, mode)?;
    let creating =
        engine.streams().iter().filter(|it| it.state().definition.status == StreamStatus::Creating).count();
    if creating >= limits::STREAMS_CREATING_MAX {
        let message = format!(
            "Account {} has {creating} streams in the state CREATING, no more than {} are allowed at the same time.",
            engine.0.account,
            limits::STREAMS_CREATING_MAX
        );
        return Err(ApiError::new(ErrorType::LimitExceeded, message));
    }
    engine.create_as(new, Effect::Shown).await.map_err(|error| refusal(engine, error))?;
    Ok(Reply::empty())
}

/// AWS's quota on on-demand streams, under its limits.
fn on_demand_streams(engine: &Engine, mode: StreamMode) -> Result<(), ApiError> {
    let most = limits::ON_DEMAND_STREAMS_MAX;
    let streams = engine.streams();
    let count = streams.iter().filter(|it| it.state().definition.mode == StreamMode::OnDemand).count();
    if engine.0.throttle.is_none() || mode == StreamMode::Provisioned || count < most as usize {
        return Ok(());
    }
    let account = &engine.0.account;
    let message = format!(
        "This request would exceed the on-demand stream limit for the account {account} in {}. Limit: {most}.",
        engine.0.region
    );
    Err(ApiError::new(ErrorType::LimitExceeded, message))
}

fn mode(fields: &Fields) -> StreamMode {
    let details = fields.map("StreamModeDetails");
    match details.and_then(|details| details.get("StreamMode")).and_then(Value::as_str) {
        Some("ON_DEMAND") => StreamMode::OnDemand,
        _ => StreamMode::Provisioned,
    }
}

fn shards(fields: &Fields, mode: StreamMode) -> Result<u32, ApiError> {
    match (mode, fields.integer("ShardCount")) {
        (StreamMode::OnDemand, None) => Ok(limits::ON_DEMAND_SHARDS),
        (StreamMode::OnDemand, Some(_)) => {
            Err(ApiError::invalid("ShardCount must not be given for a stream in ON_DEMAND mode."))
        }
        (StreamMode::Provisioned, Some(count)) => Ok(u32::try_from(count).unwrap_or(u32::MAX)),
        (StreamMode::Provisioned, None) => {
            Err(ApiError::invalid("ShardCount must be given for a stream in PROVISIONED mode."))
        }
    }
}

fn distribution(fields: &Fields, mode: StreamMode) -> Result<Distribution, ApiError> {
    let distribution = fields.text("RecordDistributionStrategy").and_then(Distribution::parse);
    if distribution == Some(Distribution::Auto) && mode == StreamMode::Provisioned {
        return Err(ApiError::invalid(
            "RecordDistributionStrategy AUTO is not supported for streams with the PROVISIONED capacity mode.",
        ));
    }
    Ok(distribution.unwrap_or_default())
}
