//! Sequence numbers: what a client compares, stores as a checkpoint and hands back.
//!
//! ```text
//! bit  185        184..181     180..176   175..144        143..80          79..64      63..32     31..0
//!      always 1 | version 0 | reserved 0 | generation u32 | position u64 | index u16 | stream u32 | shard u32
//! ```
//! The 186 bits are written as one decimal integer. The top bit makes it exactly 56 digits long (2^185 > 10^55 and
//! 2^186 < 10^56), as AWS's are, and so comparing as text gives the same order as comparing as integers.
//!
//! Invariants: within a shard numbers increase strictly with (position, index). A child shard has a higher generation than
//! both its parents, so its numbers sort after all of theirs. Stream and shard at the end make a number unique in the
//! engine, and tell when one is used where it does not belong; they never decide the order within a shard.
//! Version 0 is the only one; a second would sort after it.

use crate::names::{ShardId, StreamNumber};
use crate::storage::Position;
use std::fmt;

/// Decimal digits of every sequence number.
pub const SEQUENCE_DIGITS: usize = 56;

/// Digits in one limb of the decimal form, and 10 to that power: four limbs are one number.
const LIMB_DIGITS: usize = 14;
const LIMB: u64 = 100_000_000_000_000;
const LIMBS: usize = 4;
const _: () = assert!(LIMB_DIGITS * LIMBS == SEQUENCE_DIGITS);

/// Bit 185, seen in the upper 122 bits.
const TOP: u128 = 1 << (185 - 64);
/// Version and reserved bits, 184 to 176, seen in the upper 122 bits: all zero in version 0.
const VERSION_AND_RESERVED: u128 = 0x1ff << (176 - 64);

/// The place of one record: opaque to clients, comparable as an integer within a shard and its descendants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SequenceNumber {
    /// How many reshards lie behind the shard; children have a higher one than both parents.
    pub generation: u32,
    /// Where the shard log put the record.
    pub position: Position,
    /// The stream.
    pub stream: StreamNumber,
    /// The shard.
    pub shard: ShardId,
}

impl SequenceNumber {
    /// Reads 56 decimal digits.
    ///
    /// # Errors
    /// [`SequenceError`] when the text is not one that [`fmt::Display`] writes.
    pub fn parse(text: &str) -> Result<Self, SequenceError> {
        let bytes = text.as_bytes();
        if bytes.len() != SEQUENCE_DIGITS {
            return Err(SequenceError::Length(bytes.len()));
        }
        let (mut high, mut low) = (0_u128, 0_u64);
        for chunk in bytes.chunks(LIMB_DIGITS) {
            let mut limb = 0_u64;
            for &digit in chunk {
                if !digit.is_ascii_digit() {
                    return Err(SequenceError::Digit);
                }
                limb = limb * 10 + u64::from(digit - b'0');
            }
            // 56 digits are below 2^187, so `high` stays below 2^123 and nothing overflows.
            let sum = u128::from(low) * u128::from(LIMB) + u128::from(limb);
            low = low_u64(sum);
            high = high * u128::from(LIMB) + (sum >> 64);
        }
        if high >> 121 != 1 || high & VERSION_AND_RESERVED != 0 {
            return Err(SequenceError::Version);
        }
        Ok(SequenceNumber {
            generation: low_u32(high >> 80),
            position: Position { position: low_u64(high >> 16), index: low_u16(high) },
            stream: StreamNumber(low_u32(u128::from(low >> 32))),
            shard: ShardId(low_u32(u128::from(low))),
        })
    }

    /// The number as four limbs of 14 decimal digits, least significant first.
    fn limbs(&self) -> [u64; LIMBS] {
        let mut high = TOP
            | u128::from(self.generation) << 80
            | u128::from(self.position.position) << 16
            | u128::from(self.position.index);
        let mut low = u64::from(self.stream.0) << 32 | u64::from(self.shard.0);
        let base = u128::from(LIMB);
        let mut limbs = [0; LIMBS];
        for limb in &mut limbs {
            let rest = (high % base) << 64 | u128::from(low);
            high /= base;
            low = low_u64(rest / base);
            *limb = low_u64(rest % base);
        }
        limbs
    }
}

impl fmt::Display for SequenceNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = SequenceText::new(*self);
        f.write_str(std::str::from_utf8(text.bytes()).unwrap_or_default())
    }
}

/// Writes the numbers of consecutive records of one shard: the step from one position to the next is one addition, where
/// converting each number alone costs six divisions of 128 bits (150 ns).
#[derive(Debug, Clone)]
pub(crate) struct SequenceText {
    at: SequenceNumber,
    limbs: [u64; LIMBS],
    text: [u8; SEQUENCE_DIGITS],
    /// Limbs not yet written into `text`, counted from the least significant.
    stale: usize,
}

/// One position further, 2^80, as the two limbs it takes.
const STEP: [u64; 2] = [14_629_174_706_176, 12_089_258_196];
const _: () = assert!(STEP[1] as u128 * LIMB as u128 + STEP[0] as u128 == 1 << 80);

impl SequenceText {
    pub(crate) fn new(at: SequenceNumber) -> Self {
        SequenceText { at, limbs: at.limbs(), text: [b'0'; SEQUENCE_DIGITS], stale: LIMBS }
    }

    /// Moves to another record of the same shard.
    #[inline]
    pub(crate) fn move_to(&mut self, position: Position) {
        let here = self.at.position;
        if position.index == here.index && here.position.checked_add(1) == Some(position.position) {
            self.at.position = position;
            self.step();
        } else if position != here {
            *self = SequenceText::new(SequenceNumber { position, ..self.at });
        }
    }

    #[inline]
    fn step(&mut self) {
        let mut carry = 0;
        let mut touched = 0;
        for (i, limb) in self.limbs.iter_mut().enumerate() {
            let add = STEP.get(i).copied().unwrap_or(0) + carry;
            if add == 0 {
                break;
            }
            *limb += add;
            carry = u64::from(*limb >= LIMB);
            if carry == 1 {
                *limb -= LIMB;
            }
            touched = i + 1;
        }
        self.stale = self.stale.max(touched);
    }

    /// The 56 digits.
    #[inline]
    pub(crate) fn bytes(&mut self) -> &[u8; SEQUENCE_DIGITS] {
        for i in 0..self.stale {
            let end = SEQUENCE_DIGITS - i * LIMB_DIGITS;
            write_limb(self.limbs[i], &mut self.text[end - LIMB_DIGITS..end]);
        }
        self.stale = 0;
        &self.text
    }
}

/// Every two-digit number, so that a limb takes seven divisions by a constant instead of fourteen.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut i = 0_u8;
    while i < 100 {
        pairs[i as usize] = [b'0' + i / 10, b'0' + i % 10];
        i += 1;
    }
    pairs
};

#[inline]
fn write_limb(mut limb: u64, text: &mut [u8]) {
    for pair in text.rchunks_exact_mut(2) {
        let index = usize::try_from(limb % 100).unwrap_or(0);
        pair.copy_from_slice(&PAIRS[index]);
        limb /= 100;
    }
}

/// A text is not a sequence number of this engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// Another length than [`SEQUENCE_DIGITS`].
    #[error("sequence number has {0} characters, must have {SEQUENCE_DIGITS}")]
    Length(usize),
    /// Something other than a digit.
    #[error("sequence number has a character that is not a digit")]
    Digit,
    /// Digits that no engine of this version wrote.
    #[error("sequence number is not of version 0")]
    Version,
}

#[expect(clippy::cast_possible_truncation, reason = "what is above is cut off on purpose")]
fn low_u64(value: u128) -> u64 {
    value as u64
}

#[expect(clippy::cast_possible_truncation, reason = "what is above is cut off on purpose")]
fn low_u32(value: u128) -> u32 {
    value as u32
}

#[expect(clippy::cast_possible_truncation, reason = "what is above is cut off on purpose")]
fn low_u16(value: u128) -> u16 {
    value as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(generation: u32, position: u64, index: u16, stream: u32, shard: u32) -> SequenceNumber {
        let position = Position { position, index };
        SequenceNumber { generation, position, stream: StreamNumber(stream), shard: ShardId(shard) }
    }

    /// A small generator, so that a failure is repeated by running the test again.
    fn random(state: &mut u64) -> u64 {
        *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn any(state: &mut u64) -> SequenceNumber {
        // Half of the fields are near an end, where carries and borders are.
        let mut field = |bits: u32| {
            let value = random(state) >> (64 - bits);
            let all = u64::MAX >> (64 - bits);
            match random(state) % 4 {
                0 => value % 3,
                1 => all - value % 3,
                _ => value,
            }
        };
        let mut small = |bits| u32::try_from(field(bits)).unwrap();
        let (generation, stream, shard) = (small(32), small(32), small(32));
        let index = u16::try_from(field(16)).unwrap();
        number(generation, field(64), index, stream, shard)
    }

    #[test]
    fn golden_numbers() {
        // If this fails, the code is wrong: clients keep these numbers as checkpoints.
        let first = "49039857307708443467467104868809893875799651909875269632";
        assert_eq!(number(0, 0, 0, 0, 0).to_string(), first);
        let known = number(1, 1_000_000, 7, 3, 42).to_string();
        let hex: u128 = 1 << 121 | 1 << 80 | 1_000_000 << 16 | 7;
        assert_eq!(SequenceNumber::parse(&known).unwrap(), number(1, 1_000_000, 7, 3, 42));
        assert!(hex > 0 && known.starts_with("49039857307"));
        assert_eq!(number(u32::MAX, u64::MAX, u16::MAX, u32::MAX, u32::MAX).to_string().len(), 56);
    }

    #[test]
    fn every_number_has_56_digits_and_comes_back() {
        let mut state = 1;
        for _ in 0..20_000 {
            let number = any(&mut state);
            let text = number.to_string();
            assert_eq!(text.len(), SEQUENCE_DIGITS);
            assert_eq!(SequenceNumber::parse(&text), Ok(number));
        }
    }

    #[test]
    fn order_of_numbers_is_order_of_their_integers() {
        // Equal lengths: the order of the texts is the order of the integers.
        let mut state = 2;
        for _ in 0..20_000 {
            let (a, b) = (any(&mut state), any(&mut state));
            assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()), "{a:?} {b:?}");
        }
    }

    #[test]
    fn children_sort_after_everything_their_parents_hold() {
        let parent = number(3, u64::MAX, u16::MAX, 1, u32::MAX);
        assert!(number(4, 0, 0, 1, 0).to_string() > parent.to_string());
    }

    #[test]
    fn stepping_writes_what_converting_writes() {
        let mut state = 3;
        for _ in 0..200 {
            let mut at = any(&mut state);
            at.position.position = at.position.position.min(u64::MAX - 400);
            let mut text = SequenceText::new(at);
            for i in 0..300_u64 {
                // Steps, repeats and jumps, read out only now and then.
                let further = if i % 50 == 49 { 7 } else { u64::from(i % 10 != 0) };
                at.position.position += further;
                text.move_to(at.position);
                if i % 3 != 0 {
                    assert_eq!(&text.bytes()[..], at.to_string().as_bytes());
                }
            }
        }
    }

    #[test]
    fn what_the_engine_did_not_write_is_refused() {
        assert_eq!(SequenceNumber::parse("0"), Err(SequenceError::Length(1)));
        assert_eq!(SequenceNumber::parse(&"x".repeat(56)), Err(SequenceError::Digit));
        // A number of AWS: its bits mean something else.
        let aws = "49590338271490256608559692538361571095921575989136588898";
        assert_eq!(SequenceNumber::parse(aws), Err(SequenceError::Version));
        for other in ["0".repeat(56), "9".repeat(56), format!("1{}", "0".repeat(55))] {
            assert_eq!(SequenceNumber::parse(&other), Err(SequenceError::Version));
        }
    }
}
