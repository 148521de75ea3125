//! Seeded chance for faults: the same seed picks the same faults in the same order.

use headwater_relay::Seeded;
use std::time::Duration;

/// A source of chance that replays from its seed.
#[derive(Debug, Clone)]
pub struct Chance(Seeded);

impl Chance {
    /// Starts from `seed`; every seed is a good one.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Seeded::new(seed))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number from `low` to `high`, both included.
    ///
    /// # Panics
    /// When `low` is above `high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "between({low}, {high}) is empty");
        low + self.0.up_to(high - low)
    }

    /// A duration from `low_ms` to `high_ms` milliseconds.
    pub fn millis(&mut self, low_ms: u64, high_ms: u64) -> Duration {
        Duration::from_millis(self.between(low_ms, high_ms))
    }
}
