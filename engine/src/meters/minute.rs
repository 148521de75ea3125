//! The largest value of the last minute.

use std::sync::{Mutex, PoisonError};

/// The largest value seen in this or the last whole minute; 0 when there was none. What is read once in a while then
/// shows a peak between two readings, and an old one disappears.
#[derive(Debug, Default)]
pub(super) struct MinuteMax(Mutex<State>);

#[derive(Debug, Default, Clone, Copy)]
struct State {
    minute: u64,
    this: u64,
    last: u64,
}

const MINUTE_MS: u64 = 60_000;

impl State {
    fn at(self, now_ms: u64) -> State {
        let minute = now_ms / MINUTE_MS;
        match minute.checked_sub(self.minute) {
            Some(0) => self,
            Some(1) => State { minute, this: 0, last: self.this },
            // A clock that ran backwards begins anew as well.
            _ => State { minute, this: 0, last: 0 },
        }
    }
}

impl MinuteMax {
    pub(super) fn saw(&self, value: u64, now_ms: u64) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.at(now_ms);
        state.this = state.this.max(value);
    }

    pub(super) fn get(&self, now_ms: u64) -> u64 {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner).at(now_ms);
        state.this.max(state.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_is_shown_for_a_minute_and_then_gone() {
        let max = MinuteMax::default();
        let start = 1_700_000_040_000;
        max.saw(7, start);
        max.saw(3, start + 1_000);
        assert_eq!(max.get(start + 1_000), 7);
        assert_eq!(max.get(start + MINUTE_MS), 7);
        max.saw(2, start + MINUTE_MS);
        assert_eq!(max.get(start + 2 * MINUTE_MS), 2);
        assert_eq!(max.get(start + 3 * MINUTE_MS), 0);
    }
}
