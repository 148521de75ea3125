//! DescribeStreamConsumer: a consumer by its ARN, or by its name and its stream's.

use super::Outcome;
use super::register_stream_consumer::write_consumer;
use crate::api::address::StreamAddress;
use crate::api::{ApiError, Call, Fields, Reply, model};
use crate::consumers::{self, Consumer, ConsumerArn};
use crate::engine::Engine;
use crate::stream::StreamHandle;
use std::sync::Arc;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::DESCRIBE_STREAM_CONSUMER)?;
    let (stream, consumer) = addressed(engine, &fields)?;
    let mut answer = call.writer();
    answer.open_object();
    answer.key("ConsumerDescription").open_object();
    write_consumer(&mut answer, engine, &stream, &consumer);
    answer.key("StreamARN").text(stream.arn());
    answer.close_object();
    answer.close_object();
    Ok(Reply::written(answer))
}

/// The consumer a request means: by ARN, by name and stream, or by all three when they agree.
pub(super) fn addressed(engine: &Engine, fields: &Fields) -> Result<(StreamHandle, Arc<Consumer>), ApiError> {
    let (stream, name) = (fields.text("StreamARN"), fields.text("ConsumerName"));
    match (fields.text("ConsumerARN"), stream, name) {
        (Some(arn), stream, name) => {
            let found = by_arn(engine, arn)?;
            if name.is_some_and(|name| name != found.1.name) {
                return Err(ApiError::invalid("ConsumerName does not match the consumer of ConsumerARN."));
            }
            if stream.is_some_and(|stream| stream != found.0.arn()) {
                return Err(ApiError::invalid("StreamARN does not match the stream of ConsumerARN."));
            }
            Ok(found)
        }
        (None, Some(arn), Some(name)) => {
            let stream = StreamAddress { name: None, arn: Some(arn) }.find(engine)?;
            let consumer = consumers::find(engine, stream.number(), name);
            let consumer = consumer.ok_or_else(|| consumers::no_consumer(engine, name))?;
            Ok((stream, consumer))
        }
        (None, ..) => {
            Err(ApiError::invalid("Either ConsumerARN or both StreamARN and ConsumerName must be provided."))
        }
    }
}

/// The consumer of this ARN. One that was registered later under the same name has another.
pub(super) fn by_arn(engine: &Engine, text: &str) -> Result<(StreamHandle, Arc<Consumer>), ApiError> {
    let arn = ConsumerArn::parse(text).map_err(|error| ApiError::invalid(error.to_string()))?;
    let gone = || consumers::no_consumer(engine, text);
    let stream = engine.stream(arn.stream.name()).ok_or_else(gone)?;
    let consumer = consumers::find(engine, stream.number(), &arn.name).ok_or_else(gone)?;
    // Region, account and time of registration as well.
    if consumer.arn(engine, &stream) != arn {
        return Err(gone());
    }
    Ok((stream, consumer))
}
