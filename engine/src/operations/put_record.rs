//! PutRecord: one record, answered when it is durable.

use super::put_records::{Refusal, check_sizes, fill};
use super::{Outcome, dry_run, stage, usable};
use crate::api::scan::PutRequest;
use crate::api::{ApiError, Fields, Json, Reply, model};
use crate::counters::Tally;
use crate::engine::Engine;
use crate::names::StreamName;
use crate::sequence::SequenceNumber;
use crate::storage::{Cursor, ShardKey};
use crate::stream::StreamHandle;
use bytes::Bytes;

pub(super) async fn run(engine: &Engine, body: Bytes) -> Outcome {
    if let Some(request) = PutRequest::scan_one(&body) {
        match put(engine, &request).await {
            Err(Refusal::Base64) => {}
            Err(Refusal::Answer(error)) => return Err(error),
            Ok(reply) => return Ok(reply),
        }
    }
    let fields = Fields::read(&body, model::PUT_RECORD)?;
    match put(engine, &PutRequest::one(&fields)).await {
        Ok(reply) => Ok(reply),
        Err(Refusal::Answer(error)) => Err(error),
        Err(Refusal::Base64) => Err(ApiError::serialization("")),
    }
}

async fn put(engine: &Engine, request: &PutRequest<'_>) -> Result<Reply, Refusal> {
    let stream = request.stream.find(engine)?;
    usable(engine, &stream)?;
    let state = stream.state();
    check_sizes(&request.records, &state)?;
    if let Some(after) = request.after {
        check_after(engine, &stream, after).await?;
    }
    let batch = fill(&request.records, &state)?;
    if request.dry_run {
        return Err(dry_run().into());
    }
    let mut commit = stage(engine, &batch).await.inspect_err(|_| Tally::add(&engine.0.tally.records_refused, 1))?;
    (&mut commit).await?;
    let mut json = Json::with_capacity(160);
    json.open_object();
    if let Some((shard, number)) = commit.placed().next() {
        json.key("SequenceNumber").text(&number.to_string());
        json.key("ShardId").text(&shard.to_string());
    }
    json.close_object();
    Ok(Reply::json(json))
}

/// `SequenceNumberForOrdering`: the new record must sort after this one, which every new record of a shard does when the
/// number is one the stream has given.
async fn check_after(engine: &Engine, stream: &StreamHandle, text: &str) -> Result<(), ApiError> {
    let Ok(number) = SequenceNumber::parse(text) else { return Err(invalid(engine, stream.name(), text)) };
    if number.stream != stream.number() || stream.state().shards.get(number.shard).is_none() {
        return Err(invalid(engine, stream.name(), text));
    }
    let shard = ShardKey { stream: number.stream, shard: number.shard };
    let end = engine.0.log.locate(shard, Cursor::Latest).await?;
    if number.position >= end {
        return Err(invalid(engine, stream.name(), text));
    }
    Ok(())
}

fn invalid(engine: &Engine, stream: &StreamName, number: &str) -> ApiError {
    let account = &engine.0.account;
    ApiError::invalid(format!(
        "ExclusiveMinimumSequenceNumber {number} used in PutRecord on stream {stream} under account {account} is invalid."
    ))
}
