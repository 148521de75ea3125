//! Whether calls may be made at all: after one that failed as a whole nothing goes until a pause is over, then one call alone, to see.
//!
//! Always true: pauses grow until the target answered for a stable while; calls that were on the way before do not make them longer.

use super::words::CallId;
use crate::{Backoff, Delays};

#[derive(Debug)]
pub(super) struct Gate {
    state: State,
    backoff: Backoff,
    is_away: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Closed { until_ms: u64 },
    Trying { call: CallId },
}

/// Whether a call may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Permission {
    Granted,
    At(u64),
    /// When something is told.
    Later,
}

impl Gate {
    pub(super) fn new(delays: Delays, seed: u64) -> Self {
        Self { state: State::Open, backoff: Backoff::new(delays, seed), is_away: false }
    }

    pub(super) fn permission(&self, now_ms: u64) -> Permission {
        match self.state {
            _ if self.is_away => Permission::Later,
            State::Open => Permission::Granted,
            State::Closed { until_ms } if until_ms > now_ms => Permission::At(until_ms),
            State::Closed { .. } => Permission::Granted,
            State::Trying { .. } => Permission::Later,
        }
    }

    /// Whether calls go through, as far as anybody knows.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open && !self.is_away
    }

    pub(super) fn handle_call(&mut self, call: CallId) {
        if matches!(self.state, State::Closed { .. }) {
            self.state = State::Trying { call };
        }
    }

    pub(super) fn handle_answer(&mut self, call: CallId, now_ms: u64) {
        if self.state == (State::Trying { call }) {
            self.state = State::Open;
            self.backoff.handle_connected(now_ms);
        }
    }

    pub(super) fn handle_failure(&mut self, call: CallId, now_ms: u64) {
        let is_news = self.state == State::Open || self.state == (State::Trying { call });
        if is_news {
            self.close(now_ms);
        }
    }

    pub(super) fn handle_lost(&mut self, now_ms: u64) {
        self.is_away = true;
        if self.state == State::Open {
            self.close(now_ms);
        }
    }

    pub(super) fn handle_restored(&mut self) {
        self.is_away = false;
    }

    fn close(&mut self, now_ms: u64) {
        self.state = State::Closed { until_ms: self.backoff.handle_lost(now_ms) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAYS: Delays = Delays { base_ms: 100, max_ms: 10_000, stable_ms: 5_000 };

    #[test]
    fn after_a_failure_one_call_goes_alone_and_pauses_grow_until_the_target_is_stable() {
        let mut gate = Gate::new(DELAYS, 1);
        gate.handle_failure(CallId(1), 0);
        gate.handle_failure(CallId(2), 0);
        assert_eq!(gate.backoff.attempt(), 1, "calls of before the pause are no news");
        let mut now_ms = 100;
        for call in 3..10 {
            assert_eq!(gate.permission(now_ms), Permission::Granted);
            gate.handle_call(CallId(call));
            assert_eq!(gate.permission(now_ms), Permission::Later, "one alone");
            gate.handle_answer(CallId(call), now_ms);
            assert_eq!(gate.permission(now_ms), Permission::Granted);
            gate.handle_failure(CallId(call + 100), now_ms + 4_999);
            now_ms += 20_000;
        }
        assert_eq!(gate.backoff.attempt(), 8, "an answer alone is not stable");
    }

    #[test]
    fn nothing_goes_while_the_connection_is_away() {
        let mut gate = Gate::new(DELAYS, 1);
        gate.handle_lost(0);
        assert_eq!(gate.permission(1_000_000), Permission::Later);
        gate.handle_restored();
        assert_eq!(gate.permission(1_000_000), Permission::Granted);
    }
}
