//! The truth: what the source shards hold, what reached the target, and what may never happen.

mod losses;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use super::super::{
    Added, CallLimits, Drain, DrainOrder, ForwardConfig, Packing, Read, Record, SourceId, TargetId,
    TargetRate, TargetShard,
};
use crate::{Delays, Offset, Progress, Seeded, WindowLimits};

/// Limits so small that all of them are met.
pub(super) fn config(seed: u64) -> ForwardConfig {
    let mut seeded = Seeded::new(seed ^ 0x77);
    let memory = WindowLimits {
        records_max: 16 + usize::try_from(seeded.up_to(200)).expect("small"),
        bytes_max: 4_000 + usize::try_from(seeded.up_to(20_000)).expect("small"),
    };
    let packing = Packing {
        bytes_max: 1_000,
        records_max: 20,
        frame_bytes: 30,
        added: |added: Added| {
            let key = if added.is_new_key { u64::from(added.key_bytes) + 2 } else { 0 };
            key + u64::from(added.data_bytes) + 6
        },
    };
    let order = if seeded.once_in(3) { DrainOrder::Newest } else { DrainOrder::Oldest };
    ForwardConfig {
        memory,
        read: WindowLimits { records_max: 20, bytes_max: 2_000 },
        calls: CallLimits {
            in_flight_max: 1 + usize::try_from(seeded.up_to(3)).expect("small"),
            records_max: 10,
            bytes_max: 3_000,
            linger_ms: seeded.up_to(1) * 20,
        },
        target_rate: TargetRate { bytes_per_s: 8_000, records_per_s: 60, burst_ms: 500 },
        record_bytes_max: 900,
        tries_max: 2,
        delays: Delays { base_ms: 20, max_ms: 400, stable_ms: 500 },
        throttle_delays: Delays { base_ms: 20, max_ms: 400, stable_ms: 500 },
        drain: Drain {
            order,
            bytes_per_s: seeded.once_in(3).then_some(40_000),
            live_ms: 200,
            jump_records_min: 10,
            ..Drain::default()
        },
        packing: seeded.once_in(3).then_some(packing),
        progress_interval_ms: 100,
        seed,
    }
}

/// A record of the world: the how-manieth of which lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Id {
    pub(super) lane: usize,
    pub(super) seq: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Stored {
    pub(super) id: Id,
    pub(super) record: Record,
    pub(super) is_damaged: bool,
    pub(super) is_poison: bool,
}

#[derive(Debug)]
pub(super) struct Shard {
    pub(super) parents: Vec<SourceId>,
    pub(super) keys: Range<u128>,
    pub(super) records: Vec<Stored>,
    /// Records before this are gone.
    pub(super) first: u64,
    pub(super) is_closed: bool,
    /// Records that were passed over.
    passed: BTreeSet<u64>,
    pub(super) stored: Progress,
}

impl Shard {
    pub(super) fn tail(&self) -> Offset {
        Offset(self.records.len() as u64)
    }
}

pub(super) struct World {
    pub(super) now_ms: u64,
    pub(super) seeded: Seeded,
    pub(super) lanes: Vec<(u128, u64)>,
    pub(super) shards: Vec<Shard>,
    pub(super) targets: Vec<TargetShard>,
    next_target: u32,
    /// What the target has, by lane.
    seen: Vec<BTreeSet<u64>>,
    pub(super) dead: BTreeSet<Id>,
    dropped: BTreeSet<Id>,
    /// What went to each target shard lately: when, bytes.
    sent: BTreeMap<TargetId, VecDeque<(u64, u64)>>,
    is_ordered: bool,
}

impl World {
    pub(super) fn new(seed: u64, config: &ForwardConfig) -> Self {
        let mut seeded = Seeded::new(seed ^ 0xabcd);
        let count = if seeded.once_in(4) { 1 } else { 2 + seeded.up_to(20) };
        let hash = |seeded: &mut Seeded| u128::from(seeded.next_u64()) << 64 | u128::from(seeded.next_u64());
        let lanes: Vec<_> = (0..count).map(|_| (hash(&mut seeded) >> 1, 0)).collect();
        let mut world = Self {
            now_ms: 1_000_000,
            seeded,
            seen: vec![BTreeSet::new(); lanes.len()],
            lanes,
            shards: Vec::new(),
            targets: Vec::new(),
            next_target: 1,
            dead: BTreeSet::new(),
            dropped: BTreeSet::new(),
            sent: BTreeMap::new(),
            is_ordered: config.drain.order == DrainOrder::Oldest,
        };
        world.open(Vec::new(), 0..u128::MAX);
        world.targets.push(TargetShard { id: TargetId(0), first: 0, last: u128::MAX });
        world
    }

    fn open(&mut self, parents: Vec<SourceId>, keys: Range<u128>) {
        let stored = Progress::new(Offset(0));
        let (records, passed) = (Vec::new(), BTreeSet::new());
        self.shards.push(Shard { parents, keys, records, first: 0, is_closed: false, passed, stored });
    }

    pub(super) fn append(&mut self) {
        let lane = self.pick(self.lanes.len());
        let (key, seq) = self.lanes[lane];
        self.lanes[lane].1 += 1;
        let most = if self.seeded.once_in(20) { 900 } else { 120 };
        let data_bytes = 1 + self.seeded.up_to(most);
        let (is_damaged, is_poison) = (self.seeded.once_in(60), self.seeded.once_in(40));
        let id = Id { lane, seq };
        if is_damaged {
            self.dropped.insert(id);
        }
        let now_ms = self.now_ms;
        let is_home = |shard: &&mut Shard| !shard.is_closed && shard.keys.contains(&key);
        let shard = self.shards.iter_mut().find(is_home).expect("open shards take every key");
        let record = Record {
            offset: shard.tail(),
            data_bytes: u32::try_from(data_bytes).expect("small"),
            key_bytes: 8,
            lane: key,
            arrival_ms: now_ms,
            is_packed: seq % 17 == 16,
        };
        shard.records.push(Stored { id, record, is_damaged, is_poison });
    }

    /// Splits or merges shards of the source; returns those that were closed.
    pub(super) fn reshard_source(&mut self) -> Vec<SourceId> {
        let mut open: Vec<usize> =
            (0..self.shards.len()).filter(|index| !self.shards[*index].is_closed).collect();
        open.sort_by_key(|index| self.shards[*index].keys.start);
        let id = |index: usize| SourceId(u32::try_from(index).expect("few"));
        let place = self.pick(open.len());
        let index = open[place];
        let keys = self.shards[index].keys.clone();
        self.shards[index].is_closed = true;
        if open.len() < 3 || (place + 1 == open.len() && open.len() < 5) {
            let middle = keys.start + (keys.end - keys.start) / 2;
            self.open(vec![id(index)], keys.start..middle);
            self.open(vec![id(index)], middle..keys.end);
            return vec![id(index)];
        }
        let place = if place + 1 == open.len() { place - 1 } else { place };
        let (left, right) = (open[place], open[place + 1]);
        self.shards[index].is_closed = false;
        self.shards[left].is_closed = true;
        self.shards[right].is_closed = true;
        let keys = self.shards[left].keys.start..self.shards[right].keys.end;
        self.open(vec![id(left), id(right)], keys);
        vec![id(left), id(right)]
    }

    pub(super) fn reshard_target(&mut self) {
        let index = self.pick(self.targets.len());
        let fresh = TargetId(self.next_target);
        self.next_target += 2;
        if self.targets.len() < 3 || (self.targets.len() < 6 && self.seeded.once_in(2)) {
            let old = self.targets[index];
            let middle = old.first + (old.last - old.first) / 2;
            self.targets[index] = TargetShard { id: fresh, first: old.first, last: middle };
            let right = TargetShard { id: TargetId(fresh.0 + 1), first: middle + 1, last: old.last };
            self.targets.insert(index + 1, right);
        } else {
            let index = index.min(self.targets.len() - 2);
            let right = self.targets.remove(index + 1);
            self.targets[index] =
                TargetShard { id: fresh, first: self.targets[index].first, last: right.last };
        }
    }

    pub(super) fn read(&self, read: &Read) -> (Vec<Record>, Offset) {
        let shard = &self.shards[read.source.0 as usize];
        let (mut records, mut bytes, mut next) = (Vec::new(), 0, read.from);
        let until = read.until.unwrap_or(shard.tail()).min(shard.tail());
        while next < until && records.len() < read.records_max {
            let stored = &shard.records[usize::try_from(next.0).expect("small")];
            let size = u64::from(stored.record.data_bytes + stored.record.key_bytes);
            if !records.is_empty() && bytes + size > read.bytes_max {
                break;
            }
            next = Offset(next.0 + 1);
            if !stored.is_damaged {
                bytes += size;
                records.push(stored.record);
            }
        }
        (records, next)
    }

    pub(super) fn is_seen(&self, id: Id) -> bool {
        self.seen[id.lane].contains(&id.seq)
    }

    /// Whether nobody has to send it any more.
    pub(super) fn has_end(&self, id: Id) -> bool {
        self.is_seen(id) || self.dead.contains(&id) || self.dropped.contains(&id)
    }

    /// The target takes a record. `is_late`: of a call that was given up.
    pub(super) fn arrive(&mut self, id: Id, is_late: bool, context: &str) {
        let is_over = self.dead.contains(&id) || self.dropped.contains(&id);
        let is_behind = self.seen[id.lane].last() > Some(&id.seq);
        if self.is_seen(id) || (is_late && is_over && is_behind) {
            return;
        }
        if self.is_ordered {
            let before = self.seen[id.lane].last().copied();
            assert!(before < Some(id.seq), "ORDER: {id:?} after {before:?}: {context}");
            let from = before.map_or(0, |seq| seq + 1);
            let hole = (from..id.seq).map(|seq| Id { seq, ..id }).find(|id| !self.has_end(*id));
            assert!(hole.is_none(), "ORDER: {id:?} before {hole:?}: {context}");
        }
        self.seen[id.lane].insert(id.seq);
    }

    /// No span of time may hold more than the rate and what a bucket holds, and one oversized thing.
    pub(super) fn check_rate(&mut self, target: TargetId, bytes: u64, config: &ForwardConfig, context: &str) {
        let now_ms = self.now_ms;
        let sent = self.sent.entry(target).or_default();
        sent.push_back((now_ms, bytes));
        while sent.front().is_some_and(|(at_ms, _)| at_ms + 3_000 < now_ms) {
            sent.pop_front();
        }
        let rate = config.target_rate;
        let largest = sent.iter().map(|(_, bytes)| *bytes).max().unwrap_or(0);
        let (mut sum, mut count) = (0, 0);
        for (at_ms, bytes) in sent.iter().rev() {
            sum += bytes;
            count += 1;
            let allowed_ms = now_ms - at_ms + rate.burst_ms;
            let bytes_max = rate.bytes_per_s * allowed_ms / 1_000 + largest;
            assert!(sum <= bytes_max, "RATE: {sum} bytes, {bytes_max} allowed: {context}");
            let count_max = rate.records_per_s * allowed_ms / 1_000 + 1;
            assert!(count <= count_max, "RATE: {count} records, {count_max} allowed: {context}");
        }
    }

    pub(super) fn forget_rates(&mut self) {
        self.sent.clear();
    }

    /// Everything a progress calls done must have its end.
    pub(super) fn check_progress(&self, source: SourceId, progress: &Progress, context: &str) {
        let shard = &self.shards[source.0 as usize];
        assert!(progress.checkpoint >= shard.stored.checkpoint, "CHECKPOINT moved back: {context}");
        let mut covered = progress.checkpoint.0;
        // What the one before called done was looked at then.
        let fresh = shard.stored.checkpoint..progress.checkpoint;
        for range in &progress.done {
            covered += range.end.0 - range.start.0;
        }
        for range in std::iter::once(&fresh).chain(&progress.done) {
            for offset in range.start.0..range.end.0 {
                let id = shard.records[usize::try_from(offset).expect("small")].id;
                assert!(self.has_end(id), "CHECKPOINT: passes {id:?} at {offset}: {context}");
            }
        }
        for offset in &progress.set_aside {
            let id = shard.records[usize::try_from(offset.0).expect("small")].id;
            assert!(
                self.dead.contains(&id) && *offset >= progress.checkpoint,
                "SET ASIDE: {id:?}: {context}"
            );
        }
        covered += progress.set_aside.len() as u64;
        assert_eq!(progress.ledger.settled(), covered, "LEDGER: {progress:?}: {context}");
    }

    /// A child may be read when all of its parents has its end.
    pub(super) fn check_read(&self, read: &Read, context: &str) {
        for parent in &self.shards[read.source.0 as usize].parents {
            let parent = &self.shards[parent.0 as usize];
            let open = parent.records.iter().find(|stored| !self.has_end(stored.id));
            assert!(
                open.is_none(),
                "PARENT: {:?} is open and {read:?} is read: {context}",
                open.map(|open| open.id)
            );
        }
    }

    pub(super) fn pick(&mut self, count: usize) -> usize {
        usize::try_from(self.seeded.up_to(count as u64 - 1)).expect("small")
    }
}
