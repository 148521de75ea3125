//! The stored form of a resharded stream's shards.
//!
//! ```text
//! value  := "HWL" format=1 | stream u32 | version u32 | chunk u32 | chunks u32 | shards u32 | shard* | check
//! shard  := id u32 | generation u32 | flags u8 | first key u128 | last key u128 | opened_ms u64
//!           [parent u32] [adjacent parent u32] [closed_ms u64 | end position u64 | end index u16]
//! flags  := 1 parent | 2 adjacent parent | 4 closed
//! check  := first 8 bytes of the MD5 of all before it
//! ```
//! Integers are big-endian. One value holds up to [`SHARDS_PER_CHUNK`] shards, so a layout is a row of them, at
//! `s/l/{stream}/{version}/{chunk}`. In: shards. Out: values, and shards again. Invariant: what is decoded is what was
//! encoded, whole, for this stream and version, or nothing. Not here: which version counts (definition).

use crate::definition::{LAYOUTS, prefix_of};
use crate::hash::{HashKey, HashRange};
use crate::names::{ShardId, StreamNumber};
use crate::shards::{Closed, Shard, ShardMap};
use crate::storage::{MetaStore, Position};
use md5::Digest;

/// Shards in one value.
pub(crate) const SHARDS_PER_CHUNK: usize = 800;
const HEAD: [u8; 4] = *b"HWL\x01";
const HEAD_BYTES: usize = 24;
const SHARD_BYTES_MAX: usize = 4 + 4 + 1 + 16 + 16 + 8 + 4 + 4 + 18;
const CHECK_BYTES: usize = 8;
const _: () = assert!(
    HEAD_BYTES + SHARDS_PER_CHUNK * SHARD_BYTES_MAX + CHECK_BYTES <= 64 << 10,
    "a value of the metadata store has at most 64 KiB"
);

const PARENT: u8 = 1;
const ADJACENT: u8 = 2;
const CLOSED: u8 = 4;

/// Which layout of which stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LayoutId {
    pub(crate) stream: StreamNumber,
    pub(crate) version: u32,
}

impl LayoutId {
    /// Prefix of its values.
    pub(crate) fn prefix(self) -> Vec<u8> {
        [&prefix_of(LAYOUTS, self.stream)[..], self.version.to_string().as_bytes(), b"/"].concat()
    }

    /// Key of one of its values. In decimal of one width, so that keys sort as chunks do.
    pub(crate) fn key(self, chunk: usize) -> Vec<u8> {
        [&self.prefix()[..], format!("{chunk:05}").as_bytes()].concat()
    }

    /// The values that hold these shards.
    pub(crate) fn encode(self, shards: &[Shard]) -> Vec<Vec<u8>> {
        let chunks = shards.chunks(SHARDS_PER_CHUNK);
        let count = chunks.len();
        chunks.enumerate().map(|(chunk, shards)| self.chunk(chunk, count, shards)).collect()
    }

    fn chunk(self, chunk: usize, chunks: usize, shards: &[Shard]) -> Vec<u8> {
        let mut value = Vec::with_capacity(HEAD_BYTES + shards.len() * SHARD_BYTES_MAX + CHECK_BYTES);
        value.extend_from_slice(&HEAD);
        for count in [self.stream.0, self.version, word(chunk), word(chunks), word(shards.len())] {
            value.extend_from_slice(&count.to_be_bytes());
        }
        shards.iter().for_each(|shard| put_shard(&mut value, shard));
        let check = check(&value);
        value.extend_from_slice(&check);
        value
    }

    /// Reads the layout back.
    ///
    /// # Errors
    /// Says what is missing or wrong.
    pub(crate) fn read(self, meta: &dyn MetaStore, chunks: u32) -> Result<ShardMap, String> {
        let mut shards = Vec::new();
        for chunk in 0..chunks {
            let at = || format!("layout {} of stream number {}, part {chunk}", self.version, self.stream.0);
            let found = meta.get(&self.key(chunk as usize)).ok_or_else(|| format!("{} is missing", at()))?;
            let decoded = self.decode(&found.value, chunk, chunks);
            shards.extend(decoded.ok_or_else(|| format!("{} is damaged", at()))?);
        }
        ShardMap::new(shards).ok_or_else(|| {
            format!("layout {} of stream number {} does not cover the space", self.version, self.stream.0)
        })
    }

    fn decode(self, value: &[u8], chunk: u32, chunks: u32) -> Option<Vec<Shard>> {
        let (body, found) = value.split_last_chunk::<CHECK_BYTES>()?;
        if check(body) != *found {
            return None;
        }
        let mut rest = body.strip_prefix(&HEAD)?;
        for expected in [self.stream.0, self.version, chunk, chunks] {
            if u32::from_be_bytes(take(&mut rest)?) != expected {
                return None;
            }
        }
        let count = u32::from_be_bytes(take(&mut rest)?);
        let shards: Option<Vec<_>> = (0..count).map(|_| take_shard(&mut rest)).collect();
        shards.filter(|_| rest.is_empty())
    }
}

fn word(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn put_shard(value: &mut Vec<u8>, shard: &Shard) {
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    let flags = flag(shard.parent.is_some(), PARENT)
        | flag(shard.adjacent_parent.is_some(), ADJACENT)
        | flag(shard.closed.is_some(), CLOSED);
    value.extend_from_slice(&shard.id.0.to_be_bytes());
    value.extend_from_slice(&shard.generation.to_be_bytes());
    value.push(flags);
    value.extend_from_slice(&shard.range.start.0.to_be_bytes());
    value.extend_from_slice(&shard.range.end.0.to_be_bytes());
    value.extend_from_slice(&shard.opened_ms.to_be_bytes());
    for parent in [shard.parent, shard.adjacent_parent].into_iter().flatten() {
        value.extend_from_slice(&parent.0.to_be_bytes());
    }
    if let Some(closed) = shard.closed {
        value.extend_from_slice(&closed.at_ms.to_be_bytes());
        value.extend_from_slice(&closed.end.position.to_be_bytes());
        value.extend_from_slice(&closed.end.index.to_be_bytes());
    }
}

fn take_shard(rest: &mut &[u8]) -> Option<Shard> {
    let id = ShardId(u32::from_be_bytes(take(rest)?));
    let generation = u32::from_be_bytes(take(rest)?);
    let flags = u8::from_be_bytes(take(rest)?);
    if flags & !(PARENT | ADJACENT | CLOSED) != 0 {
        return None;
    }
    let start = HashKey(u128::from_be_bytes(take(rest)?));
    let end = HashKey(u128::from_be_bytes(take(rest)?));
    let opened_ms = u64::from_be_bytes(take(rest)?);
    let mut optional = |flag: u8| {
        let id = if flags & flag == 0 { None } else { Some(ShardId(u32::from_be_bytes(take(rest)?))) };
        Some(id)
    };
    let (parent, adjacent_parent) = (optional(PARENT)?, optional(ADJACENT)?);
    let closed = if flags & CLOSED == 0 {
        None
    } else {
        let at_ms = u64::from_be_bytes(take(rest)?);
        let position = u64::from_be_bytes(take(rest)?);
        let index = u16::from_be_bytes(take(rest)?);
        Some(Closed { at_ms, end: Position { position, index } })
    };
    let range = HashRange { start, end };
    Some(Shard { id, generation, range, parent, adjacent_parent, opened_ms, closed })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

fn check(bytes: &[u8]) -> [u8; CHECK_BYTES] {
    let digest = md5::Md5::digest(bytes);
    let mut check = [0; CHECK_BYTES];
    check.copy_from_slice(&digest[..CHECK_BYTES]);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: LayoutId = LayoutId { stream: StreamNumber(7), version: 3 };

    fn shards() -> Vec<Shard> {
        let mut shards = ShardMap::even(2, 1_000).all().to_vec();
        for shard in &mut shards {
            shard.closed = Some(Closed { at_ms: 2_000, end: Position { position: 42, index: 1 } });
        }
        shards.push(Shard {
            id: ShardId(2),
            generation: 1,
            range: HashRange { start: HashKey(0), end: HashKey(u128::MAX) },
            parent: Some(ShardId(0)),
            adjacent_parent: Some(ShardId(1)),
            opened_ms: 2_000,
            closed: None,
        });
        shards
    }

    #[test]
    fn stored_layouts_read_as_version_1_wrote_them() {
        // If this fails, the code is wrong: such bytes are on disks.
        let middle = ("7fffffffffffffffffffffffffffffff", "80000000000000000000000000000000");
        let (first, last) = ("00000000000000000000000000000000", "ffffffffffffffffffffffffffffffff");
        let closed = "00000000000007d0000000000000002a0001";
        let stored = [
            "48574c01000000070000000300000000000000010000000300000000000000000400000000",
            &first[8..],
            middle.0,
            "00000000000003e8",
            closed,
            "000000010000000004",
            middle.1,
            last,
            "00000000000003e8",
            closed,
            "000000020000000103",
            first,
            last,
            "00000000000007d00000000000000001",
            "c9ea466bc4fb8a51",
        ]
        .concat();
        let values = ID.encode(&shards());
        let hex: String = values[0].iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, stored);
        assert_eq!(ID.decode(&values[0], 0, 1), Some(shards()));
        assert_eq!(ID.key(12), b"s/l/7/3/00012");
    }

    #[test]
    fn ten_thousand_shards_fit_and_come_back() {
        let map = ShardMap::even(10_000, 5);
        let values = ID.encode(map.all());
        assert_eq!(values.len(), 13);
        assert!(values.iter().all(|value| value.len() <= 64 << 10));
        let chunks = word(values.len());
        let decoded: Vec<_> =
            (0..).zip(&values).flat_map(|(i, value)| ID.decode(value, i, chunks).unwrap()).collect();
        assert_eq!(decoded, map.all());
    }

    #[test]
    fn what_was_changed_or_belongs_elsewhere_is_noticed() {
        let value = ID.encode(&shards()).remove(0);
        for i in 0..value.len() {
            let mut changed = value.clone();
            changed[i] ^= 0x10;
            assert_eq!(ID.decode(&changed, 0, 1), None, "byte {i}");
            assert_eq!(ID.decode(&value[..i], 0, 1), None, "{i} bytes");
        }
        for other in [LayoutId { version: 4, ..ID }, LayoutId { stream: StreamNumber(8), ..ID }] {
            assert_eq!(other.decode(&value, 0, 1), None);
        }
        assert!(ID.decode(&value, 1, 1).is_none() && ID.decode(&value, 0, 2).is_none());
    }
}
