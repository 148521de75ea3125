//! How long records were kept, whatever the wall clock says of it.
//!
//! In: what the clocks say, again and again, and what an earlier life wrote down. Out: *kept time*, which goes on with the monotonic clock
//! alone; how long ago a segment was closed; from which arrival on records are young enough.
//!
//! Kept time is near UTC as long as nothing strange happens, and never jumps while records are taken. A start with a clock that is
//! certain sets it on by the time that the machine was off. A start with a clock that may be wrong goes on where the life before
//! ended; once somebody vouches for the clock the time off is known and is remembered as an [`Off`]: what was closed before is older by it,
//! what was written since is not. A clock that nobody ever vouches for sets nothing on: it could stand in the year 2099, or run from where
//! the machine was switched off last month.
//!
//! Invariants: nothing is too old that was kept for less than `age`, of time that went by while the machine ran or that clocks that are
//! certain say it was off; kept time never goes back; a jump of the wall clock moves neither.
//! Not here: what becomes of what is too old (`core::keep`), where the state is stored (`core::upkeep`).

mod stored;
#[cfg(test)]
mod tests;

pub(crate) use self::stored::Stored;
use crate::clock::Moment;
use crate::limits::{CLOCK_JUMP_MS, CLOCK_LOOK_MS_MAX, CLOCK_STORED_EVERY_MS, TIMES_OFF_MAX};
use crate::types::ClockState;

/// The kept time of one life.
#[derive(Clone, Debug)]
pub(crate) struct KeptTime {
    uptime_ms: u64,
    /// Wall clock minus uptime since the last jump.
    ahead_ms: i128,
    /// Kept time at the start.
    begun_ms: u64,
    state: Stored,
    /// The state is not what was stored.
    is_changed: bool,
}

/// Time for which nobody was there: what was closed before the segment is older by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Off {
    pub(crate) before_segment: u64,
    pub(crate) ms: u64,
}

/// A wall clock that was set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Jump {
    pub(crate) by_ms: i64,
    /// When, as kept time.
    pub(crate) at_ms: u64,
}

impl KeptTime {
    /// Begins a life. `stored` is what the one before wrote down, if that was needed; `newest_ms` the newest kept time of any segment, if
    /// there is one; `next_segment` the first that this life may open.
    pub(crate) fn resume(
        stored: Option<Stored>,
        newest_ms: Option<u64>,
        moment: Moment,
        next_segment: u64,
    ) -> Self {
        let ahead_ms = i128::from(moment.wall_ms) - i128::from(moment.uptime_ms);
        let (is_first, was_stored) = (stored.is_none() && newest_ms.is_none(), stored.is_some());
        let mut state = stored.unwrap_or_default();
        state.kept_ms =
            if is_first { moment.wall_ms } else { state.kept_ms.max(newest_ms.unwrap_or_default()) };
        let mut kept =
            Self { uptime_ms: moment.uptime_ms, ahead_ms, begun_ms: state.kept_ms, state, is_changed: false };
        if moment.is_certain && kept.state.is_certain {
            // Nothing of this life is stored yet, so that all there is grew older by the time off.
            let off_ms = kept.off_ms();
            if off_ms >= 0 {
                kept.state.kept_ms = kept.state.kept_ms.saturating_add(clamped(off_ms));
            }
            if off_ms < -i128::from(CLOCK_JUMP_MS) {
                kept.jumped(off_ms);
                kept.follow_line();
            }
            return kept;
        }
        if kept.state.is_certain {
            kept.state.young_from = next_segment;
        } else if was_stored {
            // What the clock said in the life before is not known to be on one line with what it says now.
            kept.state.steady_ms = kept.state.kept_ms;
        }
        kept.state.is_certain = false;
        kept.is_changed = true;
        kept.look(moment);
        kept
    }

    /// Notes what the clocks say; returns by how many ms the wall clock was set since the last look, if it was.
    pub(crate) fn look(&mut self, moment: Moment) -> Option<i64> {
        let uptime_ms = moment.uptime_ms;
        let Some(elapsed_ms) = uptime_ms.checked_sub(self.uptime_ms) else {
            // Another thread was quicker with a later one.
            return None;
        };
        let elapsed_ms = if elapsed_ms > CLOCK_LOOK_MS_MAX {
            // Two clocks that count from different moments are told by turns: no time went by between them.
            self.ahead_ms -= i128::from(elapsed_ms);
            0
        } else {
            elapsed_ms
        };
        self.state.kept_ms = self.state.kept_ms.saturating_add(elapsed_ms);
        self.uptime_ms = uptime_ms;
        let ahead_ms = i128::from(moment.wall_ms) - i128::from(uptime_ms);
        let by_ms = ahead_ms - self.ahead_ms;
        let mut jump = None;
        if by_ms.unsigned_abs() > u128::from(CLOCK_JUMP_MS) {
            self.ahead_ms = ahead_ms;
            self.jumped(by_ms);
            jump = self.state.jump;
            if self.state.is_certain {
                // The machine was on all the time, so this is no time off. Nor is the way back, if there is one: of the two lines the
                // one counts by which less time goes by until the next start.
                let lead_ms = self.state.lead_ms;
                self.follow_line();
                self.state.lead_ms = self.state.lead_ms.max(lead_ms);
            }
        }
        if !self.state.is_certain && moment.is_certain {
            self.believe();
        }
        jump.map(|jump| jump.by_ms)
    }

    /// The clock is right from now on: it says how long the machine was off.
    fn believe(&mut self) {
        let off_ms = self.off_ms();
        // What a crash forgot of the time before it looks like time off, and the last records may be from after it.
        let sure_ms = off_ms - i128::from(CLOCK_STORED_EVERY_MS);
        if sure_ms > 0 {
            self.state.offs.push(Off { before_segment: self.state.young_from, ms: clamped(sure_ms) });
        } else if off_ms < -i128::from(CLOCK_JUMP_MS) {
            self.jumped(off_ms);
        }
        if self.state.offs.len() > TIMES_OFF_MAX {
            let oldest = self.state.offs.remove(0);
            let next = &mut self.state.offs[0];
            *next = Off { before_segment: oldest.before_segment, ms: next.ms.saturating_add(oldest.ms) };
        }
        self.follow_line();
        self.state.is_certain = true;
        self.is_changed = true;
    }

    /// What the wall clock says has gone by, and did not go by here.
    fn off_ms(&self) -> i128 {
        self.wall_ms() - self.state.lead_ms - i128::from(self.state.kept_ms)
    }

    fn follow_line(&mut self) {
        self.state.lead_ms = self.wall_ms() - i128::from(self.state.kept_ms);
    }

    fn jumped(&mut self, by_ms: i128) {
        let by_ms = i64::try_from(by_ms).unwrap_or(if by_ms < 0 { i64::MIN } else { i64::MAX });
        self.state.jump = Some(Jump { by_ms, at_ms: self.state.kept_ms });
        self.state.steady_ms = self.state.kept_ms;
        self.is_changed = true;
    }

    fn wall_ms(&self) -> i128 {
        self.ahead_ms + i128::from(self.uptime_ms)
    }

    /// Kept time at the last look.
    pub(crate) fn now_ms(&self) -> u64 {
        self.state.kept_ms
    }

    /// How long ago the segment was closed, at kept time `closed_ms`.
    pub(crate) fn age_ms(&self, segment: u64, closed_ms: u64) -> u64 {
        let off = self.state.offs.iter().filter(|off| segment < off.before_segment);
        let off_ms = off.fold(0, |sum: u64, off| sum.saturating_add(off.ms));
        self.state.kept_ms.saturating_sub(closed_ms).saturating_add(off_ms)
    }

    /// The arrival time before which records are older than `age_ms`; 0 while arrival times do not tell: for as long as the age after the
    /// wall clock jumped, or after a start whose clock nobody vouches for yet.
    pub(crate) fn horizon_ms(&self, age_ms: u64) -> u64 {
        if self.held_ms(age_ms) > 0 {
            return 0;
        }
        clamped(self.wall_ms() - i128::from(age_ms))
    }

    /// For how long arrival times do not tell what is older than `age_ms`.
    fn held_ms(&self, age_ms: u64) -> u64 {
        let begun_ms = if self.state.is_certain { 0 } else { self.begun_ms };
        self.state.steady_ms.max(begun_ms).saturating_add(age_ms).saturating_sub(self.state.kept_ms)
    }

    /// What there is to say of the clock.
    pub(crate) fn clock_state(&self, age_ms: u64) -> ClockState {
        let jump = self.state.jump.filter(|_| self.held_ms(age_ms) > 0);
        ClockState {
            is_certain: self.state.is_certain,
            jumped_by_ms: jump.map(|jump| jump.by_ms),
            jumped_ago_ms: jump.map_or(0, |jump| self.state.kept_ms.saturating_sub(jump.at_ms)),
            held_ms: self.held_ms(age_ms),
        }
    }

    /// Forgets times off that no segment from `oldest` on is from before.
    pub(crate) fn forget_before(&mut self, oldest: u64) {
        let before = self.state.offs.len();
        self.state.offs.retain(|off| off.before_segment > oldest);
        self.is_changed |= self.state.offs.len() != before;
    }

    /// The state to be stored, when it changed since this was last asked.
    pub(crate) fn take_changed(&mut self) -> Option<Stored> {
        std::mem::take(&mut self.is_changed).then(|| self.state.clone())
    }

    /// The state as it is now.
    pub(crate) fn state(&self) -> &Stored {
        &self.state
    }
}

/// As many milliseconds as there can be.
fn clamped(ms: i128) -> u64 {
    u64::try_from(ms.max(0)).unwrap_or(u64::MAX)
}
