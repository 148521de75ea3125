//! What waits for the device: groups being filled, and the plan of where they will stand.
//!
//! In: append sets. Out: sequence numbers and tickets at once; whole groups to the leader.
//! Invariants: a set is in one group; a refused set changes nothing; a group that was admitted has its place in a segment file that
//! exists, so running out of disk is found here and never by the leader; memory stays below `staged_bytes_max`.
//! Not here: the lock (`queue`), files, the order of runs in a group (`writer`).

use std::collections::{BTreeMap, VecDeque};

use crate::ShardKey;
use crate::blocks::BLOCK_BYTES;
use crate::bytes::{VARINT_BYTES_MAX, put_varint};
use crate::config::Config;
use crate::core::meta::{self, Meta, own};
use crate::error::AppendError;
use crate::format::footer::{PIECE_BYTES, RUN_BYTES};
use crate::format::group::{HEAD_BYTES, RUN_HEADER_BYTES, RunHeader};
use crate::format::segment::{HEADER_BYTES, TRAILER_BYTES};
use crate::format::snapshot::{ShardState, Snapshot};
use crate::format::{index, u32_of};
use crate::limits::{DATA_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX, set_bytes_max};
use crate::queue::Stage;
use crate::set::AppendSet;
use crate::types::{Appended, Firsts, META_STREAM, Ticket};

/// Slot of stream 0: always the first.
pub(super) const META_SLOT: u32 = 0;

/// Everything under the queue's lock.
pub(crate) struct Staged {
    pub(super) meta: Meta,
    pub(super) full: bool,
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
    segment_bytes: usize,
}

struct ShardStage {
    key: ShardKey,
    next: u64,
    newest_ms: u64,
    // Group and planned segment in which the shard has a run already.
    in_group: u64,
    in_segment: u64,
}

/// A group being filled or waiting for the leader.
#[derive(Default)]
pub(crate) struct Building {
    pub(super) number: u64,
    /// Whether it opens a new segment.
    pub(super) rolls: bool,
    pub(super) bytes: Vec<u8>,
    pub(super) chunks: Vec<Chunk>,
    /// Runs copied from old segments as they are, with their shard's slot; their `offset` is into `bytes`.
    pub(super) copied: Vec<(RunHeader, u32)>,
    pub(super) runs: u32,
    pub(super) records: u64,
    pub(super) received: u64,
    pub(super) wall_ms: u64,
}

/// Records of one shard inside `Building::bytes`, encoded whole.
#[derive(Clone, Copy)]
pub(super) struct Chunk {
    pub(super) key: ShardKey,
    pub(super) first: u64,
    pub(super) time_ms: u64,
    pub(super) slot: u32,
    pub(super) count: u32,
    pub(super) start: u32,
    pub(super) len: u32,
}

/// Where the next group will stand. Exact: the writer does the same sums.
struct Plan {
    offset: usize,
    footer: usize,
    segment: u64,
    // Segment files that exist and are not planned for.
    spare: u64,
    // Spare files that records may not take: the reserve.
    withheld: u64,
}

/// A copy of the state for the next snapshot.
#[derive(Default)]
enum Cut {
    #[default]
    Idle,
    Wanted,
    Made(Snapshot),
}

/// Why a set was not staged.
pub(super) enum Refusal {
    /// A segment file is needed first.
    NeedSegment,
    /// For the caller.
    Error(AppendError),
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        Self::Error(error)
    }
}

/// Whose set it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Records,
    /// A user's metadata without records: may use the reserve.
    Metadata,
    /// The journal's own: may use the reserve, and is never told to wait.
    Own,
}

/// Room a set may take at most.
struct Cost {
    group: usize,
    footer: usize,
}

impl Stage for Staged {
    type Group = Building;

    fn take(&mut self) -> Option<(u64, Building)> {
        let group = self.waiting.pop_front()?;
        self.last_taken = group.number;
        if self.waiting.is_empty() {
            self.plan.offset += padded(group.size());
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
            segment_bytes,
        };
        let plan = Plan { offset: segment_bytes, footer: 0, segment: 0, spare: 0, withheld: 0 };
        let mut staged = Self {
            meta: Meta::default(),
            full: false,
            slots: BTreeMap::new(),
            shards: Vec::new(),
            waiting: VecDeque::new(),
            spares: Vec::new(),
            last_taken: 0,
            staged_bytes: 0,
            plan,
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
        self.admit(cost(set), class)?;
        let firsts = self.stage_records(set, now_ms);
        self.stage_changes(set, now_ms);
        let group = self.waiting.back_mut().expect("admit made one");
        group.received += set.received();
        Ok(Appended { ticket: Ticket(group.number), firsts })
    }

    /// Stages the journal's own changes; they may use the reserve.
    pub(super) fn append_own(&mut self, set: &AppendSet, now_ms: u64) -> Result<(), Refusal> {
        self.admit(cost(set), Class::Own)?;
        self.stage_changes(set, now_ms);
        Ok(())
    }

    /// Stages a run of an old segment as it is.
    pub(super) fn append_copy(&mut self, run: RunHeader, body: &[u8], now_ms: u64) -> Result<(), Refusal> {
        // Gone when the stream was dropped since: nothing to copy.
        let Some(&slot) = self.slots.get(&run.shard) else { return Ok(()) };
        let group = RUN_HEADER_BYTES + body.len();
        self.admit(Cost { group, footer: RUN_BYTES + PIECE_BYTES }, Class::Own)?;
        self.plan.footer += RUN_BYTES + PIECE_BYTES;
        self.staged_bytes += body.len();
        let group = self.waiting.back_mut().expect("admit made one");
        let offset = u32_of(group.bytes.len());
        group.bytes.extend_from_slice(body);
        group.copied.push((RunHeader { offset, ..run }, slot));
        group.runs += 1;
        group.wall_ms = group.wall_ms.max(now_ms);
        Ok(())
    }

    fn check(&self, set: &AppendSet) -> Result<(), AppendError> {
        let too_large = |what, found, limit| Err(AppendError::TooLarge { what, found, limit });
        let (key, data) = set.largest();
        if key > KEY_BYTES_MAX {
            return too_large("a record's key", key, KEY_BYTES_MAX);
        }
        if data > DATA_BYTES_MAX {
            return too_large("a record's payload", data, DATA_BYTES_MAX);
        }
        let cost = cost(set);
        if cost.group + cost.footer > self.limits.set_bytes_max {
            return too_large("the set", cost.group + cost.footer, self.limits.set_bytes_max);
        }
        for change in &set.changes {
            let (key, value) = (set.key(change), set.value(change).unwrap_or_default());
            if key.len() > KEY_BYTES_MAX {
                return too_large("a metadata key", key.len(), KEY_BYTES_MAX);
            }
            if value.len() > VALUE_BYTES_MAX {
                return too_large("a metadata value", value.len(), VALUE_BYTES_MAX);
            }
            if key.first() == Some(&own::PREFIX) {
                let reason = "metadata keys that begin with byte 0 are the journal's own";
                return Err(AppendError::Refused { shard: ShardKey::META, reason });
            }
        }
        for chunk in &set.chunks {
            if chunk.shard.stream == META_STREAM {
                let reason = "stream 0 is the journal's own";
                return Err(AppendError::Refused { shard: chunk.shard, reason });
            }
            if self.any_dropped
                && !self.slots.contains_key(&chunk.shard)
                && self.is_dropped(chunk.shard.stream)
            {
                let reason = "the stream was dropped, its number is never used again";
                return Err(AppendError::Refused { shard: chunk.shard, reason });
            }
        }
        self.meta.check(set)
    }

    fn is_dropped(&self, stream: u32) -> bool {
        self.meta.get(&own::dropped(stream)).is_some()
    }

    /// Makes sure that the last group of `waiting` can take `cost` more.
    fn admit(&mut self, cost: Cost, class: Class) -> Result<(), Refusal> {
        let staged_bytes = self.staged_bytes + cost.group;
        // An empty queue takes any set, or a set larger than the limit would never go in.
        if class != Class::Own && self.staged_bytes > 0 && staged_bytes > self.limits.staged_bytes_max {
            let limit_bytes = self.limits.staged_bytes_max;
            return Err(AppendError::Busy { staged_bytes: self.staged_bytes, limit_bytes }.into());
        }
        let current = self.waiting.back().map_or(0, Building::size);
        if current > 0
            && current + cost.group <= self.limits.group_bytes_max
            && self.fits(self.plan.offset, current + cost.group, cost.footer)
        {
            return Ok(());
        }
        let after = self.plan.offset + padded(current);
        let rolls = !self.fits(after, HEAD_BYTES + cost.group, cost.footer);
        if rolls && self.plan.spare <= if class == Class::Records { self.plan.withheld } else { 0 } {
            return Err(Refusal::NeedSegment);
        }
        if let Some(closed) = self.waiting.back().map(|group| group.number) {
            self.make_cut(closed);
        }
        self.plan.offset = after;
        if rolls {
            self.plan.offset = index(HEADER_BYTES);
            self.plan.footer = 0;
            self.plan.segment += 1;
            self.plan.spare -= 1;
        }
        let number = self.newest() + 1;
        let spare = self.spares.pop().unwrap_or_default();
        self.waiting.push_back(Building { number, rolls, ..spare });
        Ok(())
    }

    fn fits(&self, offset: usize, group: usize, footer: usize) -> bool {
        offset + padded(group) + padded(self.plan.footer + footer) + index(TRAILER_BYTES)
            <= self.limits.segment_bytes
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
            self.plan.footer += RUN_BYTES;
            if shard.in_segment != self.plan.segment {
                shard.in_segment = self.plan.segment;
                self.plan.footer += PIECE_BYTES;
            }
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

    /// Forgets a stream's shards.
    pub(super) fn forget(&mut self, stream: u32) {
        self.any_dropped = true;
        self.last_slot = None;
        self.slots.retain(|shard, _| shard.stream != stream);
    }

    /// Gives back a group that was flushed.
    pub(super) fn release(&mut self, mut group: Building) {
        self.staged_bytes -= group.bytes.len();
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
        self.plan.spare += files;
        self.plan.withheld = withheld;
        if self.plan.spare > withheld {
            self.full = false;
        }
    }

    pub(super) fn spare(&self) -> u64 {
        self.plan.spare
    }

    /// Asks for a copy of the state at the next point between two groups; made at once when nothing waits.
    pub(super) fn want_cut(&mut self) {
        if matches!(self.cut, Cut::Idle) {
            self.cut = Cut::Wanted;
        }
        if self.waiting.is_empty() {
            self.make_cut(self.last_taken);
        }
    }

    /// The copy, once group `durable` covers it.
    pub(super) fn take_cut(&mut self, durable: u64) -> Option<Snapshot> {
        match std::mem::take(&mut self.cut) {
            Cut::Made(snapshot) if snapshot.group <= durable => Some(snapshot),
            other => {
                self.cut = other;
                None
            }
        }
    }

    fn make_cut(&mut self, group: u64) {
        if matches!(self.cut, Cut::Wanted) {
            let state = |&slot: &u32| {
                let shard = &self.shards[index(slot)];
                ShardState { shard: shard.key, floor: 0, next: shard.next, newest_ms: shard.newest_ms }
            };
            let shards = self.slots.values().map(state).collect();
            self.cut = Cut::Made(Snapshot { group, shards, keys: self.meta.all(), ..Snapshot::default() });
        }
    }
}

impl Building {
    /// Bytes of the group without padding.
    pub(super) fn size(&self) -> usize {
        HEAD_BYTES + index(self.runs) * RUN_HEADER_BYTES + self.bytes.len()
    }
}

fn cost(set: &AppendSet) -> Cost {
    // Every chunk counts as a run of its own; the sum is exact again once the set is staged.
    let runs = set.chunks.len() + usize::from(!set.changes.is_empty());
    let framing = set.chunks.len() * VARINT_BYTES_MAX + set.changes.len() * (3 * VARINT_BYTES_MAX + 1);
    Cost { group: set.bytes() + framing + runs * RUN_HEADER_BYTES, footer: runs * (RUN_BYTES + PIECE_BYTES) }
}

fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(BLOCK_BYTES)
}

fn varint_len(value: usize) -> usize {
    // 7 bits a byte; zero takes one.
    (usize::BITS - (value | 1).leading_zeros()).div_ceil(7) as usize
}
