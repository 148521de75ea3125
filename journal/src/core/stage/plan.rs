//! Where the groups will stand that are not written yet, and the segment files they may open.
//!
//! In: sizes of groups, files that became ready. Out: whether a group fits into its segment, and whether it may open the next.
//! Invariant: never too little, and exact where nothing is compressed. The writer does the same sums, so a group that was planned has
//! its place, footer included.
//! Not here: who may use the reserve (`admit`), making files (`reclaim`), writing (`writer`).

use crate::blocks::BLOCK_BYTES;
use crate::bytes::VARINT_BYTES_MAX;
use crate::format::body::SEAL_BYTES;
use crate::format::footer::{PIECE_BYTES, RUN_BYTES};
use crate::format::group::RUN_HEADER_BYTES;
use crate::format::index;
use crate::format::segment::{HEADER_BYTES, TRAILER_BYTES};
use crate::set::AppendSet;

/// Where the last group stands, or the next when none waits.
#[derive(Clone, Copy)]
pub(super) struct Plan {
    segment_bytes: usize,
    offset: usize,
    footer: usize,
    segment: u64,
    // Segment files that exist and are not planned for.
    spare: u64,
    // Spare files that records may not take: the reserve.
    withheld: u64,
}

impl Plan {
    /// Without a segment: the first group opens one.
    pub(super) fn new(segment_bytes: usize) -> Self {
        Self { segment_bytes, offset: segment_bytes, footer: 0, segment: 0, spare: 0, withheld: 0 }
    }

    /// Whether a group of `group` bytes may stand here when the footer grows by `footer` bytes.
    pub(super) fn fits(&self, group: usize, footer: usize) -> bool {
        self.offset + padded(group) + padded(self.footer + footer) + index(TRAILER_BYTES)
            <= self.segment_bytes
    }

    /// The plan behind a group of `group` bytes that stands here.
    pub(super) fn after(self, group: usize) -> Self {
        Self { offset: self.offset + padded(group), ..self }
    }

    /// Takes back what a group of `planned` bytes in `segment` did not need: `written` with its padding. What was planned for the
    /// segment before that is not moved, so a segment may end with the savings of the groups that were waiting then unused.
    pub(super) fn shrink(&mut self, segment: u64, planned: usize, written: usize) {
        if written > 0 && segment == self.segment {
            self.offset -= padded(planned) - written;
        }
    }

    /// Whether there is a file to open; `reserve` counts those of the reserve.
    pub(super) fn may_roll(&self, reserve: bool) -> bool {
        self.spare > if reserve { 0 } else { self.withheld }
    }

    /// The plan at the beginning of the next segment.
    pub(super) fn rolled(self) -> Self {
        let (segment, spare) = (self.segment + 1, self.spare - 1);
        Self { offset: index(HEADER_BYTES), footer: 0, segment, spare, ..self }
    }

    /// Counts a run, and a piece when it begins one, into the footer.
    pub(super) fn add_run(&mut self, begins_piece: bool) {
        self.footer += RUN_BYTES + if begins_piece { PIECE_BYTES } else { 0 };
    }

    /// Number of the planned segment, counted from this opening on.
    pub(super) fn segment(&self) -> u64 {
        self.segment
    }

    /// Takes up `files` that became ready; `withheld` of all spare ones are the reserve from now on.
    pub(super) fn add_spare(&mut self, files: u64, withheld: u64) {
        self.spare += files;
        self.withheld = withheld;
    }

    /// Files that exist and are not planned for.
    pub(super) fn spare(&self) -> u64 {
        self.spare
    }
}

/// Room a set may take at most.
pub(super) struct Cost {
    pub(super) group: usize,
    pub(super) footer: usize,
}

impl Cost {
    /// Of all records and changes of `set`, of whose runs so many will be sealed.
    pub(super) fn of(set: &AppendSet, sealed_runs: usize) -> Self {
        // Every chunk counts as a run of its own; the sum is exact again once the set is staged.
        let runs = set.chunks.len() + usize::from(!set.changes.is_empty());
        let framing = set.chunks.len() * VARINT_BYTES_MAX + set.changes.len() * (3 * VARINT_BYTES_MAX + 1);
        let group = set.bytes() + framing + runs * RUN_HEADER_BYTES + sealed_runs * SEAL_BYTES;
        Self { group, footer: runs * (RUN_BYTES + PIECE_BYTES) }
    }

    /// Of a run of `body` bytes copied as it is.
    pub(super) fn of_copy(body: &[u8]) -> Self {
        Self { group: RUN_HEADER_BYTES + body.len(), footer: RUN_BYTES + PIECE_BYTES }
    }
}

fn padded(bytes: usize) -> usize {
    bytes.next_multiple_of(BLOCK_BYTES)
}
