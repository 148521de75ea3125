//! Where the engine's time comes from. Nothing else in this crate reads a clock.
//!
//! In: what the machine's clocks say. Out: the time of the wall clock, which is what records are stamped with and may jump; steady
//! time, which goes by and never jumps, for everything that waits or ends; from which arrival on records can be read.
//! Not here: how long records were kept (journal).

use crate::definition::Definition;
use crate::engine::Engine;
use crate::limits;
use headwater_journal as journal;
pub use headwater_journal::{ClockState, Moment};
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};

/// Gives the current UTC time in milliseconds since 1970. A test gives its own, so that time stands where it is put.
#[derive(Clone)]
pub struct Clock(journal::Clock);

impl Clock {
    /// A clock of the caller's making that is always right: however it moves, so much time has gone by.
    pub fn new(now_ms: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Clock(journal::Clock::new(now_ms))
    }

    /// A clock of the caller's making that may be wrong and may jump.
    pub fn of(moment: impl Fn() -> Moment + Send + Sync + 'static) -> Self {
        Clock(journal::Clock::of(moment))
    }

    /// The machine's clocks.
    #[must_use]
    pub fn system() -> Self {
        Clock(journal::Clock::system())
    }

    /// The current time in UTC milliseconds since 1970, as the machine believes.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.0.now_ms()
    }

    /// What the clocks say now.
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.0.moment()
    }

    pub(crate) fn of_journal(&self) -> journal::Clock {
        self.0.clone()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now_ms()).finish()
    }
}

/// The start of an engine.
#[derive(Debug)]
pub(crate) struct Begun {
    steady_ms: u64,
    uptime_ms: u64,
    /// The wall clock before steady time, as it was told last.
    ahead_ms: AtomicI64,
}

/// Two clocks that are read one after the other differ by a millisecond now and then; a time that was told must not.
const JITTER_MS: u64 = 20;

impl Begun {
    pub(crate) fn at(moment: Moment, kept_ms: u64) -> Self {
        let steady_ms = kept_ms.max(moment.wall_ms);
        let ahead_ms = AtomicI64::new(moment.wall_ms.wrapping_sub(steady_ms).cast_signed());
        Begun { steady_ms, uptime_ms: moment.uptime_ms, ahead_ms }
    }

    fn steady_ms(&self, moment: Moment) -> u64 {
        self.steady_ms.saturating_add(moment.uptime_ms.saturating_sub(self.uptime_ms))
    }
}

/// Whether a state that is shown until `until_ms` is over: it is, too, when the time is further off than any state lasts.
pub(crate) fn is_over(until_ms: u64, now_ms: u64) -> bool {
    let longest_ms = u64::try_from(limits::TRANSITION_MAX.as_millis()).unwrap_or(u64::MAX);
    until_ms.saturating_sub(now_ms) > longest_ms || until_ms <= now_ms
}

impl Engine {
    /// Time for whatever waits or ends, ms: goes by as the monotonic clock does, from the wall clock at the start of the engine, or from
    /// where kept time is when that is later. A jump moves nothing; what an earlier life stored may seem to be hours ahead if its clock
    /// was, and is looked at with a bound.
    pub(crate) fn steady_ms(&self) -> u64 {
        self.0.begun.steady_ms(self.0.clock.moment())
    }

    /// What the wall clock would have said at a steady time, by what it says now; UTC ms since 1970.
    pub(crate) fn utc_of(&self, steady_ms: u64) -> u64 {
        let (moment, begun) = (self.0.clock.moment(), &self.0.begun);
        let found_ms = moment.wall_ms.wrapping_sub(begun.steady_ms(moment)).cast_signed();
        let told_ms = begun.ahead_ms.load(Ordering::Relaxed);
        let ahead_ms = if found_ms.abs_diff(told_ms) <= JITTER_MS { told_ms } else { found_ms };
        begun.ahead_ms.store(ahead_ms, Ordering::Relaxed);
        steady_ms.saturating_add_signed(ahead_ms)
    }

    /// The arrival time of the oldest record of a stream that can be read now, UTC ms since 1970.
    pub(crate) fn horizon_ms(&self, definition: &Definition) -> u64 {
        let moment = self.0.clock.moment();
        let retained_ms = self.0.log.horizon_ms(definition.retention_ms(), moment);
        definition.horizon_ms(retained_ms, moment.wall_ms)
    }

    /// What there is to say of the wall clock, for the stream that keeps its records longest.
    #[must_use]
    pub fn clock_state(&self) -> ClockState {
        let longest = self.streams().iter().map(|stream| stream.state().definition.retention_ms()).max();
        self.0.log.clock_state(longest.unwrap_or(0), self.0.clock.moment())
    }
}
