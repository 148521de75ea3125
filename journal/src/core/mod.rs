//! The journal without threads: it is told the time, its seed and when to commit and keep house.
//!
//! In: append sets, floors, holds, ages. Out: tickets, pages, metadata.
//! Run loop of a caller without threads: `append` any number of times, `commit`, then `maintain` until it returns false.
//! Invariants: as in the crate's doc; lock order is upkeep, kept, budget, making, writer, files, queue, index, and tail, tables or keys last and alone.
//! Not here: threads and clocks (`journal`).

mod aging;
mod coder;
mod files;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod holdings;
mod index;
mod keep;
mod keys;
mod listeners;
mod meta;
mod pace;
mod read;
mod reclaim;
mod recover;
mod scan;
mod seal;
mod snapshot;
mod stage;
mod survey;
mod tables;
mod tail;
mod totals;
mod unread;
mod upkeep;
mod verify;
mod writer;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use self::files::Files;
pub use self::holdings::Holdings;
use self::index::Index;
use self::keys::KeyRing;
pub use self::keys::Keys;
use self::listeners::Listeners;
use self::meta::own;
use self::read::Buffers;
use self::stage::{Building, Refusal, Staged};
use self::tables::TableCache;
use self::tail::Tail;
use self::totals::Totals;
use self::unread::Unread;
use self::upkeep::Upkeep;
pub use self::verify::{Finding, Progress, Standing, Verification};
use self::writer::Writer;
use crate::ShardKey;
use crate::budget::Budget;
use crate::config::Config;
use crate::error::{AppendError, Failed};
use crate::kept::KeptTime;
use crate::page::LostRange;
use crate::queue::{Lead, Queue};
use crate::set::AppendSet;
use crate::storage::Storage;
use crate::types::{Appended, Bounds, Counters, Lost, MetaValue, State, Ticket};

/// One lane of the journal on any storage, without threads. All methods take `&self` and may be called from any thread.
pub struct Core<S: Storage> {
    storage: S,
    config: Config,
    lane_id: u16,
    lane: u128,
    seed: u64,
    queue: Queue<Staged>,
    writer: Mutex<Writer<S::File>>,
    files: Mutex<Files<S::File>>,
    index: RwLock<Index<S::File>>,
    tail: Mutex<Tail>,
    tables: Mutex<TableCache>,
    ring: KeyRing,
    upkeep: Mutex<Upkeep<S::File>>,
    listeners: Mutex<Listeners>,
    buffers: Buffers,
    // Losses that readers found, to be written into metadata.
    found: Mutex<Vec<Lost>>,
    // Held while a segment file is made, so that two appends do not make two.
    making: Mutex<()>,
    totals: Totals,
    // What the disk does not give back, and is waited for.
    unread: Unread,
    // Number of the segment that will be opened next; what upkeep prepares.
    next_number: AtomicU64,
    // A thread keeps house, so appends need not make files themselves; and one was turned away for want of a file.
    attended: AtomicBool,
    late: AtomicBool,
    // Something happened that upkeep should look at before its next tick.
    upkeep_due: AtomicBool,
    // How long things were kept, and what of it new segments say.
    kept: Mutex<KeptTime>,
    kept_ms: AtomicU64,
    // Kept time and group of the last time that it was stored.
    kept_stored_ms: AtomicU64,
    kept_stored_group: AtomicU64,
    // What was written of the budget; how long a group waits for company; whether the next append carries the budget's state.
    budget: Mutex<Budget>,
    linger_ms: AtomicU64,
    budget_due: AtomicBool,
    // Newest time told; used where no time is passed.
    newest_ms: AtomicU64,
}

impl<S: Storage> Core<S> {
    /// Stages everything in `set` into one group, in order; nothing of it is durable before its ticket is. Costs a copy under a
    /// short lock. When the next segment's file is not ready, a [`Journal`](crate::Journal) answers [`AppendError::Busy`] and has its
    /// upkeep make one; metadata alone, and a core without threads, make it here and now.
    ///
    /// # Errors
    /// [`AppendError`]; nothing is staged then.
    pub fn append(&self, set: &AppendSet, now_ms: u64) -> Result<Appended, AppendError> {
        self.append_looking(set, now_ms).map(|(appended, _)| appended)
    }

    /// As [`append`](Self::append); also whether the group is as large as it may get, so that lingering for more makes no sense.
    pub(crate) fn append_looking(
        &self,
        set: &AppendSet,
        now_ms: u64,
    ) -> Result<(Appended, bool), AppendError> {
        self.newest_ms.fetch_max(now_ms, Ordering::Relaxed);
        loop {
            let staged = self
                .queue
                .stage(|staged| staged.append(set, now_ms).map(|at| (at, staged.group_is_full())))?;
            let refusal = match staged {
                Ok(appended) => {
                    if self.budget_due.load(Ordering::Relaxed) {
                        self.store_budget(now_ms);
                    }
                    return Ok(appended);
                }
                Err(refusal) => refusal,
            };
            match refusal {
                Refusal::NeedSegment if set.records() > 0 && self.attended.load(Ordering::Relaxed) => {
                    return Err(self.ask_for_room());
                }
                Refusal::NeedSegment => self.make_room(set.records() == 0)?,
                Refusal::Error(error) => {
                    if matches!(error, AppendError::Busy { .. }) {
                        self.totals.refused_busy.add(1);
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Makes everything that was staged before this call durable, and returns the newest durable ticket.
    ///
    /// # Errors
    /// [`Failed`] when a write or sync failed, now or before.
    pub fn commit(&self) -> Result<Ticket, Failed> {
        self.wait(Ticket(self.queue.newest()))?;
        match self.queue.failed() {
            Some(failed) => Err(failed),
            None => Ok(self.durable()),
        }
    }

    /// Blocks until `ticket` is durable; flushes itself when nobody else does.
    ///
    /// # Errors
    /// [`Failed`] when the ticket will never be durable.
    pub fn wait(&self, ticket: Ticket) -> Result<(), Failed> {
        while let Some(lead) = self.queue.wait(ticket.0, true)? {
            self.flush(lead);
        }
        Ok(())
    }

    /// Blocks until somebody else has made `ticket` durable.
    pub(crate) fn wait_for_others(&self, ticket: Ticket) -> Result<(), Failed> {
        self.queue.wait(ticket.0, false).map(|_| ())
    }

    fn flush(&self, lead: Lead<Building>) {
        let Lead { number, mut group } = lead;
        let guard = FlushGuard(self);
        let outcome = self.write_group(&mut group);
        if let Err(failed) = &outcome {
            tracing::error!(group = number, reason = %failed.reason, "journal stopped");
        }
        self.queue.look(|staged| staged.release(group));
        self.queue.finish(number, outcome.clone());
        drop(guard);
        self.tell(outcome.map(|()| Ticket(number)));
    }

    /// The newest durable group; every ticket up to it is durable.
    pub fn durable(&self) -> Ticket {
        Ticket(self.queue.durable())
    }

    /// The newest group that anything was staged into. When it is durable, so is everything appended before this call: what an
    /// acknowledgement of a repeat has to wait for.
    pub fn barrier(&self) -> Ticket {
        Ticket(self.queue.newest())
    }

    /// Metadata `key`, as staged: whoever must not act on a value before it is durable waits for [`barrier`](Self::barrier).
    pub fn meta_get(&self, key: &[u8]) -> Option<MetaValue> {
        self.queue.look(|staged| staged.meta.get(key).cloned()).filter(|_| key.first() != Some(&own::PREFIX))
    }

    /// All metadata whose key begins with `prefix`, by key, as staged.
    pub fn meta_list(&self, prefix: &[u8]) -> Vec<(Vec<u8>, MetaValue)> {
        let mut list = self.queue.look(|staged| {
            staged.meta.list(prefix).map(|(key, meta)| (key.clone(), meta.clone())).collect::<Vec<_>>()
        });
        list.retain(|(key, _)| key.first() != Some(&own::PREFIX));
        list
    }

    /// What of `shard` can be read; `None` when nothing of it ever became durable.
    pub fn bounds(&self, shard: ShardKey) -> Option<Bounds> {
        // A hold makes a shard known before its first record.
        self.index().shard(shard).filter(|shard| shard.has_records()).map(index::ShardIndex::bounds)
    }

    /// Ranges of `shard` that are known to be lost and are not trimmed, in order.
    pub fn lost(&self, shard: ShardKey) -> Vec<LostRange> {
        self.index().shard(shard).map(|shard| shard.lost.clone()).unwrap_or_default()
    }

    /// All shards that have or had durable records, in order; without the journal's own.
    pub fn shards(&self) -> Vec<ShardKey> {
        let index = self.index();
        let wanted = |&(key, slot): &(ShardKey, u32)| key != ShardKey::META && index.at(slot).has_records();
        index.keys().into_iter().filter(wanted).map(|(key, _)| key).collect()
    }

    /// Totals and levels.
    pub fn counters(&self) -> Counters {
        let totals = &self.totals;
        let mut counters = Counters {
            bytes_received: totals.bytes_received.get(),
            bytes_written: totals.bytes_written.get(),
            bytes_zeroed: totals.bytes_zeroed.get(),
            bytes_copied: totals.bytes_copied.get(),
            flushes: totals.flushes.get(),
            device_writes: totals.device_writes.get(),
            groups: totals.groups.get(),
            records: totals.records.get(),
            refused_full: totals.refused_full.get(),
            refused_busy: totals.refused_busy.get(),
            late_segments: totals.late_segments.get(),
            segments_pooled: lock(&self.files).ready(),
            ..Counters::default()
        };
        let index = self.index();
        for segment in index.segments.values() {
            counters.segments_live += 1;
            counters.bytes_live += segment.live_bytes;
        }
        counters.lost_ranges = index.keys().iter().map(|(_, slot)| index.at(*slot).lost.len() as u64).sum();
        counters
    }

    /// What the journal does at the moment.
    pub fn state(&self) -> State {
        match self.queue.failed() {
            Some(failed) => State::Failed { reason: failed.reason.to_string() },
            None if self.queue.look(|staged| staged.full) => State::Full,
            None => State::Open,
        }
    }

    /// The storage, for tests that look at it from outside.
    pub fn storage(&self) -> &S {
        &self.storage
    }

    /// The newest time that was told.
    pub(crate) fn newest_ms(&self) -> u64 {
        self.newest_ms.load(Ordering::Relaxed)
    }

    /// How long a group waits for company: as configured, and longer where the budget wants it.
    pub(crate) fn linger(&self) -> Duration {
        Duration::from_millis(self.linger_ms.load(Ordering::Relaxed)).max(self.config.linger)
    }

    /// Whether a group is large enough to be flushed without lingering.
    pub(crate) fn group_waits(&self) -> bool {
        self.queue.look(|staged| staged.group_is_full())
    }

    pub(crate) fn wants_upkeep(&self) -> bool {
        self.upkeep_due.load(Ordering::Relaxed)
    }

    fn index(&self) -> RwLockReadGuard<'_, Index<S::File>> {
        self.index.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index_mut(&self) -> RwLockWriteGuard<'_, Index<S::File>> {
        self.index.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Storage> std::fmt::Debug for Core<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").field("durable", &self.durable()).finish_non_exhaustive()
    }
}

/// Stops the journal when a flush panics: those who wait for it, also those who listen, must not wait for ever.
struct FlushGuard<'a, S: Storage>(&'a Core<S>);

impl<S: Storage> Drop for FlushGuard<'_, S> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop(Failed::new("a flush panicked"));
        }
    }
}

/// Locks in spite of a panic elsewhere: no critical section leaves its data half changed at a point that can panic.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
