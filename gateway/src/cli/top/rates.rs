//! Rates, from looks at counters.
//!
//! In: looks with the time each was taken. Out: changes a second, over the last few seconds. Invariant: a gateway that was
//! started anew begins with no rates instead of wrong ones.

use crate::cli::status::seen::Seen;
use std::collections::VecDeque;
use std::time::Duration;
use tokio::time::Instant;

/// Rates are those of so many looks: long enough to stand still, short enough to show what happens.
const LOOKS: usize = 6;

/// The last looks.
#[derive(Debug, Default)]
pub(super) struct Looks(VecDeque<(Instant, Seen)>);

impl Looks {
    pub(super) fn add(&mut self, at: Instant, seen: Seen) {
        if self.last().is_some_and(|last| seen.health.uptime_s < last.health.uptime_s) {
            self.0.clear();
        }
        self.0.push_back((at, seen));
        if self.0.len() > LOOKS {
            self.0.pop_front();
        }
    }

    pub(super) fn last(&self) -> Option<&Seen> {
        self.0.back().map(|(_, seen)| seen)
    }

    pub(super) fn first(&self) -> Option<&Seen> {
        self.0.front().map(|(_, seen)| seen)
    }

    /// Change a second between the counts of the first and the last look; none after one look.
    pub(super) fn rate(&self, before: u64, now: u64) -> Option<f64> {
        let (from, to) = (self.0.front()?.0, self.0.back()?.0);
        let elapsed = to.saturating_duration_since(from);
        #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
        let change = now.saturating_sub(before) as f64;
        (elapsed > Duration::ZERO).then(|| change / elapsed.as_secs_f64())
    }

    /// The same of a count that every look has.
    pub(super) fn rate_of(&self, count: impl Fn(&Seen) -> u64) -> Option<f64> {
        self.rate(count(self.first()?), count(self.last()?))
    }
}
