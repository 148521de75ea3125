//! What a `ResourceARN` means: a stream, a consumer of one, or a queue; and the tags and policies they can carry.
//!
//! In: an ARN that satisfies the model. Out: the resource, which exists. Invariant: policies lie under keys that begin with
//! the number of their stream, so that all of them go with it. Not here: tags of consumers' registrations (consumers).

use super::usable;
use crate::api::address::StreamAddress;
use crate::api::{ApiError, ErrorType, Fields};
use crate::consumers::{self, Consumer, ConsumerArn};
use crate::control::StreamError;
use crate::definition::prefix_of;
use crate::engine::Engine;
use crate::limits;
use crate::queues::{self, Queue};
use crate::stream::StreamHandle;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Kind of metadata that policies are; removed with their stream.
const POLICIES: &[u8] = b"s/p/";

/// A resource that exists.
#[derive(Debug)]
pub(super) enum Resource {
    /// A stream.
    Stream(StreamHandle),
    /// A consumer of one.
    Consumer(StreamHandle, Arc<Consumer>),
    /// A queue, which is not being deleted.
    Queue(Arc<Queue>),
}

impl Resource {
    /// The resource that a request means.
    ///
    /// # Errors
    /// `ResourceNotFoundException` when there is none, `ResourceInUseException` when its stream is being made or removed.
    pub(super) fn find(engine: &Engine, fields: &Fields) -> Result<Resource, ApiError> {
        let arn = fields.text("ResourceARN").unwrap_or_default();
        let resource = arn.splitn(6, ':').nth(5).unwrap_or_default();
        let parts: Vec<_> = resource.split('/').collect();
        match parts[..] {
            ["stream", _] => {
                let stream = StreamAddress { name: None, arn: Some(arn) }.find(engine)?;
                usable(engine, &stream)?;
                Ok(Resource::Stream(stream))
            }
            ["stream", _, "consumer", _] => consumer(engine, arn),
            ["queue", _] => Ok(Resource::Queue(queues::find(engine, arn)?)),
            _ => Err(not_found(arn)),
        }
    }

    /// Where its policy is kept.
    pub(super) fn policy_key(&self, engine: &Engine) -> Vec<u8> {
        match self {
            Resource::Stream(stream) => prefix_of(POLICIES, stream.number()),
            Resource::Consumer(stream, consumer) => policy_of_consumer(engine, stream, consumer),
            Resource::Queue(queue) => queues::policy_key(queue.number),
        }
    }
}

/// The consumer of this ARN, which a later one of the same name does not have.
fn consumer(engine: &Engine, text: &str) -> Result<Resource, ApiError> {
    let arn = ConsumerArn::parse(text).map_err(|_| not_found(text))?;
    let stream = arn.stream.to_string();
    let stream = StreamAddress { name: None, arn: Some(&stream) }.find(engine)?;
    usable(engine, &stream)?;
    let consumer = consumers::find(engine, stream.number(), &arn.name);
    let consumer = consumer.filter(|consumer| consumer.arn(engine, &stream) == arn);
    consumer.map(|consumer| Resource::Consumer(stream, consumer)).ok_or_else(|| not_found(text))
}

fn policy_of_consumer(engine: &Engine, stream: &StreamHandle, consumer: &Consumer) -> Vec<u8> {
    let arn = consumer.arn(engine, stream);
    [prefix_of(POLICIES, stream.number()), format!("{}:{}", arn.name, arn.created_s).into_bytes()].concat()
}

/// Removes the policy of a consumer that is deregistered. Staged by the call: one that stays behind after a crash belongs to
/// no consumer, and goes with the stream.
///
/// # Errors
/// What the metadata store says.
pub(super) async fn forget_policy(
    engine: &Engine,
    stream: &StreamHandle,
    consumer: &Consumer,
) -> Result<(), StreamError> {
    let key = policy_of_consumer(engine, stream, consumer);
    if let Some(stored) = engine.0.meta.get(&key) {
        engine.0.meta.delete(&key, stored.version).await?;
    }
    Ok(())
}

fn not_found(arn: &str) -> ApiError {
    ApiError::new(ErrorType::ResourceNotFound, format!("Resource {arn} not found."))
}

/// Tags of a request, checked: the model has no pattern for them, the documentation of `TagResource` has.
///
/// # Errors
/// `InvalidArgumentException`.
pub(super) fn tags(map: Option<&Map<String, Value>>) -> Result<BTreeMap<String, String>, ApiError> {
    let mut tags = BTreeMap::new();
    for (key, value) in map.into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        if key.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("aws:")) {
            return Err(ApiError::invalid(format!(
                "The tag key {key} is not valid: keys that begin with aws: are reserved."
            )));
        }
        if let Some(wrong) = key.chars().chain(value.chars()).find(|&c| !is_tag_character(c)) {
            return Err(ApiError::invalid(format!(
                "The tag {key} contains the invalid character '{}'. Tags may only contain Unicode letters, digits, white \
                 space, or these symbols: _ . : / = + - % @.",
                wrong.escape_default()
            )));
        }
        tags.insert(key.clone(), value.to_owned());
    }
    Ok(tags)
}

fn is_tag_character(c: char) -> bool {
    c.is_alphanumeric() || c.is_whitespace() || "_.:/=+-%@".contains(c)
}

/// Adds tags over those of the same key. `kind` and `name` say whose.
///
/// # Errors
/// `InvalidArgumentException` when there are then more than a resource can carry.
pub(super) fn add_tags(
    tags: &mut BTreeMap<String, String>,
    added: BTreeMap<String, String>,
    (kind, name): (&str, &str),
    account: &str,
) -> Result<(), ApiError> {
    tags.extend(added);
    if tags.len() > limits::TAGS_PER_STREAM_MAX {
        return Err(ApiError::invalid(format!(
            "Failed to add tags to {kind} {name} under account {account} because a given {kind} cannot have more than {} \
             tags associated with it.",
            limits::TAGS_PER_STREAM_MAX
        )));
    }
    Ok(())
}

/// Keys of tags to remove.
pub(super) fn tag_keys(fields: &Fields) -> Vec<String> {
    fields.list("TagKeys").iter().filter_map(Value::as_str).map(str::to_owned).collect()
}
