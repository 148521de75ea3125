//! What CloudWatch's metrics of AWS/Kinesis are made of: counts per stream, shard and consumer, since the start.
//!
//! In: what calls did. Out: readings by metric ([`Metric`]). Invariants: counting never waits for a reader of the metrics;
//! a batch costs a few atomic additions per shard; streams and shards that are gone are forgotten. Bytes are those of keys
//! and data, in and out alike. Latencies are of calls that found their stream, in the clock's whole milliseconds: single
//! ones are rounded, their mean is not. Not here: the text format (the host's), alarms.

mod families;
mod minute;

pub use families::{Metric, MetricKind, Reading, Sample};

use crate::books::{Origin, Origins};
use crate::engine::Engine;
use crate::names::{ShardId, StreamNumber};
use crate::storage::{AppendSet, ShardKey};
use minute::MinuteMax;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// The meters of all streams.
#[derive(Debug, Default)]
pub(crate) struct Meters(RwLock<BTreeMap<StreamNumber, Arc<StreamMeter>>>);

/// A count that only grows.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, count: u64) {
        self.0.fetch_add(count, Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// Calls of one operation on one stream.
#[derive(Debug, Default)]
pub(crate) struct CallMeter {
    calls: Count,
    succeeded: Count,
    latency_ms: Count,
}

impl CallMeter {
    /// A call ended after so many milliseconds.
    pub(crate) fn ended(&self, latency_ms: u64, succeeded: bool) {
        self.calls.add(1);
        self.succeeded.add(u64::from(succeeded));
        self.latency_ms.add(latency_ms);
    }
}

/// What became of the records of one `PutRecords`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct PutOutcome {
    pub(crate) bytes: u64,
    pub(crate) put: u64,
    pub(crate) throttled: u64,
    pub(crate) failed: u64,
}

/// Counts of one stream.
#[derive(Debug, Default)]
pub(crate) struct StreamMeter {
    pub(crate) origins: Origins,
    incoming_bytes: Count,
    incoming_records: Count,
    pub(crate) put_record: CallMeter,
    put_record_bytes: Count,
    pub(crate) put_records: CallMeter,
    put_records_bytes: Count,
    put_records_put: Count,
    put_records_throttled: Count,
    put_records_failed: Count,
    write_exceeded: Count,
    pub(crate) get_records: CallMeter,
    get_records_bytes: Count,
    get_records_records: Count,
    iterator_age_ms: MinuteMax,
    read_exceeded: Count,
    subscribe_succeeded: Count,
    subscribe_exceeded: Count,
    consumers: Mutex<BTreeMap<String, ConsumerMeter>>,
    shards: RwLock<BTreeMap<ShardId, Arc<ShardMeter>>>,
}

/// Counts of one shard.
#[derive(Debug, Default)]
pub(crate) struct ShardMeter {
    pub(crate) incoming_bytes: Count,
    pub(crate) incoming_records: Count,
    outgoing_bytes: Count,
    outgoing_records: Count,
    iterator_age_ms: MinuteMax,
    pub(crate) write_exceeded: Count,
    read_exceeded: Count,
}

/// Counts of the events pushed to one consumer.
#[derive(Debug, Default)]
struct ConsumerMeter {
    bytes: u64,
    records: u64,
    succeeded: u64,
    behind_ms: MinuteMax,
}

impl Meters {
    /// The meter of a stream.
    pub(crate) fn of(&self, stream: StreamNumber) -> Arc<StreamMeter> {
        let meters = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(meter) = meters.get(&stream) {
            return Arc::clone(meter);
        }
        drop(meters);
        let mut meters = self.0.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(meters.entry(stream).or_default())
    }

    /// Counts records per stream before they are staged, or takes that back when they are not.
    pub(crate) fn offered(&self, set: &AppendSet, origin: Origin, is_taken_back: bool) {
        for shards in set.shards().chunk_by(|(a, _), (b, _)| a.stream == b.stream) {
            let records = shards.iter().map(|(_, count)| u64::from(*count)).sum();
            self.of(shards[0].0.stream).origins.offered(origin, records, is_taken_back);
        }
    }

    /// Records were put, by the API or by the engine's host.
    pub(crate) fn incoming(&self, set: &AppendSet, origin: Origin) {
        let bytes = set.shard_bytes();
        let mut shards = set.shards().iter().zip(&bytes).peekable();
        while let Some(&((ShardKey { stream, .. }, _), _)) = shards.peek() {
            let meter = self.of(*stream);
            while let Some((&(key, count), &bytes)) = shards.next_if(|((key, _), _)| key.stream == *stream) {
                meter.incoming(key.shard, u64::from(count), bytes);
                meter.origins.staged(origin, u64::from(count));
            }
        }
    }

    /// Forgets a stream that was deleted.
    pub(crate) fn forget(&self, stream: StreamNumber) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&stream);
    }
}

impl StreamMeter {
    fn incoming(&self, shard: ShardId, records: u64, bytes: u64) {
        self.incoming_bytes.add(bytes);
        self.incoming_records.add(records);
        let meter = self.shard(shard);
        meter.incoming_bytes.add(bytes);
        meter.incoming_records.add(records);
    }

    /// A `PutRecord` put its record.
    pub(crate) fn record_put(&self, bytes: usize) {
        self.put_record_bytes.add(bytes as u64);
    }

    /// A `PutRecords` was answered.
    pub(crate) fn records_put(&self, outcome: PutOutcome) {
        self.put_records_bytes.add(outcome.bytes);
        self.put_records_put.add(outcome.put);
        self.put_records_throttled.add(outcome.throttled);
        self.put_records_failed.add(outcome.failed);
    }

    /// Records of a batch were refused as too many: those whose places `refused` says.
    pub(crate) fn beyond_rate(&self, set: &AppendSet, refused: impl Fn(usize) -> bool) {
        for (_, record) in set.records().enumerate().filter(|&(place, _)| refused(place)) {
            self.write_exceeded.add(1);
            self.shard(set.shards()[record.shard as usize].0.shard).write_exceeded.add(1);
        }
    }

    /// Records that calls of the API were not taken for: as too many, and for another reason.
    pub(crate) fn refused(&self) -> (u64, u64) {
        let lone = self.put_record.calls.get().saturating_sub(self.put_record.succeeded.get());
        (self.put_records_throttled.get(), self.put_records_failed.get() + lone)
    }

    /// A `GetRecords` was beyond the rate of this shard.
    pub(crate) fn read_exceeded(&self, shard: ShardId) {
        self.read_exceeded.add(1);
        self.shard(shard).read_exceeded.add(1);
    }

    /// A `GetRecords` gave so much, and its reader was so far behind then.
    pub(crate) fn given(&self, shard: ShardId, records: usize, bytes: usize, behind_ms: u64, now_ms: u64) {
        let (records, bytes) = (records as u64, bytes as u64);
        self.get_records_records.add(records);
        self.get_records_bytes.add(bytes);
        self.iterator_age_ms.saw(behind_ms, now_ms);
        let shard = self.shard(shard);
        shard.outgoing_records.add(records);
        shard.outgoing_bytes.add(bytes);
        shard.iterator_age_ms.saw(behind_ms, now_ms);
    }

    /// A `SubscribeToShard` was answered; `None` is one beyond its rate.
    pub(crate) fn subscribed(&self, succeeded: Option<bool>) {
        match succeeded {
            Some(succeeded) => self.subscribe_succeeded.add(u64::from(succeeded)),
            None => self.subscribe_exceeded.add(1),
        }
    }

    /// An event of so many records was pushed to a consumer, which was so far behind then.
    pub(crate) fn pushed(
        &self,
        consumer: &str,
        shard: ShardId,
        records: usize,
        bytes: usize,
        behind_ms: u64,
        now_ms: u64,
    ) {
        let (records, bytes) = (records as u64, bytes as u64);
        let mut consumers = self.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        if !consumers.contains_key(consumer) {
            consumers.insert(consumer.to_owned(), ConsumerMeter::default());
        }
        if let Some(meter) = consumers.get_mut(consumer) {
            meter.bytes += bytes;
            meter.records += records;
            meter.succeeded += 1;
            meter.behind_ms.saw(behind_ms, now_ms);
        }
        drop(consumers);
        let shard = self.shard(shard);
        shard.outgoing_records.add(records);
        shard.outgoing_bytes.add(bytes);
    }

    /// Forgets a consumer that was deregistered.
    pub(crate) fn forget_consumer(&self, consumer: &str) {
        self.consumers.lock().unwrap_or_else(PoisonError::into_inner).remove(consumer);
    }

    /// The meter of a shard.
    pub(crate) fn shard(&self, shard: ShardId) -> Arc<ShardMeter> {
        let shards = self.shards.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(meter) = shards.get(&shard) {
            return Arc::clone(meter);
        }
        drop(shards);
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(shards.entry(shard).or_default())
    }

    /// Forgets shards that cannot be read any more.
    fn keep_shards(&self, exists: impl Fn(ShardId) -> bool) {
        let mut shards = self.shards.write().unwrap_or_else(PoisonError::into_inner);
        shards.retain(|&shard, _| exists(shard));
    }
}

impl Engine {
    /// All metrics that CloudWatch has of streams, with their values since the start. Those of single shards are of the
    /// streams and metrics that `EnableEnhancedMonitoring` chose. Bounded by
    /// [`METERED_STREAMS_MAX`](crate::limits::METERED_STREAMS_MAX) and
    /// [`METERED_SHARDS_MAX`](crate::limits::METERED_SHARDS_MAX): what is beyond is added up under an empty name.
    #[must_use]
    pub fn metrics(&self) -> Vec<Metric> {
        families::read(self, families::Shards::Chosen)
    }

    /// The same with every open shard, chosen or not: for whoever looks at this engine for a while. Within the same bounds.
    #[must_use]
    pub fn metrics_of_open_shards(&self) -> Vec<Metric> {
        families::read(self, families::Shards::Open)
    }
}
