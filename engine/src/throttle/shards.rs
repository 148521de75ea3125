//! What is left of the rates of one shard and of one consumer of a shard, and a map that forgets full buckets.

use super::bucket::{Bucket, Rate};
use crate::limits;
use std::collections::BTreeMap;

const PUT_BYTES: Rate = Rate::per_second(limits::SHARD_PUT_BYTES_PER_SECOND);
const PUT_RECORDS: Rate = Rate::per_second(limits::SHARD_PUT_RECORDS_PER_SECOND);
const READ_BYTES: Rate = Rate::per_second(limits::SHARD_READ_BYTES_PER_SECOND);
const READ_CALLS: Rate = Rate::per_second(limits::SHARD_READ_CALLS_PER_SECOND);
const ITERATORS: Rate = Rate::per_second(limits::SHARD_ITERATORS_PER_SECOND);
const SUBSCRIBE_CALLS: Rate = Rate::per_second(limits::SUBSCRIBE_CALLS_PER_SECOND);
const PUSHED_BYTES: Rate = Rate::per_second(limits::CONSUMER_BYTES_PER_SECOND);

/// Something whose buckets can be forgotten once they are full again.
pub(super) trait Refills {
    fn new(now_ms: u64) -> Self;
    fn is_full(&mut self, now_ms: u64) -> bool;
}

/// Buckets of one shard.
#[derive(Debug)]
pub(super) struct ShardBuckets {
    put_bytes: Bucket,
    put_records: Bucket,
    read_bytes: Bucket,
    read_calls: Bucket,
    iterators: Bucket,
}

impl ShardBuckets {
    pub(super) fn put(&mut self, bytes: u64, now_ms: u64) -> bool {
        // Both or neither: a refused record costs nothing.
        self.put_bytes.fits(PUT_BYTES, bytes, now_ms)
            && self.put_records.take(PUT_RECORDS, 1, now_ms)
            && self.put_bytes.take(PUT_BYTES, bytes, now_ms)
    }

    pub(super) fn read(&mut self, now_ms: u64) -> bool {
        self.read_bytes.is_solvent(READ_BYTES, now_ms) && self.read_calls.take(READ_CALLS, 1, now_ms)
    }

    pub(super) fn gave(&mut self, bytes: u64, now_ms: u64) {
        self.read_bytes.spend(READ_BYTES, bytes, now_ms);
    }

    pub(super) fn iterator(&mut self, now_ms: u64) -> bool {
        self.iterators.take(ITERATORS, 1, now_ms)
    }
}

impl Refills for ShardBuckets {
    fn new(now_ms: u64) -> Self {
        ShardBuckets {
            put_bytes: Bucket::full(PUT_BYTES, now_ms),
            put_records: Bucket::full(PUT_RECORDS, now_ms),
            read_bytes: Bucket::full(READ_BYTES, now_ms),
            read_calls: Bucket::full(READ_CALLS, now_ms),
            iterators: Bucket::full(ITERATORS, now_ms),
        }
    }

    fn is_full(&mut self, now_ms: u64) -> bool {
        self.put_bytes.is_full(PUT_BYTES, now_ms)
            && self.put_records.is_full(PUT_RECORDS, now_ms)
            && self.read_bytes.is_full(READ_BYTES, now_ms)
            && self.read_calls.is_full(READ_CALLS, now_ms)
            && self.iterators.is_full(ITERATORS, now_ms)
    }
}

/// Buckets of one consumer at one shard.
#[derive(Debug)]
pub(super) struct ConsumerBuckets {
    calls: Bucket,
    bytes: Bucket,
}

impl ConsumerBuckets {
    pub(super) fn subscribe(&mut self, now_ms: u64) -> bool {
        self.calls.take(SUBSCRIBE_CALLS, 1, now_ms)
    }

    pub(super) fn pushed(&mut self, bytes: u64, now_ms: u64) -> u64 {
        self.bytes.spend(PUSHED_BYTES, bytes, now_ms);
        self.bytes.wait_ms(PUSHED_BYTES, now_ms)
    }
}

impl Refills for ConsumerBuckets {
    fn new(now_ms: u64) -> Self {
        ConsumerBuckets {
            calls: Bucket::full(SUBSCRIBE_CALLS, now_ms),
            bytes: Bucket::full(PUSHED_BYTES, now_ms),
        }
    }

    fn is_full(&mut self, now_ms: u64) -> bool {
        self.calls.is_full(SUBSCRIBE_CALLS, now_ms) && self.bytes.is_full(PUSHED_BYTES, now_ms)
    }
}

/// A map of buckets that holds those used lately: a full one remembers nothing.
#[derive(Debug)]
pub(super) struct Swept<K, V> {
    map: BTreeMap<K, V>,
    /// Size at which full ones are looked for: twice what the last look left, so that looking costs little on average.
    sweep_at: usize,
}

impl<K, V> Default for Swept<K, V> {
    fn default() -> Self {
        Swept { map: BTreeMap::new(), sweep_at: limits::BUCKETS_SWEPT_FROM }
    }
}

impl<K: Ord, V: Refills> Swept<K, V> {
    pub(super) fn at(&mut self, key: K, now_ms: u64) -> &mut V {
        if self.map.len() >= self.sweep_at && !self.map.contains_key(&key) {
            self.map.retain(|_, buckets| !buckets.is_full(now_ms));
            self.sweep_at = limits::BUCKETS_SWEPT_FROM.max(2 * self.map.len());
        }
        self.map.entry(key).or_insert_with(|| V::new(now_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_000_000;

    #[test]
    fn a_shard_takes_a_thousand_records_or_a_mebibyte_a_second() {
        let mut shard = ShardBuckets::new(START);
        assert_eq!((0..5_000).filter(|_| shard.put(10, START)).count(), 1_000);
        let mut shard = ShardBuckets::new(START);
        assert_eq!((0..5_000).filter(|_| shard.put(10 << 10, START)).count(), 102);
        // A refused record costs nothing: a smaller one still fits.
        assert!(shard.put(3 << 10, START) && !shard.put(3 << 10, START));
        assert!(shard.put(1, START));
    }

    #[test]
    fn five_seconds_follow_an_answer_of_ten_mebibytes() {
        let mut shard = ShardBuckets::new(START);
        assert!(shard.read(START));
        shard.gave(10 << 20, START);
        for ms in [0, 1_000, 4_999] {
            assert!(!shard.read(START + ms), "{ms}");
        }
        assert!(shard.read(START + 5_000));
    }

    #[test]
    fn five_small_reads_a_second_are_given_and_no_sixth() {
        let mut shard = ShardBuckets::new(START);
        for _ in 0..5 {
            assert!(shard.read(START));
            shard.gave(100_000, START);
        }
        assert!(!shard.read(START) && shard.read(START + 200));
    }

    #[test]
    fn a_subscription_is_paced_to_two_mebibytes_a_second() {
        let mut consumer = ConsumerBuckets::new(START);
        assert!(consumer.subscribe(START) && !consumer.subscribe(START + 999));
        assert!(consumer.subscribe(START + 1_000));
        let (mut now, mut pushed) = (START, 0);
        while now < START + 10_000 {
            now += consumer.pushed(500_000, now);
            pushed += 500_000;
        }
        assert!((20 << 20..24 << 20).contains(&pushed), "{pushed}");
    }

    #[test]
    fn buckets_that_are_full_again_are_forgotten() {
        let mut shards: Swept<u32, ShardBuckets> = Swept::default();
        for i in 0..100_000_u32 {
            // One at a time, ten seconds apart: the one before is full again.
            assert!(shards.at(i, START + u64::from(i) * 10_000).put(1_000, START + u64::from(i) * 10_000));
        }
        assert!(shards.map.len() <= limits::BUCKETS_SWEPT_FROM, "{}", shards.map.len());
    }
}
