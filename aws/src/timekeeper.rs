//! A clock with what was learned about it: shared by the calls to one target.

use crate::clock::{Clock, Now};
use crate::http::Answer;
use crate::skew::Skew;
use crate::timestamp::Timestamp;
use std::sync::{Mutex, PoisonError};

/// Signing is late or early by more than this when a server speaks of time: signed anew it would pass.
const WORTH_ANOTHER_MS: u64 = 30_000;

#[derive(Debug)]
pub(crate) struct Timekeeper {
    clock: Clock,
    skew: Mutex<Skew>,
}

impl Timekeeper {
    pub(crate) fn new(clock: Clock) -> Self {
        Timekeeper { clock, skew: Mutex::default() }
    }

    pub(crate) fn now(&self) -> Now {
        self.clock.now()
    }

    /// The time to sign with, now.
    pub(crate) fn time(&self) -> Timestamp {
        let now = self.now();
        self.skew(|skew| skew.signing_time(now))
    }

    /// Learns from an answer to what was signed for `signed`; whether that was so far off that it is worth to sign again.
    pub(crate) fn learn(&self, answer: &Answer, signed: Timestamp) -> bool {
        let Some(date) = answer.date() else { return false };
        self.skew(|skew| skew.handle_date(date, answer.sent, answer.received));
        self.time().ms().abs_diff(signed.ms()) > WORTH_ANOTHER_MS
    }

    pub(crate) fn behind_ms(&self) -> Option<i64> {
        let now = self.now();
        self.skew(|skew| skew.behind_ms(now))
    }

    fn skew<T>(&self, with: impl FnOnce(&mut Skew) -> T) -> T {
        // No code panics while it holds the lock; if it ever did, the value would still be whole.
        with(&mut self.skew.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
