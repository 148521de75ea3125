//! When a device on a line that was open before is asked who it is.
//!
//! In: the time. Out: when to ask, a few times, rarer each time. A device does not notice that the agent was restarted: one that has
//! nothing to send would be known when it asks for the time, ten minutes later, and no command would reach it until then.
//! Most devices speak within a second, so nobody asks before they had the time. Not here: what is asked, and answers.

use crate::limits::{ASK_AFTER_MS, ASKS_MAX};

/// Nobody is asked, until it begins.
#[derive(Debug, Default)]
pub(super) struct Asking {
    next_at_ms: Option<u64>,
    asked: u32,
}

impl Asking {
    /// A line is open since `now_ms`.
    pub(super) fn begin(now_ms: u64) -> Self {
        Self { next_at_ms: Some(now_ms.saturating_add(ASK_AFTER_MS)), asked: 0 }
    }

    /// Whether to ask now. Each pause is twice the one before.
    pub(super) fn is_due(&mut self, now_ms: u64) -> bool {
        if self.next_at_ms.is_none_or(|at_ms| now_ms < at_ms) {
            return false;
        }
        self.asked += 1;
        let pause_ms = ASK_AFTER_MS << self.asked;
        self.next_at_ms = (self.asked < ASKS_MAX).then(|| now_ms.saturating_add(pause_ms));
        true
    }

    pub(super) fn poll_timeout(&self) -> Option<u64> {
        self.next_at_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_asked_a_few_times_rarer_each_time_and_then_left_alone() {
        let (mut asking, mut asked) = (Asking::begin(1_000), Vec::new());
        while let Some(at_ms) = asking.poll_timeout() {
            assert!(!asking.is_due(at_ms - 1) && asking.is_due(at_ms) && !asking.is_due(at_ms));
            asked.push(at_ms - 1_000);
        }
        assert_eq!(asked, [3_000, 9_000, 21_000, 45_000, 93_000, 189_000]);
        assert!(!asking.is_due(u64::MAX));
        assert_eq!(Asking::default().poll_timeout(), None);
    }
}
