//! What became of calls: what is done, what is sent again and when, what is set aside.
//!
//! Always true: a record leaves its lane only with its end; a lane goes on only when nothing of it is under way and, after a record of
//! it was set aside, when that is durable.

use std::collections::{BTreeMap, VecDeque};

use super::Forwarding;
use super::calls::Flight;
use super::lanes::LaneState;
use super::region::Fate;
use super::slab::NONE;
use super::timers::Timer;
use super::words::{
    CallFailure, CallId, DeadLetter, DeadReason, ForwardError, RecordRef, SendOutcome, TargetId,
};
use crate::Offset;
use crate::limits::{ALONE_FACTOR, WITNESSED_PAUSE_MAX_MS};

/// Records to be set aside: those nobody was told of yet, and those that are being stored.
#[derive(Debug, Default)]
pub(super) struct DeadLetters {
    waiting: VecDeque<(u32, DeadReason)>,
    told: BTreeMap<RecordRef, u32>,
}

impl Forwarding {
    /// Takes what became of each entry of a call, in their order.
    ///
    /// # Errors
    /// No such call is under way, or the numbers differ; nothing changed.
    pub fn handle_outcomes(
        &mut self,
        call: CallId,
        outcomes: &[SendOutcome],
        now_ms: u64,
    ) -> Result<(), ForwardError> {
        let expected = self.in_flight.get(&call).ok_or(ForwardError::CallUnknown(call))?.entries.len();
        if outcomes.len() != expected {
            return Err(ForwardError::Outcomes { found: outcomes.len(), expected });
        }
        let flight = self.land(call, now_ms)?;
        self.gate.handle_answer(call, now_ms);
        let mut start = 0;
        let mut delivered = 0;
        for ((target, end), outcome) in flight.entries.iter().zip(outcomes) {
            let records = &flight.records[start..*end];
            start = *end;
            match *outcome {
                SendOutcome::Acked => {
                    delivered += records.len() as u64;
                    self.handle_acked(*target, records, now_ms);
                }
                SendOutcome::Retry { is_throttled: true } => self.handle_throttled(*target, records, now_ms),
                SendOutcome::Retry { is_throttled: false } => self.handle_failed(*target, records, now_ms),
                SendOutcome::Rejected => self.handle_rejected(records, now_ms),
            }
        }
        self.delivered.add(delivered, now_ms);
        Ok(())
    }

    /// Takes that a call failed as a whole. All of it is sent again, in its order; what did arrive arrives twice, with the same
    /// identity.
    ///
    /// # Errors
    /// No such call is under way.
    pub fn handle_call_failed(
        &mut self,
        call: CallId,
        failure: CallFailure,
        now_ms: u64,
    ) -> Result<(), ForwardError> {
        let flight = self.land(call, now_ms)?;
        match failure {
            CallFailure::Unknown => {
                self.gate.handle_failure(call, now_ms);
                self.for_each_lane(&flight.records, |own, lane| own.release_lane(lane, now_ms));
            }
            CallFailure::Refused => {
                self.gate.handle_answer(call, now_ms);
                self.handle_rejected(&flight.records, now_ms);
            }
        }
        Ok(())
    }

    /// Tells that there is no way to the target. Calls under way still have to be settled.
    pub fn handle_connection_lost(&mut self, now_ms: u64) {
        self.gate.handle_lost(now_ms);
    }

    /// Tells that there is a way again. The first call goes when the pause is over, alone.
    pub fn handle_connection_restored(&mut self) {
        self.gate.handle_restored();
    }

    /// The next record to set aside, if there is one: write it to the dead-letter stream, then tell that it is durable.
    pub fn poll_dead_letter(&mut self) -> Option<DeadLetter> {
        let (index, reason) = self.dead.waiting.pop_front()?;
        let held = self.records.get(index);
        let source = self.sources.slab.get(held.source).id;
        let record = RecordRef { source, offset: Offset(held.offset) };
        self.dead.told.insert(record, index);
        Some(DeadLetter { record, reason })
    }

    /// Tells that a dead letter is durable in the dead-letter stream. The checkpoint may pass it now; its lane goes on when a
    /// progress that names it is stored, so that no crash sends it behind its successors.
    ///
    /// # Errors
    /// No such dead letter was given out.
    pub fn handle_dead_letter_stored(&mut self, record: RecordRef) -> Result<(), ForwardError> {
        let index = self.dead.told.remove(&record).ok_or(ForwardError::DeadLetterUnknown(record))?;
        let held = self.records.get(index);
        let (lane, source) = (held.lane, held.source);
        self.finish(index, Fate::SetAside);
        self.await_progress(source, lane);
        Ok(())
    }

    /// Takes a call off the list of those under way, and its aggregates off their shards.
    fn land(&mut self, call: CallId, now_ms: u64) -> Result<Flight, ForwardError> {
        let flight = self.in_flight.remove(&call).ok_or(ForwardError::CallUnknown(call))?;
        for index in &flight.records {
            self.in_flight_bytes -= self.records.get(*index).size_bytes();
        }
        if self.config.packing.is_some() {
            for (target, _) in &flight.entries {
                let Some(place) = self.targets.place(*target) else { continue };
                self.targets.change(place, now_ms, |target| {
                    target.packed_in = target.packed_in.filter(|packed_in| *packed_in != call);
                });
            }
        }
        Ok(flight)
    }

    fn handle_acked(&mut self, target: TargetId, records: &[u32], now_ms: u64) {
        if let Some(place) = self.targets.place(target) {
            self.targets.acked(place, now_ms);
        }
        let mut before = NONE;
        for index in records {
            let lane = self.records.get(*index).lane;
            if before != lane && before != NONE {
                self.release_lane(before, now_ms);
            }
            before = lane;
            self.finish(*index, Fate::Delivered);
        }
        self.release_lane(before, now_ms);
    }

    fn handle_throttled(&mut self, target: TargetId, records: &[u32], now_ms: u64) {
        if let Some(place) = self.targets.place(target)
            && let Some(until_ms) = self.targets.throttle(place, now_ms)
        {
            self.timers.set(until_ms, Timer::Target { place, epoch: self.targets.epoch });
        }
        self.for_each_lane(records, |own, lane| own.release_lane(lane, now_ms));
    }

    fn handle_failed(&mut self, target: TargetId, records: &[u32], now_ms: u64) {
        let acks = self.targets.place(target).map(|place| self.targets.get_mut(place).acks);
        let (mut tries, mut strikes) = (0, 0);
        for index in records {
            let held = self.records.get_mut(*index);
            held.tries = held.tries.saturating_add(1);
            // A shard that took nothing since the last try is no witness against a record.
            let is_strike = held.tries == 1 || acks.is_some_and(|acks| acks != held.acks_seen);
            held.strikes = held.strikes.saturating_add(u16::from(is_strike));
            held.acks_seen = acks.unwrap_or(held.acks_seen);
            (tries, strikes) = (tries.max(held.tries), strikes.max(held.strikes));
        }
        let tries_max = self.config.tries_max.max(1);
        if let [index] = records {
            if strikes >= tries_max || tries >= tries_max.saturating_mul(ALONE_FACTOR) {
                self.set_aside(*index, DeadReason::Failed { tries });
            } else {
                // Where others are taken it soon shows whether the record is at fault: what comes behind it waits in memory.
                let longest_ms = if strikes == tries { WITNESSED_PAUSE_MAX_MS } else { u64::MAX };
                self.rest(records, tries, longest_ms, now_ms);
            }
            return;
        }
        if tries < tries_max {
            self.rest(records, tries, WITNESSED_PAUSE_MAX_MS, now_ms);
            return;
        }
        // One of an aggregate is at fault: each has to show by itself that it is not the one.
        for index in records {
            let held = self.records.get_mut(*index);
            (held.tries, held.strikes, held.crowd_max) = (0, 0, 1);
        }
        self.rest(records, 1, u64::MAX, now_ms);
    }

    /// The target does not want what is in these: the one at fault is found by halves.
    fn handle_rejected(&mut self, records: &[u32], now_ms: u64) {
        if let [index] = records {
            self.set_aside(*index, DeadReason::Rejected);
            return;
        }
        let half = u32::try_from(records.len() / 2).unwrap_or(u32::MAX - 1);
        for index in records {
            let held = self.records.get_mut(*index);
            held.crowd_max = held.crowd_max.min(half);
        }
        self.for_each_lane(records, |own, lane| own.release_lane(lane, now_ms));
    }

    fn rest(&mut self, records: &[u32], tries: u16, longest_ms: u64, now_ms: u64) {
        let delays = self.config.delays;
        let factor = 1u64.checked_shl(u32::from(tries) - 1).unwrap_or(u64::MAX);
        let ceiling_ms =
            delays.base_ms.max(1).saturating_mul(factor).min(delays.max_ms.max(1)).min(longest_ms);
        let at_ms = now_ms.saturating_add(1).saturating_add(self.seeded.up_to(ceiling_ms));
        self.for_each_lane(records, |own, lane| {
            own.lanes.get_mut(lane).state = LaneState::Resting;
            own.timers.set(at_ms, Timer::Lane(lane));
        });
    }

    /// The lane stops at its first record until that is in the dead-letter stream.
    pub(super) fn set_aside(&mut self, index: u32, reason: DeadReason) {
        let lane = self.records.get(index).lane;
        self.lanes.get_mut(lane).state = LaneState::Stopped;
        self.dead.waiting.push_back((index, reason));
    }

    fn finish(&mut self, index: u32, fate: Fate) {
        let held = self.lanes.pop(&mut self.records, index);
        let source = self.sources.slab.get_mut(held.source);
        let advanced = source.settle(held.region, held.number, held.offset, fate);
        self.sources.give_up(advanced.slots, held.size_bytes());
        if advanced.has_closed {
            let is_newest = self.config.drain.order == super::DrainOrder::Newest;
            self.sources.refresh_reads(held.source, is_newest);
        }
        self.after_advance(held.source);
    }

    /// Lanes of an entry lie one behind the other.
    fn for_each_lane(&mut self, records: &[u32], mut each: impl FnMut(&mut Self, u32)) {
        let mut before = NONE;
        for index in records {
            let lane = self.records.get(*index).lane;
            if lane != before {
                each(self, lane);
            }
            before = lane;
        }
    }
}
