//! A token bucket that is told the time.
//!
//! In: sizes and the time. Out: whether something may go now, or when.
//!
//! Always true: over any span of `t` ms no more goes than `rate · t + what the bucket holds + one oversized thing`. A thing
//! larger than the bucket goes when the bucket is full and leaves a debt.
//!
//! Not here: waiting.

use crate::limits::REFILL_PARTS;

/// Counts in thousandths, so that a rate per second is a whole number per ms.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    rate_per_s: u64,
    holds: i64,
    level: i64,
    at_ms: u64,
}

impl Bucket {
    /// A full bucket that holds `burst_ms` at its rate, but at least `least`.
    pub(crate) fn new(rate_per_s: u64, burst_ms: u64, least: u64, now_ms: u64) -> Self {
        let rate_per_s = rate_per_s.max(1);
        let holds = thousandths(least.max(1)).max(clamp(rate_per_s.saturating_mul(burst_ms)));
        Self { rate_per_s, holds, level: holds, at_ms: now_ms }
    }

    /// Whether something of this size may go at `now_ms`.
    pub(crate) fn admits(&mut self, size: u64, now_ms: u64) -> bool {
        self.refill(now_ms);
        self.level >= thousandths(size).min(self.holds)
    }

    /// What is in the bucket, after a call of [`Bucket::admits`].
    pub(crate) fn level(&self) -> u64 {
        u64::try_from(self.level / 1_000).unwrap_or(0)
    }

    /// Takes what [`Bucket::admits`] let pass.
    pub(crate) fn take(&mut self, size: u64) {
        self.level = self.level.saturating_sub(thousandths(size));
    }

    /// When something of this size may go, or a good part of the bucket if that is more.
    pub(crate) fn ready_at_ms(&self, size: u64, now_ms: u64) -> u64 {
        let part = self.holds / i64::try_from(REFILL_PARTS).unwrap_or(1);
        let wanted = thousandths(size).max(part).min(self.holds);
        let missing = u64::try_from(wanted.saturating_sub(self.level)).unwrap_or(0);
        now_ms.saturating_add(missing.div_ceil(self.rate_per_s))
    }

    fn refill(&mut self, now_ms: u64) {
        let elapsed_ms = now_ms.saturating_sub(self.at_ms);
        // A clock that went back gives nothing and does not stop the bucket either.
        self.at_ms = now_ms;
        self.level =
            self.level.saturating_add(clamp(self.rate_per_s.saturating_mul(elapsed_ms))).min(self.holds);
    }
}

fn thousandths(size: u64) -> i64 {
    clamp(size.saturating_mul(1_000))
}

fn clamp(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seeded;

    #[test]
    fn no_span_of_time_lets_more_pass_than_rate_and_burst() {
        for seed in 0..50 {
            let mut seeded = Seeded::new(seed);
            let mut bucket = Bucket::new(1_000, 500, 1, 0);
            let mut passed: Vec<(u64, u64)> = Vec::new();
            let mut now_ms = 0;
            for _ in 0..300 {
                now_ms += seeded.up_to(40);
                let size = 1 + seeded.up_to(60);
                if bucket.admits(size, now_ms) {
                    bucket.take(size);
                    passed.push((now_ms, size));
                }
            }
            for (index, (from_ms, _)) in passed.iter().enumerate() {
                let mut sum = 0;
                for (at_ms, size) in &passed[index..] {
                    sum += size;
                    assert!(sum <= 500 + (at_ms - from_ms), "seed {seed}: {sum} from {from_ms} to {at_ms}");
                }
            }
        }
    }

    #[test]
    fn it_is_ready_when_it_says_so_and_not_before() {
        let mut bucket = Bucket::new(1_000, 400, 1, 0);
        assert!(bucket.admits(400, 0));
        bucket.take(400);
        let at_ms = bucket.ready_at_ms(1, 0);
        assert_eq!(at_ms, 100, "a quarter of the bucket, so that calls stay large");
        assert!(!bucket.admits(100, at_ms - 1));
        assert!(bucket.admits(100, at_ms));
    }

    #[test]
    fn something_larger_than_the_bucket_goes_when_it_is_full_and_leaves_a_debt() {
        let mut bucket = Bucket::new(1_000, 500, 1, 0);
        assert!(bucket.admits(5_000, 0));
        bucket.take(5_000);
        assert!(!bucket.admits(1, 4_000), "4,500 are still owed, 4,000 came in");
        assert!(bucket.admits(1, 4_501));
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_and_stops_nothing() {
        let mut bucket = Bucket::new(1_000, 500, 1, 1_000_000);
        bucket.take(500);
        assert!(!bucket.admits(1, 0));
        assert!(bucket.admits(400, 400));
    }
}
