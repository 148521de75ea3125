//! CreateStream: durable, and active, before the answer.

use super::resource::tags;
use super::{Outcome, warm};
use crate::api::{ApiError, Call, ErrorType, Fields, Reply, model};
use crate::control::{NewStream, StreamError};
use crate::definition::StreamMode;
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
    match engine.create(new).await {
        Ok(_) => Ok(Reply::empty()),
        Err(error) => Err(refusal(engine, error)),
    }
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

fn refusal(engine: &Engine, error: StreamError) -> ApiError {
    let (account, region) = (&engine.0.account, &engine.0.region);
    match error {
        StreamError::Exists(name) => ApiError::new(
            ErrorType::ResourceInUse,
            format!("Stream {name} under account {account} already exists."),
        ),
        StreamError::Shards { requested, open } => ApiError::new(
            ErrorType::LimitExceeded,
            format!(
                "This request would exceed the shard limit for the account {account} in {region}. Current shard count for \
                 the account: {open}. Limit: {} in all, {} a stream. Number of additional shards that would have resulted \
                 from this request: {requested}.",
                limits::SHARDS_MAX,
                limits::SHARDS_PER_STREAM_MAX
            ),
        ),
        error => error.into(),
    }
}
