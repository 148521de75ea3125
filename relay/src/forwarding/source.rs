//! One source shard: its regions, what is set aside above the checkpoint, and the progress these make.
//!
//! Always true: regions do not overlap and rise; all but the last have an end; everything between two regions is done.

use std::collections::BTreeSet;
use std::ops::Range;

use super::region::{Class, Fate, Reading, Region};
use super::words::{Progress, SourceId};
use crate::limits::REGIONS_MAX;
use crate::{DropReason, Ledger, Offset};

#[derive(Debug)]
pub(super) struct Source {
    pub(super) id: SourceId,
    /// Parents that are not drained.
    pub(super) parents_open: usize,
    pub(super) children: Vec<SourceId>,
    /// Behind the last durable record.
    pub(super) tail: u64,
    /// Where a closed shard ends.
    pub(super) end: Option<u64>,
    pub(super) regions: Vec<Region>,
    pub(super) is_drained: bool,
    /// Whether a tail was told: what lay there before did not arrive just now.
    pub(super) is_told: bool,
    /// Lanes that wait until a progress of this version is stored.
    pub(super) awaiting: Vec<(u64, u32)>,
    /// Number of the progress given out last.
    pub(super) version: u64,
    /// Number of the progress stored last.
    pub(super) stored_version: u64,
    pub(super) is_dirty: bool,
    /// What was passed over, from the lowest place on, and the progress that says so: nothing behind it is read before that is stored,
    /// or a crash would send it behind its successors.
    passed: Option<(u64, u64)>,
    set_aside: BTreeSet<u64>,
    origin: u64,
    ledger: Ledger,
}

/// What a fate changed.
pub(super) struct Advanced {
    /// Slots given up.
    pub(super) slots: usize,
    /// A region is done: another may be read now.
    pub(super) has_closed: bool,
}

impl Source {
    pub(super) fn new(id: SourceId, progress: &Progress, mut region_id: impl FnMut() -> u32) -> Self {
        let mut regions = Vec::new();
        let (mut from, mut next) = (progress.checkpoint.0, progress.checkpoint.0);
        for done in progress.done.iter().take(REGIONS_MAX - 1) {
            if done.start.0 < next || done.end <= done.start {
                continue;
            }
            regions.push(Region::new(region_id(), from, next, Some(done.start.0), Class::Backlog));
            (from, next) = (done.start.0, done.end.0);
        }
        regions.push(Region::new(region_id(), from, next, None, Class::Live));
        let ledger = Ledger { stored: 0, ..progress.ledger };
        Self {
            id,
            parents_open: 0,
            children: Vec::new(),
            tail: next,
            end: None,
            regions,
            is_drained: false,
            is_told: false,
            awaiting: Vec::new(),
            version: 0,
            stored_version: 0,
            is_dirty: false,
            passed: None,
            set_aside: progress.set_aside.iter().map(|offset| offset.0).collect(),
            origin: progress.origin.0,
            ledger,
        }
    }

    pub(super) fn region_mut(&mut self, id: u32) -> Option<&mut Region> {
        self.regions.iter_mut().find(|region| region.id == id)
    }

    /// Everything before this offset is done for good.
    pub(super) fn checkpoint(&self) -> u64 {
        self.regions.first().map_or(self.tail, Region::low)
    }

    /// Where reading of a region has to stop for now.
    pub(super) fn limit(&self, region: &Region) -> u64 {
        region.to.unwrap_or(self.tail)
    }

    /// Whether this offset is in the dead-letter stream since before the start.
    pub(super) fn is_set_aside(&self, offset: u64) -> bool {
        self.set_aside.contains(&offset)
    }

    /// Gives a record its fate.
    pub(super) fn settle(&mut self, region_id: u32, number: u64, offset: u64, fate: Fate) -> Advanced {
        if fate == Fate::SetAside {
            self.set_aside.insert(offset);
            self.ledger.dead_lettered = self.ledger.dead_lettered.saturating_add(1);
        }
        let region = self.region_mut(region_id).expect("a region stays while a record of it is open");
        region.settle(number, fate);
        self.advance(region_id)
    }

    /// Moves on over everything that has a fate.
    pub(super) fn advance(&mut self, region_id: u32) -> Advanced {
        let mut slots = 0;
        let Self { regions, ledger, set_aside, .. } = self;
        if let Some(region) = regions.iter_mut().find(|region| region.id == region_id) {
            slots = region.advance(ledger, set_aside);
        }
        Advanced { slots, has_closed: self.regions.len() > 1 && self.close_done() }
    }

    /// Nothing unsent is left in the log before `to`, or it is to be left out. Returns how many slots that took and gave up, and what it
    /// was.
    ///
    /// What is left out although the log has it, behind records that are in memory yet, is a hole, so that the progress which is stored next
    /// says so; else the next start would send it, behind what was sent meanwhile. Where there is no room for another hole, it stays until
    /// what is in memory before it has its end.
    pub(super) fn skip(
        &mut self,
        to: u64,
        reason: DropReason,
        region_id: u32,
    ) -> (usize, usize, Vec<Range<Offset>>) {
        self.tail = self.tail.max(to);
        let (mut taken, mut given, mut ranges) = (0, 0, Vec::new());
        let mut index = 0;
        while let Some(region) = self.regions.get_mut(index) {
            let until = region.to.map_or(to, |end| end.min(to));
            let range = region.next..until;
            // What is too old is not there after a start either.
            let needs_hole = reason != DropReason::Age && region.slots() > 0;
            let told = Offset(range.start)..Offset(range.end);
            if !range.is_empty() && !needs_hole {
                taken += usize::from(region.skip(until, reason));
                ranges.push(told);
            } else if !range.is_empty() && self.make_hole(index, until, region_id) {
                self.lose(range, reason);
                ranges.push(told);
            }
            given += self.regions[index].advance(&mut self.ledger, &mut self.set_aside);
            index += 1;
        }
        self.close_done();
        (taken, given, ranges)
    }

    /// Does without what is not read yet from `from` on, before `to`; says what that was. Where there is no room for another region, it is
    /// everything that is not read, or nothing while the last region still has something in memory.
    pub(super) fn pass_over(
        &mut self,
        (from, to): (u64, u64),
        reason: DropReason,
        region_id: u32,
    ) -> Option<Range<Offset>> {
        self.tail = self.tail.max(to);
        let is_full = !self.takes_another();
        let last = self.regions.last_mut()?;
        let start = if is_full { last.next } else { from.max(last.next) };
        if start >= to {
            return None;
        }
        if last.slots() == 0 && start == last.next {
            // Nothing lies between this and what is done before it: that reaches further now.
            last.next = to;
        } else if is_full {
            return None;
        } else {
            (last.to, last.class) = (Some(start), Class::Backlog);
            self.regions.push(Region::new(region_id, start, to, None, Class::Live));
        }
        self.lose(start..to, reason);
        self.close_done();
        Some(Offset(start)..Offset(to))
    }

    /// What a region has not read before `until` is done; false where that takes another region and there is no room for it.
    fn make_hole(&mut self, index: usize, until: u64, region_id: u32) -> bool {
        let is_last = index + 1 == self.regions.len();
        let has_room = self.regions.len() < if is_last { REGIONS_MAX } else { REGIONS_MAX - 1 };
        let region = &mut self.regions[index];
        let (start, end, class) = (region.next, region.to, region.class);
        if end == Some(until) {
            region.to = Some(start);
            self.regions[index + 1].from = start;
        } else if has_room {
            region.to = Some(start);
            self.regions.insert(index + 1, Region::new(region_id, start, until, end, class));
        } else {
            return false;
        }
        true
    }

    /// Counts what is left out. What a start found in the dead-letter stream already is not lost a second time.
    fn lose(&mut self, range: Range<u64>, reason: DropReason) {
        let known = self.set_aside.range(range.clone()).count() as u64;
        self.set_aside.retain(|offset| !range.contains(offset));
        self.ledger.count_dropped(reason, range.end - range.start - known);
    }

    /// Nothing from `from` on is read before a progress of this version is stored.
    pub(super) fn await_passed(&mut self, from: u64, version: u64) {
        self.passed = Some((self.passed.map_or(from, |(before, _)| before.min(from)), version));
    }

    /// Whether there may be another region. The last of [`REGIONS_MAX`] is for what is left out behind everything that is in memory.
    pub(super) fn takes_another(&self) -> bool {
        self.regions.len() < REGIONS_MAX - 1
    }

    /// Regions that go on here or behind it are not read for now: what was passed over is not stored yet, or there is no region left for
    /// leaving out what comes behind what they would read.
    pub(super) fn barred_from(&self) -> Option<u64> {
        let passed = self.passed.map(|(from, _)| from);
        let last = self.regions.last().filter(|_| self.regions.len() >= REGIONS_MAX).map(|last| last.next);
        passed.into_iter().chain(last).min()
    }

    /// A progress is stored: whether what waited for it may be read now.
    pub(super) fn handle_stored(&mut self, version: u64) -> bool {
        self.stored_version = self.stored_version.max(version.min(self.version));
        self.passed.take_if(|(_, wanted)| *wanted <= self.stored_version).is_some()
    }

    fn close_done(&mut self) -> bool {
        let before = self.regions.len();
        let mut index = 0;
        while let Some(region) = self.regions.get(index) {
            if !region.is_done() {
                index += 1;
                continue;
            }
            let from = region.from;
            self.regions.remove(index);
            if let Some(later) = self.regions.get_mut(index) {
                later.from = from;
            }
        }
        before != self.regions.len()
    }

    /// The last region ends here as a hole, live data is read from the end of the shard on.
    pub(super) fn jump(&mut self, region_id: u32) {
        let tail = self.tail;
        if let Some(last) = self.regions.last_mut() {
            last.to = Some(tail);
            last.class = Class::Backlog;
        }
        self.regions.push(Region::new(region_id, tail, tail, None, Class::Live));
    }

    /// An empty child of a parent that is not done is not done either: its own children must wait for both. Nor is one whose end was left
    /// out, before that is stored: a start that does not know it would send it behind what its children had.
    pub(super) fn is_finished(&self) -> bool {
        self.parents_open == 0
            && self.passed.is_none()
            && self.end.is_some_and(|end| self.regions.len() == 1 && self.checkpoint() >= end)
    }

    pub(super) fn progress(&self) -> Progress {
        let above = self.regions.iter().skip(1).filter(|region| region.low() > region.from);
        Progress {
            checkpoint: Offset(self.checkpoint()),
            done: above.map(|region| Offset(region.from)..Offset(region.low())).collect(),
            set_aside: self.set_aside.iter().map(|offset| Offset(*offset)).collect(),
            origin: Offset(self.origin),
            ledger: self.ledger,
        }
    }

    /// Counts with what the shard holds up to its end.
    pub(super) fn ledger(&self) -> Ledger {
        Ledger { stored: self.tail.saturating_sub(self.origin), ..self.ledger }
    }

    /// Records without an end, found by looking at the regions.
    pub(super) fn waiting(&self) -> u64 {
        let open = self.regions.iter().map(|region| self.limit(region).saturating_sub(region.low()));
        open.sum::<u64>().saturating_sub(self.set_aside.len() as u64)
    }

    /// Regions that may be read on, without those that are being read.
    pub(super) fn readable(&self, is_newest: bool) -> impl Iterator<Item = usize> + '_ {
        let open =
            |index: &usize| self.regions.get(*index).is_some_and(|region| region.next < self.limit(region));
        let last = self.regions.len() - 1;
        let (first, second) = if is_newest {
            // Live data, and the newest hole beside it.
            (open(&last).then_some(last), (0..last).rev().find(open))
        } else {
            ((0..=last).find(open), None)
        };
        let is_ready = self.parents_open == 0;
        first.into_iter().chain(second).filter(move |index| {
            let region = &self.regions[*index];
            let is_barred = self.barred_from().is_some_and(|from| region.next >= from);
            is_ready && !is_barred && region.reading == Reading::Idle
        })
    }
}
