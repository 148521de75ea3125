//! Making up calls.
//!
//! Always true: a lane has at most one entry in all calls under way; a call and each target shard and the link keep their limits.
//! Each step adds an entry or closes a shard for a while: no step looks at all that waits.

use super::gate::Permission;
use super::lanes::LaneState;
use super::region::Class;
use super::slab::NONE;
use super::timers::Timer;
use super::words::{Call, CallId, Entry, RecordRef, TargetId};
use super::{Forwarding, Offset, Packing, Planted};
use crate::limits::SUSPECT_LOOKS_MAX;

/// A call that is under way.
#[derive(Debug)]
pub(super) struct Flight {
    /// Shard and, as an end in `records`, what of it.
    pub(super) entries: Vec<(TargetId, usize)>,
    pub(super) records: Vec<u32>,
}

/// A call in the making.
struct Draft {
    id: CallId,
    flight: Flight,
    call: Call,
    /// Records there may be, where one is under suspicion.
    crowd_max: usize,
}

impl Forwarding {
    /// The next call to make, if there is one now. Ask again when something was told and at [`Forwarding::poll_timeout`].
    pub fn poll_call(&mut self, now_ms: u64) -> Option<Call> {
        self.advance_timers(now_ms);
        self.call_at_ms = None;
        let in_flight = self.in_flight.len();
        if in_flight >= self.config.calls.in_flight_max.max(1) {
            return None;
        }
        match self.gate.permission(now_ms) {
            Permission::Granted => {}
            Permission::At(at_ms) => {
                self.call_at_ms = Some(at_ms);
                return None;
            }
            Permission::Later => return None,
        }
        let records = self.config.calls.records_max.max(1);
        let id = CallId(self.next_call);
        let call = Call { id, entries: Vec::new(), records: Vec::new(), size_bytes: 0 };
        let flight = Flight { entries: Vec::new(), records: Vec::new() };
        let mut draft = Draft { id, flight, call, crowd_max: usize::MAX };
        self.draw_suspects(&mut draft, now_ms);
        if draft.call.entries.is_empty() && !self.lingers(records, now_ms) {
            self.draw(&mut draft, now_ms);
        }
        if draft.call.entries.is_empty() {
            return None;
        }
        self.next_call += 1;
        self.share.charge_call();
        self.gate.handle_call(id);
        self.in_flight.insert(id, draft.flight);
        Some(draft.call)
    }

    /// Whether a call that is not full should wait for more.
    fn lingers(&mut self, records: usize, now_ms: u64) -> bool {
        if self.targets.sendable == 0 {
            return false;
        }
        let unit_bytes = self.config.packing.map_or(self.config.calls.bytes_max, |packing| packing.bytes_max);
        let is_full =
            self.targets.sendable >= records || self.sources.held_bytes - self.in_flight_bytes >= unit_bytes;
        let at_ms = self.targets.since_ms.saturating_add(self.config.calls.linger_ms);
        // With nothing under way there is no answer that would bring more lanes of a backlog.
        let is_draining = self.in_flight.is_empty() && self.targets.first(Class::Backlog).is_some();
        if is_full || now_ms >= at_ms || is_draining || self.is_behind() {
            return false;
        }
        self.call_at_ms = Some(at_ms);
        true
    }

    /// Whether a lane that could send has more than its head: each pause costs it as much as a round trip, and what waits behind it
    /// cannot come along. Lanes that an answer set free together go on together, so calls stay as large as they were.
    fn is_behind(&mut self) -> bool {
        [Class::Live, Class::Backlog].into_iter().any(|class| {
            let Some(place) = self.targets.first(class) else { return false };
            let lane = self.targets.get_mut(place).ready[class as usize].front().copied();
            lane.is_some_and(|lane| self.records.get(self.lanes.get(lane).head).next != NONE)
        })
    }

    fn draw(&mut self, draft: &mut Draft, now_ms: u64) {
        let is_last_slot =
            self.in_flight.len() + 1 == self.config.calls.in_flight_max && !self.in_flight.is_empty();
        let is_kept_for_live = is_last_slot && self.share.is_live_recent(now_ms);
        while draft.call.entries.len() < self.config.calls.records_max.max(1) {
            let live = self.targets.first(Class::Live);
            let backlog = if is_kept_for_live { None } else { self.targets.first(Class::Backlog) };
            let Some((class, place)) = self.share.pick(live, backlog) else { return };
            let Some(lane) = self.targets.get_mut(place).ready[class as usize].front().copied() else {
                return;
            };
            let room = match self.room(place, lane, draft, now_ms) {
                Room::Bytes(room) => room,
                Room::Shard => continue,
                Room::Link | Room::Call => return,
            };
            let is_contended = live.is_some() && backlog.is_some();
            let start = draft.flight.records.len();
            let size_bytes = match self.config.packing {
                Some(packing) => self.pack(place, class, &packing, room, draft),
                None => {
                    self.targets.take(place, class);
                    self.take_one(lane, draft)
                }
            };
            self.share.charge(class, size_bytes, is_contended);
            self.close_entry(place, start, size_bytes, draft, now_ms);
            let second = self.records.get(draft.flight.records[start]).next;
            if self.is_planted(Planted::TwoOfALane) && second != NONE {
                draft.flight.records.push(second);
                self.close_entry(place, start + 1, size_bytes, draft, now_ms);
            }
        }
    }

    /// A call for records under suspicion, in a crowd no larger than the suspicion allows.
    fn draw_suspects(&mut self, draft: &mut Draft, now_ms: u64) {
        for _ in 0..self.suspects.len().min(SUSPECT_LOOKS_MAX) {
            let Some(lane) = self.suspects.pop_front() else { return };
            let head = self.lanes.get(lane).head;
            let crowd_max = draft.crowd_max.min(self.records.get(head).crowd_max.max(1) as usize);
            if draft.flight.records.len() >= crowd_max {
                self.suspects.push_front(lane);
                return;
            }
            let Some(place) = self.route_lane(lane) else {
                self.lanes.get_mut(lane).state = LaneState::Unrouted;
                self.lanes.unrouted.push(lane);
                continue;
            };
            let is_open = self.targets.get_mut(place).is_open();
            if !is_open {
                self.suspects.push_back(lane);
                continue;
            }
            match self.room(place, lane, draft, now_ms) {
                Room::Bytes(_) => {}
                Room::Shard => {
                    self.suspects.push_back(lane);
                    continue;
                }
                Room::Link | Room::Call => {
                    self.suspects.push_front(lane);
                    return;
                }
            }
            draft.crowd_max = crowd_max;
            let start = draft.flight.records.len();
            let class = self.records.get(head).class;
            let size_bytes = self.take_one(lane, draft);
            self.share.charge(class, size_bytes, false);
            self.close_entry(place, start, size_bytes, draft, now_ms);
        }
    }

    /// What may go to this shard now, for the first record of this lane.
    fn room(&mut self, place: u32, lane: u32, draft: &Draft, now_ms: u64) -> Room {
        let size_bytes = self.records.get(self.lanes.get(lane).head).size_bytes();
        let is_ignored = self.is_planted(Planted::BucketIgnored);
        let target = self.targets.get_mut(place);
        let has_room = target.bytes.admits(size_bytes, now_ms) && target.records.admits(1, now_ms);
        if !has_room && !is_ignored {
            let bytes_ms = target.bytes.ready_at_ms(size_bytes, now_ms);
            let until_ms = bytes_ms.max(target.records.ready_at_ms(1, now_ms)).max(now_ms.saturating_add(1));
            self.park(place, until_ms, now_ms);
            return Room::Shard;
        }
        let shard = target.bytes.level();
        if !self.share.admits(size_bytes, now_ms) {
            self.call_at_ms = Some(self.share.ready_at_ms(size_bytes, now_ms).max(now_ms.saturating_add(1)));
            return Room::Link;
        }
        let call = self.config.calls.bytes_max.saturating_sub(draft.call.size_bytes);
        if size_bytes > call && !draft.call.entries.is_empty() {
            return Room::Call;
        }
        Room::Bytes(shard.min(self.share.room()).min(call))
    }

    /// Takes the first record of a lane as an entry of its own; returns its size.
    fn take_one(&mut self, lane: u32, draft: &mut Draft) -> u64 {
        let lane = self.lanes.get_mut(lane);
        lane.state = LaneState::InFlight;
        draft.flight.records.push(lane.head);
        self.records.get(lane.head).size_bytes()
    }

    /// Fills an aggregate with records of one shard, each lane a fair part of the room; returns its size.
    fn pack(&mut self, place: u32, class: Class, packing: &Packing, room: u64, draft: &mut Draft) -> u64 {
        let room = room.min(packing.bytes_max);
        let (start, mut keys, mut bytes) = (draft.flight.records.len(), 0, packing.frame_bytes);
        while let Some(lane) = self.targets.get_mut(place).ready[class as usize].front().copied() {
            let left = packing.records_max.max(1).saturating_sub(draft.flight.records.len() - start);
            let lanes = self.targets.get_mut(place).ready[class as usize].len();
            let share_bytes = bytes.saturating_add(room.saturating_sub(bytes) / (lanes as u64).max(1));
            let before = draft.flight.records.len();
            let mut index = self.lanes.get(lane).head;
            while index != NONE && draft.flight.records.len() - before < left.div_ceil(lanes.max(1)) {
                let held = self.records.get(index);
                let is_first = draft.flight.records.len() == start;
                let is_new_key = draft.flight.records.len() == before;
                let (key_bytes, data_bytes) = (held.key_bytes, held.data_bytes);
                let added =
                    (packing.added)(super::Added { key_index: keys, is_new_key, key_bytes, data_bytes });
                // The first record lends its key to the aggregate.
                let added = if is_first { added.saturating_add(u64::from(key_bytes)) } else { added };
                let most = if is_new_key { room } else { share_bytes };
                let fits = bytes.saturating_add(added) <= most && !held.is_packed && !held.is_suspect();
                if !is_first && !fits {
                    break;
                }
                bytes = bytes.saturating_add(added);
                draft.flight.records.push(index);
                let is_alone = !fits;
                index = held.next;
                if is_alone {
                    break;
                }
            }
            if draft.flight.records.len() == before {
                break;
            }
            self.targets.take(place, class);
            self.lanes.get_mut(lane).state = LaneState::InFlight;
            keys += 1;
            if left <= draft.flight.records.len() - before || bytes >= room {
                break;
            }
            let first = self.records.get(draft.flight.records[start]);
            if first.is_packed {
                break;
            }
        }
        match draft.flight.records[start..] {
            [alone] => self.records.get(alone).size_bytes(),
            _ => bytes,
        }
    }

    fn close_entry(&mut self, place: u32, start: usize, size_bytes: u64, draft: &mut Draft, now_ms: u64) {
        let target = self.targets.get_mut(place);
        target.bytes.take(size_bytes);
        target.records.take(1);
        let id = target.shard.id;
        if self.config.packing.is_some() {
            let call = draft.id;
            self.targets.change(place, now_ms, |target| target.packed_in = Some(call));
        }
        let end = draft.flight.records.len();
        for index in &draft.flight.records[start..] {
            let held = self.records.get(*index);
            self.in_flight_bytes += held.size_bytes();
            let source = self.sources.slab.get(held.source).id;
            draft.call.records.push(RecordRef { source, offset: Offset(held.offset) });
        }
        draft.flight.entries.push((id, end));
        draft.call.entries.push(Entry { target: id, records: start..end, size_bytes });
        draft.call.size_bytes = draft.call.size_bytes.saturating_add(size_bytes);
    }

    pub(super) fn park(&mut self, place: u32, until_ms: u64, now_ms: u64) {
        self.targets.park(place, until_ms, now_ms);
        self.timers.set(until_ms, Timer::Target { place, epoch: self.targets.epoch });
    }
}

/// What stands in the way, if anything does.
enum Room {
    Bytes(u64),
    /// The shard has had enough for now, and is closed.
    Shard,
    /// The link has.
    Link,
    /// The call is full.
    Call,
}
