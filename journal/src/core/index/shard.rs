//! One shard: its pieces, its bounds, what of it is lost.
//!
//! In: pieces, as the index enters and cuts them. Out: the piece that holds a sequence, bounds, holes.
//! Invariant: pieces do not overlap and end before `end`.
//! Not here: counting what points at a segment (`index`).

use std::collections::BTreeMap;

use crate::ShardKey;
use crate::format::footer::TableRef;
use crate::page::LostRange;
use crate::types::{Bounds, FIRST_SEQUENCE};

/// What is known of one shard.
pub(in crate::core) struct ShardIndex {
    pub(in crate::core) key: ShardKey,
    /// Sequences below are not readable any more.
    pub(in crate::core) floor: u64,
    /// What a trim asked for; a hold may keep the floor below it.
    pub(in crate::core) trimmed: u64,
    pub(in crate::core) hold: Option<u64>,
    /// Next durable sequence.
    pub(in crate::core) end: u64,
    pub(in crate::core) newest_ms: u64,
    pub(in crate::core) dropped: bool,
    /// By first sequence.
    pub(in crate::core) pieces: BTreeMap<u64, Piece>,
    /// In order, not overlapping.
    pub(in crate::core) lost: Vec<LostRange>,
}

/// Consecutive records of one shard in one segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::core) struct Piece {
    pub(in crate::core) last: u64,
    pub(in crate::core) segment: u64,
    pub(in crate::core) oldest_ms: u64,
    pub(in crate::core) newest_ms: u64,
    pub(in crate::core) bytes: u64,
    /// Where the footer lists its runs; none while the segment has no footer.
    pub(in crate::core) table: Option<TableRef>,
}

impl ShardIndex {
    pub(super) fn new(key: ShardKey) -> Self {
        Self {
            key,
            floor: FIRST_SEQUENCE,
            trimmed: 0,
            hold: None,
            end: FIRST_SEQUENCE,
            newest_ms: 0,
            dropped: false,
            pieces: BTreeMap::new(),
            lost: Vec::new(),
        }
    }

    /// Whether it has or had durable records.
    pub(in crate::core) fn has_records(&self) -> bool {
        self.end > FIRST_SEQUENCE
    }

    pub(in crate::core) fn bounds(&self) -> Bounds {
        let oldest = self.pieces.first_key_value();
        Bounds {
            first: oldest.map_or(self.end, |(&first, _)| first.max(self.floor)),
            end: self.end,
            oldest_ms: oldest.map_or(0, |(_, piece)| piece.oldest_ms),
            newest_ms: self.newest_ms,
        }
    }

    /// The piece that holds `sequence`, or the next after it.
    pub(in crate::core) fn piece_at(&self, sequence: u64) -> Option<(u64, Piece)> {
        let before = self.pieces.range(..=sequence).next_back().filter(|(_, piece)| piece.last >= sequence);
        before.or_else(|| self.pieces.range(sequence..).next()).map(|(&first, &piece)| (first, piece))
    }

    /// Ranges between `floor` and `end` that no piece holds.
    pub(in crate::core) fn holes(&self) -> Vec<LostRange> {
        let mut holes = Vec::new();
        let mut next = self.floor;
        for (&first, piece) in &self.pieces {
            if first > next {
                holes.push(LostRange { first: next, last: first - 1 });
            }
            next = next.max(piece.last + 1);
        }
        if next < self.end {
            holes.push(LostRange { first: next, last: self.end - 1 });
        }
        holes
    }
}
