//! One shard of a queue: its frontier, its open records, and what was read ahead.
//!
//! Invariant: `frontier` ≤ positions of `ready` < `read_to`; every open record is below the frontier.

use super::lanes::{Lane, Lanes};
use super::{Entry, Fetch, ShardView};
use crate::names::ShardId;
use crate::storage::Position;
use std::collections::{BTreeMap, VecDeque};

/// A record that was read and not received yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fresh {
    pub(crate) position: Position,
    pub(crate) time_ms: u64,
    /// Bytes of its key and data.
    pub(crate) bytes: u32,
}

#[derive(Debug, Default)]
pub(super) struct ShardCore {
    /// Where records begin that were never received.
    frontier: Position,
    open: BTreeMap<Position, Entry>,
    lanes: Lanes,
    ready: VecDeque<Fresh>,
    /// Where the next read begins.
    read_to: Position,
    /// The last read reached the end of the shard.
    dry: bool,
    fetching: bool,
    /// Closed, and read to its end: nothing comes after `ready`.
    finished: bool,
    parents: Vec<ShardId>,
    end: Option<Position>,
}

impl ShardCore {
    pub(super) fn begin(&mut self, from: Position) {
        (self.frontier, self.read_to) = (from, from);
    }

    pub(super) fn set_view(&mut self, view: &ShardView) {
        self.parents.clone_from(&view.parents);
        self.end = view.end;
        self.finished |= view.end.is_some_and(|end| self.read_to >= end);
    }

    pub(super) fn frontier(&self) -> Position {
        self.frontier
    }

    pub(super) fn open(&self) -> &BTreeMap<Position, Entry> {
        &self.open
    }

    pub(super) fn parents(&self) -> &[ShardId] {
        &self.parents
    }

    /// Whether every record of a closed shard was received at least once.
    pub(super) fn is_delivered(&self) -> bool {
        self.finished && self.ready.is_empty()
    }

    pub(super) fn visible(&self, lane: Lane, now_ms: u64) -> impl Iterator<Item = Position> + '_ {
        self.lanes.visible(lane, now_ms)
    }

    pub(super) fn next_ms(&self, lane: Lane, now_ms: u64) -> Option<u64> {
        self.lanes.next_ms(lane, now_ms)
    }

    /// Sets or removes an open record; gives what it was before.
    pub(super) fn set_entry(
        &mut self,
        position: Position,
        entry: Option<Entry>,
        receives_max: Option<u32>,
    ) -> Option<Entry> {
        let before = match entry {
            Some(entry) => self.open.insert(position, entry),
            None => self.open.remove(&position),
        };
        if let Some(before) = &before {
            self.lanes.remove(Lane::of(before, receives_max), before, position);
        }
        if let Some(entry) = &entry {
            self.lanes.insert(Lane::of(entry, receives_max), entry, position);
        }
        before
    }

    /// Sorts every open record anew, after the number of receives changed.
    pub(super) fn sort_lanes(&mut self, receives_max: Option<u32>) {
        self.lanes.clear();
        for (&position, entry) in &self.open {
            self.lanes.insert(Lane::of(entry, receives_max), entry, position);
        }
    }

    pub(super) fn ready_len(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn next_ready(&self) -> Option<Fresh> {
        self.ready.front().copied()
    }

    /// Moves the frontier past the first ready record; gives where it was.
    pub(super) fn take_ready(&mut self) -> Position {
        let before = self.frontier;
        if let Some(fresh) = self.ready.pop_front() {
            self.frontier = fresh.position.after();
        }
        before
    }

    pub(super) fn untake_ready(&mut self, fresh: Fresh, frontier: Position) {
        self.ready.push_front(fresh);
        self.frontier = frontier;
    }

    /// The read that is wanted, if any.
    pub(super) fn fetch(&self, shard: ShardId) -> Option<Fetch> {
        let wanted = self.ready.is_empty() && !self.fetching && !self.finished;
        wanted.then_some(Fetch { shard, from: self.read_to, dry: self.dry, closed: self.end.is_some() })
    }

    pub(super) fn fetch_began(&mut self, from: Position) -> bool {
        let fits = !self.fetching && self.read_to == from;
        self.fetching |= fits;
        fits
    }

    pub(super) fn fetch_ended(&mut self) {
        self.fetching = false;
    }

    /// Takes what a read gave. Returns how many positions had no record any more.
    pub(super) fn fetched(&mut self, fetch: &Fetch, records: &[Fresh], next: Position, at_end: bool) -> u64 {
        self.fetching = false;
        if self.read_to != fetch.from {
            return 0;
        }
        let reached = records.first().map_or(next, |first| first.position).max(fetch.from);
        // Positions of batches are not counted one by one, so this is exact only for logs that count every record; and
        // where a log's first position is, is not known.
        let counted = fetch.from != Position::default();
        let skipped = if counted { reached.position.saturating_sub(fetch.from.position) } else { 0 };
        self.ready.extend(records);
        self.read_to = next.max(fetch.from);
        self.dry = at_end;
        // A shard that was closed before it was read to its end gets no more.
        self.finished = fetch.closed && at_end || self.end.is_some_and(|end| self.read_to >= end);
        skipped
    }
}
