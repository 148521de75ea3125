//! How far the machine's clock is from the target's, learned from the Date header of answers.
//!
//! In: what a server said the time was, and when it was asked and answered. Out: the time to sign with.
//! Invariant: once something was learned the wall's clock is not asked any more, so it may jump as it likes: the time is
//! what the server said plus what has passed since. A server is right by definition: it is the one that checks.
//! Not here: whether an answer is about the time (kinesis error), TLS, which has a clock of its own (trust).

use crate::clock::Now;
use crate::timestamp::Timestamp;
use std::time::Duration;

/// A Date header has whole seconds: what it says was true for one second from then.
const HALF_A_SECOND: Duration = Duration::from_millis(500);

/// The difference to one target. A pure value: it is told and asked.
#[derive(Debug, Clone, Default)]
pub struct Skew {
    known: Option<Known>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    server: Timestamp,
    uptime: Duration,
    /// How wrong `server` may be.
    error: Duration,
}

impl Skew {
    /// Takes the time of an answer: the Date header, when the request went out, and when the head of the answer came.
    pub fn handle_date(&mut self, date: Timestamp, sent: Now, received: Now) {
        let passed = received.uptime.saturating_sub(sent.uptime);
        // The server wrote the header at some moment between the two: in the middle on average.
        let error = passed / 2 + HALF_A_SECOND;
        let server = date.after(HALF_A_SECOND).after(passed / 2);
        let seen = Known { server, uptime: received.uptime, error };
        // A slow answer must not spoil what a quick one taught, unless the two contradict each other.
        let better = self.known.is_none_or(|known| {
            let expected = known.at(received);
            let apart = expected.since(server).max(server.since(expected));
            error <= known.error || apart > known.error + error
        });
        if better {
            self.known = Some(seen);
        }
    }

    /// The time to sign with: the target's when it is known, else the wall's.
    #[must_use]
    pub fn signing_time(&self, now: Now) -> Timestamp {
        self.known.map_or(now.wall, |known| known.at(now))
    }

    /// Milliseconds that the wall's clock is behind the target (negative when it is ahead); nothing while nothing was learned.
    #[must_use]
    pub fn behind_ms(&self, now: Now) -> Option<i64> {
        let (server, wall) = (self.known?.at(now).ms(), now.wall.ms());
        let apart = i64::try_from(server.abs_diff(wall)).unwrap_or(i64::MAX);
        Some(if server >= wall { apart } else { -apart })
    }
}

impl Known {
    fn at(&self, now: Now) -> Timestamp {
        self.server.after(now.uptime.saturating_sub(self.uptime))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: u64 = 1_800_000_000_000;

    fn now(wall_ms: u64, uptime_ms: u64) -> Now {
        Now { wall: Timestamp::from_ms(wall_ms), uptime: Duration::from_millis(uptime_ms) }
    }

    #[test]
    fn a_clock_of_1970_signs_with_the_time_of_the_server_after_one_answer() {
        let mut skew = Skew::default();
        assert_eq!(skew.signing_time(now(5_000, 5_000)).ms(), 5_000);
        assert_eq!(skew.behind_ms(now(5_000, 5_000)), None);
        skew.handle_date(Timestamp::from_ms(SERVER), now(5_000, 5_000), now(5_200, 5_200));
        let later = skew.signing_time(now(9_200, 9_200));
        assert_eq!(later.ms(), SERVER + 600 + 4_000);
    }

    #[test]
    fn jumps_of_the_wall_do_not_move_what_was_learned() {
        let mut skew = Skew::default();
        skew.handle_date(Timestamp::from_ms(SERVER), now(0, 1_000), now(0, 1_000));
        for wall in [0, SERVER, SERVER * 2] {
            assert_eq!(skew.signing_time(now(wall, 61_000)).ms(), SERVER + 60_500);
        }
        assert!(skew.behind_ms(now(SERVER * 2, 1_000)).unwrap() < 0);
    }

    #[test]
    fn a_slow_answer_does_not_spoil_a_good_measurement_and_a_contradiction_replaces_it() {
        let mut skew = Skew::default();
        skew.handle_date(Timestamp::from_ms(SERVER), now(0, 0), now(0, 0));
        let good = skew.signing_time(now(0, 20_000));
        // Twenty seconds on its way, written at its end: 10 s beside the truth, and within its own error.
        skew.handle_date(Timestamp::from_ms(SERVER + 20_000), now(0, 0), now(0, 20_000));
        assert_eq!(skew.signing_time(now(0, 20_000)), good);
        // The machine slept an hour, which its uptime does not know.
        skew.handle_date(Timestamp::from_ms(SERVER + 3_620_000), now(0, 20_000), now(0, 20_100));
        assert!(skew.signing_time(now(0, 20_100)).since(good) > Duration::from_secs(3_590));
    }
}
