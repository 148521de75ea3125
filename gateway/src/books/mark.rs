//! Counts as they are stored: metadata of the journal.
//!
//! ```text
//! g/books/{stream number}   version 1 | words      what a stream received
//! g/books/gateway           version 1 | words      what became of publishes
//! words: count u8, of numbers, 7 bits a byte, the lowest first, the high bit set in all but the last byte of a number
//! ```
//! New words come at the end; missing ones are 0. Invariant: what cannot be read is no mark; its counts begin at 0 then, and what is
//! stored is of unknown origin.

use headwater_engine::StreamNumber;

const VERSION: u8 = 1;
const PREFIX: &str = "g/books/";

/// The key of the counts of publishes.
pub(super) const GATEWAY: &str = "g/books/gateway";

pub(super) fn key_of(stream: StreamNumber) -> String {
    format!("{PREFIX}{}", stream.0)
}

/// What the keys of all marks begin with.
pub(super) fn prefix() -> &'static [u8] {
    PREFIX.as_bytes()
}

/// The stream a key speaks of.
pub(super) fn stream_of(key: &[u8]) -> Option<StreamNumber> {
    std::str::from_utf8(key).ok()?.strip_prefix(PREFIX)?.parse().ok().map(StreamNumber)
}

pub(super) fn encode(words: &[u64]) -> Vec<u8> {
    let mut value = vec![VERSION, u8::try_from(words.len()).expect("marks have few words")];
    for word in words {
        let mut rest = *word;
        while rest >= 0x80 {
            value.push(low_bits(rest) | 0x80);
            rest >>= 7;
        }
        value.push(low_bits(rest));
    }
    value
}

fn low_bits(word: u64) -> u8 {
    word.to_le_bytes()[0] & 0x7f
}

pub(super) fn decode(value: &[u8]) -> Option<Vec<u64>> {
    let [VERSION, count, bytes @ ..] = value else { return None };
    let mut bytes = bytes.iter();
    let words = (0..*count).map(|_| {
        let mut word = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = bytes.next()?;
            word |= u64::from(byte & 0x7f).checked_shl(shift)?;
            if byte & 0x80 == 0 {
                return Some(word);
            }
        }
        None
    });
    words.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_back_and_cut_ones_do_not() {
        let words = [0, 1, 127, 128, 300, 1 << 35, u64::MAX];
        let value = encode(&words);
        assert_eq!(decode(&value).unwrap(), words);
        for length in 0..value.len() {
            assert_eq!(decode(&value[..length]), None, "{length}");
        }
        assert_eq!(decode(&[2, 0]), None, "another version");
        assert_eq!(decode(&[1, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]), None);
        // The bytes are on disks.
        assert_eq!(encode(&[5, 300]), [1, 2, 5, 0xac, 2]);
    }

    #[test]
    fn keys_name_their_stream() {
        assert_eq!(stream_of(key_of(StreamNumber(7)).as_bytes()), Some(StreamNumber(7)));
        assert_eq!(stream_of(GATEWAY.as_bytes()), None);
    }
}
