//! What one queue knows of its records: which are in flight, which may be received again, which are dead letters.
//!
//! In: the shards of the stream, records as they were read, receives and what consumers say about them, the time.
//! Out: which records to deliver, which entries are refused, what to store, when the next record becomes visible.
//! Pure: no clock, no chance, no IO; what it is told decides what it says.
//!
//! A shard's records fall into three parts:
//!
//! ```text
//!   ── below the frontier ──────────────────────────────┬── ready ──────┬── not read yet ──>
//!   open (in flight, visible again, dead letter) or done │ read, not yet │
//!                                                        │ received      │
//! ```
//! Only open records are kept: what is below the frontier and not open is done (acknowledged, expired or lost), so
//! acknowledging in any order costs nothing.
//!
//! Invariants:
//! - A record is given to one receiver at a time: while it is invisible, [`QueueCore::claim`] passes it by.
//! - What [`QueueCore::persist`] gives belongs together: stored as one step, a reader of it finds every record either open
//!   or done, and none that was open is lost. [`QueueCore::rollback`] undoes what could not be stored.
//! - A child shard's new records are delivered only after all of its parents' were delivered at least once.
//!
//! Not here: the log, waiting, the API's words.

mod claim;
mod lanes;
#[cfg(test)]
mod model;
mod page;
mod persist;
mod shard;
#[cfg(test)]
mod tests;
mod types;

pub(crate) use page::{PREFIX, StoredKey, policy_key};
pub(crate) use shard::Fresh;
pub(crate) use types::{Ask, Claimed, Entry, Fetch, Receipt, Refusal, ShardView, Side, Tally, Verdict};

use crate::limits;
use crate::names::ShardId;
use crate::storage::Position;
use lanes::Lane;
use persist::Dirty;
use shard::ShardCore;
use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};

/// One step that can be undone until it is stored.
#[derive(Debug, Clone, Copy)]
enum Undo {
    Entry(ShardId, Position, Option<Entry>),
    Fresh { shard: ShardId, fresh: Fresh, frontier: Position, expired: bool },
}

/// The state of one queue.
#[derive(Debug, Default)]
pub(crate) struct QueueCore {
    shards: BTreeMap<ShardId, ShardCore>,
    /// Receives after which an unacknowledged record becomes a dead letter.
    receives_max: Option<u32>,
    /// The shard that gave records last: the next receive begins behind it.
    turn: Option<ShardId>,
    /// Open records, and how many of them are dead letters.
    open: usize,
    dead: usize,
    undo: Vec<Undo>,
    dirty: Dirty,
    tally: Tally,
}

impl QueueCore {
    /// A queue without shards.
    pub(crate) fn new(receives_max: Option<u32>) -> Self {
        QueueCore { receives_max, ..QueueCore::default() }
    }

    /// Begins a shard at `from`: its records before that are done. Stored with the next step.
    pub(crate) fn begin(&mut self, shard: ShardId, from: Position) {
        self.shards.entry(shard).or_default().begin(from);
        self.dirty.header(shard);
    }

    /// Takes the stream's shards as they are now. New ones are delivered from their beginning; what is left of those
    /// that are gone has expired.
    pub(crate) fn set_shards(&mut self, views: &[ShardView]) {
        let gone: Vec<_> =
            self.shards.keys().copied().filter(|id| !views.iter().any(|view| view.id == *id)).collect();
        for id in gone {
            if let Some(shard) = self.shards.remove(&id) {
                self.tally.expired += shard.open().len() as u64;
                for (&position, entry) in shard.open() {
                    self.dirty.lazy_page(id, position);
                    self.open -= 1;
                    self.dead -= usize::from(entry.dead);
                }
                self.dirty.header(id);
            }
        }
        for view in views {
            let shard = self.shards.entry(view.id).or_default();
            shard.set_view(view);
        }
    }

    /// Does what a consumer says about a record it received.
    ///
    /// # Errors
    /// [`Refusal`]; nothing has changed then.
    pub(crate) fn judge(&mut self, now_ms: u64, receipt: &Receipt, verdict: Verdict) -> Result<(), Refusal> {
        self.settle_shard(receipt.shard, now_ms);
        let (shard, position) = (receipt.shard, receipt.position);
        let Some(mut entry) = self.entry(shard, position) else {
            // A repeat of a request whose answer was lost: it is as the consumer wants it.
            return if verdict == Verdict::Acknowledge { Ok(()) } else { Err(Refusal::Gone) };
        };
        if entry.serial != receipt.serial {
            return Err(Refusal::Stale);
        }
        if verdict == Verdict::Restore && !entry.dead && entry.count() == 0 {
            return Ok(());
        }
        if entry.dead != (receipt.side == Side::Dead) {
            return Err(Refusal::Stale);
        }
        let after = match verdict {
            Verdict::Acknowledge => None,
            Verdict::Hide(timeout_ms) => {
                entry.until_ms = now_ms.saturating_add(timeout_ms);
                Some(entry)
            }
            Verdict::Restore => {
                Some(Entry { dead: false, forgiven: entry.serial, until_ms: now_ms, ..entry })
            }
        };
        self.set_entry(shard, position, after);
        self.settle_shard(shard, now_ms);
        Ok(())
    }

    /// Takes back a receive that could not be answered: the record is visible, and the receive does not count.
    pub(crate) fn release(&mut self, now_ms: u64, claimed: &Claimed) {
        let entry = self.entry(claimed.shard, claimed.position);
        if let Some(mut entry) = entry.filter(|entry| entry.serial == claimed.entry.serial) {
            entry.forgiven = entry.forgiven.saturating_add(1);
            entry.until_ms = now_ms;
            // It may have become a dead letter by this very receive.
            entry.dead = claimed.entry.dead;
            self.set_entry(claimed.shard, claimed.position, Some(entry));
        }
    }

    /// The stream no longer has this record. Stored with a later step.
    pub(crate) fn expire(&mut self, shard: ShardId, position: Position) {
        if self.put_entry(shard, position, None).is_some() {
            self.tally.expired += 1;
            self.dirty.lazy_page(shard, position);
        }
    }

    /// The stream no longer has the records of a shard before `before`.
    pub(crate) fn expire_before(&mut self, shard: ShardId, before: Position) {
        let Some(core) = self.shards.get(&shard) else { return };
        let over: Vec<Position> = core.open().range(..before).map(|(&position, _)| position).collect();
        over.into_iter().for_each(|position| self.expire(shard, position));
    }

    /// Sets after how many receives a record becomes a dead letter. What is one already stays one.
    pub(crate) fn set_receives_max(&mut self, now_ms: u64, receives_max: Option<u32>) {
        self.settle(now_ms);
        self.receives_max = receives_max;
        self.shards.values_mut().for_each(|shard| shard.sort_lanes(receives_max));
    }

    /// Records whose last receive ran out become dead letters, in every shard.
    pub(crate) fn settle(&mut self, now_ms: u64) {
        self.rotation().into_iter().for_each(|id| self.settle_shard(id, now_ms));
    }

    /// Records whose last receive ran out become dead letters. Not a step of its own: it follows from what is stored.
    fn settle_shard(&mut self, id: ShardId, now_ms: u64) {
        let Some(shard) = self.shards.get(&id) else { return };
        let over: Vec<Position> = shard.visible(Lane::Last, now_ms).collect();
        for position in over {
            let Some(entry) = self.entry(id, position) else { continue };
            self.put_entry(id, position, Some(Entry { dead: true, ..entry }));
            self.dirty.lazy_page(id, position);
            self.tally.dead += 1;
        }
    }

    fn entry(&self, shard: ShardId, position: Position) -> Option<Entry> {
        self.shards.get(&shard)?.open().get(&position).copied()
    }

    /// Changes an entry as part of a step.
    fn set_entry(&mut self, id: ShardId, position: Position, entry: Option<Entry>) {
        let before = self.put_entry(id, position, entry);
        self.undo.push(Undo::Entry(id, position, before));
        self.dirty.page(id, position);
    }

    /// Sets or removes an entry; gives what it was before.
    fn put_entry(&mut self, id: ShardId, position: Position, entry: Option<Entry>) -> Option<Entry> {
        let before = self.shards.get_mut(&id)?.set_entry(position, entry, self.receives_max);
        let dead = |entry: Option<Entry>| usize::from(entry.is_some_and(|entry| entry.dead));
        self.open = self.open + usize::from(entry.is_some()) - usize::from(before.is_some());
        self.dead = self.dead + dead(entry) - dead(before);
        before
    }

    /// Shards in the order of this receive: behind the one that gave last, so that none starves.
    fn rotation(&self) -> Vec<ShardId> {
        let Some(turn) = self.turn else { return self.shards.keys().copied().collect() };
        let behind = self.shards.range((Excluded(turn), Unbounded));
        behind.chain(self.shards.range(..=turn)).map(|(&id, _)| id).collect()
    }

    fn is_deliverable(&self, id: ShardId) -> bool {
        let Some(shard) = self.shards.get(&id) else { return false };
        let delivered = |parent: &ShardId| self.shards.get(parent).is_none_or(ShardCore::is_delivered);
        shard.parents().iter().all(delivered)
    }

    /// Whether so many records are open that no new ones are delivered.
    pub(crate) fn is_full(&self) -> bool {
        self.open - self.dead >= limits::QUEUE_IN_FLIGHT_MAX || self.open >= limits::QUEUE_OPEN_RECORDS_MAX
    }

    /// Whether less than `records` could be claimed now.
    pub(crate) fn is_short(&self, now_ms: u64, side: Side, records: usize) -> bool {
        let lane = if side == Side::Dead { Lane::Dead } else { Lane::Normal };
        let mut found = 0;
        for (&id, shard) in &self.shards {
            found += shard.visible(lane, now_ms).take(records).count();
            match side {
                Side::Dead => found += shard.visible(Lane::Last, now_ms).take(records).count(),
                Side::Live if shard.ready_len() > 0 && !self.is_full() && self.is_deliverable(id) => {
                    found += shard.ready_len();
                }
                Side::Live => {}
            }
            if found >= records {
                return false;
            }
        }
        true
    }

    /// The next time a record of one side becomes visible, UTC ms.
    pub(crate) fn next_visible_ms(&self, now_ms: u64, side: Side) -> Option<u64> {
        let lanes: &[Lane] = if side == Side::Dead { &[Lane::Dead, Lane::Last] } else { &[Lane::Normal] };
        let next = |shard: &ShardCore| lanes.iter().filter_map(|&lane| shard.next_ms(lane, now_ms)).min();
        self.shards.values().filter_map(next).min()
    }

    /// Reads that would give a receiver more records, in the order of fairness; none while the queue is full.
    pub(crate) fn fetches(&self) -> Vec<Fetch> {
        if self.is_full() {
            return Vec::new();
        }
        let wanted = |id: ShardId| self.shards.get(&id)?.fetch(id).filter(|_| self.is_deliverable(id));
        self.rotation().into_iter().filter_map(wanted).collect()
    }

    /// A read begins; until [`QueueCore::fetched`] or [`QueueCore::fetch_ended`] no other is asked for.
    pub(crate) fn fetch_began(&mut self, fetch: &Fetch) -> bool {
        self.shards.get_mut(&fetch.shard).is_some_and(|shard| shard.fetch_began(fetch.from))
    }

    /// A read ended without an answer.
    pub(crate) fn fetch_ended(&mut self, shard: ShardId) {
        if let Some(shard) = self.shards.get_mut(&shard) {
            shard.fetch_ended();
        }
    }

    /// What a read gave: its records, where the next one begins, and whether the shard's end was reached.
    pub(crate) fn fetched(&mut self, fetch: &Fetch, records: &[Fresh], next: Position, at_end: bool) {
        if let Some(shard) = self.shards.get_mut(&fetch.shard) {
            self.tally.expired += shard.fetched(fetch, records, next, at_end);
        }
    }

    /// Records of a shard that were read and not yet received.
    pub(crate) fn ready_len(&self, shard: ShardId) -> usize {
        self.shards.get(&shard).map_or(0, ShardCore::ready_len)
    }

    /// The shards that have open records.
    pub(crate) fn shards_with_open(&self) -> Vec<ShardId> {
        self.shards.iter().filter(|(_, shard)| !shard.open().is_empty()).map(|(&id, _)| id).collect()
    }

    /// What became of records by themselves since the last call.
    pub(crate) fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    /// Every open record, in order.
    #[cfg(test)]
    pub(crate) fn open(&self) -> impl Iterator<Item = (ShardId, Position, Entry)> + '_ {
        self.shards.iter().flat_map(|(&id, shard)| shard.open().iter().map(move |(&p, &e)| (id, p, e)))
    }
}
