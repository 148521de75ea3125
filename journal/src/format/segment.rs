//! Segment header, trailer and file names.
//!
//! In: fields or a block from disk. Out: a block or checked fields. Drawn in the parent module.

use crate::blocks::{BLOCK_BYTES, Blocks};
use crate::bytes::{Fields, crc32c};
use crate::format::{FORMAT_VERSION, NUMBER_MAX};

const HEADER_MAGIC: &[u8; 8] = b"HWSEGMNT";
const TRAILER_MAGIC: &[u8; 8] = b"HWTRAILR";

/// Where the first group begins.
pub(crate) const HEADER_BYTES: u32 = 4096;
/// The trailer's block at the end of the file.
pub(crate) const TRAILER_BYTES: u32 = 4096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) lane_id: u16,
    pub(crate) lane: u128,
    pub(crate) number: u64,
    pub(crate) salt: u64,
    pub(crate) first_group: u64,
    pub(crate) wall_ms: u64,
    /// Kept time at its opening; the wall clock's in segments of programs that knew no other.
    pub(crate) kept_ms: u64,
    pub(crate) previous_crc: u32,
}

/// Why a block is not a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderError {
    /// Never written, or not by a journal.
    Foreign,
    /// A journal's, but damaged; the number it claims, if it can be read.
    Damaged(Option<u64>),
    /// Of a newer program.
    Version(u16),
}

impl SegmentHeader {
    /// Appends the header block.
    pub(crate) fn encode(&self, out: &mut Blocks) {
        let start = out.len();
        out.extend_from_slice(HEADER_MAGIC);
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.lane_id.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.lane.to_le_bytes());
        for field in [self.number, self.salt, self.first_group, self.wall_ms] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.previous_crc.to_le_bytes());
        let crc = crc32c(&out.as_slice()[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
        let more = out.len();
        out.extend_from_slice(&self.kept_ms.to_le_bytes());
        let crc = crc32c(&out.as_slice()[more..]);
        out.extend_from_slice(&crc.to_le_bytes());
        out.resize(start + BLOCK_BYTES);
    }

    pub(crate) fn decode(block: &[u8]) -> Result<Self, HeaderError> {
        if block.get(..8) != Some(HEADER_MAGIC) {
            return Err(HeaderError::Foreign);
        }
        let sum = block.get(68..72).and_then(|field| Fields::new(field).u32());
        let head = block.get(..68).filter(|head| sum == Some(crc32c(head)));
        let Some(head) = head else {
            let claimed = block.get(32..40).and_then(|field| Fields::new(field).u64());
            return Err(HeaderError::Damaged(claimed));
        };
        let mut fields = Fields::new(&head[8..]);
        let mut parse = || {
            let version = fields.u16()?;
            if version != FORMAT_VERSION {
                return Some(Err(HeaderError::Version(version)));
            }
            let lane_id = fields.u16()?;
            fields.u32()?;
            let lane = fields.array().map(u128::from_le_bytes)?;
            let (number, salt) = (fields.u64()?, fields.u64()?);
            let (first_group, wall_ms) = (fields.u64()?, fields.u64()?);
            let previous_crc = fields.u32()?;
            if number.max(first_group) > NUMBER_MAX {
                return None;
            }
            let kept_ms = kept_ms(block).unwrap_or(wall_ms);
            Some(Ok(Self { lane_id, lane, number, salt, first_group, wall_ms, kept_ms, previous_crc }))
        };
        parse().unwrap_or(Err(HeaderError::Damaged(None)))
    }
}

/// What stands behind the header's own bytes; zeros in segments of programs that knew no kept time.
fn kept_ms(block: &[u8]) -> Option<u64> {
    let field = block.get(72..80)?;
    let sum = Fields::new(block.get(80..84)?).u32()?;
    (sum == crc32c(field)).then(|| Fields::new(field).u64()).flatten()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    pub(crate) number: u64,
    pub(crate) salt: u64,
    pub(crate) first_group: u64,
    pub(crate) last_group: u64,
    pub(crate) last_crc: u32,
    pub(crate) data_end: u32,
    pub(crate) footer_at: u32,
    pub(crate) pieces: u32,
    pub(crate) runs: u32,
    pub(crate) pieces_crc: u32,
}

impl Trailer {
    /// Appends the trailer block.
    pub(crate) fn encode(&self, out: &mut Blocks) {
        let start = out.len();
        out.extend_from_slice(TRAILER_MAGIC);
        for field in [self.number, self.salt, self.first_group, self.last_group] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        for field in [self.last_crc, self.data_end, self.footer_at, self.pieces, self.runs, self.pieces_crc] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        let crc = crc32c(&out.as_slice()[start..]);
        out.extend_from_slice(&crc.to_le_bytes());
        out.resize(start + BLOCK_BYTES);
    }

    /// `None` when the block is not a whole trailer.
    pub(crate) fn decode(block: &[u8]) -> Option<Self> {
        let mut fields = Fields::new(block.get(..64)?);
        if fields.take(8)? != TRAILER_MAGIC || Fields::new(block.get(64..68)?).u32()? != crc32c(&block[..64])
        {
            return None;
        }
        let (number, salt) = (fields.u64()?, fields.u64()?);
        let (first_group, last_group) = (fields.u64()?, fields.u64()?);
        let (last_crc, data_end, footer_at) = (fields.u32()?, fields.u32()?, fields.u32()?);
        let (pieces, runs, pieces_crc) = (fields.u32()?, fields.u32()?, fields.u32()?);
        (number.max(first_group).max(last_group) <= NUMBER_MAX).then_some(Self {
            number,
            salt,
            first_group,
            last_group,
            last_crc,
            data_end,
            footer_at,
            pieces,
            runs,
            pieces_crc,
        })
    }
}

/// What a file is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FileName {
    /// A segment of this number, or one prepared to become it.
    Segment(u64),
    /// An empty segment; the number only tells names apart.
    Pool(u64),
    /// A snapshot slot, 0 or 1.
    Snapshot(u8),
}

impl FileName {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        let number = |hex: &str| {
            let parsed = u64::from_str_radix(hex, 16).ok().filter(|&number| number <= NUMBER_MAX);
            parsed.filter(|_| hex.len() == 16)
        };
        let parsed = match (name, name.split_once('.')) {
            ("snapshot-0", _) => Self::Snapshot(0),
            ("snapshot-1", _) => Self::Snapshot(1),
            (_, Some((hex, "seg"))) => Self::Segment(number(hex)?),
            (_, Some((hex, "pool"))) => Self::Pool(number(hex)?),
            _ => return None,
        };
        // One spelling per file: "A.seg" beside "a.seg" must not be taken for the same.
        (parsed.to_string() == name).then_some(parsed)
    }
}

impl std::fmt::Display for FileName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Segment(number) => write!(f, "{number:016x}.seg"),
            Self::Pool(number) => write!(f, "{number:016x}.pool"),
            Self::Snapshot(slot) => write!(f, "snapshot-{slot}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_back_and_others_are_nobodys() {
        for name in [FileName::Segment(0x2a), FileName::Pool(NUMBER_MAX), FileName::Snapshot(1)] {
            assert_eq!(FileName::parse(&name.to_string()), Some(name));
        }
        for name in [
            "ffffffffffffffff.seg",
            "ffffffffffffffff.pool",
            "lock",
            "2a.seg",
            "000000000000002A.seg",
            "000000000000002a.seg.bak",
            "snapshot-2",
        ] {
            assert_eq!(FileName::parse(name), None, "{name}");
        }
    }

    #[test]
    fn zeros_are_neither_header_nor_trailer() {
        assert_eq!(SegmentHeader::decode(&[0; 4096]), Err(HeaderError::Foreign));
        assert_eq!(Trailer::decode(&[0; 4096]), None);
        assert_eq!(SegmentHeader::decode(&[]), Err(HeaderError::Foreign));
    }

    #[test]
    fn a_header_that_ends_early_is_damaged() {
        for length in 8..72 {
            let mut block = HEADER_MAGIC.to_vec();
            block.resize(length, 0);
            let claimed = (length >= 40).then_some(0);
            assert_eq!(SegmentHeader::decode(&block), Err(HeaderError::Damaged(claimed)), "{length} bytes");
        }
    }
}
