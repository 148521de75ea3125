//! EnableEnhancedMonitoring: metrics per shard, shown from then on (they count since the shard was first used).
//!
//! Where AWS is silent: it takes effect at once and the stream stays ACTIVE; metrics that are on already stay on.

use super::Outcome;
use crate::api::address::StreamAddress;
use crate::api::{ApiError, Call, Fields, Reply, Writer, model};
use crate::engine::Engine;
use crate::stream::StreamHandle;
use serde_json::Value;
use tokio::sync::oneshot;

/// The metrics there are per shard, in the model's order; `ALL` is each of them.
const METRICS: [&str; 7] = [
    "IncomingBytes",
    "IncomingRecords",
    "OutgoingBytes",
    "OutgoingRecords",
    "WriteProvisionedThroughputExceeded",
    "ReadProvisionedThroughputExceeded",
    "IteratorAgeMilliseconds",
];

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::ENABLE_ENHANCED_MONITORING)?;
    change(engine, &call, &fields, |is_on, is_named| is_on || is_named).await
}

/// Sets which metrics are kept, by whether each is on and whether the request names it; answers before and after.
pub(super) async fn change(
    engine: &Engine,
    call: &Call,
    fields: &Fields,
    stays: fn(bool, bool) -> bool,
) -> Outcome {
    let stream = StreamAddress::of(fields).find(engine)?;
    super::usable(engine, &stream)?;
    let named: Vec<&str> = fields.list("ShardLevelMetrics").iter().filter_map(Value::as_str).collect();
    let named = METRICS.map(|metric| named.iter().any(|&name| name == metric || name == "ALL"));
    let (told, before) = oneshot::channel();
    engine
        .change(stream.name(), move |definition| {
            let current = std::mem::take(&mut definition.settings.shard_level_metrics);
            let is_on = |metric: &str| current.iter().any(|name| name == metric);
            let desired = METRICS.iter().zip(named).filter(|&(metric, named)| stays(is_on(metric), named));
            definition.settings.shard_level_metrics = desired.map(|(&metric, _)| metric.to_owned()).collect();
            let desired = definition.settings.shard_level_metrics.clone();
            // The other end is gone when the caller is: nobody wants to know.
            let _ = told.send((current, desired));
            Ok::<_, ApiError>(())
        })
        .await?;
    let (current, desired) = before.await.unwrap_or_default();
    Ok(Reply::written(written(call.writer(), &stream, &current, &desired)))
}

fn written(mut answer: Writer, stream: &StreamHandle, current: &[String], desired: &[String]) -> Writer {
    answer.open_object();
    answer.key("StreamName").text(stream.name().as_str());
    for (member, metrics) in [("CurrentShardLevelMetrics", current), ("DesiredShardLevelMetrics", desired)] {
        answer.key(member).open_array();
        metrics.iter().for_each(|metric| answer.text(metric));
        answer.close_array();
    }
    answer.key("StreamARN").text(stream.arn());
    answer.close_object();
    answer
}
