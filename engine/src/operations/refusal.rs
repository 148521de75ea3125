//! What AWS says when a stream or its shards cannot be changed as asked.

use crate::api::{ApiError, ErrorType};
use crate::control::StreamError;
use crate::definition::{Definition, StreamMode};
use crate::engine::Engine;
use crate::limits;
use crate::names::{ShardId, StreamName};
use crate::reshard::PlanError;
use crate::stream::StreamHandle;

/// The answer to a change that was refused.
pub(super) fn refusal(engine: &Engine, error: StreamError) -> ApiError {
    let account = &engine.0.account;
    match error {
        StreamError::Exists(name) => ApiError::new(
            ErrorType::ResourceInUse,
            format!("Stream {name} under account {account} already exists."),
        ),
        StreamError::NotFound(name) => ApiError::no_stream(name.as_str(), account),
        StreamError::NotActive { stream, status } => ApiError::new(
            ErrorType::ResourceInUse,
            format!(
                "Stream {stream} under account {account} not ACTIVE, instead in state {}",
                status.as_str()
            ),
        ),
        StreamError::Shards { requested, open } => too_many_shards(engine, requested, open),
        StreamError::Plan { stream, error } => of_plan(engine, &stream, error),
        error => error.into(),
    }
}

fn too_many_shards(engine: &Engine, requested: u32, open: usize) -> ApiError {
    let (account, region) = (&engine.0.account, &engine.0.region);
    ApiError::new(
        ErrorType::LimitExceeded,
        format!(
            "This request would exceed the shard limit for the account {account} in {region}. Current shard count for \
             the account: {open}. Limit: {} in all, {} a stream. Number of additional shards that would have resulted \
             from this request: {requested}.",
            limits::SHARDS_MAX,
            limits::SHARDS_PER_STREAM_MAX
        ),
    )
}

fn of_plan(engine: &Engine, stream: &StreamName, error: PlanError) -> ApiError {
    let account = &engine.0.account;
    match error {
        PlanError::Missing(shard) => no_shard(engine, stream, &shard.to_string()),
        PlanError::Closed(shard) => ApiError::invalid(format!(
            "Shard {shard} in stream {stream} under account {account} has already been merged or split, and thus is not \
             eligible for merging or splitting."
        )),
        PlanError::NotAdjacent(shard, adjacent) => ApiError::invalid(format!(
            "Shards {shard} and {adjacent} in stream {stream} under account {account} are not an adjacent pair of shards \
             eligible for merging"
        )),
        PlanError::Outside { .. } | PlanError::Steps(_) => ApiError::invalid(error.to_string()),
        PlanError::Count { .. } => ApiError::new(
            ErrorType::LimitExceeded,
            format!("Stream {stream} under account {account} would have {error}."),
        ),
    }
}

/// A shard that is not one of the stream's.
pub(super) fn no_shard(engine: &Engine, stream: &StreamName, shard: &str) -> ApiError {
    let message =
        format!("Could not find shard {shard} in stream {stream} under account {}.", engine.0.account);
    ApiError::new(ErrorType::ResourceNotFound, message)
}

/// A shard id as a client wrote it.
pub(super) fn shard_id(engine: &Engine, stream: &StreamHandle, text: &str) -> Result<ShardId, ApiError> {
    ShardId::parse(text).map_err(|_| no_shard(engine, stream.name(), text))
}

/// Refuses on-demand streams: their shards are the engine's own business.
pub(super) fn provisioned(
    engine: &Engine,
    stream: &StreamHandle,
    definition: &Definition,
) -> Result<(), ApiError> {
    if definition.mode == StreamMode::Provisioned {
        return Ok(());
    }
    let message = format!(
        "Request is invalid. Stream {} under account {} is in On-Demand mode.",
        stream.name(),
        engine.0.account
    );
    Err(ApiError::new(ErrorType::Validation, message))
}

/// Why a reshard that the API asked for did not begin or end.
pub(super) enum Refused {
    /// The operation's own checks.
    Api(ApiError),
    /// Control's.
    Stream(StreamError),
}

impl Refused {
    pub(super) fn answer(self, engine: &Engine) -> ApiError {
        match self {
            Refused::Api(error) => error,
            Refused::Stream(error) => refusal(engine, error),
        }
    }
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        Refused::Api(error)
    }
}

impl From<StreamError> for Refused {
    fn from(error: StreamError) -> Self {
        Refused::Stream(error)
    }
}
