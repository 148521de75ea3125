//! How long to wait before the next connection, or before asking once more on one.
//!
//! In: uptimes of beginnings and ends, bounds, a number by chance. Out: a delay, at random up to a bound that doubles, so that a
//! thousand devices do not come back at once. Pure.

use super::limits::{RETRY_MS_MAX, RETRY_MS_MIN, STABLE_MS, SUBSCRIBE_RETRY_MS_MAX, SUBSCRIBE_RETRY_MS_MIN};
use headwater_telemetry::Uptime;

#[derive(Clone, Debug)]
pub(crate) struct Backoff {
    bound_ms: u64,
    least_ms: u64,
    most_ms: u64,
    random: u32,
}

impl Backoff {
    /// Between connections.
    pub(crate) fn new(seed: u32) -> Self {
        Self::between(RETRY_MS_MIN, RETRY_MS_MAX, seed)
    }

    /// Between subscriptions that are refused.
    pub(crate) fn of_subscription(seed: u32) -> Self {
        Self::between(SUBSCRIBE_RETRY_MS_MIN, SUBSCRIBE_RETRY_MS_MAX, seed)
    }

    fn between(least_ms: u64, most_ms: u64, seed: u32) -> Self {
        // A xorshift never leaves zero.
        Self { bound_ms: least_ms, least_ms, most_ms, random: seed | 1 }
    }

    /// The connection that was begun at `begun` ended at `now`: until when to wait.
    pub(crate) fn handle_lost(&mut self, begun: Uptime, now: Uptime) -> Uptime {
        if now.0.saturating_sub(begun.0) >= STABLE_MS {
            self.bound_ms = self.least_ms;
        }
        self.handle_refused(now)
    }

    /// It failed at `now`, as it did before: until when to wait.
    pub(crate) fn handle_refused(&mut self, now: Uptime) -> Uptime {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        // At least a tenth, so that a connection that is refused at once is no loop.
        let least = self.bound_ms / 10;
        let delay = least + u64::from(self.random) % (self.bound_ms - least);
        self.bound_ms = (self.bound_ms * 2).min(self.most_ms);
        Uptime(now.0.saturating_add(delay))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_their_bound_and_begin_anew_after_a_good_connection() {
        let mut backoff = Backoff::new(7);
        let mut longest = 0;
        for round in 0..200 {
            let delay = backoff.handle_lost(Uptime(1_000), Uptime(1_000)).0 - 1_000;
            let bound = (RETRY_MS_MIN << round.min(20)).min(RETRY_MS_MAX);
            assert!(delay >= bound / 10 && delay < bound, "{delay} ms in round {round}");
            longest = longest.max(delay);
        }
        assert!(longest > RETRY_MS_MAX / 2);
        let delay = backoff.handle_lost(Uptime(0), Uptime(STABLE_MS)).0 - STABLE_MS;
        assert!(delay < RETRY_MS_MIN);
        let others: std::collections::BTreeSet<u64> =
            (0..100).map(|seed| Backoff::new(seed * 2).handle_lost(Uptime(0), Uptime(0)).0).collect();
        assert!(others.len() > 50, "devices do not come back at once");
    }
}
