//! AWS's rate limits: what an account, a stream, a shard or a consumer may do in a second, when they are switched on.
//!
//! In: what a call is about to do or did, and the time. Out: whether it is within its rate. Invariants: without the limits
//! ([`LimitProfile::None`]) there is no [`Throttle`] at all and a call costs one branch; memory is bounded by what was used
//! lately, as a bucket that is full again is forgotten. Counts begin anew at a start of the engine.
//!
//! Where AWS is silent: a second's worth may be spent at once after a second without; a record larger than that is taken
//! when its shard has been idle for a second and paid for afterwards; control calls without a documented rate have five a
//! second; what is refused costs nothing. Not here: limits that hold in every profile (limits), the rates' sources (table).

mod bucket;
mod gate;
mod shards;
mod table;

pub(crate) use gate::admit;

use crate::api::{ApiError, ErrorType};
use crate::engine::Engine;
use crate::names::{ShardId, StreamName, StreamNumber};
use crate::storage::AppendSet;
use bucket::Bucket;
use shards::{ConsumerBuckets, ShardBuckets, Swept};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use table::{Per, Row};

/// Which rate limits the API keeps. They never apply to records that the engine's host puts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LimitProfile {
    /// None: as fast as the machine is.
    #[default]
    None,
    /// AWS's, with its errors: for programs that shall learn to live with them before they meet the real ones.
    Aws,
}

/// The buckets of an engine.
#[derive(Debug, Default)]
pub(crate) struct Throttle(Mutex<Buckets>);

#[derive(Debug, Default)]
struct Buckets {
    /// By row of the table.
    account: BTreeMap<&'static str, Bucket>,
    streams: BTreeMap<StreamNumber, StreamBuckets>,
}

#[derive(Debug, Default)]
struct StreamBuckets {
    calls: BTreeMap<&'static str, Bucket>,
    shards: Swept<ShardId, ShardBuckets>,
    consumers: Swept<(String, ShardId), ConsumerBuckets>,
}

impl Throttle {
    /// The throttle of a profile, if it has one.
    pub(crate) fn of(profile: LimitProfile) -> Option<Self> {
        match profile {
            LimitProfile::None => None,
            LimitProfile::Aws => Some(Throttle::default()),
        }
    }

    /// Which records of a batch for this stream go beyond the rates of their shards, in order; `None` when none does. The
    /// others are counted as put.
    pub(crate) fn put(&self, stream: StreamNumber, set: &AppendSet, now_ms: u64) -> Option<Vec<bool>> {
        let mut buckets = self.lock();
        let shards = &mut buckets.streams.entry(stream).or_default().shards;
        let mut refused = Vec::new();
        for (i, record) in set.records().enumerate() {
            let (key, _) = set.shards()[record.shard as usize];
            let bytes = record.key.len() + record.data.len();
            if !shards.at(key.shard, now_ms).put(bytes as u64, now_ms) {
                refused.resize(set.len(), false);
                refused[i] = true;
            }
        }
        (!refused.is_empty()).then_some(refused)
    }

    /// Whether a `GetRecords` is within the rates of its shard; counts it if so.
    pub(crate) fn read(&self, stream: StreamNumber, shard: ShardId, now_ms: u64) -> bool {
        self.lock().streams.entry(stream).or_default().shards.at(shard, now_ms).read(now_ms)
    }

    /// A `GetRecords` gave so many bytes of keys and data: what follows waits until they are paid for.
    pub(crate) fn gave(&self, stream: StreamNumber, shard: ShardId, bytes: usize, now_ms: u64) {
        self.lock().streams.entry(stream).or_default().shards.at(shard, now_ms).gave(bytes as u64, now_ms);
    }

    /// Whether a `GetShardIterator` is within the rate of its shard; counts it if so.
    pub(crate) fn iterator(&self, stream: StreamNumber, shard: ShardId, now_ms: u64) -> bool {
        self.lock().streams.entry(stream).or_default().shards.at(shard, now_ms).iterator(now_ms)
    }

    /// Whether a `SubscribeToShard` is within the rate of its consumer and shard; counts it if so.
    pub(crate) fn subscribe(
        &self,
        stream: StreamNumber,
        consumer: &str,
        shard: ShardId,
        now_ms: u64,
    ) -> bool {
        let mut buckets = self.lock();
        let consumers = &mut buckets.streams.entry(stream).or_default().consumers;
        consumers.at((consumer.to_owned(), shard), now_ms).subscribe(now_ms)
    }

    /// So many bytes of keys and data were pushed to a subscription. Gives how many milliseconds the next event has to wait.
    pub(crate) fn pushed(
        &self,
        stream: StreamNumber,
        consumer: &str,
        shard: ShardId,
        bytes: usize,
        now_ms: u64,
    ) -> u64 {
        let mut buckets = self.lock();
        let consumers = &mut buckets.streams.entry(stream).or_default().consumers;
        consumers.at((consumer.to_owned(), shard), now_ms).pushed(bytes as u64, now_ms)
    }

    /// Whether a control call is within its rate; counts it if so. A rate per stream limits nothing without a stream.
    fn call(&self, row: &Row, stream: Option<StreamNumber>, now_ms: u64) -> bool {
        let mut buckets = self.lock();
        let calls = match (row.per, stream) {
            (Per::Account, _) => &mut buckets.account,
            (Per::Stream, Some(stream)) => &mut buckets.streams.entry(stream).or_default().calls,
            (Per::Stream, None) => return true,
        };
        let bucket = calls.entry(row.operation).or_insert_with(|| Bucket::full(row.rate, now_ms));
        bucket.take(row.rate, 1, now_ms)
    }

    /// Forgets a stream that was deleted.
    pub(crate) fn forget(&self, stream: StreamNumber) {
        self.lock().streams.remove(&stream);
    }

    fn lock(&self) -> MutexGuard<'_, Buckets> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The error of a record, a read or an iterator beyond the rate of its shard.
pub(crate) fn shard_exceeded(engine: &Engine, stream: &StreamName, shard: ShardId) -> ApiError {
    let message = shard_message(stream, shard, &engine.0.account);
    ApiError::new(ErrorType::ProvisionedThroughputExceeded, message)
}

/// What that error says.
pub(crate) fn shard_message(stream: &StreamName, shard: ShardId, account: &str) -> String {
    format!("Rate exceeded for shard {shard} in stream {stream} under account {account}.")
}

/// The error of a call beyond the rate of its operation.
pub(crate) fn call_exceeded(engine: &Engine, stream: Option<&StreamName>) -> ApiError {
    let account = &engine.0.account;
    let message = match stream {
        Some(stream) => format!("Rate exceeded for stream {stream} under account {account}."),
        None => format!("Rate exceeded for account {account}."),
    };
    ApiError::new(ErrorType::LimitExceeded, message)
}
