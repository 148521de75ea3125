//! Group head and run headers.
//!
//! In: fields, or bytes from disk that may be anything. Out: bytes, or a head whose checksum was right.
//! Not here: bodies; their checksums are in the run headers. Drawn in the parent module.

use crate::ShardKey;
use crate::blocks::BLOCK_BYTES;
use crate::bytes::{Fields, crc32c};
use crate::format::{NUMBER_MAX, index, u32_of};
use crate::limits::RUN_BYTES_MAX;

const MAGIC: &[u8; 4] = b"HWGR";
pub(crate) const HEAD_BYTES: usize = 48;
pub(crate) const RUN_HEADER_BYTES: usize = 40;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GroupHead {
    pub(crate) runs: u32,
    pub(crate) number: u64,
    pub(crate) salt: u64,
    pub(crate) wall_ms: u64,
    pub(crate) length: u32,
    pub(crate) previous_crc: u32,
    pub(crate) crc: u32,
}

impl GroupHead {
    /// Writes the head over the first bytes of `group`, whose run headers are in place, and returns its checksum.
    pub(crate) fn seal(&self, group: &mut [u8]) -> u32 {
        let tables_end = HEAD_BYTES + index(self.runs) * RUN_HEADER_BYTES;
        group[..4].copy_from_slice(MAGIC);
        group[4..8].copy_from_slice(&self.runs.to_le_bytes());
        group[8..16].copy_from_slice(&self.number.to_le_bytes());
        group[16..24].copy_from_slice(&self.salt.to_le_bytes());
        group[24..32].copy_from_slice(&self.wall_ms.to_le_bytes());
        group[32..36].copy_from_slice(&self.length.to_le_bytes());
        group[36..40].copy_from_slice(&self.previous_crc.to_le_bytes());
        group[40..44].fill(0);
        let crc = head_crc(&group[..tables_end]);
        group[44..48].copy_from_slice(&crc.to_le_bytes());
        crc
    }

    /// The head's fields, before the checksum was looked at: enough to know how many bytes the run headers take.
    pub(crate) fn peek(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(bytes);
        if fields.take(4)? != MAGIC {
            return None;
        }
        let runs = fields.u32()?;
        let (number, salt, wall_ms) = (fields.u64()?, fields.u64()?, fields.u64()?);
        let (length, previous_crc) = (fields.u32()?, fields.u32()?);
        fields.u32()?;
        let crc = fields.u32()?;
        let tables = (index(runs)).checked_mul(RUN_HEADER_BYTES)?.checked_add(HEAD_BYTES)?;
        (runs > 0 && tables < index(length) && number <= NUMBER_MAX).then_some(Self {
            runs,
            number,
            salt,
            wall_ms,
            length,
            previous_crc,
            crc,
        })
    }

    /// The salt of what begins like a group, however damaged its other fields are. Two bits of the magic may be flipped too: it is the
    /// salt that tells a group from anything else, and a group must leave a trace wherever the damage hit its head.
    pub(crate) fn trace(bytes: &[u8]) -> Option<u64> {
        let magic = Fields::new(bytes).u32()?;
        let flipped = (magic ^ u32::from_le_bytes(*MAGIC)).count_ones();
        (flipped <= 2).then(|| Fields::new(bytes.get(16..24)?).u64()).flatten()
    }

    /// Bytes of head and run headers.
    pub(crate) fn tables_bytes(&self) -> usize {
        HEAD_BYTES + index(self.runs) * RUN_HEADER_BYTES
    }

    /// Bytes that the group takes of the segment.
    pub(crate) fn padded(&self) -> usize {
        index(self.length).next_multiple_of(BLOCK_BYTES)
    }

    /// The run headers of `tables` (head and run headers), when the checksum is right and they fill the group exactly.
    pub(crate) fn runs(&self, tables: &[u8]) -> Option<Vec<RunHeader>> {
        let tables = tables.get(..self.tables_bytes())?;
        if head_crc(tables) != self.crc {
            return None;
        }
        let mut fields = Fields::new(&tables[HEAD_BYTES..]);
        let mut offset = self.tables_bytes();
        let mut runs = Vec::with_capacity(index(self.runs));
        for _ in 0..self.runs {
            let run = RunHeader::decode(&mut fields, offset)?;
            offset += index(run.stored);
            runs.push(run);
        }
        (offset == index(self.length)).then_some(runs)
    }
}

fn head_crc(tables: &[u8]) -> u32 {
    if tables.len() == HEAD_BYTES + RUN_HEADER_BYTES {
        // The commonest group, one run: one call over a copy without the hole beats two calls.
        let mut whole = [0; HEAD_BYTES + RUN_HEADER_BYTES - 4];
        whole[..44].copy_from_slice(&tables[..44]);
        whole[44..].copy_from_slice(&tables[HEAD_BYTES..]);
        return crc32c(&whole);
    }
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(&tables[..44]);
    digest.update(&tables[HEAD_BYTES..]);
    u32::try_from(digest.finalize()).expect("a CRC-32 has 32 bits")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RunHeader {
    pub(crate) shard: ShardKey,
    pub(crate) first: u64,
    pub(crate) base_ms: u64,
    pub(crate) count: u32,
    pub(crate) stored: u32,
    pub(crate) crc: u32,
    pub(crate) flags: u16,
    pub(crate) key_id: u16,
    /// Where the body begins in the group; not on disk, it follows from the lengths.
    pub(crate) offset: u32,
}

impl RunHeader {
    pub(crate) fn encode(&self) -> [u8; RUN_HEADER_BYTES] {
        let mut out = [0; RUN_HEADER_BYTES];
        out[..4].copy_from_slice(&self.shard.stream.to_le_bytes());
        out[4..8].copy_from_slice(&self.shard.shard.to_le_bytes());
        out[8..16].copy_from_slice(&self.first.to_le_bytes());
        out[16..24].copy_from_slice(&self.base_ms.to_le_bytes());
        out[24..28].copy_from_slice(&self.count.to_le_bytes());
        out[28..32].copy_from_slice(&self.stored.to_le_bytes());
        out[32..36].copy_from_slice(&self.crc.to_le_bytes());
        out[36..38].copy_from_slice(&self.flags.to_le_bytes());
        out[38..].copy_from_slice(&self.key_id.to_le_bytes());
        out
    }

    /// `None` when a field cannot be: no records, no bytes, more than fits, sequences past the end of numbers.
    fn decode(fields: &mut Fields<'_>, offset: usize) -> Option<Self> {
        let shard = ShardKey { stream: fields.u32()?, shard: fields.u32()? };
        let (first, base_ms) = (fields.u64()?, fields.u64()?);
        let (count, stored, crc) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (flags, key_id) = (fields.u16()?, fields.u16()?);
        let end = first.checked_add(u64::from(count))?;
        let sane = count > 0 && stored > 0 && index(stored) <= RUN_BYTES_MAX && end <= NUMBER_MAX;
        sane.then_some(Self {
            shard,
            first,
            base_ms,
            count,
            stored,
            crc,
            flags,
            key_id,
            offset: u32_of(offset),
        })
    }

    pub(crate) fn last(&self) -> u64 {
        self.first + u64::from(self.count) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> Vec<u8> {
        let run = RunHeader {
            shard: ShardKey { stream: 3, shard: 4 },
            first: 5,
            base_ms: 6,
            count: 1,
            stored: 4,
            crc: crc32c(b"body"),
            flags: 0,
            key_id: 0,
            offset: 88,
        };
        let mut bytes = vec![0; HEAD_BYTES];
        bytes.extend_from_slice(&run.encode());
        bytes.extend_from_slice(b"body");
        let length = u32_of(bytes.len());
        let head = GroupHead { runs: 1, number: 7, salt: 8, wall_ms: 9, length, previous_crc: 10, crc: 0 };
        head.seal(&mut bytes);
        bytes
    }

    #[test]
    fn every_flipped_bit_of_head_and_run_headers_is_noticed() {
        let bytes = group();
        let runs = GroupHead::peek(&bytes).and_then(|head| head.runs(&bytes)).expect("whole");
        assert_eq!((runs.len(), runs[0].offset, runs[0].last()), (1, 88, 5));
        for bit in 0..(HEAD_BYTES + RUN_HEADER_BYTES) * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let runs = GroupHead::peek(&bytes).and_then(|head| head.runs(&bytes));
            // 40..44 are covered too: a field may come to live there.
            assert_eq!(runs, None, "bit {bit}");
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_in_the_head_leaves_a_trace() {
        let bytes = group();
        for bit in 0..HEAD_BYTES * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let salt = GroupHead::trace(&bytes).unwrap_or_else(|| panic!("bit {bit} wipes the trace out"));
            assert!((salt ^ 8).count_ones() <= 1, "bit {bit}: salt {salt}");
        }
    }

    #[test]
    fn zeros_and_short_bytes_are_no_group() {
        assert_eq!(GroupHead::peek(&[0; 4096]), None);
        assert_eq!(GroupHead::trace(&[0; 4096]), None);
        assert_eq!(GroupHead::trace(&group()[..23]), None);
        assert_eq!(GroupHead::peek(&group()[..47]), None);
    }
}
