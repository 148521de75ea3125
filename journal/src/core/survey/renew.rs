//! The last group, made durable: what was read of it may be what only memory holds.
//!
//! In: the place of the last group found. Out: the same bytes, written and synced, behind a header if they had none.
//! Invariant: nothing but what was read is written, at the place it was read from.
//! Not here: finding the group (`survey`).

use super::Survey;
use crate::blocks::Blocks;
use crate::error::OpenError;
use crate::format::group::GroupHead;
use crate::format::index;
use crate::format::segment::{FileName, HEADER_BYTES, SegmentHeader};
use crate::storage::StorageFile;

impl<F: StorageFile> Survey<F> {
    /// Writes the last group again as it was read. It may be the one that was in flight when the process was killed: seen, and yet not
    /// durable. A sync alone would not do: after a failed one, bytes that only memory holds count as clean.
    pub(in crate::core) fn renew_tail(&mut self) -> Result<(), OpenError> {
        let Some((file, number, at, end)) = self.tail.take() else { return Ok(()) };
        let mut blocks = Blocks::zeroed(index(end - at));
        let mut renew = || {
            file.read_at(blocks.as_mut_slice(), u64::from(at))?;
            if at == 0 {
                self.mend_header(number, blocks.as_mut_slice());
            }
            file.write_at(&blocks, u64::from(at))?;
            file.sync()
        };
        let doing = format!("writing the last group of {} again", FileName::Segment(number));
        renew().map_err(|source| OpenError::Io { doing, source })
    }

    /// Puts a header before the first and only group of a segment that has none: a cut kept the group's sectors of their common
    /// write and not the header's. Without it the group's number would look like a loss once the segments before it are let go.
    fn mend_header(&mut self, number: u64, bytes: &mut [u8]) {
        let (block, group) = bytes.split_at_mut(index(HEADER_BYTES));
        let (Err(_), Some(head)) = (SegmentHeader::decode(block), GroupHead::peek(group)) else { return };
        let segment = self.index.segments.get_mut(&number);
        let Some(segment) = segment.filter(|segment| segment.last_group == head.number) else { return };
        let header = SegmentHeader {
            lane_id: 0,
            lane: self.lane,
            number,
            salt: head.salt,
            first_group: head.number,
            wall_ms: head.wall_ms,
            kept_ms: head.wall_ms,
            previous_crc: head.previous_crc,
        };
        let mut mended = Blocks::new();
        header.encode(&mut mended);
        block.copy_from_slice(mended.as_slice());
        segment.damaged = false;
    }
}
