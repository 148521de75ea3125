//! GetRecords: records from an iterator on, and how far behind the end they are.

use super::{Outcome, dry_run, open};
use crate::api::address::StreamAddress;
use crate::api::token::{Kind, Token};
use crate::api::{ApiError, Call, ErrorType, Fields, Format, Reply, Writer, model};
use crate::counters::Tally;
use crate::definition::{Shard, StreamState};
use crate::engine::Engine;
use crate::limits;
use crate::meters::StreamMeter;
use crate::sequence::{SEQUENCE_DIGITS, SequenceNumber, SequenceText};
use crate::storage::{Page, ReadLimits, RecordRef, ShardKey};
use crate::stream::StreamHandle;
use crate::throttle::shard_exceeded;
use std::sync::Arc;
use tokio::sync::OwnedSemaphorePermit;

pub(super) async fn run(engine: &Engine, call: Call) -> Outcome {
    let fields = Fields::read(&call, model::GET_RECORDS)?;
    let now_ms = engine.0.clock.now_ms();
    let token = Token::iterator(fields.text("ShardIterator").unwrap_or_default(), now_ms)?;
    let (stream, shard) = find(engine, &fields, &token)?;
    if fields.is_true("DryRun") {
        return Err(dry_run());
    }
    let meter = engine.0.meters.of(stream.number());
    let outcome = give(engine, &call, &fields, &token, &stream, &shard, &meter).await;
    meter.get_records.ended(engine.0.clock.now_ms().saturating_sub(now_ms), outcome.is_ok());
    outcome
}

async fn give(
    engine: &Engine,
    call: &Call,
    fields: &Fields,
    token: &Token,
    stream: &StreamHandle,
    shard: &Shard,
    meter: &StreamMeter,
) -> Outcome {
    let now_ms = engine.0.clock.now_ms();
    let within = engine
        .0
        .throttle
        .as_ref()
        .is_none_or(|throttle| throttle.read(token.shard.stream, token.shard.shard, now_ms));
    if !within {
        meter.read_exceeded(shard.id);
        return Err(shard_exceeded(engine, stream.name(), shard.id));
    }
    let records = fields.count("Limit").unwrap_or(limits::GET_RECORDS_MAX);
    let mut permit = room(engine).await?;
    let limits = ReadLimits {
        records,
        bytes: limits::GET_RECORDS_BYTES_MAX,
        not_before_ms: engine.horizon_ms(&stream.state().definition),
    };
    engine.0.keys.look(engine);
    let page = engine.0.log.read(token.shard, token.position, limits).await;
    let page = page.map_err(|error| engine.0.keys.unreadable(error))?;
    let behind_ms = behind(engine, &page, token.shard, limits, now_ms).await?;
    let state = stream.state();
    let answer = write(engine, call, &page, token, (&state, shard), meter, (now_ms, behind_ms));
    // What was set aside and not used goes to other readers at once.
    let surplus = permit.num_permits().saturating_sub(answer.len());
    drop(permit.split(surplus));
    Ok(Reply::large(answer, permit))
}

fn find(engine: &Engine, fields: &Fields, token: &Token) -> Result<(StreamHandle, Shard), ApiError> {
    let address = StreamAddress { name: None, arn: fields.text("StreamARN") };
    if address.arn.is_some() && address.resolve(engine)? != token.name {
        return Err(ApiError::invalid("The ShardIterator does not belong to the stream of StreamARN."));
    }
    let gone = || {
        let (shard, name, account) = (token.shard.shard, &token.name, &engine.0.account);
        let message = format!("Shard {shard} in stream {name} under account {account} does not exist");
        ApiError::new(ErrorType::ResourceNotFound, message)
    };
    // A stream of the same name created later has another number.
    let stream = engine.stream(&token.name).filter(|s| s.number() == token.shard.stream).ok_or_else(gone)?;
    open(engine, &stream)?;
    let shard = stream.state().shards.get(token.shard.shard).cloned().ok_or_else(gone)?;
    Ok((stream, shard))
}

/// Waits for the room the largest reply could take.
async fn room(engine: &Engine) -> Result<OwnedSemaphorePermit, ApiError> {
    let bytes = u32::try_from(limits::REPLY_BYTES_MAX).unwrap_or(u32::MAX);
    let room = Arc::clone(&engine.0.replies).acquire_many_owned(bytes);
    match tokio::time::timeout(limits::REPLY_WAIT, room).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(ApiError::new(
            ErrorType::ProvisionedThroughputExceeded,
            "Too many answers wait for clients that do not read them.",
        )),
    }
}

fn write(
    engine: &Engine,
    call: &Call,
    page: &Page,
    token: &Token,
    (state, shard): (&StreamState, &Shard),
    meter: &StreamMeter,
    (now_ms, behind_ms): (u64, u64),
) -> Writer {
    let (mut count, mut data_bytes, mut key_bytes) = (0, 0, 0);
    for run in &page.runs {
        run.visit(&mut |record| {
            count += 1;
            data_bytes += record.data.len();
            key_bytes += record.key.len();
        });
    }
    if let Some(throttle) = &engine.0.throttle {
        throttle.gave(token.shard.stream, token.shard.shard, key_bytes + data_bytes, now_ms);
    }
    meter.given(shard.id, count, key_bytes + data_bytes, behind_ms, now_ms);
    Tally::add(&engine.0.tally.records_read, count);
    Tally::add(&engine.0.tally.bytes_read, data_bytes);
    Tally::add(&engine.0.tally.lost_ranges_read, page.lost.len());
    let mut answer = call
        .writer()
        .with_capacity(1_024 + data_bytes.div_ceil(3) * 4 + key_bytes + count * limits::RECORD_REPLY_BYTES);
    answer.open_object();
    answer.key("Records").open_array();
    let first = SequenceNumber {
        generation: shard.generation,
        position: token.position,
        stream: token.shard.stream,
        shard: shard.id,
    };
    write_records(&mut answer, page, first);
    answer.close_array();
    // A shard that was closed before the read and is read to its end has nothing to go on to; its children have. Its last
    // records may have been trimmed.
    match shard.closed {
        Some(closed) if page.next >= closed.end.min(page.end) => write_children(&mut answer, state, shard),
        _ => {
            let next = Token { issued_ms: now_ms, position: page.next, ..token.clone() };
            answer.key("NextShardIterator").text(&next.seal(Kind::ShardIterator));
        }
    }
    answer.key("MillisBehindLatest").integer(behind_ms);
    answer.close_object();
    answer
}

/// The records of a page, as members of the array that is open. `first` is a number of their shard.
pub(crate) fn write_records(answer: &mut Writer, page: &Page, first: SequenceNumber) {
    let mut records = Records {
        words: Words::of(answer.format()),
        answer,
        text: SequenceText::new(first),
        time: Vec::new(),
        time_ms: None,
    };
    for run in &page.runs {
        let encrypted = run.is_encrypted();
        run.visit(&mut |record| records.write(record, encrypted));
    }
}

/// How far the position after this page is behind the end. When no record is given before it (behind a range that is lost),
/// the next one says it.
async fn behind(
    engine: &Engine,
    page: &Page,
    shard: ShardKey,
    limits: ReadLimits,
    now_ms: u64,
) -> Result<u64, ApiError> {
    let mut reached_ms = last_ms(page);
    if reached_ms.is_none() && page.next < page.end {
        let next = engine.0.log.read(shard, page.next, ReadLimits { records: 1, ..limits }).await;
        reached_ms = last_ms(&next.map_err(|error| engine.0.keys.unreadable(error))?);
    }
    Ok(behind_ms(page, reached_ms, now_ms))
}

/// 0 at the end; else the age of the last record given, and at least 1.
pub(crate) fn behind_ms(page: &Page, last_ms: Option<u64>, now_ms: u64) -> u64 {
    if page.next >= page.end {
        return 0;
    }
    let reached_ms = last_ms.or(page.newest_ms).unwrap_or(now_ms);
    now_ms.saturating_sub(reached_ms).max(1)
}

fn last_ms(page: &Page) -> Option<u64> {
    let mut last_ms = None;
    if let Some(run) = page.runs.last() {
        run.visit(&mut |record| last_ms = Some(record.time_ms));
    }
    last_ms
}

/// The shards that a closed one went over into, to go on reading with.
pub(crate) fn write_children(answer: &mut Writer, state: &StreamState, shard: &Shard) {
    answer.key("ChildShards").open_array();
    for child in state.shards.children(shard.id) {
        answer.open_object();
        answer.key("ShardId").text(&child.id.to_string());
        answer.key("ParentShards").open_array();
        for parent in [child.parent, child.adjacent_parent].into_iter().flatten() {
            answer.text(&parent.to_string());
        }
        answer.close_array();
        answer.key("HashKeyRange").open_object();
        answer.key("StartingHashKey").text(&child.range.start.to_string());
        answer.key("EndingHashKey").text(&child.range.end.to_string());
        answer.close_object();
        answer.close_object();
    }
    answer.close_array();
}

struct Records<'a> {
    words: Words,
    answer: &'a mut Writer,
    text: SequenceText,
    /// `time_ms` as text: records of one append share it.
    time: Vec<u8>,
    time_ms: Option<u64>,
}

impl Records<'_> {
    fn write(&mut self, record: RecordRef<'_>, encrypted: bool) {
        if self.time_ms != Some(record.time_ms) {
            let mut time = Writer::new(self.answer.format());
            time.time(record.time_ms);
            self.time = time.into_bytes();
            self.time_ms = Some(record.time_ms);
        }
        self.text.move_to(record.position);
        self.answer.open_object();
        self.answer.raw(self.words.number);
        self.answer.raw(self.text.bytes());
        self.answer.raw(self.words.time);
        self.answer.raw(&self.time);
        self.answer.raw(self.words.data);
        self.answer.blob(record.data);
        // A record that was put without a key is given without one.
        if !record.key.is_empty() {
            self.answer.raw(self.words.key);
            self.answer.lossy_text(record.key);
        }
        if encrypted {
            self.answer.raw(self.words.encrypted);
        }
        self.answer.close_object();
    }
}

/// What is around the values of a record in an answer.
struct Words {
    number: &'static [u8],
    time: &'static [u8],
    data: &'static [u8],
    key: &'static [u8],
    encrypted: &'static [u8],
}

impl Words {
    fn of(format: Format) -> Self {
        match format {
            Format::Json => Words {
                number: b"\"SequenceNumber\":\"",
                time: b"\",\"ApproximateArrivalTimestamp\":",
                data: b",\"Data\":",
                key: b",\"PartitionKey\":",
                encrypted: b",\"EncryptionType\":\"KMS\"",
            },
            // Heads of texts: of 14 bytes, of SEQUENCE_DIGITS, of 27, of 4, of 12, of 14 and of 3.
            Format::Cbor => Words {
                number: b"\x6eSequenceNumber\x78\x38",
                time: b"\x78\x1bApproximateArrivalTimestamp",
                data: b"\x64Data",
                key: b"\x6cPartitionKey",
                encrypted: b"\x6eEncryptionType\x63KMS",
            },
        }
    }
}

const _: () = assert!(SEQUENCE_DIGITS == 0x38);
