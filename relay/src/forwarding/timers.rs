//! Every moment something has to go on by itself.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// A lane has rested.
    Lane(u32),
    /// A target shard may be used again, if the map is still this one.
    Target { place: u32, epoch: u32 },
}

#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(u64, Timer)>>);

impl Timers {
    pub(super) fn set(&mut self, at_ms: u64, timer: Timer) {
        self.0.push(Reverse((at_ms, timer)));
    }

    pub(super) fn next_ms(&self) -> Option<u64> {
        self.0.peek().map(|Reverse((at_ms, _))| *at_ms)
    }

    pub(super) fn pop_due(&mut self, now_ms: u64) -> Option<Timer> {
        if self.next_ms()? > now_ms {
            return None;
        }
        self.0.pop().map(|Reverse((_, timer))| timer)
    }
}
