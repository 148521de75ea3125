//! The operations of the API, one file each: a body in, a [`Reply`] or an [`ApiError`] out.
//!
//! An operation reads and checks its body, addresses a stream, does what it is for through [`Engine`], and writes its
//! answer. Not here: HTTP, authentication (http), storage.
//!
//! Where AWS documents nothing, or the engine differs on purpose:
//! - A stream is ACTIVE when CreateStream is answered, and gone when DeleteStream is: there is nothing to wait for.
//! - A record is too large when data and key together exceed the stream's limit; the answer is worded like the model's
//!   constraint on the data.
//! - A log that is busy for longer than a moment is throttling (400, or the record's code in PutRecords). A full disk is
//!   `InternalFailure`, not throttling: slowing down does not help. A stopped log is 503 for the whole request.
//! - PutRecords is staged whole, so its records succeed or fail together, unless the journal is set up for appends smaller
//!   than the call; then it goes in parts.
//! - `MillisBehindLatest` is the age of the last record given, 0 at the end, never 0 before it.
//! - Records and their acknowledgements carry no `EncryptionType`; descriptions say `NONE`.
//! - An ARN of another region or account names a stream that does not exist.
//! - ON_DEMAND is accepted and kept; its four shards do not grow. `AUTO` distribution and warm throughput are refused.
//! - `StreamId` is checked and otherwise ignored, as the model reserves it.

mod add_tags_to_stream;
mod change_retention;
mod create_stream;
mod delete_stream;
mod describe_limits;
mod describe_stream;
mod describe_stream_summary;
mod get_records;
mod get_shard_iterator;
mod list_shards;
mod list_streams;
mod list_tags_for_stream;
mod put_record;
mod put_records;
mod remove_tags_from_stream;

use crate::api::{ApiError, ErrorType, Json, Reply};
use crate::batch::{Commit, EngineBatch};
use crate::definition::Shard;
use crate::engine::Engine;
use crate::limits;
use crate::sequence::SequenceNumber;
use crate::storage::{AppendError, BoxFuture, Position};
use crate::stream::StreamHandle;
use bytes::Bytes;

/// What an operation gives.
pub(crate) type Outcome = Result<Reply, ApiError>;

/// An operation of the API.
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) run: for<'a> fn(&'a Engine, Bytes) -> BoxFuture<'a, Outcome>,
}

/// The operations there are, by name.
static OPERATIONS: &[Operation] = &[
    Operation { name: "AddTagsToStream", run: |e, b| Box::pin(add_tags_to_stream::run(e, b)) },
    Operation { name: "CreateStream", run: |e, b| Box::pin(create_stream::run(e, b)) },
    Operation {
        name: "DecreaseStreamRetentionPeriod",
        run: |e, b| Box::pin(change_retention::decrease(e, b)),
    },
    Operation { name: "DeleteStream", run: |e, b| Box::pin(delete_stream::run(e, b)) },
    Operation { name: "DescribeLimits", run: |e, b| Box::pin(describe_limits::run(e, b)) },
    Operation { name: "DescribeStream", run: |e, b| Box::pin(describe_stream::run(e, b)) },
    Operation { name: "DescribeStreamSummary", run: |e, b| Box::pin(describe_stream_summary::run(e, b)) },
    Operation { name: "GetRecords", run: |e, b| Box::pin(get_records::run(e, b)) },
    Operation { name: "GetShardIterator", run: |e, b| Box::pin(get_shard_iterator::run(e, b)) },
    Operation {
        name: "IncreaseStreamRetentionPeriod",
        run: |e, b| Box::pin(change_retention::increase(e, b)),
    },
    Operation { name: "ListShards", run: |e, b| Box::pin(list_shards::run(e, b)) },
    Operation { name: "ListStreams", run: |e, b| Box::pin(list_streams::run(e, b)) },
    Operation { name: "ListTagsForStream", run: |e, b| Box::pin(list_tags_for_stream::run(e, b)) },
    Operation { name: "PutRecord", run: |e, b| Box::pin(put_record::run(e, b)) },
    Operation { name: "PutRecords", run: |e, b| Box::pin(put_records::run(e, b)) },
    Operation { name: "RemoveTagsFromStream", run: |e, b| Box::pin(remove_tags_from_stream::run(e, b)) },
];

/// Operations of the service model that this engine does not have.
static ABSENT: &[&str] = &[
    "AcknowledgeDeadLetterQueueRecords",
    "AcknowledgeQueueRecords",
    "CreateChannel",
    "CreateQueue",
    "DeleteChannel",
    "DeleteQueue",
    "DeleteResourcePolicy",
    "DeregisterStreamConsumer",
    "DescribeAccountSettings",
    "DescribeChannel",
    "DescribeQueue",
    "DescribeStreamConsumer",
    "DisableEnhancedMonitoring",
    "EnableEnhancedMonitoring",
    "GetResourcePolicy",
    "ListChannels",
    "ListQueues",
    "ListStreamConsumers",
    "ListTagsForResource",
    "MergeShards",
    "PutResourcePolicy",
    "ReceiveDeadLetterQueueRecords",
    "ReceiveQueueRecords",
    "RegisterStreamConsumer",
    "RestoreDeadLetterQueueRecords",
    "SplitShard",
    "StartStreamEncryption",
    "StopStreamEncryption",
    "SubscribeToShard",
    "TagResource",
    "UntagResource",
    "UpdateAccountSettings",
    "UpdateChannel",
    "UpdateDeadLetterQueueRecordsVisibility",
    "UpdateMaxRecordSize",
    "UpdateQueue",
    "UpdateQueueRecordsVisibility",
    "UpdateShardCount",
    "UpdateStreamMode",
    "UpdateStreamRecordDistributionStrategy",
    "UpdateStreamWarmThroughput",
];

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
        Err(_) if ABSENT.binary_search(&name).is_ok() => {
            let message = format!("Operation {name} is not available in this engine.");
            Err(ApiError::new(ErrorType::UnsupportedOperation, message))
        }
        Err(_) => Err(ApiError::new(ErrorType::UnknownOperation, "")),
    }
}

/// Stages a batch, waiting a moment for room.
async fn stage(engine: &Engine, batch: &EngineBatch) -> Result<Commit, AppendError> {
    match engine.append(batch) {
        Err(AppendError::Busy) => {}
        outcome => return outcome,
    }
    let room = async {
        loop {
            // Everything staged becoming durable frees all room there is; if others took it again, so be it.
            if let Err(error) = engine.barrier().await {
                return Err(AppendError::Failed(error.reason));
            }
            match engine.append(batch) {
                // The next barrier may be there at once; without a pause this would spin, and never see its own timeout.
                Err(AppendError::Busy) => tokio::time::sleep(limits::BUSY_PAUSE).await,
                outcome => return outcome,
            }
        }
    };
    tokio::time::timeout(limits::BUSY_WAIT, room).await.unwrap_or(Err(AppendError::Busy))
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

/// One shard as the API describes it.
fn write_shard(json: &mut Json, stream: &StreamHandle, shard: &Shard) {
    let number = |position| SequenceNumber {
        generation: shard.generation,
        position,
        stream: stream.number(),
        shard: shard.id,
    };
    json.open_object();
    json.key("ShardId").text(&shard.id.to_string());
    if let Some(parent) = shard.parent {
        json.key("ParentShardId").text(&parent.to_string());
    }
    if let Some(parent) = shard.adjacent_parent {
        json.key("AdjacentParentShardId").text(&parent.to_string());
    }
    json.key("HashKeyRange").open_object();
    json.key("StartingHashKey").text(&shard.range.start.to_string());
    json.key("EndingHashKey").text(&shard.range.end.to_string());
    json.close_object();
    json.key("SequenceNumberRange").open_object();
    json.key("StartingSequenceNumber").text(&number(Position::default()).to_string());
    if let Some(closed) = shard.closed {
        json.key("EndingSequenceNumber").text(&number(closed.end).to_string());
    }
    json.close_object();
    json.close_object();
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
        assert!(find("SplitShard").err().unwrap().message.contains("SplitShard"));
        assert_eq!(find("PutRecords").unwrap().1.name, "PutRecords");
    }
}
