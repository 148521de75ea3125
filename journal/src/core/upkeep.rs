//! Everything that is done beside the append path, step by step; snapshots, and segments that go.
//!
//! In: the time. Out: one small step per call, until nothing is left to do.
//! Invariants: a segment goes only when no piece points at it and both snapshot slots know what it knew (metadata, floors, how far
//! its shards came); nothing is written when nothing changed.
//! Not here: footers (`seal`), what is kept how long (`keep`), making files and copying live runs out of old segments (`reclaim`).

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::Ordering;

use crate::ShardKey;
use crate::clock::Moment;
use crate::core::index::Segment;
use crate::core::meta::own;
use crate::core::snapshot::Slots;
use crate::core::stage::Refusal;
use crate::core::{Core, lock};
use crate::error::Failed;
use crate::format::segment::FileName;
use crate::set::AppendSet;
use crate::storage::Storage;
use crate::types::{Lost, Recovery};

/// State of whoever keeps house.
pub(super) struct Upkeep<F> {
    pub(super) slots: Slots<F>,
    /// Segments whose footer does not fit: read whole at every opening.
    pub(super) unsealable: BTreeSet<u64>,
    recovery: Recovery,
}

impl<F> Upkeep<F> {
    pub(super) fn new(slots: Slots<F>, recovery: Recovery) -> Self {
        Self { slots, unsealable: BTreeSet::new(), recovery }
    }

    pub(super) fn take_recovery(&mut self) -> Recovery {
        std::mem::take(&mut self.recovery)
    }
}

impl<S: Storage> Core<S> {
    /// Does one step of housekeeping and returns whether more may be waiting: seals full segments, prepares the next, lets go
    /// what is too old or trimmed, writes snapshots. `now_ms` is the time in ms since 1970, beyond doubt. Writes nothing when nothing
    /// changed.
    pub fn maintain(&self, now_ms: u64) -> bool {
        self.maintain_at(Moment::certain(now_ms))
    }

    /// As [`maintain`](Self::maintain), by clocks that may be wrong.
    pub fn maintain_at(&self, moment: Moment) -> bool {
        let now_ms = moment.wall_ms;
        self.newest_ms.fetch_max(now_ms, Ordering::Relaxed);
        if self.queue.failed().is_some() {
            return false;
        }
        let mut upkeep = lock(&self.upkeep);
        self.upkeep_due.store(false, Ordering::Relaxed);
        self.look_around(moment);
        match self.step(&mut upkeep, now_ms) {
            Ok(more) => more,
            Err(failed) => {
                tracing::error!(reason = %failed.reason, "journal stopped");
                self.stop(failed);
                false
            }
        }
    }

    fn step(&self, upkeep: &mut Upkeep<S::File>, now_ms: u64) -> Result<bool, Failed> {
        self.sync_interval(now_ms, false)?;
        self.expire();
        self.note_lost(now_ms);
        // Ready files first: that is what appends wait for.
        Ok(self.prepare()?
            || self.seal_one(upkeep)?
            || self.snapshot_if_wanted(upkeep)?
            || self.retire_one(upkeep)?
            || self.reclaim(now_ms)?)
    }

    /// Stops the journal and tells everybody.
    pub(super) fn stop(&self, failed: Failed) {
        self.queue.fail(failed.clone());
        self.tell(Err(failed));
    }

    /// Flushes what is staged, writes footers and a snapshot, and refuses everything from then on.
    pub fn close(&self, now_ms: u64) {
        self.store_kept_at_end();
        self.store_budget_at_end();
        let written = self.commit().and_then(|_| self.sync_interval(now_ms, true));
        if written.is_err() || self.queue.failed().is_some() {
            return;
        }
        self.queue.fail(Failed::new("it was closed"));
        let mut upkeep = lock(&self.upkeep);
        self.index_mut().open = None;
        let closed = loop {
            match self.seal_one(&mut upkeep) {
                Ok(true) => {}
                Ok(false) => break self.snapshot_if_behind(&mut upkeep),
                Err(failed) => break Err(failed),
            }
        };
        if let Err(failed) = closed {
            // All data is durable; the next opening reads a segment more.
            tracing::warn!(reason = %failed.reason, "journal closed without footer or snapshot");
        }
    }

    /// Nothing is written after [`Core::close`]: another may have the directory.
    pub(crate) fn leave(&self) {
        self.storage.release();
    }

    fn snapshot_if_behind(&self, upkeep: &mut Upkeep<S::File>) -> Result<(), Failed> {
        if upkeep.slots.newest().0 < self.queue.durable() {
            self.queue.look(|staged| staged.want_cut());
            self.write_snapshot(upkeep)?;
        }
        Ok(())
    }

    /// Stages the journal's own metadata. When even the reserve is used up it is dropped: all of it is repeated or found again.
    pub(super) fn append_own(&self, set: &AppendSet, now_ms: u64) {
        loop {
            match self.queue.stage(|staged| staged.append_own(set, now_ms)) {
                Ok(Err(Refusal::NeedSegment)) if self.make_room(true).is_ok() => {}
                Ok(Ok(())) | Err(_) => return,
                Ok(Err(_)) => return tracing::warn!("no room for the journal's own metadata"),
            }
        }
    }

    pub(super) fn found_lost(&self, lost: Lost) {
        lock(&self.found).push(lost);
        self.upkeep_due.store(true, Ordering::Relaxed);
    }

    fn note_lost(&self, now_ms: u64) {
        let found = std::mem::take(&mut *lock(&self.found));
        self.record_lost(&found, now_ms);
        let known = self.queue.look(|staged| own::lost_ranges(&staged.meta));
        let mut set = AppendSet::new();
        let index = self.index();
        for (shard, range) in known {
            if index.shard(shard).is_some_and(|state| state.floor > range.last) {
                set.delete(&own::lost(shard, range.first), None);
            }
        }
        drop(index);
        if !set.is_empty() {
            self.append_own(&set, now_ms);
        }
    }

    /// Writes a snapshot when a full segment is not covered by one yet, or one could go if both slots covered it.
    fn snapshot_if_wanted(&self, upkeep: &mut Upkeep<S::File>) -> Result<bool, Failed> {
        let (newest, _) = upkeep.slots.newest();
        let covered = upkeep.slots.covered();
        let wanted = {
            let index = self.index();
            index.segments.iter().any(|(number, segment)| {
                let behind = segment.last_group > newest;
                let blocked = segment.pieces == 0 && !covers(covered, segment);
                Some(*number) != index.open && (behind || blocked)
            })
        };
        if wanted {
            self.queue.look(|staged| staged.want_cut());
        }
        self.write_snapshot(upkeep)
    }

    /// Writes the snapshot whose state was copied, when its group is durable by now.
    fn write_snapshot(&self, upkeep: &mut Upkeep<S::File>) -> Result<bool, Failed> {
        let durable = self.queue.durable();
        let Some(mut snapshot) = self.queue.look(|staged| staged.take_cut(durable)) else { return Ok(false) };
        snapshot.lane = self.lane;
        snapshot.next_segment = self.next_number.load(Ordering::Acquire);
        let index = self.index();
        let epoch = index.epoch;
        for state in &mut snapshot.shards {
            state.floor = index.shard(state.shard).map_or(crate::types::FIRST_SEQUENCE, |shard| shard.floor);
        }
        drop(index);
        let meta_next =
            snapshot.shards.iter().find(|state| state.shard == ShardKey::META).map(|state| state.next);
        match upkeep.slots.write(&self.storage, snapshot, epoch) {
            Ok(bytes) => self.totals.bytes_written.add(bytes),
            // No room for a larger slot: the other slot is whole, segments stay until there is room.
            Err(error) if is_full(&error) => {
                tracing::warn!(%error, "no room for a snapshot");
                return Ok(false);
            }
            Err(error) => return Err(Failed::new(format!("snapshot failed: {error}"))),
        }
        self.totals.device_writes.add(1);
        self.totals.flushes.add(1);
        let mut index = self.index_mut();
        if let (Some(slot), Some(next)) = (index.slot_of(ShardKey::META), meta_next) {
            index.raise_floor(slot, next);
        }
        Ok(true)
    }

    /// Gives the file of one segment that nobody wants back to the pool.
    fn retire_one(&self, upkeep: &mut Upkeep<S::File>) -> Result<bool, Failed> {
        let (covered, pressed) = (upkeep.slots.covered(), self.is_pressed());
        let mut index = self.index_mut();
        let open = index.open;
        let gone = index.segments.iter().find(|(number, segment)| {
            // Damage is kept for a person to look at, as long as the space is not needed.
            Some(**number) != open
                && segment.pieces == 0
                && covers(covered, segment)
                && (!segment.damaged || pressed)
        });
        let Some((&number, _)) = gone else { return Ok(false) };
        let segment = index.segments.remove(&number).expect("found just now");
        drop(index);
        lock(&self.tables).remove_segment(number);
        upkeep.unsealable.remove(&number);
        self.forget_unread(number);
        let name = FileName::Segment(number);
        self.retire(number, segment)
            .map_err(|error| Failed::new(format!("{name}: retiring it failed: {error}")))?;
        tracing::debug!(segment = number, "segment retired");
        Ok(true)
    }

    fn retire(&self, number: u64, segment: Segment<S::File>) -> io::Result<()> {
        let name = FileName::Segment(number).to_string();
        let mut files = lock(&self.files);
        let keep = segment.file_bytes == self.config.segment_bytes
            && files.ready() <= u64::from(self.config.pool_segments);
        if keep {
            let pool_name = files.pool_name();
            self.storage.rename(&name, &FileName::Pool(pool_name).to_string())?;
            // Before the file is written again, its old name must be gone for good.
            self.storage.sync_dir()?;
            files.add(pool_name, segment.file);
            let withheld = self.withheld(files.total);
            drop(files);
            self.queue.look(|staged| staged.spare_added(1, withheld));
        } else {
            self.storage.remove(&name)?;
            self.storage.sync_dir()?;
            files.total -= 1;
        }
        Ok(())
    }
}

/// Whether both snapshot slots know all that `segment` knew.
fn covers<F>((group, epoch): (u64, u64), segment: &Segment<F>) -> bool {
    segment.last_group <= group && segment.released <= epoch
}

pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
