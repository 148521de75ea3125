//! Token buckets: how much of a rate is left.
//!
//! In: what something costs, and the time. Out: whether it is within the rate. Invariants: time is a parameter, and a clock
//! that runs backwards neither fills nor freezes a bucket; over any time a bucket gives at most its burst plus its rate
//! times that time, apart from one debt of a single cost. Not here: which rates there are (table, limits).

/// How fast a bucket fills and how much it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Tokens a second.
    pub(crate) per_second: u32,
    /// Most tokens there can be: what may be spent at once after a pause.
    pub(crate) burst: u32,
}

impl Rate {
    /// So many a second, and as many at once after a second without.
    pub(crate) const fn per_second(per_second: u32) -> Self {
        Rate { per_second, burst: per_second }
    }
}

/// What is left of a rate. The rate is a parameter, so that a bucket is two words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// Thousandths of tokens, so that a millisecond fills a whole number of them; below zero is a debt.
    level: i64,
    at_ms: u64,
}

/// Thousandths in a token.
const PARTS: i64 = 1_000;

impl Bucket {
    pub(crate) fn full(rate: Rate, now_ms: u64) -> Self {
        Bucket { level: i64::from(rate.burst) * PARTS, at_ms: now_ms }
    }

    /// Takes `cost` tokens when they are there. A cost that no bucket of this size can hold is taken from a full one, as a
    /// debt that is filled before anything else is given: larger ones are slower, not impossible.
    pub(crate) fn take(&mut self, rate: Rate, cost: u64, now_ms: u64) -> bool {
        let fits = self.fits(rate, cost, now_ms);
        if fits {
            self.level = self.level.saturating_sub(parts(cost));
        }
        fits
    }

    /// Whether [`Bucket::take`] would give.
    pub(crate) fn fits(&mut self, rate: Rate, cost: u64, now_ms: u64) -> bool {
        self.fill(rate, now_ms);
        self.level >= parts(cost).min(i64::from(rate.burst) * PARTS)
    }

    /// Takes `cost` tokens that are spent already, from what is there and then as a debt. What costs more than the bucket
    /// holds is paid for in full: it does not profit from the burst.
    pub(crate) fn spend(&mut self, rate: Rate, cost: u64, now_ms: u64) {
        self.fill(rate, now_ms);
        if cost > u64::from(rate.burst) {
            self.level = self.level.min(0);
        }
        self.level = self.level.saturating_sub(parts(cost));
    }

    /// Whether there is no debt.
    pub(crate) fn is_solvent(&mut self, rate: Rate, now_ms: u64) -> bool {
        self.fill(rate, now_ms);
        self.level >= 0
    }

    /// How long until there is no debt, in milliseconds.
    pub(crate) fn wait_ms(&mut self, rate: Rate, now_ms: u64) -> u64 {
        self.fill(rate, now_ms);
        let debt = u64::try_from(-self.level).unwrap_or(0);
        debt.div_ceil(u64::from(rate.per_second.max(1)))
    }

    /// Whether the bucket is as if it had never been used.
    pub(crate) fn is_full(&mut self, rate: Rate, now_ms: u64) -> bool {
        self.fill(rate, now_ms);
        self.level >= i64::from(rate.burst) * PARTS
    }

    fn fill(&mut self, rate: Rate, now_ms: u64) {
        let elapsed_ms = i64::try_from(now_ms.saturating_sub(self.at_ms)).unwrap_or(i64::MAX);
        let filled = elapsed_ms.saturating_mul(i64::from(rate.per_second));
        self.level = self.level.saturating_add(filled).min(i64::from(rate.burst) * PARTS);
        self.at_ms = now_ms;
    }
}

fn parts(cost: u64) -> i64 {
    i64::try_from(cost).unwrap_or(i64::MAX).saturating_mul(PARTS)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: Rate = Rate::per_second(10);
    const START: u64 = 1_700_000_000_000;

    #[test]
    fn a_bucket_gives_its_burst_then_its_rate() {
        let mut bucket = Bucket::full(TEN, START);
        assert_eq!((0..20).filter(|_| bucket.take(TEN, 1, START)).count(), 10);
        assert!(!bucket.take(TEN, 1, START + 99));
        assert!(bucket.take(TEN, 1, START + 100));
        // However often it is asked, ten seconds give a hundred.
        let given = (0..10_000).filter(|ms| bucket.take(TEN, 1, START + 101 + ms)).count();
        assert!((99..=101).contains(&given), "{given}");
    }

    #[test]
    fn a_long_pause_fills_no_more_than_the_burst() {
        let mut bucket = Bucket::full(TEN, START);
        assert!(bucket.take(TEN, 10, START));
        assert_eq!((0..100).filter(|_| bucket.take(TEN, 1, START + 86_400_000)).count(), 10);
        assert!(!bucket.is_full(TEN, START + 86_400_000) && bucket.is_full(TEN, START + 86_401_000));
    }

    #[test]
    fn a_cost_larger_than_the_bucket_is_a_debt_of_a_full_one() {
        let mut bucket = Bucket::full(TEN, START);
        assert!(bucket.take(TEN, 30, START));
        assert_eq!(bucket.wait_ms(TEN, START), 2_000);
        assert!(!bucket.take(TEN, 1, START + 2_000) && bucket.take(TEN, 1, START + 2_100));
        // Not from one that is not full.
        assert!(!bucket.take(TEN, 30, START + 3_000) && bucket.take(TEN, 30, START + 3_100));
    }

    #[test]
    fn what_was_spent_beyond_the_burst_is_paid_in_full() {
        let mut bucket = Bucket::full(TEN, START);
        bucket.spend(TEN, 50, START);
        assert_eq!(bucket.wait_ms(TEN, START), 5_000);
        assert!(!bucket.is_solvent(TEN, START + 4_999) && bucket.is_solvent(TEN, START + 5_000));
        // Small ones use the burst up first.
        let mut bucket = Bucket::full(TEN, START);
        (0..5).for_each(|_| bucket.spend(TEN, 3, START));
        assert_eq!(bucket.wait_ms(TEN, START), 500);
    }

    #[test]
    fn a_clock_that_runs_backwards_does_not_freeze_the_bucket() {
        let mut bucket = Bucket::full(TEN, START);
        assert!(bucket.take(TEN, 10, START));
        assert!(!bucket.take(TEN, 1, START - 3_600_000));
        assert!(bucket.take(TEN, 1, START - 3_600_000 + 100));
    }
}
