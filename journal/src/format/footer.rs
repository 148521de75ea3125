//! Footer of a full segment: its pieces and its run table.
//!
//! In: the runs of a segment, or bytes from disk. Out: bytes, or checked tables. Drawn in the parent module.
//! Not here: trust. A table that does not check out means that the segment is read whole.

use crate::ShardKey;
use crate::bytes::{Fields, crc32c};
use crate::format::{NUMBER_MAX, index};

pub(crate) const PIECE_BYTES: usize = 56;
pub(crate) const RUN_BYTES: usize = 40;

/// Consecutive records of one shard in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PieceEntry {
    pub(crate) shard: ShardKey,
    pub(crate) first: u64,
    pub(crate) last: u64,
    pub(crate) oldest_ms: u64,
    pub(crate) newest_ms: u64,
    pub(crate) table: TableRef,
    pub(crate) bytes: u32,
}

/// Where the runs of a piece stand in the run table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableRef {
    pub(crate) start: u32,
    pub(crate) runs: u32,
    pub(crate) crc: u32,
}

/// One run in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunRef {
    pub(crate) first: u64,
    pub(crate) base_ms: u64,
    pub(crate) offset: u32,
    pub(crate) stored: u32,
    pub(crate) count: u32,
    pub(crate) crc: u32,
    pub(crate) flags: u16,
    pub(crate) key_id: u16,
    /// From the base to the time of the last record.
    pub(crate) span_ms: u32,
}

impl PieceEntry {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.shard.stream.to_le_bytes());
        out.extend_from_slice(&self.shard.shard.to_le_bytes());
        for field in [self.first, self.last, self.oldest_ms, self.newest_ms] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        for field in [self.table.start, self.table.runs, self.bytes, self.table.crc] {
            out.extend_from_slice(&field.to_le_bytes());
        }
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let shard = ShardKey { stream: fields.u32()?, shard: fields.u32()? };
        let (first, last) = (fields.u64()?, fields.u64()?);
        let (oldest_ms, newest_ms) = (fields.u64()?, fields.u64()?);
        let (start, runs, bytes, crc) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
        let sane = first <= last && last < NUMBER_MAX && runs > 0;
        sane.then_some(Self {
            shard,
            first,
            last,
            oldest_ms,
            newest_ms,
            table: TableRef { start, runs, crc },
            bytes,
        })
    }

    /// The piece table, when its checksum is right.
    pub(crate) fn decode_all(bytes: &[u8], count: u32, crc: u32) -> Option<Vec<Self>> {
        let bytes = bytes.get(..index(count).checked_mul(PIECE_BYTES)?)?;
        if crc32c(bytes) != crc {
            return None;
        }
        let mut fields = Fields::new(bytes);
        (0..count).map(|_| Self::decode(&mut fields)).collect()
    }
}

impl RunRef {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.first.to_le_bytes());
        out.extend_from_slice(&self.base_ms.to_le_bytes());
        for field in [self.offset, self.stored, self.count, self.crc] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.flags.to_le_bytes());
        out.extend_from_slice(&self.key_id.to_le_bytes());
        out.extend_from_slice(&self.span_ms.to_le_bytes());
    }

    fn decode(fields: &mut Fields<'_>) -> Option<Self> {
        let (first, base_ms) = (fields.u64()?, fields.u64()?);
        let (offset, stored, count, crc) = (fields.u32()?, fields.u32()?, fields.u32()?, fields.u32()?);
        let (flags, key_id) = (fields.u16()?, fields.u16()?);
        let span_ms = fields.u32()?;
        let end = first.checked_add(u64::from(count))?;
        offset.checked_add(stored)?;
        (count > 0 && end <= NUMBER_MAX).then_some(Self {
            first,
            base_ms,
            offset,
            stored,
            count,
            crc,
            flags,
            key_id,
            span_ms,
        })
    }

    /// One piece's part of the run table, when its checksum is right.
    pub(crate) fn decode_all(bytes: &[u8], crc: u32) -> Option<Vec<Self>> {
        if !bytes.len().is_multiple_of(RUN_BYTES) || crc32c(bytes) != crc {
            return None;
        }
        let mut fields = Fields::new(bytes);
        (0..bytes.len() / RUN_BYTES).map(|_| Self::decode(&mut fields)).collect()
    }

    pub(crate) fn last(&self) -> u64 {
        self.first + u64::from(self.count) - 1
    }

    pub(crate) fn newest_ms(&self) -> u64 {
        self.base_ms.saturating_add(u64::from(self.span_ms))
    }

    pub(crate) fn end(&self) -> u32 {
        self.offset + self.stored
    }
}
