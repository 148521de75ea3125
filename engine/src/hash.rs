//! The hash-key space: 128 bits, MD5 of the partition key, split evenly over the shards of a new stream.
//!
//! In: partition keys, explicit hash keys, shard counts. Out: hash keys and ranges.
//! Invariant: the ranges of [`split_evenly`] cover the whole space, in order, without a gap or an overlap.

use md5::Digest;
use std::fmt;

/// A place in the 128-bit space over which the shards of a stream are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashKey(pub u128);

impl HashKey {
    /// The hash key of a partition key: its MD5 as a big-endian integer. About 140 ns.
    #[must_use]
    pub fn of(partition_key: &[u8]) -> Self {
        let digest: [u8; 16] = md5::Md5::digest(partition_key).into();
        HashKey(u128::from_be_bytes(digest))
    }

    /// Reads an `ExplicitHashKey`: decimal, no sign, no leading zero, below 2^128.
    ///
    /// # Errors
    /// [`HashKeyError`] says which of the two is violated; AWS answers them differently.
    pub fn parse(text: &str) -> Result<Self, HashKeyError> {
        if !is_decimal(text, 39) {
            return Err(HashKeyError::Pattern);
        }
        text.parse().map(HashKey).map_err(|_| HashKeyError::Range)
    }
}

impl fmt::Display for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whether `text` is `0` or has 1 to `digits_max` digits of which the first is not zero: the model's way to write integers.
pub(crate) fn is_decimal(text: &str, digits_max: usize) -> bool {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits && (text == "0" || (!text.is_empty() && text.len() <= digits_max && !text.starts_with('0')))
}

/// An explicit hash key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HashKeyError {
    /// Not a decimal integer of at most 39 digits.
    #[error("hash key is not a decimal integer of at most 39 digits")]
    Pattern,
    /// A decimal integer beyond the space.
    #[error("hash key is above 2^128-1")]
    Range,
}

/// The part of the space one shard holds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashRange {
    /// First key of the range.
    pub start: HashKey,
    /// Last key of the range.
    pub end: HashKey,
}

impl HashRange {
    /// Whether `key` falls into this range.
    #[must_use]
    pub fn contains(&self, key: HashKey) -> bool {
        self.start <= key && key <= self.end
    }
}

/// The ranges of `shards` shards as AWS cuts them: steps of floor(2^128 / shards), the last one up to 2^128-1.
///
/// # Panics
/// When `shards` is zero: no stream has none.
#[must_use]
pub fn split_evenly(shards: u32) -> Vec<HashRange> {
    assert!(shards > 0, "a stream has at least one shard");
    if shards == 1 {
        return vec![HashRange { start: HashKey(0), end: HashKey(u128::MAX) }];
    }
    let count = u128::from(shards);
    // 2^128 itself does not fit: floor(2^128/n) is floor((2^128-1)/n), one more when n divides 2^128.
    let step = u128::MAX / count + u128::from(u128::MAX % count == count - 1);
    let last = count - 1;
    (0..count)
        .map(|i| HashRange {
            start: HashKey(step * i),
            end: HashKey(if i == last { u128::MAX } else { step * (i + 1) - 1 }),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_partition_keys_hash_as_aws_hashes_them() {
        // md5("a") = 0cc175b9c0f1b6a831c399e269772661
        assert_eq!(HashKey::of(b"a").0, 0x0cc1_75b9_c0f1_b6a8_31c3_99e2_6977_2661);
        assert_eq!(HashKey::of(b"a").to_string(), "16955237001963240173058271559858726497");
    }

    #[test]
    fn known_streams_are_split_as_aws_splits_them() {
        let three = split_evenly(3);
        assert_eq!(three[0].end.to_string(), "113427455640312821154458202477256070484");
        assert_eq!(three[1].start.to_string(), "113427455640312821154458202477256070485");
        assert_eq!(three[2].start.to_string(), "226854911280625642308916404954512140970");
        let two = split_evenly(2);
        assert_eq!(two[0].end.to_string(), "170141183460469231731687303715884105727");
        assert_eq!(two[1].end.0, u128::MAX);
    }

    #[test]
    fn ranges_cover_the_space_without_gap_or_overlap() {
        for shards in (1..=300).chain([1_000, 4_095, 4_096, 9_999, 10_000]) {
            let ranges = split_evenly(shards);
            assert_eq!(ranges.len(), shards as usize);
            assert_eq!(ranges[0].start.0, 0);
            assert_eq!(ranges[ranges.len() - 1].end.0, u128::MAX);
            for pair in ranges.windows(2) {
                assert!(pair[0].start <= pair[0].end);
                assert_eq!(pair[0].end.0 + 1, pair[1].start.0);
            }
        }
    }

    #[test]
    fn explicit_hash_keys_are_checked() {
        assert_eq!(HashKey::parse("0"), Ok(HashKey(0)));
        assert_eq!(HashKey::parse(&u128::MAX.to_string()), Ok(HashKey(u128::MAX)));
        assert_eq!(HashKey::parse("340282366920938463463374607431768211456"), Err(HashKeyError::Range));
        for bad in ["", "00", "01", "-1", "+1", "1 ", "0x1", &"1".repeat(40)] {
            assert_eq!(HashKey::parse(bad), Err(HashKeyError::Pattern), "{bad}");
        }
    }
}
