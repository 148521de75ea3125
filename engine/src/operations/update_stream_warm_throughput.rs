//! UpdateStreamWarmThroughput: what write throughput an on-demand stream is ready for.

use super::{Outcome, active, warm};
use crate::api::address::StreamAddress;
use crate::api::{ApiError, Call, Fields, Reply, model};
use crate::engine::Engine;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::UPDATE_STREAM_WARM_THROUGHPUT)?;
    let stream = StreamAddress::of(&fields).find(engine)?;
    active(engine, &stream)?;
    let target = warm::target(engine, &fields, stream.state().definition.mode)?;
    engine
        .change(stream.name(), move |definition| {
            definition.settings.warm_mib = target.unwrap_or_default();
            Ok::<_, ApiError>(())
        })
        .await?;
    let mut answer = call.writer();
    answer.open_object();
    answer.key("StreamARN").text(stream.arn());
    answer.key("StreamName").text(stream.name().as_str());
    warm::write(&mut answer, &stream.state());
    answer.close_object();
    Ok(Reply::written(answer))
}
