//! Everything a forwarder to a sharded stream has to decide, without IO and without a clock.
//!
//! In: source shards with their parents and ends, sizes and keys of their records, the shard map of the target, what became of calls,
//! the time. Out: what to read next, which call to make next and when, which records to set aside, how far each source is done.
//!
//! Always true:
//! - records of one lane reach the target in their order: at most one entry of a lane is under way, and the lane waits for its outcome;
//! - a child is not read before its parents are closed and every record of them has its end;
//! - a checkpoint never moves back and never passes a record without an end: acked, set aside and durable there, or dropped with a reason;
//! - memory, calls, each target shard and the link keep their limits;
//! - the same seed and the same calls give the same answers; each record costs the same however many wait.
//!
//! Not here: payloads, names, sockets, credentials, storing.

mod calls;
mod config;
mod gate;
mod lanes;
#[cfg(test)]
mod model;
mod outcomes;
mod reads;
mod region;
mod share;
mod slab;
mod source;
mod sources;
mod targets;
mod timers;
mod words;

use std::collections::{BTreeMap, VecDeque};

pub use config::{Added, CallLimits, Drain, DrainOrder, ForwardConfig, Packing, TargetRate, WireCost};
pub use words::{
    Call, CallFailure, CallId, DeadLetter, DeadReason, DrainState, Entry, ForwardError, Progress,
    ProgressDue, Read, Record, RecordRef, SendOutcome, SourceId, TargetId, TargetShard,
};

use crate::limits::MEMORY_RECORDS_MIN;
use crate::meter::Meter;
use crate::{Offset, Seeded};
use gate::Gate;
use lanes::{Held, LaneState, Lanes};
use outcomes::DeadLetters;
use share::Share;
use slab::Slab;
use sources::Sources;
use targets::Targets;
use timers::{Timer, Timers};

/// The state of forwarding several source shards to one target stream. The crate's documentation shows its loop.
///
/// # What it promises
/// - Records of one lane reach the target in their order: at most one entry of a lane is under way, and the lane waits for its outcome,
///   through retries, resharding on both sides and restarts from a stored progress.
/// - A child is not read before its parents are closed and every record of them has its end.
/// - A checkpoint never moves back and never passes a record without an end: acked, set aside and durable there, or dropped with a reason.
/// - Memory, calls, each target shard and the link keep their limits.
///
/// A record can arrive twice, when an answer was lost or after a crash, with the same identity and bytes. Of each lane the *first*
/// arrivals are in order.
///
/// # What one lane can do
/// A lane that waits for its outcome sends one record a round trip. Where one key carries most of a stream, [`Packing`] sends
/// as many of its records at once as fit an aggregate; order is kept, as there is one aggregate of a target shard under way.
///
/// # What `newest` gives up
/// With [`DrainOrder::Newest`] a source shard that is behind is read in several regions: live data at its end, and a hole for each
/// outage, the newest first. Order per lane then holds within live data and within each hole, and not between them. The checkpoint
/// stays at the first record without an end of the oldest hole; what is done above it is kept in the [`Progress`] as at most
/// [`crate::limits::REGIONS_MAX`] ranges, so that a start neither sends it again nor counts it twice. Behind an outage that
/// would need one more range, live data waits in line.
///
/// # What passing over gives up
/// [`Forwarding::handle_passed_over`] leaves the newest records of a source out, so that the older ones keep their place: counted as dropped
/// at once, and part of the [`Progress`]. The records behind are read when that is stored; so a crash sends none of those that
/// were left out behind them. Order per lane holds among what is not left out.
///
/// # Clock
/// `now_ms` is on the clock of the records' arrival times and must not go back: pauses would last as long as the way back. It may jump
/// forwards.
#[derive(Debug)]
pub struct Forwarding {
    config: ForwardConfig,
    sources: Sources,
    records: Slab<Held>,
    lanes: Lanes,
    targets: Targets,
    /// Lanes whose first record is under suspicion.
    suspects: VecDeque<u32>,
    in_flight: BTreeMap<CallId, calls::Flight>,
    in_flight_bytes: u64,
    next_call: u64,
    gate: Gate,
    share: Share,
    timers: Timers,
    dead: DeadLetters,
    seeded: Seeded,
    delivered: Meter,
    arrived: Meter,
    /// When a call that was not made just now can be made.
    call_at_ms: Option<u64>,
    #[cfg(test)]
    planted: Option<Planted>,
}

/// Bugs that the tests plant, to see that they are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Planted {
    CheckpointPastHole,
    TwoOfALane,
    ChildBeforeParent,
    BucketIgnored,
    PassedUnstored,
    PassedTooMuch,
}

impl Forwarding {
    /// Starts with nothing known.
    pub fn new(mut config: ForwardConfig) -> Self {
        config.memory.records_max = config.memory.records_max.max(MEMORY_RECORDS_MIN);
        let (delays, seed) = (config.delays, config.seed);
        Self {
            sources: Sources::new(),
            records: Slab::new(),
            lanes: Lanes::new(seed),
            targets: Targets::new(config.target_rate, config.throttle_delays, seed),
            suspects: VecDeque::new(),
            in_flight: BTreeMap::new(),
            in_flight_bytes: 0,
            next_call: 0,
            gate: Gate::new(delays, seed),
            share: Share::new(&config.drain),
            timers: Timers::default(),
            dead: DeadLetters::default(),
            seeded: Seeded::new(seed ^ 0x5eed),
            delivered: Meter::default(),
            arrived: Meter::default(),
            call_at_ms: None,
            config,
            #[cfg(test)]
            planted: None,
        }
    }

    /// Takes the shard map of the target. What waits is routed anew; what is under way settles first, lane by lane. Hash keys that no
    /// shard takes wait for another map.
    ///
    /// # Errors
    /// Shards overlap, come twice, or are too many; the map of before stays.
    pub fn handle_targets(&mut self, map: &[TargetShard], now_ms: u64) -> Result<(), ForwardError> {
        let Some(mut lanes) = self.targets.replace(map, now_ms)? else { return Ok(()) };
        for place in 0..self.targets.shards.len() {
            if let Some(until_ms) = self.targets.shards[place].parked_until_ms {
                let place = u32::try_from(place).unwrap_or(u32::MAX);
                self.timers.set(until_ms, Timer::Target { place, epoch: self.targets.epoch });
            }
        }
        lanes.append(&mut self.lanes.unrouted);
        for lane in lanes {
            self.queue_lane(lane, false, now_ms);
        }
        Ok(())
    }

    /// Takes how large records of the target may be: data and key, in bytes. Those set aside already stay there.
    pub fn handle_record_bytes_max(&mut self, bytes_max: u64) {
        self.config.record_bytes_max = bytes_max;
    }

    /// When to ask again if nothing is told before; `None` for never. A moment that is over means now.
    pub fn poll_timeout(&self) -> Option<u64> {
        [self.call_at_ms, self.timers.next_ms(), self.progress_ms()].into_iter().flatten().min()
    }

    /// What is still to be sent. Looks at every source: for a status page, not for every call.
    pub fn drain_state(&mut self, now_ms: u64) -> DrainState {
        let waiting_records = self.sources.slab.each().map(source::Source::waiting).sum();
        let delivered_per_1000_s = self.delivered.per_1000_s(now_ms);
        let arrived_per_1000_s = self.arrived.per_1000_s(now_ms);
        let gain = delivered_per_1000_s.saturating_sub(arrived_per_1000_s);
        let eta_ms = match (waiting_records, gain) {
            (0, _) => Some(0),
            (_, 0) => None,
            (waiting, gain) => Some(waiting.saturating_mul(1_000_000) / gain),
        };
        DrainState {
            waiting_records,
            held_records: self.sources.held_records,
            held_bytes: self.sources.held_bytes,
            delivered_per_1000_s,
            arrived_per_1000_s,
            eta_ms,
        }
    }

    /// Calls under way.
    pub fn calls_in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Lanes with records in memory.
    pub fn lanes(&self) -> usize {
        self.lanes.len()
    }

    /// A lane without anything under way: it goes on, or is forgotten.
    fn release_lane(&mut self, lane: u32, now_ms: u64) {
        if self.lanes.get(lane).len == 0 {
            self.lanes.remove(lane);
            return;
        }
        self.queue_lane(lane, true, now_ms);
    }

    /// Puts a lane with records where its first record has to wait.
    fn queue_lane(&mut self, lane: u32, was_sent: bool, now_ms: u64) {
        let head = self.lanes.get(lane).head;
        let held = self.records.get(head);
        let (size_bytes, class, is_suspect) = (held.size_bytes(), held.class, held.is_suspect());
        // A lane that was sent goes behind the others, unless it has to be sent again: then it is the oldest.
        let is_first = was_sent && held.tries > 0;
        let bytes_max = self.config.record_bytes_max;
        if size_bytes > bytes_max {
            self.set_aside(head, DeadReason::TooLarge { size_bytes, bytes_max });
            return;
        }
        if is_suspect {
            self.lanes.get_mut(lane).state = LaneState::Suspect;
            self.suspects.push_back(lane);
            return;
        }
        let Some(place) = self.route_lane(lane) else {
            self.lanes.get_mut(lane).state = LaneState::Unrouted;
            self.lanes.unrouted.push(lane);
            return;
        };
        self.lanes.get_mut(lane).state = LaneState::Ready;
        self.targets.push(place, class, lane, is_first, now_ms);
    }

    fn route_lane(&mut self, lane: u32) -> Option<u32> {
        let epoch = self.targets.epoch;
        let known = self.lanes.get_mut(lane);
        if known.epoch != epoch || known.target == slab::NONE {
            known.target = self.targets.route(known.key).unwrap_or(slab::NONE);
            known.epoch = epoch;
        }
        (known.target != slab::NONE).then_some(known.target)
    }

    fn advance_timers(&mut self, now_ms: u64) {
        while let Some(timer) = self.timers.pop_due(now_ms) {
            match timer {
                Timer::Lane(lane) => {
                    debug_assert!(
                        self.lanes.get(lane).state == LaneState::Resting,
                        "a lane rests once at a time"
                    );
                    self.queue_lane(lane, true, now_ms);
                }
                Timer::Target { place, epoch } if epoch == self.targets.epoch => {
                    let is_due = self
                        .targets
                        .get_mut(place)
                        .parked_until_ms
                        .is_some_and(|until_ms| until_ms <= now_ms);
                    if is_due {
                        self.targets.change(place, now_ms, |target| target.parked_until_ms = None);
                    }
                }
                Timer::Target { .. } => {}
            }
        }
    }

    #[cfg(test)]
    fn is_planted(&self, bug: Planted) -> bool {
        self.planted == Some(bug)
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "the tests look it up")]
    fn is_planted(&self, _: Planted) -> bool {
        false
    }
}
