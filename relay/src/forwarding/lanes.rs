//! Records in the order of their keys.
//!
//! In: records. Out: lanes, each a queue of records of one key of which the first few are on their way.
//!
//! Always true: records leave a lane from its front, in the order they came.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use super::region::Class;
use super::slab::{NONE, Slab};
use super::words::Record;

/// A record in memory.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) offset: u64,
    /// Its number in its region.
    pub(super) number: u64,
    pub(super) data_bytes: u32,
    pub(super) key_bytes: u32,
    pub(super) source: u32,
    pub(super) region: u32,
    pub(super) lane: u32,
    /// The next of the lane.
    pub(super) next: u32,
    /// Under suspicion: it may be sent among this many records at most. `u32::MAX` for no suspicion.
    pub(super) crowd_max: u32,
    /// Own failures.
    pub(super) tries: u16,
    /// Those of them between which its target shard took others.
    pub(super) strikes: u16,
    /// What its target shard had taken when it failed last.
    pub(super) acks_seen: u32,
    pub(super) class: Class,
    pub(super) is_packed: bool,
}

impl Held {
    pub(super) fn new(record: &Record, source: u32, region: u32, number: u64, class: Class) -> Self {
        Self {
            offset: record.offset.0,
            number,
            data_bytes: record.data_bytes,
            key_bytes: record.key_bytes,
            source,
            region,
            lane: NONE,
            next: NONE,
            crowd_max: u32::MAX,
            tries: 0,
            strikes: 0,
            acks_seen: 0,
            class,
            is_packed: record.is_packed,
        }
    }

    /// As the target counts it.
    pub(super) fn size_bytes(&self) -> u64 {
        u64::from(self.data_bytes) + u64::from(self.key_bytes)
    }

    pub(super) fn is_suspect(&self) -> bool {
        self.crowd_max != u32::MAX
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LaneState {
    /// Just made.
    New,
    /// In the queue of its target shard.
    Ready,
    /// In the queue of those under suspicion.
    Suspect,
    /// No target shard takes its hash key.
    Unrouted,
    InFlight,
    /// Pauses after a failure.
    Resting,
    /// Its first record is a dead letter that is not settled yet.
    Stopped,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) key: u128,
    /// Live data and backlog of one key are two lanes with `newest`, and one otherwise.
    table: usize,
    pub(super) head: u32,
    tail: u32,
    pub(super) len: u32,
    pub(super) state: LaneState,
    /// Place of its target shard, while `epoch` is that of the map.
    pub(super) target: u32,
    pub(super) epoch: u32,
}

#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Slab<Lane>,
    by_key: [HashMap<u128, u32, Mixing>; 2],
    pub(super) unrouted: Vec<u32>,
}

impl Lanes {
    pub(super) fn new(seed: u64) -> Self {
        let table = || HashMap::with_hasher(Mixing(seed));
        Self { lanes: Slab::new(), by_key: [table(), table()], unrouted: Vec::new() }
    }

    pub(super) fn get(&self, lane: u32) -> &Lane {
        self.lanes.get(lane)
    }

    pub(super) fn get_mut(&mut self, lane: u32) -> &mut Lane {
        self.lanes.get_mut(lane)
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.len()
    }

    /// Puts a record at the end of its lane; returns the lane, new or not.
    pub(super) fn push(&mut self, records: &mut Slab<Held>, index: u32, key: u128, class: Class) -> u32 {
        let table = class as usize;
        let lanes = &mut self.lanes;
        let lane = *self.by_key[table].entry(key).or_insert_with(|| {
            let state = LaneState::New;
            lanes.insert(Lane { key, table, head: NONE, tail: NONE, len: 0, state, target: NONE, epoch: 0 })
        });
        let queue = self.lanes.get_mut(lane);
        if queue.tail == NONE {
            queue.head = index;
        } else {
            records.get_mut(queue.tail).next = index;
        }
        queue.tail = index;
        queue.len += 1;
        records.get_mut(index).lane = lane;
        lane
    }

    /// Takes the first record off its lane, for good.
    pub(super) fn pop(&mut self, records: &mut Slab<Held>, index: u32) -> Held {
        let held = records.remove(index);
        let queue = self.lanes.get_mut(held.lane);
        assert!(queue.head == index, "records leave a lane in order");
        queue.head = held.next;
        if queue.head == NONE {
            queue.tail = NONE;
        }
        queue.len -= 1;
        held
    }

    /// Forgets a lane without records.
    pub(super) fn remove(&mut self, lane: u32) {
        let gone = self.lanes.remove(lane);
        debug_assert!(gone.head == NONE, "a lane with records stays");
        self.by_key[gone.table].remove(&gone.key);
    }
}

/// Keys are hashes already; the seed keeps whoever chooses partition keys from aiming at one bucket.
#[derive(Debug, Clone, Copy)]
struct Mixing(u64);

impl BuildHasher for Mixing {
    type Hasher = Mixed;

    fn build_hasher(&self) -> Mixed {
        Mixed(self.0 | 1)
    }
}

struct Mixed(u64);

impl Hasher for Mixed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u128(u128::from(*byte));
        }
    }

    fn write_u128(&mut self, value: u128) {
        #[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
        let (low, high) = (value as u64, (value >> 64) as u64);
        // SplitMix64's constants; two rounds, so that each bit of both halves reaches all bits.
        let mut z = (low ^ self.0).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 29) ^ high).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.0 = z ^ (z >> 32);
    }
}
