//! Chance from a seed: SplitMix64, so that a run can be repeated exactly.
//!
//! Not here: anything secret. These numbers can be predicted by whoever knows the seed.

/// A stream of numbers that depends on nothing but its seed.
#[derive(Debug, Clone)]
pub struct Seeded(u64);

impl Seeded {
    /// Starts the stream of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        // Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators (2014), the mix of SplittableRandom.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `last`, both included.
    pub fn up_to(&mut self, last: u64) -> u64 {
        match last.checked_add(1) {
            // The bias of a remainder is below 2^-32 for the milliseconds and counts this serves.
            Some(count) => self.next_u64() % count,
            None => self.next_u64(),
        }
    }

    /// True once in `one_in` calls on average; never for 0.
    pub fn once_in(&mut self, one_in: u64) -> bool {
        one_in != 0 && self.up_to(one_in - 1) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_the_published_one() {
        // First outputs of SplitMix64 for seed 0, as in the reference implementation.
        let mut seeded = Seeded::new(0);
        assert_eq!(seeded.next_u64(), 0xe220_a839_7b1d_cdaf);
        assert_eq!(seeded.next_u64(), 0x6e78_9e6a_a1b9_65f4);
    }

    #[test]
    fn up_to_reaches_both_ends_and_no_further() {
        let mut seeded = Seeded::new(1);
        let seen: std::collections::BTreeSet<u64> = (0..200).map(|_| seeded.up_to(3)).collect();
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(seeded.up_to(0), 0);
        seeded.up_to(u64::MAX);
    }
}
