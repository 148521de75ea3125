//! Snapshot of metadata and shard table, so that old segments can go.
//!
//! In: the state after one group, or a slot's bytes. Out: bytes, or the checked state. Drawn in the parent module.
//! Not here: which slot is written when (`core::snapshot`).

use crate::ShardKey;
use crate::blocks::Blocks;
use crate::bytes::{Fields, crc32c, put_varint};
use crate::format::{FORMAT_VERSION, NUMBER_MAX, index, u32_of};
use crate::types::MetaValue;

const MAGIC: &[u8; 8] = b"HWSNAPSH";
const HEAD_BYTES: usize = 72;
const SHARD_BYTES: usize = 32;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot {
    pub(crate) lane: u128,
    /// State after this group.
    pub(crate) group: u64,
    /// Rises with each snapshot: tells the newer slot when both are of one group.
    pub(crate) generation: u64,
    /// Number of the next segment: numbers are never used twice, or a gap between two would prove nothing.
    pub(crate) next_segment: u64,
    pub(crate) shards: Vec<ShardState>,
    pub(crate) keys: Vec<(Vec<u8>, MetaValue)>,
}

/// What must be known of a shard even when no segment holds it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShardState {
    pub(crate) shard: ShardKey,
    /// Sequences below are no more wanted.
    pub(crate) floor: u64,
    /// Next sequence to give.
    pub(crate) next: u64,
    pub(crate) newest_ms: u64,
}

impl Snapshot {
    /// The slot's bytes, padded to whole blocks.
    pub(crate) fn encode(&self) -> Blocks {
        let mut body = Vec::with_capacity(self.shards.len() * SHARD_BYTES);
        for state in &self.shards {
            body.extend_from_slice(&state.shard.stream.to_le_bytes());
            body.extend_from_slice(&state.shard.shard.to_le_bytes());
            for field in [state.floor, state.next, state.newest_ms] {
                body.extend_from_slice(&field.to_le_bytes());
            }
        }
        for (key, meta) in &self.keys {
            put_varint(&mut body, key.len() as u64);
            put_varint(&mut body, meta.value.len() as u64);
            put_varint(&mut body, meta.version);
            body.extend_from_slice(key);
            body.extend_from_slice(&meta.value);
        }
        let mut out = Blocks::new();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(&u32_of(body.len()).to_le_bytes());
        out.extend_from_slice(&self.lane.to_le_bytes());
        out.extend_from_slice(&self.group.to_le_bytes());
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.next_segment.to_le_bytes());
        for field in [u32_of(self.shards.len()), u32_of(self.keys.len()), crc32c(&body)] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        let crc = crc32c(out.as_slice());
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&body);
        out.pad();
        out
    }

    /// `None` when the slot holds no whole snapshot; `Some(Err(version))` when a newer program wrote it.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Result<Self, u16>> {
        let head = bytes.get(..HEAD_BYTES)?;
        if head.get(..8)? != MAGIC || Fields::new(&head[68..]).u32()? != crc32c(&head[..68]) {
            return None;
        }
        let mut fields = Fields::new(&head[8..]);
        let version = fields.u16()?;
        if version != FORMAT_VERSION {
            return Some(Err(version));
        }
        fields.u16()?;
        let length = index(fields.u32()?);
        let lane = fields.array().map(u128::from_le_bytes)?;
        let (group, generation, next_segment) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let (shards, keys, crc) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let body = bytes[HEAD_BYTES..].get(..length)?;
        if crc32c(body) != crc || group.max(generation).max(next_segment) > NUMBER_MAX {
            return None;
        }
        let mut body = Fields::new(body);
        let shards = (0..shards).map(|_| ShardState::decode(&mut body)).collect::<Option<Vec<_>>>()?;
        let keys = (0..keys).map(|_| decode_key(&mut body)).collect::<Option<Vec<_>>>()?;
        Some(Ok(Self { lane, group, generation, next_segment, shards, keys }))
    }
}

impl ShardState {
    fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let shard = ShardKey { stream: fields.u32()?, shard: fields.u32()? };
        let (floor, next, newest_ms) = (fields.u64()?, fields.u64()?, fields.u64()?);
        (next <= NUMBER_MAX).then_some(Self { shard, floor, next, newest_ms })
    }
}

fn decode_key(fields: &mut Fields<'_>) -> Option<(Vec<u8>, MetaValue)> {
    let (key, value) = (fields.varint_usize()?, fields.varint_usize()?);
    let version = fields.varint()?;
    let (key, value) = (fields.take(key)?.to_vec(), fields.take(value)?.to_vec());
    Some((key, MetaValue { version, value }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_anywhere_makes_the_slot_invalid() {
        let snapshot = Snapshot {
            lane: 1,
            group: 2,
            generation: 3,
            next_segment: 4,
            shards: vec![ShardState {
                shard: ShardKey { stream: 1, shard: 0 },
                floor: 4,
                next: 5,
                newest_ms: 6,
            }],
            keys: vec![(b"key".to_vec(), MetaValue { version: 7, value: b"value".to_vec() })],
        };
        let bytes = snapshot.encode().as_slice().to_vec();
        assert_eq!(Snapshot::decode(&bytes), Some(Ok(snapshot)));
        for bit in 0..(HEAD_BYTES + SHARD_BYTES + 11) * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Snapshot::decode(&bytes), None, "bit {bit}");
        }
        assert_eq!(Snapshot::decode(&[0; 4096]), None);
    }
}
