//! PutRecords: up to 500 records in one call, each with its own outcome.

use super::{Outcome, dry_run, open};
use crate::api::check::Violations;
use crate::api::put::{PutRequest, RawRecord};
use crate::api::{ApiError, Call, ErrorType, Fields, Format, Reply, Writer, model};
use crate::batch::{Commit, EngineBatch};
use crate::books::Origin;
use crate::counters::Tally;
use crate::definition::StreamState;
use crate::engine::Engine;
use crate::hash::HashKey;
use crate::limits;
use crate::meters::{PutOutcome, StreamMeter};
use crate::names::SHARD_ID_BYTES;
use crate::sequence::{SEQUENCE_DIGITS, SequenceText};
use crate::settings::Distribution;
use crate::storage::AppendError;
use crate::stream::StreamHandle;
use std::ops::Range;
use std::sync::Arc;

/// Bytes one record takes in the answer: a sequence number, a shard id and what is around them.
const RESULT_BYTES: usize = 128;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    // What the scanner or the checks refuse goes the general way, which has the words, in AWS's order.
    if let Some(request) = PutRequest::scan_many(&call)
        && let Ok(prepared) = prepare(engine, &request)
    {
        return put(engine, &call, &request, prepared).await;
    }
    let fields = Fields::read(&call, model::PUT_RECORDS)?;
    let request = PutRequest::many(&fields);
    let prepared = prepare(engine, &request)?;
    put(engine, &call, &request, prepared).await
}

/// A request that can be staged.
pub(super) struct Prepared {
    pub(super) stream: StreamHandle,
    pub(super) state: Arc<StreamState>,
    pub(super) batch: EngineBatch,
}

/// Finds the stream, checks sizes, decodes and routes. Nothing is staged yet.
pub(super) fn prepare(engine: &Engine, request: &PutRequest<'_>) -> Result<Prepared, ApiError> {
    let stream = request.stream.find(engine)?;
    open(engine, &stream)?;
    let state = stream.state();
    engine.0.keys.look(engine);
    if state.definition.settings.distribution == Distribution::UserPartitionKey {
        check_keys(request)?;
    }
    check_sizes(request, &state)?;
    let batch = fill(&request.records, &state)?;
    if request.dry_run {
        return Err(dry_run());
    }
    Ok(Prepared { stream, state, batch })
}

async fn put(engine: &Engine, call: &Call, request: &PutRequest<'_>, prepared: Prepared) -> Outcome {
    let meter = engine.0.meters.of(prepared.stream.number());
    let started_ms = engine.0.clock.now_ms();
    let mut done = PutOutcome::default();
    let outcome = put_measured(engine, call, request, prepared, &meter, &mut done).await;
    if outcome.is_err() {
        done = PutOutcome { failed: request.records.len() as u64, ..PutOutcome::default() };
    }
    meter.records_put(done);
    meter.put_records.ended(engine.0.clock.now_ms().saturating_sub(started_ms), done.put > 0);
    outcome
}

async fn put_measured(
    engine: &Engine,
    call: &Call,
    request: &PutRequest<'_>,
    prepared: Prepared,
    meter: &StreamMeter,
    done: &mut PutOutcome,
) -> Outcome {
    let Prepared { stream, state, batch } = prepared;
    let mut parts = Vec::with_capacity(1);
    let mut sealing = Sealing::before(engine, &stream);
    let now_ms = engine.0.clock.now_ms();
    let refused = engine.0.throttle.as_ref();
    let refused = refused.and_then(|throttle| throttle.put(stream.number(), batch.set(), now_ms));
    let mut waiting = match refused {
        None => vec![(0..request.records.len(), Some(batch))],
        Some(refused) => {
            meter.beyond_rate(batch.set(), |record| refused[record]);
            within(&refused, &request.records, &state)?
        }
    };
    // One append, unless the log is set up for smaller ones: then halves of halves, in order.
    while let Some((range, batch)) = waiting.pop() {
        let Some(batch) = batch else {
            let error = record_error(engine, AppendError::Busy, range.len())?;
            done.throttled += range.len() as u64;
            parts.push((range, Err(error)));
            continue;
        };
        match engine.append_within(&batch, limits::BUSY_WAIT).await {
            Ok(commit) => {
                done.put += range.len() as u64;
                done.bytes += batch.set().record_bytes() as u64;
                sealing.after(engine, &stream);
                parts.push((range, Ok(commit)));
            }
            Err(AppendError::TooLarge { .. }) if range.len() > 1 => {
                let middle = range.start + range.len() / 2;
                for half in [middle..range.end, range.start..middle] {
                    let batch = fill(&request.records[half.clone()], &state)?;
                    waiting.push((half, Some(batch)));
                }
            }
            Err(error) => {
                let error = record_error(engine, error, range.len())?;
                match error {
                    AppendError::Busy => {
                        done.throttled += range.len() as u64;
                        meter.beyond_rate(batch.set(), |_| true);
                    }
                    _ => done.failed += range.len() as u64,
                }
                parts.push((range, Err(error)));
            }
        }
    }
    let mut results = Results::new(call, request.records.len(), sealing);
    for (range, staged) in parts {
        match staged {
            Ok(mut commit) => {
                (&mut commit).await?;
                results.placed(&commit);
            }
            Err(error) => results.failed(&error, &range, &request.records, &stream, &engine.0.account),
        }
    }
    Ok(Reply::written(results.written()))
}

/// A stream that distributes records by their keys needs one of each; the answer is that of a required member.
fn check_keys(request: &PutRequest<'_>) -> Result<(), ApiError> {
    let missing = request.records.iter().enumerate().filter(|(_, record)| record.key.is_none());
    let mut violations = Violations::default();
    for (at, _) in missing {
        request.path(at, "PartitionKey", |path| violations.required(path));
    }
    violations.outcome()
}

/// Records that follow each other, and their batch, unless they are beyond the rates of their shards.
type Part = (Range<usize>, Option<EngineBatch>);

/// Runs of records that are within the rates of their shards, each with its batch, and runs of those that are not; the last
/// run first.
fn within(refused: &[bool], records: &[RawRecord<'_>], state: &StreamState) -> Result<Vec<Part>, ApiError> {
    let (mut runs, mut start) = (Vec::new(), 0);
    for run in refused.chunk_by(|a, b| a == b) {
        let range = start..start + run.len();
        start = range.end;
        let batch = (!run[0]).then(|| fill(&records[range.clone()], state)).transpose()?;
        runs.push((range, batch));
    }
    runs.reverse();
    Ok(runs)
}

/// The stream's limit is on key and data together, the request's on all of them.
fn check_sizes(request: &PutRequest<'_>, state: &StreamState) -> Result<(), ApiError> {
    let limit = state.definition.record_bytes_max();
    let mut sum = 0;
    for (at, record) in request.records.iter().enumerate() {
        let bytes = record.bytes();
        if bytes > limit {
            let message = request.path(at, "Data", |path| {
                format!(
                    "1 validation error detected: Value at '{path}' failed to satisfy constraint: Member must have length \
                     less than or equal to {limit}"
                )
            });
            return Err(ApiError::new(ErrorType::Validation, message));
        }
        sum += bytes;
    }
    if sum > limits::PUT_RECORDS_BYTES_MAX {
        return Err(ApiError::invalid("Records size exceeds 10 MB limit"));
    }
    Ok(())
}

/// Decodes and routes records.
fn fill(records: &[RawRecord<'_>], state: &StreamState) -> Result<EngineBatch, ApiError> {
    let mut batch = EngineBatch::default();
    batch.set_origin(Origin::Api);
    let bytes = records.iter().map(|record| record.bytes()).sum();
    batch.reserve(records.len(), bytes);
    for record in records {
        let hash = record.hash.map(explicit_hash).transpose()?;
        let decoded = batch.put_in(state, record.key, hash, |out| record.data.append_to(out));
        decoded.ok_or_else(|| ApiError::serialization(""))?;
    }
    Ok(batch)
}

fn explicit_hash(text: &str) -> Result<HashKey, ApiError> {
    // The pattern was checked; what is left is the range.
    HashKey::parse(text).map_err(|_| {
        ApiError::invalid(format!(
            "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {text}"
        ))
    })
}

/// Turns what concerns records into their error codes; what concerns the whole engine or stream fails the request.
fn record_error(engine: &Engine, error: AppendError, count: usize) -> Result<AppendError, ApiError> {
    match error {
        AppendError::Busy | AppendError::Full | AppendError::TooLarge { .. } => {
            Tally::add(&engine.0.tally.records_refused, count);
            Ok(error)
        }
        AppendError::NoKey(shard) => Err(engine.0.keys.refusal(shard.stream, None).into()),
        AppendError::Sealed(_) | AppendError::Failed(_) => Err(error.into()),
    }
}

/// What is around the number and the shard of a record in an answer.
struct Words {
    number: &'static [u8],
    shard: &'static [u8],
    end: &'static [u8],
}

impl Words {
    fn of(format: Format) -> Self {
        match format {
            Format::Json => {
                Words { number: b"\"SequenceNumber\":\"", shard: b"\",\"ShardId\":\"", end: b"\"}" }
            }
            // Heads of texts: of 14 bytes, of SEQUENCE_DIGITS, of 7, of SHARD_ID_BYTES; then the break of a map.
            Format::Cbor => {
                Words { number: b"\x6eSequenceNumber\x78\x38", shard: b"\x67ShardId\x74", end: b"\xff" }
            }
        }
    }
}

const _: () = assert!(SEQUENCE_DIGITS == 0x38 && SHARD_ID_BYTES == 0x14);

/// Whether records are encrypted where they are stored: said only when it was so before and after they were staged.
#[derive(Clone, Copy)]
pub(super) struct Sealing(bool);

impl Sealing {
    pub(super) fn before(engine: &Engine, stream: &StreamHandle) -> Self {
        Sealing(engine.0.keys.is_sealing(stream.number()))
    }

    pub(super) fn after(&mut self, engine: &Engine, stream: &StreamHandle) {
        self.0 = self.0 && engine.0.keys.is_sealing(stream.number());
    }

    /// Writes the member, which AWS leaves out for what is not encrypted.
    pub(super) fn write(self, answer: &mut Writer) {
        if self.0 {
            answer.key("EncryptionType").text("KMS");
        }
    }
}

/// The answer on the way.
struct Results {
    answer: Writer,
    failed: usize,
    sealing: Sealing,
}

impl Results {
    fn new(call: &Call, records: usize, sealing: Sealing) -> Self {
        let mut answer = call.writer().with_capacity(64 + records * RESULT_BYTES);
        answer.open_object();
        answer.key("Records").open_array();
        Results { answer, failed: 0, sealing }
    }

    fn placed(&mut self, commit: &Commit) {
        let words = Words::of(self.answer.format());
        let mut shards: Vec<_> = commit
            .firsts()
            .into_iter()
            .map(|first| {
                let tail = [words.shard, &first.shard.text(), words.end].concat();
                (SequenceText::new(first), first.position, tail)
            })
            .collect();
        for &place in commit.shard_of_records() {
            let (text, position, tail) = &mut shards[place as usize];
            text.move_to(*position);
            *position = position.plus(1);
            self.answer.open_object();
            self.answer.raw(words.number);
            self.answer.raw(text.bytes());
            self.answer.raw(tail);
        }
    }

    fn failed(
        &mut self,
        error: &AppendError,
        range: &Range<usize>,
        records: &[RawRecord<'_>],
        stream: &StreamHandle,
        account: &str,
    ) {
        let state = stream.state();
        for record in &records[range.clone()] {
            self.failed += 1;
            self.answer.open_object();
            match error {
                AppendError::Busy => {
                    let hash = record.hash.and_then(|text| HashKey::parse(text).ok());
                    let hash = hash.unwrap_or_else(|| HashKey::of(record.key_text().as_bytes()));
                    let (shard, name) = (state.shards.route(hash).id, stream.name());
                    let message =
                        format!("Rate exceeded for shard {shard} in stream {name} under account {account}.");
                    self.answer.key("ErrorCode").text(ErrorType::ProvisionedThroughputExceeded.name());
                    self.answer.key("ErrorMessage").text(&message);
                }
                other => {
                    self.answer.key("ErrorCode").text("InternalFailure");
                    self.answer.key("ErrorMessage").text(&other.to_string());
                }
            }
            self.answer.close_object();
        }
    }

    fn written(mut self) -> Writer {
        self.answer.close_array();
        self.answer.key("FailedRecordCount").count(self.failed);
        self.sealing.write(&mut self.answer);
        self.answer.close_object();
        self.answer
    }
}
