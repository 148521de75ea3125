//! ReceiveQueueRecords: up to ten records, waiting for the first one; durable as received before the answer.

use super::Outcome;
use crate::api::{Call, Fields, Reply, model};
use crate::counters::Tally;
use crate::engine::Engine;
use crate::limits;
use crate::queues::{self, Receive, Side};
use std::time::Duration;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::RECEIVE_QUEUE_RECORDS)?;
    receive(engine, &call, &fields, Side::Live).await
}

/// Receives from one side of a queue.
pub(super) async fn receive(engine: &Engine, call: &Call, fields: &Fields, side: Side) -> Outcome {
    let queue = queues::target(engine, fields)?;
    let seconds = |name: &str| fields.integer(name).and_then(|seconds| u64::try_from(seconds).ok());
    let ask = Receive {
        side,
        records: fields.count("Limit").unwrap_or(limits::QUEUE_RECEIVE_MAX),
        wait: Duration::from_secs(seconds("WaitTimeSeconds").unwrap_or(limits::QUEUE_WAIT_SECONDS_DEFAULT)),
        timeout_ms: seconds("VisibilityTimeoutSeconds").map(|seconds| seconds * 1_000),
    };
    let delivery = queues::receive(engine, &queue, ask).await?;
    let data_bytes: usize = delivery.records.iter().map(|record| record.content.data.len()).sum();
    Tally::add(&engine.0.tally.records_read, delivery.records.len());
    Tally::add(&engine.0.tally.bytes_read, data_bytes);
    let around = delivery.records.len() * limits::RECORD_REPLY_BYTES * 2;
    let mut answer = call.writer().with_capacity(64 + data_bytes.div_ceil(3) * 4 + around);
    answer.open_object();
    answer.key("QueueRecords").open_array();
    for record in &delivery.records {
        answer.open_object();
        answer.key("ReceiptHandle").text(&record.handle);
        answer.key("RecordId").text(&record.record.to_string());
        answer.key("PartitionKey").text(&String::from_utf8_lossy(&record.content.key));
        answer.key("Data").blob(&record.content.data);
        answer.key("ApproximateArrivalTimestamp").time(record.content.time_ms);
        answer.key("FirstReceiveTimestamp").time(record.first_ms);
        answer.key("ReceiveCount").integer(record.count);
        answer.close_object();
    }
    answer.close_array();
    answer.close_object();
    Ok(match delivery.room {
        Some(room) => Reply::large(answer, room),
        None => Reply::written(answer),
    })
}
