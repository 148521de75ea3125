//! All source shards together: the memory they share, who is read next, whose progress is to be stored.
//!
//! Always true: what is in memory and what has been asked for stays within the limits, but for one oversized record a read.

use std::collections::{BTreeMap, VecDeque};

use super::region::Reading;
use super::slab::Slab;
use super::source::Source;
use super::words::{ForwardError, Progress, ProgressDue, SourceId};
use super::{DrainOrder, Forwarding};
use crate::limits::{PARENTS_MAX, READ_ROOM_PARTS, SOURCES_MAX};
use crate::{Ledger, Offset, WindowLimits};

#[derive(Debug)]
pub(super) struct Sources {
    pub(super) slab: Slab<Source>,
    pub(super) by_id: BTreeMap<SourceId, u32>,
    /// Regions that may be read, by class.
    pub(super) readable: [VecDeque<(SourceId, u32)>; 2],
    pub(super) held_records: usize,
    pub(super) held_bytes: u64,
    reserved_records: usize,
    reserved_bytes: u64,
    regions_made: u32,
    /// Sources whose progress is to be stored in its time.
    dirty: VecDeque<SourceId>,
    /// Sources whose progress is waited for.
    urgent: VecDeque<SourceId>,
    progress_at_ms: u64,
}

impl Sources {
    pub(super) fn new() -> Self {
        Self {
            slab: Slab::new(),
            by_id: BTreeMap::new(),
            readable: [VecDeque::new(), VecDeque::new()],
            held_records: 0,
            held_bytes: 0,
            reserved_records: 0,
            reserved_bytes: 0,
            regions_made: 0,
            dirty: VecDeque::new(),
            urgent: VecDeque::new(),
            progress_at_ms: 0,
        }
    }

    pub(super) fn place(&self, id: SourceId) -> Result<u32, ForwardError> {
        self.by_id.get(&id).copied().ok_or(ForwardError::SourceUnknown(id))
    }

    /// Records and bytes that nothing holds and nobody was promised.
    pub(super) fn free(&self, limits: &WindowLimits) -> (u64, u64) {
        let records = limits.records_max.saturating_sub(self.held_records + self.reserved_records);
        let bytes = (limits.bytes_max as u64).saturating_sub(self.held_bytes + self.reserved_bytes);
        (records as u64, bytes)
    }

    /// The least room worth a read.
    pub(super) fn floor(&self, limits: &WindowLimits) -> (u64, u64) {
        (
            (limits.records_max as u64 / READ_ROOM_PARTS).max(1),
            (limits.bytes_max as u64 / READ_ROOM_PARTS).max(1),
        )
    }

    pub(super) fn reserve(&mut self, records: usize, bytes: u64) {
        self.reserved_records += records;
        self.reserved_bytes += bytes;
    }

    pub(super) fn release(&mut self, records: usize, bytes: u64) {
        self.reserved_records -= records;
        self.reserved_bytes -= bytes;
    }

    pub(super) fn hold(&mut self, records: usize, bytes: u64) {
        self.held_records += records;
        self.held_bytes += bytes;
    }

    pub(super) fn give_up(&mut self, records: usize, bytes: u64) {
        self.held_records -= records;
        self.held_bytes -= bytes;
    }

    pub(super) fn next_region(&mut self) -> u32 {
        self.regions_made = self.regions_made.wrapping_add(1);
        self.regions_made
    }

    /// Puts what may be read of a source into the queues.
    pub(super) fn refresh_reads(&mut self, place: u32, is_newest: bool) {
        let source = self.slab.get_mut(place);
        let ready: Vec<usize> = source.readable(is_newest).collect();
        for index in ready {
            let region = &mut source.regions[index];
            region.reading = Reading::Queued;
            self.readable[region.class as usize].push_back((source.id, region.id));
        }
    }

    fn mark_dirty(&mut self, place: u32, is_urgent: bool) {
        let source = self.slab.get_mut(place);
        if is_urgent {
            self.urgent.push_back(source.id);
        }
        if !source.is_dirty {
            source.is_dirty = true;
            self.dirty.push_back(source.id);
        }
    }
}

impl Forwarding {
    /// Adds a source shard. Its parents are told before it; a parent that is not known was drained and forgotten. Nothing of it is
    /// read before all its parents are closed and done. `progress` is what was stored last, or [`Progress::new`].
    ///
    /// # Errors
    /// The source is known already, or there are too many.
    pub fn handle_source(
        &mut self,
        id: SourceId,
        parents: &[SourceId],
        progress: &Progress,
    ) -> Result<(), ForwardError> {
        if self.sources.by_id.contains_key(&id) {
            return Err(ForwardError::SourceKnown(id));
        }
        if self.sources.by_id.len() >= SOURCES_MAX {
            return Err(ForwardError::TooMany { max: SOURCES_MAX });
        }
        if parents.len() > PARENTS_MAX {
            return Err(ForwardError::TooMany { max: PARENTS_MAX });
        }
        let mut made = self.sources.regions_made;
        let mut source = Source::new(id, progress, || {
            made = made.wrapping_add(1);
            made
        });
        self.sources.regions_made = made;
        for parent in parents {
            let Some(place) = self.sources.by_id.get(parent).copied() else { continue };
            let parent = self.sources.slab.get_mut(place);
            if !parent.is_drained {
                parent.children.push(id);
                source.parents_open += 1;
            }
        }
        if self.is_planted(super::Planted::ChildBeforeParent) {
            source.parents_open = 0;
        }
        let place = self.sources.slab.insert(source);
        self.sources.by_id.insert(id, place);
        Ok(())
    }

    /// Tells that the shard has durable records up to `tail`, without it.
    ///
    /// # Errors
    /// The source is not known.
    pub fn handle_tail(&mut self, id: SourceId, tail: Offset, now_ms: u64) -> Result<(), ForwardError> {
        let place = self.sources.place(id)?;
        let source = self.sources.slab.get_mut(place);
        let grown = tail.0.saturating_sub(source.tail);
        source.tail = source.tail.max(tail.0);
        if source.is_told {
            self.arrived.add(grown, now_ms);
        }
        source.is_told = true;
        self.sources.refresh_reads(place, self.config.drain.order == DrainOrder::Newest);
        Ok(())
    }

    /// Tells that the shard is closed and ends before `end`.
    ///
    /// # Errors
    /// The source is not known.
    pub fn handle_source_end(&mut self, id: SourceId, end: Offset, now_ms: u64) -> Result<(), ForwardError> {
        self.handle_tail(id, end, now_ms)?;
        let place = self.sources.place(id)?;
        self.sources.slab.get_mut(place).end = Some(end.0);
        self.after_advance(place);
        Ok(())
    }

    /// Forgets a source that is closed and done and whose progress is stored. Its children are told before.
    ///
    /// # Errors
    /// The source is not known, not drained, or its last progress is not stored.
    pub fn handle_source_forgotten(&mut self, id: SourceId) -> Result<(), ForwardError> {
        let place = self.sources.place(id)?;
        let source = self.sources.slab.get(place);
        let is_stored = !source.is_dirty && source.stored_version == source.version;
        if !source.is_drained || !is_stored || !source.awaiting.is_empty() {
            return Err(ForwardError::NotDrained(id));
        }
        self.sources.slab.remove(place);
        self.sources.by_id.remove(&id);
        Ok(())
    }

    /// Whether a source is closed and every record of it has its end.
    pub fn is_drained(&self, id: SourceId) -> bool {
        self.sources.place(id).is_ok_and(|place| self.sources.slab.get(place).is_drained)
    }

    /// The next progress to store: at once where something waits for it, else every `progress_interval_ms`. Everything before a
    /// stored checkpoint may be trimmed.
    pub fn poll_progress(&mut self, now_ms: u64) -> Option<ProgressDue> {
        loop {
            let urgent = self.sources.urgent.pop_front();
            let id = match urgent {
                Some(id) => id,
                None if now_ms < self.sources.progress_at_ms => return None,
                None => self.sources.dirty.pop_front()?,
            };
            if self.sources.dirty.is_empty() {
                self.sources.progress_at_ms = now_ms.saturating_add(self.config.progress_interval_ms);
            }
            let Some(place) = self.sources.by_id.get(&id).copied() else { continue };
            let is_holey = self.is_planted(super::Planted::CheckpointPastHole);
            let source = self.sources.slab.get_mut(place);
            if !source.is_dirty {
                continue;
            }
            source.version += 1;
            // An urgent one leaves its place in the other queue, so it stays dirty until that comes up.
            source.is_dirty = urgent.is_some();
            let mut progress = source.progress();
            if is_holey {
                progress.checkpoint = Offset(source.regions.first().map_or(0, |region| region.next));
            }
            return Some(ProgressDue { source: id, version: source.version, progress });
        }
    }

    /// Tells that a progress is durable. Lanes whose first record was set aside go on when one that names it is.
    ///
    /// # Errors
    /// The source is not known.
    pub fn handle_progress_stored(
        &mut self,
        id: SourceId,
        version: u64,
        now_ms: u64,
    ) -> Result<(), ForwardError> {
        let place = self.sources.place(id)?;
        let source = self.sources.slab.get_mut(place);
        let may_go_on = source.handle_stored(version);
        let awaiting = &mut source.awaiting;
        let lanes: Vec<u32> =
            awaiting.extract_if(.., |(wanted, _)| *wanted <= version).map(|(_, lane)| lane).collect();
        for lane in lanes {
            self.release_lane(lane, now_ms);
        }
        if may_go_on {
            self.sources.refresh_reads(place, self.config.drain.order == DrainOrder::Newest);
            self.open_children(place);
        }
        Ok(())
    }

    /// How far a source is done, to look at. What this says is not covered by a version: store what `poll_progress` gives.
    pub fn progress(&self, id: SourceId) -> Option<Progress> {
        let place = self.sources.place(id).ok()?;
        Some(self.sources.slab.get(place).progress())
    }

    /// The counts of a source, and the records of it without an end, found by looking.
    pub fn ledger(&self, id: SourceId) -> Option<(Ledger, u64)> {
        let place = self.sources.place(id).ok()?;
        let source = self.sources.slab.get(place);
        Some((source.ledger(), source.waiting()))
    }

    /// When the next progress is due.
    pub(super) fn progress_ms(&self) -> Option<u64> {
        if !self.sources.urgent.is_empty() {
            return Some(0);
        }
        (!self.sources.dirty.is_empty()).then_some(self.sources.progress_at_ms)
    }

    /// A lane waits until the progress of its source is stored.
    pub(super) fn await_progress(&mut self, place: u32, lane: u32) {
        let source = self.sources.slab.get_mut(place);
        source.awaiting.push((source.version + 1, lane));
        self.sources.mark_dirty(place, true);
    }

    /// Reading from `from` on waits until the progress that passed over what lies before it is stored.
    pub(super) fn await_passed(&mut self, place: u32, from: u64) {
        if self.is_planted(super::Planted::PassedUnstored) {
            return;
        }
        let source = self.sources.slab.get_mut(place);
        source.await_passed(from, source.version + 1);
        self.sources.mark_dirty(place, true);
    }

    /// Something of a source was settled: its progress is to be stored, and its children may have been waiting for this.
    pub(super) fn after_advance(&mut self, place: u32) {
        self.sources.mark_dirty(place, false);
        self.open_children(place);
    }

    fn open_children(&mut self, place: u32) {
        let is_newest = self.config.drain.order == DrainOrder::Newest;
        let mut finished = Vec::new();
        let mut next = Some(place);
        while let Some(place) = next {
            let source = self.sources.slab.get_mut(place);
            next = finished.pop();
            if source.is_drained || !source.is_finished() {
                continue;
            }
            source.is_drained = true;
            for child in std::mem::take(&mut source.children) {
                let Some(place) = self.sources.by_id.get(&child).copied() else { continue };
                let child = self.sources.slab.get_mut(place);
                child.parents_open = child.parents_open.saturating_sub(1);
                self.sources.refresh_reads(place, is_newest);
                finished.push(place);
            }
            next = next.or_else(|| finished.pop());
        }
    }
}
