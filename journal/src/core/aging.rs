//! The journal's kept time: told what the clocks say, stored when the next life must know of it.
//!
//! In: moments. Out: kept time, arrival times from which on records are young enough.
//! Invariant: what a life must know of the one before is staged before its first record, so it is durable with it or before.
//! Not here: the arithmetic (`kept`), what becomes of what is too old (`keep`).

use std::sync::atomic::Ordering;

use crate::ShardKey;
use crate::clock::Moment;
use crate::core::meta::own;
use crate::core::{Core, lock};
use crate::kept::{KeptTime, Stored};
use crate::limits::CLOCK_STORED_EVERY_MS;
use crate::set::AppendSet;
use crate::storage::Storage;
use crate::types::ClockState;

impl<S: Storage> Core<S> {
    /// Goes on where the life before ended.
    pub(super) fn resume_kept(&mut self, moment: Moment) {
        let stored = self.queue.look(|staged| staged.meta.get(own::CLOCK).map(|meta| meta.value.clone()));
        let stored = stored.and_then(|bytes| Stored::decode(&bytes));
        let newest_ms = self.index().segments.values().filter_map(|segment| segment.opened_ms).max();
        let next_segment = self.next_number.load(Ordering::Relaxed);
        let kept = KeptTime::resume(stored, newest_ms, moment, next_segment);
        self.kept_ms.store(kept.now_ms(), Ordering::Relaxed);
        self.kept_stored_ms.store(kept.now_ms(), Ordering::Relaxed);
        self.kept_stored_group.store(self.queue.newest(), Ordering::Relaxed);
        *lock(&self.kept) = kept;
    }

    /// Notes what the clocks say, and what the next life must know of it.
    pub fn look(&self, moment: Moment) {
        let mut kept = lock(&self.kept);
        if let Some(by_ms) = kept.look(moment) {
            tracing::warn!(by_ms, "the wall clock was set; records are kept by the time that goes by");
        }
        self.kept_ms.store(kept.now_ms(), Ordering::Relaxed);
        if let Some(state) = kept.take_changed() {
            self.stage_kept(&state);
        }
    }

    /// As [`look`](Self::look), once a second: also forgets what no segment is left from, and writes down now and then how far it came.
    pub(super) fn look_around(&self, moment: Moment) {
        self.look(moment);
        let oldest = self.index().segments.keys().next().copied();
        self.store_kept(&mut lock(&self.kept), oldest);
        self.look_at_budget();
    }

    /// Under the lock of what is stored, so that two threads store in the order of what they saw.
    fn store_kept(&self, kept: &mut KeptTime, oldest: Option<u64>) {
        if let Some(oldest) = oldest {
            kept.forget_before(oldest);
        }
        let now_ms = kept.now_ms();
        let due = now_ms.saturating_sub(self.kept_stored_ms.load(Ordering::Relaxed)) >= CLOCK_STORED_EVERY_MS;
        let busy = self.queue.newest() > self.kept_stored_group.load(Ordering::Relaxed);
        let wanted = kept.take_changed().or_else(|| (due && busy).then(|| kept.state().clone()));
        if let Some(state) = wanted {
            self.stage_kept(&state);
        }
    }

    /// Writes down how far kept time came, where the wall clock will not tell.
    pub(super) fn store_kept_at_end(&self) {
        let kept = lock(&self.kept);
        if !kept.state().is_certain {
            self.stage_kept(kept.state());
        }
    }

    fn stage_kept(&self, state: &Stored) {
        let mut set = AppendSet::new();
        set.put(own::CLOCK, &state.encode(), None);
        self.append_own(&set, self.newest_ms.load(Ordering::Relaxed));
        self.kept_stored_ms.store(state.kept_ms, Ordering::Relaxed);
        self.kept_stored_group.store(self.queue.newest(), Ordering::Relaxed);
    }

    /// Kept time at the last [look](Self::look), ms: goes by whatever the wall clock does, over starts too. Near UTC as long as the wall
    /// clock never jumped.
    pub fn kept_ms(&self) -> u64 {
        lock(&self.kept).now_ms()
    }

    /// The arrival time, ms since 1970, before which records are older than `age_ms`; 0 while arrival times do not tell, which is for as
    /// long as that age after the wall clock jumped. Retention goes on by time that went by meanwhile.
    pub fn horizon_ms(&self, age_ms: u64) -> u64 {
        lock(&self.kept).horizon_ms(age_ms)
    }

    /// Stamps records of `shard` no earlier than the newest of `before`, also when the wall clock was put back: for a shard that goes on
    /// where others ended. Not kept: to be said again after an opening, until the shard has a record. Nothing for a dropped stream.
    pub fn begin_after(&self, shard: ShardKey, before: &[ShardKey]) {
        let newest_ms =
            before.iter().filter_map(|shard| self.bounds(*shard)).map(|bounds| bounds.newest_ms).max();
        let Some(newest_ms) = newest_ms else { return };
        self.queue.look(|staged| {
            // A slot would make a dropped stream known again.
            if !staged.is_dropped(shard.stream) {
                staged.restore(shard, 0, newest_ms);
            }
        });
    }

    /// What there is to say of the wall clock, for a stream that keeps records for `age_ms`.
    pub fn clock_state(&self, age_ms: u64) -> ClockState {
        lock(&self.kept).clock_state(age_ms)
    }
}
