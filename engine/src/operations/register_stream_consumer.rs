//! RegisterStreamConsumer: durable before the answer.
//!
//! Where AWS is silent: the time of registration is a whole second, as the ARN has it; a name that was deregistered in the
//! same second gets the next one, so that its ARN is another. The consumers of a stream go with it.

use super::resource::{add_tags, tags};
use super::{Outcome, account, usable};
use crate::api::address::StreamAddress;
use crate::api::{Call, Fields, Reply, Writer, model};
use crate::consumers::{self, Consumer};
use crate::engine::Engine;
use crate::limits;
use crate::stream::StreamHandle;
use std::collections::BTreeMap;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::REGISTER_STREAM_CONSUMER)?;
    let stream = StreamAddress::of(&fields).find(engine)?;
    usable(engine, &stream)?;
    let name = fields.text("ConsumerName").unwrap_or_default().to_owned();
    let mut tagged = BTreeMap::new();
    add_tags(&mut tagged, tags(fields.map("Tags"))?, ("consumer", &name), &engine.0.account)?;
    let limit = match account::is_committed(engine)? {
        true => limits::CONSUMERS_PER_STREAM_ADVANTAGE_MAX,
        false => limits::CONSUMERS_PER_STREAM_MAX,
    };
    let consumer = consumers::register(engine, &stream, name, tagged, limit).await?;
    let mut answer = call.writer();
    answer.open_object();
    answer.key("Consumer").open_object();
    write_consumer(&mut answer, engine, &stream, &consumer);
    answer.close_object();
    answer.close_object();
    Ok(Reply::written(answer))
}

/// The members that every description of a consumer has.
pub(super) fn write_consumer(
    answer: &mut Writer,
    engine: &Engine,
    stream: &StreamHandle,
    consumer: &Consumer,
) {
    answer.key("ConsumerName").text(&consumer.name);
    answer.key("ConsumerARN").text(&consumer.arn(engine, stream).to_string());
    answer.key("ConsumerStatus").text(consumer.status(engine.steady_ms()));
    answer.key("ConsumerCreationTimestamp").time(consumer.created_ms);
}
