//! The operations of the API, one file each: a body in, a [`Reply`] or an [`ApiError`] out.
//!
//! An operation reads and checks its body, addresses a stream, does what it is for through [`Engine`], and writes its
//! answer. Not here: HTTP, authentication (http), storage.
//!
//! Where AWS documents nothing, or the engine differs on purpose:
//! - Work is done when it is answered; the states CREATING, UPDATING and DELETING are shown as long as the host has set, by
//!   default not at all, so that a waiter succeeds at its first look. A stream that is CREATING or DELETING takes no reads and
//!   writes (`ResourceNotFoundException`); AWS may still take some while DELETING.
//! - A longer retention brings nothing back that had expired, as AWS documents. Closed shards are listed until retention has
//!   passed since their end; then their ids are as those of shards that never were, except as `ParentShardId`.
//! - A write during a reshard waits until the new shards are open, up to ten seconds, instead of failing.
//! - Borders between shards after UpdateShardCount may be a few keys of 2^128 from where a new stream would have them.
//! - A record is too large when data and key together exceed the stream's limit; the answer is worded like the model's
//!   constraint on the data.
//! - A log that is busy for longer than a moment is throttling (400, or the record's code in PutRecords). A full disk is
//!   `InternalFailure`, not throttling: slowing down does not help. A stopped log is 503 for the whole request.
//! - PutRecords is staged whole, so its records succeed or fail together, unless the journal is set up for appends smaller
//!   than the call; then it goes in parts.
//! - `MillisBehindLatest` is the age of the last record given, 0 at the end, never 0 before it; behind a lost range without a
//!   record it is the age of the next one.
//! - Records and their acknowledgements carry `EncryptionType` when they are encrypted and not otherwise; descriptions always.
//! - An ARN of another region or account names a stream that does not exist.
//! - On-demand streams scale by what their shards took in a minute (scaling says how).
//! - `StreamId` is checked and otherwise ignored, as the model reserves it.

mod account;
mod acknowledge_dead_letter_queue_records;
mod acknowledge_queue_records;
mod add_tags_to_stream;
mod change_retention;
mod create_queue;
mod create_stream;
mod delete_queue;
mod delete_resource_policy;
mod delete_stream;
mod deregister_stream_consumer;
mod describe_account_settings;
mod describe_limits;
mod describe_queue;
mod describe_stream;
mod describe_stream_consumer;
mod describe_stream_summary;
mod disable_enhanced_monitoring;
mod enable_enhanced_monitoring;
pub(crate) mod get_records;
mod get_resource_policy;
mod get_shard_iterator;
mod list_queues;
mod list_shards;
mod list_stream_consumers;
mod list_streams;
mod list_tags_for_resource;
mod list_tags_for_stream;
mod merge_shards;
mod policy;
mod put_record;
mod put_records;
mod put_resource_policy;
mod receive_dead_letter_queue_records;
mod receive_queue_records;
mod refusal;
mod register_stream_consumer;
mod remove_tags_from_stream;
mod resource;
mod restore_dead_letter_queue_records;
mod split_shard;
mod start_stream_encryption;
mod stop_stream_encryption;
mod subscribe_to_shard;
mod tag_resource;
mod untag_resource;
mod update_account_settings;
mod update_dead_letter_queue_records_visibility;
mod update_max_record_size;
mod update_queue;
mod update_queue_records_visibility;
mod update_shard_count;
mod update_stream_mode;
mod update_stream_record_distribution_strategy;
mod update_stream_warm_throughput;
mod warm;

use crate::api::{ApiError, Call, ErrorType, Reply, Writer, model};
use crate::clock::is_over;
use crate::control;
use crate::definition::{Shard, StreamStatus};
use crate::engine::Engine;
use crate::sequence::SequenceNumber;
use crate::storage::{BoxFuture, Position};
use crate::stream::StreamHandle;
use crate::throttle;

/// What an operation gives.
pub(crate) type Outcome = Result<Reply, ApiError>;

/// An operation of the API.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) run: for<'a> fn(&'a Engine, Call) -> BoxFuture<'a, Outcome>,
}

/// The operations there are, by name.
static OPERATIONS: &[Operation] = &[
    Operation {
        name: "AcknowledgeDeadLetterQueueRecords",
        run: |e, c| Box::pin(acknowledge_dead_letter_queue_records::run(e, c)),
    },
    Operation { name: "AcknowledgeQueueRecords", run: |e, c| Box::pin(acknowledge_queue_records::run(e, c)) },
    Operation { name: "AddTagsToStream", run: |e, c| Box::pin(add_tags_to_stream::run(e, c)) },
    Operation { name: "CreateQueue", run: |e, c| Box::pin(create_queue::run(e, c)) },
    Operation { name: "CreateStream", run: |e, c| Box::pin(create_stream::run(e, c)) },
    Operation {
        name: "DecreaseStreamRetentionPeriod",
        run: |e, c| Box::pin(change_retention::decrease(e, c)),
    },
    Operation { name: "DeleteQueue", run: |e, c| Box::pin(delete_queue::run(e, c)) },
    Operation { name: "DeleteResourcePolicy", run: |e, c| Box::pin(delete_resource_policy::run(e, c)) },
    Operation { name: "DeleteStream", run: |e, c| Box::pin(delete_stream::run(e, c)) },
    Operation {
        name: "DeregisterStreamConsumer",
        run: |e, c| Box::pin(deregister_stream_consumer::run(e, c)),
    },
    Operation { name: "DescribeAccountSettings", run: |e, c| Box::pin(describe_account_settings::run(e, c)) },
    Operation { name: "DescribeLimits", run: |e, c| Box::pin(describe_limits::run(e, c)) },
    Operation { name: "DescribeQueue", run: |e, c| Box::pin(describe_queue::run(e, c)) },
    Operation { name: "DescribeStream", run: |e, c| Box::pin(describe_stream::run(e, c)) },
    Operation { name: "DescribeStreamConsumer", run: |e, c| Box::pin(describe_stream_consumer::run(e, c)) },
    Operation { name: "DescribeStreamSummary", run: |e, c| Box::pin(describe_stream_summary::run(e, c)) },
    Operation {
        name: "DisableEnhancedMonitoring",
        run: |e, c| Box::pin(disable_enhanced_monitoring::run(e, c)),
    },
    Operation {
        name: "EnableEnhancedMonitoring",
        run: |e, c| Box::pin(enable_enhanced_monitoring::run(e, c)),
    },
    Operation { name: "GetRecords", run: |e, c| Box::pin(get_records::run(e, c)) },
    Operation { name: "GetResourcePolicy", run: |e, c| Box::pin(get_resource_policy::run(e, c)) },
    Operation { name: "GetShardIterator", run: |e, c| Box::pin(get_shard_iterator::run(e, c)) },
    Operation {
        name: "IncreaseStreamRetentionPeriod",
        run: |e, c| Box::pin(change_retention::increase(e, c)),
    },
    Operation { name: "ListQueues", run: |e, c| Box::pin(list_queues::run(e, c)) },
    Operation { name: "ListShards", run: |e, c| Box::pin(list_shards::run(e, c)) },
    Operation { name: "ListStreamConsumers", run: |e, c| Box::pin(list_stream_consumers::run(e, c)) },
    Operation { name: "ListStreams", run: |e, c| Box::pin(list_streams::run(e, c)) },
    Operation { name: "ListTagsForResource", run: |e, c| Box::pin(list_tags_for_resource::run(e, c)) },
    Operation { name: "ListTagsForStream", run: |e, c| Box::pin(list_tags_for_stream::run(e, c)) },
    Operation { name: "MergeShards", run: |e, c| Box::pin(merge_shards::run(e, c)) },
    Operation { name: "PutRecord", run: |e, c| Box::pin(put_record::run(e, c)) },
    Operation { name: "PutRecords", run: |e, c| Box::pin(put_records::run(e, c)) },
    Operation { name: "PutResourcePolicy", run: |e, c| Box::pin(put_resource_policy::run(e, c)) },
    Operation {
        name: "ReceiveDeadLetterQueueRecords",
        run: |e, c| Box::pin(receive_dead_letter_queue_records::run(e, c)),
    },
    Operation { name: "ReceiveQueueRecords", run: |e, c| Box::pin(receive_queue_records::run(e, c)) },
    Operation { name: "RegisterStreamConsumer", run: |e, c| Box::pin(register_stream_consumer::run(e, c)) },
    Operation { name: "RemoveTagsFromStream", run: |e, c| Box::pin(remove_tags_from_stream::run(e, c)) },
    Operation {
        name: "RestoreDeadLetterQueueRecords",
        run: |e, c| Box::pin(restore_dead_letter_queue_records::run(e, c)),
    },
    Operation { name: "SplitShard", run: |e, c| Box::pin(split_shard::run(e, c)) },
    Operation { name: "StartStreamEncryption", run: |e, c| Box::pin(start_stream_encryption::run(e, c)) },
    Operation { name: "StopStreamEncryption", run: |e, c| Box::pin(stop_stream_encryption::run(e, c)) },
    Operation { name: "SubscribeToShard", run: |e, c| Box::pin(subscribe_to_shard::run(e, c)) },
    Operation { name: "TagResource", run: |e, c| Box::pin(tag_resource::run(e, c)) },
    Operation { name: "UntagResource", run: |e, c| Box::pin(untag_resource::run(e, c)) },
    Operation { name: "UpdateAccountSettings", run: |e, c| Box::pin(update_account_settings::run(e, c)) },
    Operation {
        name: "UpdateDeadLetterQueueRecordsVisibility",
        run: |e, c| Box::pin(update_dead_letter_queue_records_visibility::run(e, c)),
    },
    Operation { name: "UpdateMaxRecordSize", run: |e, c| Box::pin(update_max_record_size::run(e, c)) },
    Operation { name: "UpdateQueue", run: |e, c| Box::pin(update_queue::run(e, c)) },
    Operation {
        name: "UpdateQueueRecordsVisibility",
        run: |e, c| Box::pin(update_queue_records_visibility::run(e, c)),
    },
    Operation { name: "UpdateShardCount", run: |e, c| Box::pin(update_shard_count::run(e, c)) },
    Operation { name: "UpdateStreamMode", run: |e, c| Box::pin(update_stream_mode::run(e, c)) },
    Operation {
        name: "UpdateStreamRecordDistributionStrategy",
        run: |e, c| Box::pin(update_stream_record_distribution_strategy::run(e, c)),
    },
    Operation {
        name: "UpdateStreamWarmThroughput",
        run: |e, c| Box::pin(update_stream_warm_throughput::run(e, c)),
    },
];

/// Operations of the service model that this engine does not have.
static ABSENT: &[&str] =
    &["CreateChannel", "DeleteChannel", "DescribeChannel", "ListChannels", "UpdateChannel"];

/// The names of all operations, in the order of their numbers.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    OPERATIONS.iter().map(|operation| operation.name)
}

/// The operation of this name, with its number.
///
/// # Errors
/// `UnknownOperationException`, or for operations of the model that are absent `UnsupportedOperationException`.
pub(crate) fn find(name: &str) -> Result<(usize, &'static Operation), ApiError> {
    match OPERATIONS.binary_search_by_key(&name, |operation| operation.name) {
        Ok(number) => Ok((number, &OPERATIONS[number])),
        Err(_) if ABSENT.binary_search(&name).is_ok() => Err(absent(name)),
        Err(_) => Err(ApiError::new(ErrorType::UnknownOperation, "")),
    }
}

/// Runs an operation.
pub(crate) async fn run(operation: &Operation, engine: &Engine, call: Call) -> Outcome {
    control::keep_time(engine).await;
    let outcome = limited(operation, engine, call).await.map_err(|error| declared(operation, error));
    if let Err(error) = &outcome {
        // SDKs have no type for others, so their callers could not handle them.
        debug_assert!(
            model::may_answer(operation.name, error.error.name()),
            "{} does not declare {error}",
            operation.name
        );
    }
    outcome
}

/// A log that takes nothing for a moment is a throughput that was exceeded to those who put records. Other operations have no such
/// error; SDKs try again what the service could not do just now.
fn declared(operation: &Operation, error: ApiError) -> ApiError {
    let is_busy = error.error == ErrorType::ProvisionedThroughputExceeded;
    if is_busy && !model::may_answer(operation.name, error.error.name()) {
        return ApiError::new(ErrorType::ServiceUnavailable, error.message);
    }
    error
}

/// Runs an operation within the rates of control calls.
async fn limited(operation: &Operation, engine: &Engine, call: Call) -> Outcome {
    throttle::admit(engine, operation.name, &call)?;
    (operation.run)(engine, call).await
}

/// The answer of operations that the model has and this engine has not.
fn absent(name: &str) -> ApiError {
    ApiError::new(
        ErrorType::UnsupportedOperation,
        format!("Operation {name} is not available in this engine."),
    )
}

/// The answer to a `DryRun` that would have succeeded.
fn dry_run() -> ApiError {
    ApiError::new(ErrorType::DryRunOperation, "Request would have succeeded, but the DryRun flag is set.")
}

/// Refuses streams that are being made or removed.
fn usable(engine: &Engine, stream: &StreamHandle) -> Result<(), ApiError> {
    if stream.state().definition.status.is_usable() {
        return Ok(());
    }
    let (name, account) = (stream.name(), &engine.0.account);
    let message = format!("Stream {name} under account {account} not ACTIVE.");
    Err(ApiError::new(ErrorType::ResourceInUse, message))
}

/// Refuses reads and writes of streams that are being made or removed, as streams that are not there: the model has no other
/// error for them.
fn open(engine: &Engine, stream: &StreamHandle) -> Result<(), ApiError> {
    usable(engine, stream).map_err(|_| ApiError::no_stream(stream.name().as_str(), &engine.0.account))
}

/// Refuses streams that are not ready for a change of their settings: one change at a time.
fn active(engine: &Engine, stream: &StreamHandle) -> Result<(), ApiError> {
    let state = stream.state();
    let (status, until_ms) = (state.definition.status, state.definition.until_ms);
    // A state whose time is over ends with the change itself.
    let over = until_ms.is_some_and(|until_ms| is_over(until_ms, engine.steady_ms()));
    if status == StreamStatus::Active || (over && status != StreamStatus::Deleting) {
        return Ok(());
    }
    let (name, account) = (stream.name(), &engine.0.account);
    let message =
        format!("Stream {name} under account {account} not ACTIVE, instead in state {}", status.as_str());
    Err(ApiError::new(ErrorType::ResourceInUse, message))
}

/// The hash keys of a shard.
fn write_range(answer: &mut Writer, shard: &Shard) {
    answer.key("HashKeyRange").open_object();
    answer.key("StartingHashKey").text(&shard.range.start.to_string());
    answer.key("EndingHashKey").text(&shard.range.end.to_string());
    answer.close_object();
}

/// One shard as the API describes it.
fn write_shard(answer: &mut Writer, stream: &StreamHandle, shard: &Shard) {
    let number = |position| SequenceNumber {
        generation: shard.generation,
        position,
        stream: stream.number(),
        shard: shard.id,
    };
    answer.open_object();
    answer.key("ShardId").text(&shard.id.to_string());
    if let Some(parent) = shard.parent {
        answer.key("ParentShardId").text(&parent.to_string());
    }
    if let Some(parent) = shard.adjacent_parent {
        answer.key("AdjacentParentShardId").text(&parent.to_string());
    }
    write_range(answer, shard);
    answer.key("SequenceNumberRange").open_object();
    answer.key("StartingSequenceNumber").text(&number(Position::default()).to_string());
    if let Some(closed) = shard.closed {
        answer.key("EndingSequenceNumber").text(&number(closed.end).to_string());
    }
    answer.close_object();
    answer.close_object();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_together_the_whole_model() {
        assert!(OPERATIONS.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(ABSENT.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(names().all(|name| !ABSENT.contains(&name)));
        assert_eq!(
            OPERATIONS.len() + ABSENT.len(),
            57,
            "the model of 2013-12-02 as of botocore 1.44 has 57 operations"
        );
    }

    #[test]
    fn unknown_and_absent_operations_are_told_apart() {
        assert_eq!(find("Nope").err().unwrap().error, ErrorType::UnknownOperation);
        assert!(find("CreateChannel").err().unwrap().message.contains("CreateChannel"));
        assert_eq!(find("PutRecords").unwrap().1.name, "PutRecords");
    }
}
