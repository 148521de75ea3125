//! What to read next, within the memory there is.

use super::lanes::{Held, LaneState};
use super::region::{Class, Fate, Reading, Region};
use super::words::{ForwardError, Read, Record, SourceId};
use super::{DrainOrder, Forwarding};
use crate::limits::{BACKLOG_SHARE_OF_FREE, LIVE_SHARE_OF_FREE, READ_LOOKS_MAX};
use crate::{DropReason, Offset};
use std::ops::Range;

impl Forwarding {
    /// What to read next; `None` while there is no room or nothing to read, or enough for a link that is away. Live data is read first. Answer with
    /// [`Forwarding::handle_records`].
    pub fn poll_read(&mut self) -> Option<Read> {
        // What is read during an outage is old when the link comes back, and with `newest` stands before what is new then.
        let has_enough = self.targets.sendable > 0 || !self.in_flight.is_empty();
        if !self.gate.is_open() && has_enough {
            return None;
        }
        Class::ALL.into_iter().find_map(|class| {
            let looks = self.sources.readable[class as usize].len().min(READ_LOOKS_MAX);
            (0..looks).find_map(|_| self.look(class))
        })
    }

    fn look(&mut self, class: Class) -> Option<Read> {
        let (id, region_id) = self.sources.readable[class as usize].pop_front()?;
        let memory = &mut self.sources;
        let (free_records, free_bytes) = memory.free(&self.config.memory);
        let (floor_records, floor_bytes) = memory.floor(&self.config.memory);
        let place = *memory.by_id.get(&id)?;
        let source = memory.slab.get_mut(place);
        let (tail, barred_from) = (source.tail, source.barred_from());
        let region = source.region_mut(region_id).filter(|region| region.reading == Reading::Queued)?;
        let limit = region.to.unwrap_or(tail);
        if region.next >= limit || barred_from.is_some_and(|from| region.next >= from) {
            region.reading = Reading::Idle;
            return None;
        }
        let times = if class == Class::Live { LIVE_SHARE_OF_FREE } else { BACKLOG_SHARE_OF_FREE };
        // So much that afterwards it holds `times` what is left free.
        let room = |free: u64, used: u64| free.saturating_mul(times).saturating_sub(used) / (times + 1);
        let records = room(free_records, region.slots() as u64);
        let bytes = room(free_bytes, region.open_bytes);
        // Each record may come with a loss before it, and one more at the end: both take a place in memory.
        let records = records.saturating_sub(1) / 2;
        if records < floor_records || bytes < floor_bytes {
            memory.readable[class as usize].push_back((id, region_id));
            return None;
        }
        let wanted = limit.saturating_sub(region.next).min(records);
        let records_max =
            usize::try_from(wanted).unwrap_or(usize::MAX).min(self.config.read.records_max.max(1));
        let bytes_max = bytes.min(self.config.read.bytes_max as u64).max(1);
        region.reading = Reading::Asked { places: places(records_max), bytes_max };
        let read = Read {
            source: id,
            from: Offset(region.next),
            until: region.to.map(Offset),
            records_max,
            bytes_max,
        };
        memory.reserve(places(records_max), bytes_max);
        Some(read)
    }

    /// Takes the records of a read, in rising order, and where reading goes on. Offsets that are missing between the records were
    /// lost from the log and count as dropped by damage. No records and `next == from`: there is nothing there (or it could not be
    /// read now), and reading goes on when [`Forwarding::handle_tail`] is told again. The caller keeps what is in the records until
    /// they are acked or set aside.
    ///
    /// # Errors
    /// They are not what was asked for; nothing was taken.
    pub fn handle_records(
        &mut self,
        read: &Read,
        records: &[Record],
        next: Offset,
        now_ms: u64,
    ) -> Result<(), ForwardError> {
        let (place, region_id) = self.check_records(read, records, next)?;
        let is_newest = self.config.drain.order == DrainOrder::Newest;
        let live_ms = self.config.drain.live_ms;
        let source = self.sources.slab.get_mut(place);
        let tail = source.tail;
        let region = source.region_mut(region_id).ok_or(ForwardError::Unasked(read.source))?;
        let Reading::Asked { places, bytes_max } = region.reading else {
            return Err(ForwardError::Unasked(read.source));
        };
        region.reading = Reading::Idle;
        let is_last = region.to.is_none();
        let late = records.last().is_some_and(|last| now_ms.saturating_sub(last.arrival_ms) > live_ms);
        if !is_newest && is_last {
            region.class = if late && next.0 < tail { Class::Backlog } else { Class::Live };
        }
        let region_class = region.class;
        // Here live data goes ahead: what was read just now is the beginning of the hole, whose lanes keep their order as a whole.
        let behind = tail.saturating_sub(next.0);
        let is_behind = late && behind >= self.config.drain.jump_records_min.max(1);
        let jumps = is_newest && is_last && is_behind && source.takes_another();
        // With `oldest` the last records of a backlog are late although reading has caught up.
        let class = if late && !is_newest || jumps { Class::Backlog } else { region_class };
        self.sources.release(places, bytes_max);
        if class == Class::Live && !records.is_empty() {
            self.share.saw_live(now_ms);
        }
        for record in records {
            self.take_record(place, region_id, record, class, now_ms);
        }
        self.lose_until(place, region_id, next.0, DropReason::Damage);
        let source = self.sources.slab.get_mut(place);
        if records.is_empty() && next == read.from && is_last {
            source.tail = next.0;
        }
        source.tail = source.tail.max(if is_last { next.0 } else { 0 });
        if jumps {
            let region_id = self.sources.next_region();
            self.sources.slab.get_mut(place).jump(region_id);
        }
        if !records.is_empty() || next != read.from {
            self.sources.refresh_reads(place, is_newest);
        }
        self.after_advance(place);
        Ok(())
    }

    fn check_records(
        &self,
        read: &Read,
        records: &[Record],
        next: Offset,
    ) -> Result<(u32, u32), ForwardError> {
        let unasked = ForwardError::Unasked(read.source);
        let place = self.sources.place(read.source)?;
        let source = self.sources.slab.get(place);
        let asked = |region: &&super::region::Region| {
            matches!(region.reading, Reading::Asked { .. }) && region.next == read.from.0
        };
        let region = source.regions.iter().find(asked).ok_or(unasked)?;
        let mut from = read.from;
        let mut bytes = 0u64;
        for record in records {
            if record.offset < from {
                return Err(unasked);
            }
            from = Offset(record.offset.0.saturating_add(1));
            bytes += u64::from(record.data_bytes) + u64::from(record.key_bytes);
        }
        let is_past = region.to.is_some_and(|to| next.0 > to);
        let is_too_much = records.len() > read.records_max || (records.len() > 1 && bytes > read.bytes_max);
        if next < from || is_past || is_too_much { Err(unasked) } else { Ok((place, region.id)) }
    }

    fn take_record(&mut self, place: u32, region_id: u32, record: &Record, class: Class, now_ms: u64) {
        self.lose_until(place, region_id, record.offset.0, DropReason::Damage);
        let source = self.sources.slab.get_mut(place);
        let is_set_aside = source.is_set_aside(record.offset.0);
        let Some(region) = source.region_mut(region_id) else { return };
        let held = Held::new(record, place, region_id, 0, class);
        let size_bytes = u32::try_from(held.size_bytes()).unwrap_or(u32::MAX);
        let fate = if is_set_aside { Fate::SetAside } else { Fate::Open };
        let number = region.push(record.offset.0, size_bytes, fate);
        self.sources.hold(1, 0);
        if is_set_aside {
            // In the dead-letter stream since before the start: counted there already, not sent again.
            let advanced = self.sources.slab.get_mut(place).advance(region_id);
            self.sources.give_up(advanced.slots, 0);
            return;
        }
        self.sources.hold(0, u64::from(size_bytes));
        let index = self.records.insert(Held { number, ..held });
        let is_newest = self.config.drain.order == DrainOrder::Newest;
        let table = if is_newest { class } else { Class::Live };
        let lane = self.lanes.push(&mut self.records, index, record.lane, table);
        if self.lanes.get(lane).state == LaneState::New {
            self.queue_lane(lane, false, now_ms);
        }
    }

    fn lose_until(&mut self, place: u32, region_id: u32, to: u64, reason: DropReason) {
        let source = self.sources.slab.get_mut(place);
        let Some(region) = source.region_mut(region_id) else { return };
        if region.skip(to, reason) {
            self.sources.hold(1, 0);
        }
        let advanced = self.sources.slab.get_mut(place).advance(region_id);
        self.sources.give_up(advanced.slots, 0);
    }

    /// Tells that everything not yet read before `to` has left the log, or is to be left out, and why; says what that is. What is in memory
    /// is still sent. A read that was to bring some of it counts as answered.
    ///
    /// # Errors
    /// The source is not known.
    pub fn handle_dropped(
        &mut self,
        source: SourceId,
        to: Offset,
        reason: DropReason,
    ) -> Result<Vec<Range<Offset>>, ForwardError> {
        let place = self.sources.place(source)?;
        self.end_reads(place, |region| region.next < to.0);
        let region_id = self.sources.next_region();
        let (taken, given, ranges) = self.sources.slab.get_mut(place).skip(to.0, reason, region_id);
        self.sources.hold(taken, 0);
        self.sources.give_up(given, 0);
        if let Some(first) = ranges.first() {
            self.await_passed(place, first.start.0);
        }
        self.sources.refresh_reads(place, self.config.drain.order == DrainOrder::Newest);
        self.after_advance(place);
        Ok(ranges)
    }

    /// Tells to do without the newest: what is not read yet from `from` on, before `to`; what is older stays, and goes in its order. Says what
    /// that is, counted by now. A read that was to bring some of it counts as answered, and what comes behind it is read when the progress
    /// that says so is stored. Where a source has as many regions as it may ([`crate::limits::REGIONS_MAX`]), the one before is made larger: everything since then that
    /// is not read is left out, or nothing for now.
    ///
    /// # Errors
    /// The source is not known.
    pub fn handle_passed_over(
        &mut self,
        source: SourceId,
        range: Range<Offset>,
        reason: DropReason,
    ) -> Result<Option<Range<Offset>>, ForwardError> {
        let place = self.sources.place(source)?;
        self.end_reads(place, |region| region.to.is_none());
        let region_id = self.sources.next_region();
        let too_much = u64::from(self.is_planted(super::Planted::PassedTooMuch));
        let (from, to) = (range.start.0.saturating_sub(too_much), range.end.0);
        let passed = self.sources.slab.get_mut(place).pass_over((from, to), reason, region_id);
        let passed = passed.map(|passed| Offset(passed.start.0 + too_much)..passed.end);
        if let Some(passed) = &passed {
            self.await_passed(place, passed.start.0);
        }
        self.sources.refresh_reads(place, self.config.drain.order == DrainOrder::Newest);
        if passed.is_some() {
            self.after_advance(place);
        }
        Ok(passed)
    }

    /// What was asked for of such regions counts as answered.
    fn end_reads(&mut self, place: u32, which: impl Fn(&Region) -> bool) {
        let mut released = Vec::new();
        for region in &mut self.sources.slab.get_mut(place).regions {
            if let Reading::Asked { places, bytes_max } = region.reading
                && which(region)
            {
                region.reading = Reading::Idle;
                released.push((places, bytes_max));
            }
        }
        for (places, bytes_max) in released {
            self.sources.release(places, bytes_max);
        }
    }
}

/// Places in memory a read of so many records may take.
fn places(records: usize) -> usize {
    records.saturating_mul(2).saturating_add(1)
}
