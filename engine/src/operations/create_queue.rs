//! CreateQueue: a queue over an on-demand stream, durable before the answer, which says CREATING as AWS does; described at
//! once it is ACTIVE unless the settings say how long that takes.
//!
//! Where AWS is silent: `MaxReceiveCount` with `NONE`, two streams, and more than 50 tags are `ValidationException`.

use super::resource::tags;
use super::{Outcome, account, usable};
use crate::api::address::StreamAddress;
use crate::api::check::whole;
use crate::api::fields::time_ms;
use crate::api::{ApiError, Call, ErrorType, Fields, Reply, model};
use crate::definition::StreamMode;
use crate::engine::Engine;
use crate::limits;
use crate::queues::{self, NewQueue, QueueStatus, Start};
use serde_json::{Map, Value};

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::CREATE_QUEUE)?;
    let [configuration] = fields.list("StreamConfigurationList") else {
        return Err(invalid("StreamConfigurationList must contain exactly one entry."));
    };
    let start = start(configuration.get("StartingPosition"))?;
    let attributes = Attributes::of(fields.map("QueueAttributes"))?;
    let arn = configuration.get("StreamARN").and_then(Value::as_str);
    let stream = StreamAddress { name: None, arn }.find(engine)?;
    usable(engine, &stream)?;
    if stream.state().definition.mode != StreamMode::OnDemand {
        return Err(invalid("Queues are supported only on data streams in on-demand capacity mode."));
    }
    let tags = tags(fields.map("Tags"))?;
    if tags.len() > limits::TAGS_PER_STREAM_MAX {
        let most = limits::TAGS_PER_STREAM_MAX;
        return Err(invalid(&format!("A queue cannot have more than {most} tags.")));
    }
    let new = NewQueue {
        name: fields.text("QueueName").unwrap_or_default().to_owned(),
        stream,
        start,
        visibility_seconds: attributes.visibility_seconds.unwrap_or(limits::QUEUE_VISIBILITY_SECONDS_DEFAULT),
        receives_max: attributes.receives_max.unwrap_or(Some(limits::QUEUE_RECEIVES_DEFAULT)),
        tags,
        registered_max: if account::is_committed(engine)? {
            limits::QUEUES_PER_STREAM_ADVANTAGE_MAX
        } else {
            limits::QUEUES_PER_STREAM_MAX
        },
    };
    let queue = queues::create(engine, new).await?;
    Ok(Reply::written(queues::write_description(engine, &call, &queue, Some(QueueStatus::Creating))))
}

fn invalid(message: &str) -> ApiError {
    ApiError::new(ErrorType::Validation, message)
}

fn start(position: Option<&Value>) -> Result<Start, ApiError> {
    let Some(position) = position.filter(|position| !position.is_null()) else { return Ok(Start::Latest) };
    let time_ms = position.get("Timestamp").filter(|time| !time.is_null()).and_then(time_ms);
    match (position.get("Type").and_then(Value::as_str), time_ms) {
        (Some("AT_TIMESTAMP"), Some(time_ms)) => Ok(Start::AtTimestamp(time_ms)),
        (Some("AT_TIMESTAMP"), None) => Err(invalid("Timestamp is required when Type is AT_TIMESTAMP.")),
        (_, Some(_)) => Err(invalid("Timestamp can be specified only when Type is AT_TIMESTAMP.")),
        (Some("TRIM_HORIZON"), None) => Ok(Start::TrimHorizon),
        (_, None) => Ok(Start::Latest),
    }
}

/// The members of `QueueAttributes` that are there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes {
    pub(super) visibility_seconds: Option<u32>,
    /// After how many receives a record becomes a dead letter, or that it never does.
    pub(super) receives_max: Option<Option<u32>>,
}

impl Attributes {
    /// Reads checked attributes.
    ///
    /// # Errors
    /// `ValidationException` for combinations that mean nothing.
    pub(super) fn of(attributes: Option<&Map<String, Value>>) -> Result<Self, ApiError> {
        let member = |name: &str| attributes?.get(name).filter(|value| !value.is_null());
        let letters = member("DeadLetterConfiguration");
        let most = letters.and_then(|letters| count(letters.get("MaxReceiveCount")?));
        let receives_max = match letters.and_then(|letters| letters.get("TargetType")?.as_str()) {
            None => None,
            Some("NONE") if most.is_some() => {
                return Err(invalid("MaxReceiveCount can be specified only when TargetType is BUILT_IN."));
            }
            Some("NONE") => Some(None),
            Some(_) if most.is_none() => {
                return Err(invalid("MaxReceiveCount is required when TargetType is BUILT_IN."));
            }
            Some(_) => Some(most),
        };
        let visibility_seconds = member("VisibilityTimeoutSeconds").and_then(count);
        Ok(Attributes { visibility_seconds, receives_max })
    }
}

/// A whole number within the model's limits.
fn count(value: &Value) -> Option<u32> {
    u32::try_from(whole(value.as_number()?)).ok()
}
