//! ListQueues: the queues of the account or of some streams, in order of creation, a page at a time.
//!
//! Where AWS is silent: a page has 100 queues unless asked, 1,000 at most; with several filters a queue has to match one;
//! times of creation are compared by the second, as SDKs send them.

use super::Outcome;
use crate::api::fields::time_ms;
use crate::api::{Call, Fields, Reply, model};
use crate::engine::Engine;
use crate::limits;
use crate::queues::{self, Queue};
use serde_json::Value;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::LIST_QUEUES)?;
    let now_ms = engine.0.clock.now_ms();
    let after = fields.text("NextToken").map(|token| queues::open_page(token, now_ms)).transpose()?;
    let page =
        fields.count("MaxResults").unwrap_or(limits::LIST_QUEUES_PAGE).min(limits::LIST_QUEUES_PAGE_MAX);
    let filters = fields.list("StreamFilter");
    let mut queues = engine.0.queues.list();
    queues.retain(|queue| {
        let begins = after.is_none_or(|after| queue.number > after);
        begins && (filters.is_empty() || filters.iter().any(|filter| matches(engine, queue, filter)))
    });
    let more = queues.len() > page;
    queues.truncate(page);
    let mut answer = call.writer();
    answer.open_object();
    answer.key("QueueSummaries").open_array();
    for queue in &queues {
        let definition = queue.definition();
        answer.open_object();
        answer.key("QueueName").text(&definition.name);
        answer.key("QueueARN").text(&queue.arn);
        answer.key("QueueStatus").text(definition.status(engine.steady_ms()).as_str());
        answer.key("QueueCreationTimestamp").time(definition.created_ms);
        answer.key("Streams").open_array();
        answer.open_object();
        answer.key("StreamARN").text(&definition.stream_arn(&engine.0.region, &engine.0.account));
        answer.key("StreamCreationTimestamp").time(definition.stream_created_ms);
        answer.close_object();
        answer.close_array();
        answer.close_object();
    }
    answer.close_array();
    if let Some(last) = queues.last().filter(|_| more) {
        answer.key("NextToken").text(&queues::seal_page(now_ms, last.number));
    }
    answer.close_object();
    Ok(Reply::written(answer))
}

/// Whether a queue is of the stream a filter names. Times are compared by the second: SDKs send no more.
fn matches(engine: &Engine, queue: &Queue, filter: &Value) -> bool {
    let definition = queue.definition();
    let arn = definition.stream_arn(&engine.0.region, &engine.0.account);
    let created_ms = filter.get("StreamCreationTimestamp").and_then(time_ms);
    filter.get("StreamARN").and_then(Value::as_str) == Some(&arn)
        && created_ms.is_none_or(|time_ms| time_ms / 1_000 == definition.stream_created_ms / 1_000)
}
