//! What waits for the device: groups being filled, and the state that the next set is checked against.
//!
//! In: append sets. Out: sequence numbers and tickets at once; whole groups to the leader.
//! Invariants: a set is in one group; a refused set changes nothing; a group that was admitted has its place in a segment file that
//! exists, so running out of disk is found here and never by the leader; memory stays below `staged_bytes_max`.
//! Not here: the lock (`queue`), files, the order of runs in a group (`writer`), whether a set fits (`admit`, `plan`).

mod admit;
mod building;
mod cut;
mod plan;
mod seals;

use std::collections::{BTreeMap, VecDeque};

use self::admit::Class;
pub(super) use self::admit::Refusal;
pub(crate) use self::building::Building;
pub(super) use self::building::Chunk;
use self::cut::Cut;
use self::plan::{Cost, Plan};
pub(super) use self::seals::Seal;
use self::seals::Seals;
use crate::ShardKey;
use crate::bytes::put_varint;
use crate::config::Config;
use crate::core::meta::{self, Meta};
use crate::format::group::RunHeader;
use crate::format::{index, u32_of};
use crate::limits::set_bytes_max;
use crate::queue::Stage;
use crate::set::AppendSet;
use crate::types::{Appended, Firsts, Ticket};

/// Slot of stream 0: always the first.
pub(super) const META_SLOT: u32 = 0;

/// Everything under the queue's lock.
pub(crate) struct Staged {
    pub(super) meta: Meta,
    pub(super) full: bool,
    pub(super) seals: Seals,
    slots: BTreeMap<ShardKey, u32>,
    shards: Vec<ShardStage>,
    // Oldest first; the last one is still being filled.
    waiting: VecDeque<Building>,
    spares: Vec<Building>,
    last_taken: u64,
    staged_bytes: usize,
    plan: Plan,
    limits: Limits,
    cut: Cut,
    // The shard asked for last: one event loop often appends to one shard many times over.
    last_slot: Option<(ShardKey, u32)>,
    any_dropped: bool,
}

#[derive(Clone, Copy)]
struct Limits {
    group_bytes_max: usize,
    staged_bytes_max: usize,
    set_bytes_max: usize,
}

struct ShardStage {
    key: ShardKey,
    next: u64,
    newest_ms: u64,
    // Group and planned segment in which the shard has a run already.
    in_group: u64,
    in_segment: u64,
}

impl Stage for Staged {
    type Group = Building;

    fn take(&mut self) -> Option<(u64, Building)> {
        let group = self.waiting.pop_front()?;
        self.last_taken = group.number;
        if self.waiting.is_empty() {
            self.plan = self.plan.after(group.size());
            self.make_cut(group.number);
        }
        Some((group.number, group))
    }

    fn newest(&self) -> u64 {
        self.last_taken + self.waiting.len() as u64
    }
}

impl Staged {
    /// Empty, before recovery; the first group staged opens a new segment.
    pub(super) fn new(config: &Config) -> Self {
        let segment_bytes =
            usize::try_from(config.segment_bytes).expect("checked when opened: at most 1 GiB");
        let limits = Limits {
            // A quarter, so that the end of a segment that a group does not fit into stays small.
            group_bytes_max: config.group_bytes_max.min(segment_bytes / 4),
            staged_bytes_max: config.staged_bytes_max,
            set_bytes_max: set_bytes_max(config.segment_bytes),
        };
        let mut staged = Self {
            meta: Meta::default(),
            full: false,
            seals: Seals::default(),
            slots: BTreeMap::new(),
            shards: Vec::new(),
            waiting: VecDeque::new(),
            spares: Vec::new(),
            last_taken: 0,
            staged_bytes: 0,
            plan: Plan::new(segment_bytes),
            limits,
            cut: Cut::Idle,
            last_slot: None,
            any_dropped: false,
        };
        assert_eq!(staged.slot(ShardKey::META), META_SLOT, "stream 0 is first");
        staged
    }

    /// Goes on after group `last_group`.
    pub(super) fn resume(&mut self, last_group: u64) {
        assert!(self.waiting.is_empty(), "nothing is staged before recovery is over");
        self.last_taken = last_group;
    }

    /// Stages all of `set`, or nothing.
    pub(super) fn append(&mut self, set: &AppendSet, now_ms: u64) -> Result<Appended, Refusal> {
        self.check(set)?;
        if set.is_empty() {
            return Ok(Appended { ticket: Ticket(self.newest()), firsts: self.firsts_of_nothing(set) });
        }
        // Metadata alone may use the reserve: cursors must move while the disk is full, or it would never become empty.
        let class = if set.records() == 0 { Class::Metadata } else { Class::Records };
        self.admit(Cost::of(set, self.seals.sealed_runs(set)), class)?;
        let firsts = self.stage_records(set, now_ms);
        self.stage_changes(set, now_ms);
        let group = self.waiting.back_mut().expect("admit made one");
        group.received += set.received();
        Ok(Appended { ticket: Ticket(group.number), firsts })
    }

    /// Stages the journal's own changes; they may use the reserve.
    pub(super) fn append_own(&mut self, set: &AppendSet, now_ms: u64) -> Result<(), Refusal> {
        self.admit(Cost::of(set, 0), Class::Own)?;
        self.stage_changes(set, now_ms);
        Ok(())
    }

    /// Stages a run of an old segment as it is.
    pub(super) fn append_copy(&mut self, run: RunHeader, body: &[u8], now_ms: u64) -> Result<(), Refusal> {
        // Gone when the stream was dropped since: nothing to copy.
        let Some(&slot) = self.slots.get(&run.shard) else { return Ok(()) };
        self.admit(Cost::of_copy(body), Class::Own)?;
        self.plan.add_run(true);
        self.staged_bytes += body.len();
        let group = self.waiting.back_mut().expect("admit made one");
        let offset = u32_of(group.bytes.len());
        group.bytes.extend_from_slice(body);
        group.copied.push((RunHeader { offset, ..run }, slot));
        group.runs += 1;
        group.wall_ms = group.wall_ms.max(now_ms);
        Ok(())
    }

    fn stage_records(&mut self, set: &AppendSet, now_ms: u64) -> Firsts {
        let mut firsts =
            if set.batches() > 1 { Firsts::Many(Vec::with_capacity(set.batches())) } else { Firsts::None };
        let mut last_batch = None;
        for (number, chunk) in set.chunks.iter().enumerate() {
            let slot = self.slot(chunk.shard);
            let first = self.shards[index(slot)].next;
            if last_batch != Some(chunk.batch) {
                last_batch = Some(chunk.batch);
                match &mut firsts {
                    Firsts::Many(firsts) => firsts.push(first),
                    one => *one = Firsts::One([first]),
                }
            }
            if chunk.count > 0 {
                let (len, time_ms) = (set.chunk_bytes(number).len(), chunk.time_ms.unwrap_or(now_ms));
                let group = self.begin_chunk(slot, chunk.count, time_ms, len);
                group.bytes.extend_from_slice(set.chunk_bytes(number));
            }
        }
        firsts
    }

    fn firsts_of_nothing(&mut self, set: &AppendSet) -> Firsts {
        let mut next = |shard| {
            let slot = self.slot(shard);
            self.shards[index(slot)].next
        };
        let firsts = set.chunks.iter().map(|chunk| next(chunk.shard)).collect::<Vec<_>>();
        if firsts.is_empty() { Firsts::None } else { Firsts::Many(firsts) }
    }

    fn stage_changes(&mut self, set: &AppendSet, now_ms: u64) {
        for change in &set.changes {
            let (key, value) = (set.key(change), set.value(change));
            let version = self.shards[index(META_SLOT)].next;
            let data_bytes = 1 + value.map_or(0, <[u8]>::len);
            let framing = varint_len(key.len()) + varint_len(data_bytes);
            let group = self.begin_chunk(META_SLOT, 1, now_ms, framing + key.len() + data_bytes);
            put_varint(&mut group.bytes, key.len() as u64);
            put_varint(&mut group.bytes, data_bytes as u64);
            group.bytes.extend_from_slice(key);
            group.bytes.push(if value.is_some() { meta::PUT } else { meta::DELETE });
            group.bytes.extend_from_slice(value.unwrap_or_default());
            self.meta.apply(key, value, version);
        }
    }

    /// Enters a chunk of `len` bytes, of which the caller appends all but the first record's time, which is written here.
    fn begin_chunk(&mut self, slot: u32, count: u32, time_ms: u64, len: usize) -> &mut Building {
        let shard = &mut self.shards[index(slot)];
        let group = self.waiting.back_mut().expect("admit made one");
        let start = u32_of(group.bytes.len());
        let time_ms = time_ms.max(shard.newest_ms);
        if shard.in_group == group.number {
            put_varint(&mut group.bytes, time_ms - shard.newest_ms);
        } else {
            shard.in_group = group.number;
            group.runs += 1;
            if let Some(seal) = self.seals.of(shard.key.stream) {
                group.sealed += 1;
                group.seals.entry(shard.key.stream).or_insert_with(|| seal.clone());
            }
            let segment = self.plan.segment();
            self.plan.add_run(shard.in_segment != segment);
            shard.in_segment = segment;
            // The run's base is this chunk's time.
            group.bytes.push(0);
        }
        let len = group.bytes.len() - index(start) + len;
        self.staged_bytes += len;
        group.chunks.push(Chunk {
            key: shard.key,
            first: shard.next,
            time_ms,
            slot,
            count,
            start,
            len: u32_of(len),
        });
        group.records += u64::from(count);
        group.wall_ms = group.wall_ms.max(time_ms);
        shard.newest_ms = time_ms;
        shard.next += u64::from(count);
        group
    }

    /// The slot of `shard`, made when new.
    pub(super) fn slot(&mut self, shard: ShardKey) -> u32 {
        if let Some((_, slot)) = self.last_slot.filter(|(last, _)| *last == shard) {
            return slot;
        }
        if let Some(&slot) = self.slots.get(&shard) {
            self.last_slot = Some((shard, slot));
            return slot;
        }
        let slot = u32_of(self.shards.len());
        self.slots.insert(shard, slot);
        let next = crate::types::FIRST_SEQUENCE;
        self.shards.push(ShardStage { key: shard, next, newest_ms: 0, in_group: 0, in_segment: 0 });
        slot
    }

    /// Sets what recovery found out about a shard.
    pub(super) fn restore(&mut self, shard: ShardKey, next: u64, newest_ms: u64) -> u32 {
        let slot = self.slot(shard);
        let state = &mut self.shards[index(slot)];
        state.next = state.next.max(next);
        state.newest_ms = state.newest_ms.max(newest_ms);
        slot
    }

    /// Forgets a stream's shards and gives the slots they had.
    pub(super) fn forget(&mut self, stream: u32) -> BTreeMap<ShardKey, u32> {
        self.any_dropped = true;
        self.last_slot = None;
        self.slots.extract_if(.., |shard, _| shard.stream == stream).collect()
    }

    /// Gives back a group that was flushed.
    pub(super) fn release(&mut self, mut group: Building) {
        self.staged_bytes -= group.bytes.len();
        // What compression saved is room for the groups behind.
        self.plan.shrink(group.segment, group.size(), group.written);
        // Two: one fills while one is flushed. A huge one is let go, so that one big set is not paid for ever after.
        if self.spares.len() < 2 && group.bytes.capacity() <= 2 * self.limits.group_bytes_max {
            group.bytes.clear();
            group.chunks.clear();
            group.copied.clear();
            let (bytes, chunks, copied) = (group.bytes, group.chunks, group.copied);
            self.spares.push(Building { bytes, chunks, copied, ..Building::default() });
        }
    }

    /// Whether a group is as large as it may get.
    pub(super) fn group_is_full(&self) -> bool {
        self.waiting.len() > 1
            || self.waiting.back().is_some_and(|group| group.size() > self.limits.group_bytes_max / 2)
    }

    pub(super) fn spare_added(&mut self, files: u64, withheld: u64) {
        self.plan.add_spare(files, withheld);
        if self.plan.may_roll(false) {
            self.full = false;
        }
    }

    /// Bytes staged and not yet durable.
    pub(super) fn bytes_waiting(&self) -> usize {
        self.staged_bytes
    }

    pub(super) fn spare(&self) -> u64 {
        self.plan.spare()
    }
}

fn varint_len(value: usize) -> usize {
    // 7 bits a byte; zero takes one.
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}
