//! When to connect again after a failure.
//!
//! In: the moments a session came up and was lost. Out: the earliest moment of the next attempt.
//!
//! Always true: a delay lies between 0 and the ceiling of its attempt (full jitter), the ceiling doubles from
//! `base_ms` to `max_ms`, and only a session that lasted `stable_ms` brings it back to `base_ms`. A peer that accepts and
//! drops at once is therefore not hammered.
//!
//! Not here: sleeping, and what a failure is.

use crate::Seeded;

/// The range of delays, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delays {
    /// Ceiling of the first delay. At least 1.
    pub base_ms: u64,
    /// Ceiling of every later delay. At least `base_ms`.
    pub max_ms: u64,
    /// How long a session must last before the delays start again at `base_ms`.
    pub stable_ms: u64,
}

/// Full-jitter exponential backoff that is told the time.
#[derive(Debug)]
pub struct Backoff {
    delays: Delays,
    attempt: u32,
    connected_since_ms: Option<u64>,
    seeded: Seeded,
}

impl Backoff {
    /// Starts with no failure seen. `seed` decides the jitter: give each client its own, or all of them come back
    /// at the same moments.
    pub fn new(delays: Delays, seed: u64) -> Self {
        Self { delays, attempt: 0, connected_since_ms: None, seeded: Seeded::new(seed) }
    }

    /// Tells that a session came up at `now_ms`. Does not shorten the next delay by itself.
    pub fn handle_connected(&mut self, now_ms: u64) {
        self.connected_since_ms = Some(now_ms);
    }

    /// Tells that the session was lost, or that an attempt failed, at `now_ms`; returns the earliest moment of the
    /// next attempt on the same clock.
    pub fn handle_lost(&mut self, now_ms: u64) -> u64 {
        let lasted_ms = self.connected_since_ms.take().map(|since_ms| now_ms.saturating_sub(since_ms));
        if lasted_ms.is_some_and(|lasted_ms| lasted_ms >= self.delays.stable_ms) {
            self.attempt = 0;
        }
        let ceiling_ms = self.ceiling_ms();
        self.attempt = self.attempt.saturating_add(1);
        now_ms.saturating_add(self.seeded.up_to(ceiling_ms))
    }

    /// Failures since the last stable session.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The longest delay the next failure can give, in milliseconds.
    pub fn ceiling_ms(&self) -> u64 {
        let factor = 1u64.checked_shl(self.attempt).unwrap_or(u64::MAX);
        let base_ms = self.delays.base_ms.max(1);
        base_ms.saturating_mul(factor).min(self.delays.max_ms.max(base_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELAYS: Delays = Delays { base_ms: 100, max_ms: 1_000, stable_ms: 5_000 };

    #[test]
    fn delays_stay_under_a_ceiling_that_doubles_to_the_maximum() {
        for seed in 0..200 {
            let mut backoff = Backoff::new(DELAYS, seed);
            let mut now_ms = 1_000_000;
            for ceiling_ms in [100, 200, 400, 800, 1_000, 1_000] {
                assert_eq!(backoff.ceiling_ms(), ceiling_ms);
                let retry_at_ms = backoff.handle_lost(now_ms);
                assert!((now_ms..=now_ms + ceiling_ms).contains(&retry_at_ms), "{retry_at_ms} at {now_ms}");
                now_ms = retry_at_ms;
            }
        }
    }

    #[test]
    fn jitter_uses_the_whole_range() {
        let delays: Vec<u64> = (0..500).map(|seed| Backoff::new(DELAYS, seed).handle_lost(0)).collect();
        assert!(delays.iter().any(|delay_ms| *delay_ms < 10));
        assert!(delays.iter().any(|delay_ms| *delay_ms > 90));
    }

    #[test]
    fn a_session_that_drops_at_once_does_not_start_the_delays_again() {
        let mut backoff = Backoff::new(DELAYS, 1);
        for round in 0..3 {
            backoff.handle_connected(round * 10_000);
            backoff.handle_lost(round * 10_000 + DELAYS.stable_ms - 1);
        }
        assert_eq!(backoff.ceiling_ms(), 800);
        backoff.handle_connected(100_000);
        backoff.handle_lost(100_000 + DELAYS.stable_ms);
        assert_eq!(backoff.ceiling_ms(), 200, "a stable session starts again at the base");
    }

    #[test]
    fn endless_failure_neither_overflows_nor_passes_the_maximum() {
        let mut backoff = Backoff::new(DELAYS, 1);
        for _ in 0..200 {
            assert!(backoff.handle_lost(u64::MAX - 10) >= u64::MAX - 10);
        }
        assert_eq!(backoff.ceiling_ms(), DELAYS.max_ms);
    }

    #[test]
    fn the_same_seed_gives_the_same_delays() {
        let run = |seed| {
            let mut backoff = Backoff::new(DELAYS, seed);
            (0..20).map(|_| backoff.handle_lost(0)).collect::<Vec<_>>()
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }
}
