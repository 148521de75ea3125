//! How far a sink has come with a shard, as it is stored.
//!
//! ```text
//! g/sink/{sink}/{stream number}/{shard}
//! version 1 | checkpoint u64 | origin u64 | count u8, of words u64 of the ledger |
//!           | count u16, of ranges (u64, u64) done above the checkpoint | count u32, of places u64 set aside above it
//! ```
//! Version 2 has behind that: count u8, of words u64, the losses by reason that are written down among the dead letters. Version 1 is
//! written while that is all of them.
//! Little endian. Invariant: what cannot be read is no cursor; the sink then begins as with a shard it never carried, and says so.

use headwater_engine::{ShardId, StreamNumber};
use headwater_relay::{DropReason, Ledger, Offset, Progress};

const VERSION: u8 = 1;
const VERSION_NOTED: u8 = 2;

/// Losses that are written down, by reason.
pub(super) type Noted = [u64; DropReason::ALL.len()];

/// The key of a cursor.
pub(super) fn key_of(sink: &str, stream: StreamNumber, shard: ShardId) -> Vec<u8> {
    format!("{}{}", prefix_of(sink, stream), shard.0).into_bytes()
}

/// What the keys of all cursors of a stream begin with.
pub(super) fn prefix_of(sink: &str, stream: StreamNumber) -> String {
    format!("g/sink/{sink}/{}/", stream.0)
}

/// The shard a key speaks of.
pub(super) fn shard_of(prefix: &str, key: &[u8]) -> Option<ShardId> {
    std::str::from_utf8(key).ok()?.strip_prefix(prefix)?.parse().ok().map(ShardId)
}

pub(super) fn encode(progress: &Progress, noted: &Noted) -> Vec<u8> {
    let words = progress.ledger.to_words();
    let is_noted = *noted == progress.ledger.dropped;
    let mut value = vec![if is_noted { VERSION } else { VERSION_NOTED }];
    value.extend(progress.checkpoint.0.to_le_bytes());
    value.extend(progress.origin.0.to_le_bytes());
    value.push(u8::try_from(words.len()).expect("a ledger has few words"));
    value.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    value.extend(u16::try_from(progress.done.len()).expect("few ranges are done, REGIONS_MAX").to_le_bytes());
    for range in &progress.done {
        value.extend(range.start.0.to_le_bytes());
        value.extend(range.end.0.to_le_bytes());
    }
    value.extend(u32::try_from(progress.set_aside.len()).expect("they are in memory").to_le_bytes());
    value.extend(progress.set_aside.iter().flat_map(|offset| offset.0.to_le_bytes()));
    if !is_noted {
        value.push(u8::try_from(noted.len()).expect("there are few reasons"));
        value.extend(noted.iter().flat_map(|count| count.to_le_bytes()));
    }
    value
}

pub(crate) fn decode(value: &[u8]) -> Option<Progress> {
    decode_noted(value).map(|(progress, _)| progress)
}

/// The progress, and which of its losses are written down.
pub(super) fn decode_noted(value: &[u8]) -> Option<(Progress, Noted)> {
    let mut reader = Reader(value);
    let [version] = reader.take()?;
    if version != VERSION && version != VERSION_NOTED {
        return None;
    }
    let (checkpoint, origin) = (reader.offset()?, reader.offset()?);
    let [words] = reader.take::<1>()?;
    let words: Vec<u64> = (0..words).map(|_| reader.word()).collect::<Option<_>>()?;
    let ranges = u16::from_le_bytes(reader.take()?);
    let done = (0..ranges).map(|_| Some(reader.offset()?..reader.offset()?)).collect::<Option<_>>()?;
    let places = u32::from_le_bytes(reader.take()?);
    let set_aside = (0..places).map(|_| reader.offset()).collect::<Option<_>>()?;
    let ledger = Ledger::from_words(&words);
    let mut noted = ledger.dropped;
    if version == VERSION_NOTED {
        let [count] = reader.take::<1>()?;
        let words: Vec<u64> = (0..count).map(|_| reader.word()).collect::<Option<_>>()?;
        noted = std::array::from_fn(|reason| words.get(reason).copied().unwrap_or(0));
    }
    Some((Progress { checkpoint, done, set_aside, origin, ledger }, noted))
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    fn word(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn offset(&mut self) -> Option<Offset> {
        self.word().map(Offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_a_round_trip_and_refuses_garbage() {
        let ledger = Ledger { stored: 9, delivered: 5, dead_lettered: 1, ..Ledger::default() };
        let progress = Progress {
            checkpoint: Offset(7),
            done: vec![Offset(9)..Offset(12)],
            set_aside: vec![Offset(8)],
            origin: Offset(1),
            ledger,
        };
        for noted in [[0; 4], [0, 2, 0, 0]] {
            let value = encode(&progress, &noted);
            assert_eq!(value[0], if noted == [0; 4] { 1 } else { 2 });
            assert_eq!(decode_noted(&value), Some((progress.clone(), noted)));
            for length in 0..value.len() {
                assert_eq!(decode(&value[..length]), None, "{length}");
            }
        }
        assert_eq!(decode(&[3; 100]), None, "another version");
    }

    #[test]
    fn keys_name_their_shard() {
        let key = key_of("cloud", StreamNumber(3), ShardId(17));
        assert_eq!(key, b"g/sink/cloud/3/17");
        assert_eq!(shard_of(&prefix_of("cloud", StreamNumber(3)), &key), Some(ShardId(17)));
        assert_eq!(shard_of(&prefix_of("cloud", StreamNumber(4)), &key), None);
    }
}
