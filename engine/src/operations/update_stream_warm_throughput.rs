//! UpdateStreamWarmThroughput: what write throughput an on-demand stream is ready for: a shard for each MiB/s.
//!
//! Where AWS is silent: a lower target closes no shard; scaling with the traffic does that. The target counts when it is
//! answered, so `CurrentMiBps` has reached it already.

use super::{Outcome, active, warm};
use crate::api::address::StreamAddress;
use crate::api::{Call, Fields, Reply, model};
use crate::definition::Definition;
use crate::engine::Engine;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::UPDATE_STREAM_WARM_THROUGHPUT)?;
    let stream = StreamAddress::of(&fields).find(engine)?;
    active(engine, &stream)?;
    let target = warm::target(engine, &fields, stream.state().definition.mode)?;
    let change = move |definition: &mut Definition| {
        definition.settings.warm_mib = target.unwrap_or_default();
        Ok(())
    };
    warm::apply(engine, &stream, target, change).await?;
    let mut answer = call.writer();
    answer.open_object();
    answer.key("StreamARN").text(stream.arn());
    answer.key("StreamName").text(stream.name().as_str());
    warm::write(&mut answer, &stream.state());
    answer.close_object();
    Ok(Reply::written(answer))
}
