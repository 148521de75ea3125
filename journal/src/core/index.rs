//! Where every readable record is: pieces per shard, run tables of segments without a footer.
//!
//! In: durable runs, footers, floors. Out: the piece that holds a sequence; which segments nobody wants.
//! Invariants: the pieces of a shard never overlap (the newer place wins), so a segment is wanted exactly while a piece points at it;
//! a floor never moves back; memory grows with segments times shards, not with records, once a segment is sealed.
//! Not here: reading (`read`), deciding what is too old (`upkeep`).

mod segment;
mod shard;

use std::collections::BTreeMap;

pub(super) use self::segment::{Segment, Tables};
pub(super) use self::shard::{Piece, ShardIndex};
use crate::ShardKey;
use crate::format::footer::RunRef;
use crate::format::group::RunHeader;
use crate::format::index;
use crate::page::LostRange;

pub(super) struct Index<F> {
    slots: BTreeMap<ShardKey, u32>,
    shards: Vec<ShardIndex>,
    pub(super) segments: BTreeMap<u64, Segment<F>>,
    /// Segment that groups are written to.
    pub(super) open: Option<u64>,
    /// Rises when something is forgotten: a snapshot of this epoch knows of it.
    pub(super) epoch: u64,
}

/// A run that became durable.
pub(super) struct Written {
    pub(super) slot: u32,
    pub(super) shard: ShardKey,
    pub(super) run: RunRef,
}

impl RunRef {
    /// A run header of a group that begins at `group_at`.
    pub(super) fn of(header: &RunHeader, group_at: u32, newest_ms: u64) -> Self {
        Self {
            first: header.first,
            base_ms: header.base_ms,
            offset: group_at + header.offset,
            stored: header.stored,
            count: header.count,
            crc: header.crc,
            flags: header.flags,
            key_id: header.key_id,
            span_ms: u32::try_from(newest_ms.saturating_sub(header.base_ms)).unwrap_or(u32::MAX),
        }
    }
}

impl RunRef {
    /// The run's header again, but for its place in a group.
    pub(super) fn header(&self, shard: ShardKey) -> RunHeader {
        RunHeader {
            shard,
            first: self.first,
            base_ms: self.base_ms,
            count: self.count,
            stored: self.stored,
            crc: self.crc,
            flags: self.flags,
            key_id: self.key_id,
            offset: 0,
        }
    }
}

impl<F> Index<F> {
    pub(super) fn new() -> Self {
        Self { slots: BTreeMap::new(), shards: Vec::new(), segments: BTreeMap::new(), open: None, epoch: 1 }
    }

    pub(super) fn shard(&self, shard: ShardKey) -> Option<&ShardIndex> {
        self.slots.get(&shard).map(|&slot| &self.shards[index(slot)])
    }

    pub(super) fn slot_of(&self, shard: ShardKey) -> Option<u32> {
        self.slots.get(&shard).copied()
    }

    /// The shard at `slot`, made when new. Slots are given by `stage`.
    pub(super) fn shard_mut(&mut self, slot: u32, shard: ShardKey) -> &mut ShardIndex {
        while self.shards.len() <= index(slot) {
            // Slots in between are filled in when their first run arrives.
            self.shards.push(ShardIndex::new(shard));
        }
        let entry = &mut self.shards[index(slot)];
        if entry.key != shard || !self.slots.contains_key(&shard) {
            if entry.key != shard {
                *entry = ShardIndex::new(shard);
            }
            if !entry.dropped {
                self.slots.insert(shard, slot);
            }
        }
        entry
    }

    /// All shards that were not dropped, in order.
    pub(super) fn keys(&self) -> Vec<(ShardKey, u32)> {
        self.slots.iter().map(|(&shard, &slot)| (shard, slot)).collect()
    }

    pub(super) fn at(&self, slot: u32) -> &ShardIndex {
        &self.shards[index(slot)]
    }

    /// Enters the runs of a durable group of the segment `number`.
    pub(super) fn install(&mut self, number: u64, runs: &[Written]) {
        for written in runs {
            let shard = self.shard_mut(written.slot, written.shard);
            if shard.dropped {
                continue;
            }
            let run = written.run;
            shard.end = shard.end.max(run.last() + 1);
            shard.newest_ms = shard.newest_ms.max(run.newest_ms());
            let segment = self.segments.get_mut(&number).expect("the open segment is in the index");
            if let Tables::Memory(tables) = &mut segment.tables {
                let table = tables.entry(written.slot).or_default();
                let place = match table.last() {
                    // A copied run is older than what the segment has already.
                    Some(last) if last.first > run.first => {
                        table.partition_point(|other| other.first < run.first)
                    }
                    _ => table.len(),
                };
                table.insert(place, run);
            }
            let piece = Piece {
                last: run.last(),
                segment: number,
                oldest_ms: run.base_ms,
                newest_ms: run.newest_ms(),
                bytes: u64::from(run.stored),
                table: None,
            };
            self.add_piece(written.slot, run.first, piece);
        }
    }

    /// Adds a piece; what of older pieces it covers is forgotten.
    pub(super) fn add_piece(&mut self, slot: u32, first: u64, piece: Piece) {
        let shard = &mut self.shards[index(slot)];
        if let Some(mut newest) = shard.pieces.last_entry() {
            let last = newest.get_mut();
            if last.last < first {
                // The common case: the shard grows.
                if last.last + 1 == first
                    && last.segment == piece.segment
                    && last.table.is_none()
                    && piece.table.is_none()
                {
                    (last.last, last.newest_ms) = (piece.last, last.newest_ms.max(piece.newest_ms));
                    last.bytes += piece.bytes;
                    self.count(piece.segment, 0, signed(piece.bytes));
                    return;
                }
                shard.pieces.insert(first, piece);
                self.count(piece.segment, 1, signed(piece.bytes));
                return;
            }
        }
        self.cut(slot, first, piece.last);
        self.shards[index(slot)].pieces.insert(first, piece);
        self.count(piece.segment, 1, signed(piece.bytes));
    }

    /// Forgets `first..=last` of a shard, wherever it is.
    pub(super) fn cut(&mut self, slot: u32, first: u64, last: u64) {
        let shard = &mut self.shards[index(slot)];
        let start = shard
            .pieces
            .range(..first)
            .next_back()
            .filter(|(_, piece)| piece.last >= first)
            .map_or(first, |(&at, _)| at);
        let hit: Vec<(u64, Piece)> =
            shard.pieces.range(start..=last).map(|(&at, &piece)| (at, piece)).collect();
        for (at, piece) in hit {
            let shard = &mut self.shards[index(slot)];
            shard.pieces.remove(&at);
            let mut change = (-1, -signed(piece.bytes));
            for (from, to) in [(at, first.saturating_sub(1)), (last.saturating_add(1), piece.last)] {
                if from <= to && from >= at && to <= piece.last && (to < first || from > last) {
                    let bytes = share(piece.bytes, to - from + 1, piece.last - at + 1);
                    shard.pieces.insert(from, Piece { last: to, bytes, ..piece });
                    change = (change.0 + 1, change.1 + signed(bytes));
                }
            }
            self.count(piece.segment, change.0, change.1);
        }
    }

    /// Moves a shard's floor up to `floor` and forgets what is below.
    pub(super) fn raise_floor(&mut self, slot: u32, floor: u64) -> bool {
        let shard = &mut self.shards[index(slot)];
        let floor = floor.min(shard.end);
        if floor <= shard.floor {
            return false;
        }
        shard.floor = floor;
        shard.lost.retain(|range| range.last >= floor);
        let stale = shard.pieces.first_key_value().is_some_and(|(&first, _)| first < floor);
        if stale {
            self.cut(slot, 0, floor - 1);
        }
        stale
    }

    /// Forgets a stream.
    pub(super) fn drop_stream(&mut self, stream: u32) {
        let slots: Vec<u32> =
            self.slots.iter().filter(|(key, _)| key.stream == stream).map(|(_, &slot)| slot).collect();
        for slot in slots {
            self.cut(slot, 0, u64::MAX - 1);
            let shard = &mut self.shards[index(slot)];
            shard.dropped = true;
            shard.lost.clear();
            self.slots.remove(&self.shards[index(slot)].key);
        }
    }

    /// Kept time by which a segment was closed, when a later one tells.
    pub(super) fn closed_ms(&self, segment: u64) -> Option<u64> {
        self.segments.range(segment + 1..).find_map(|(_, later)| later.opened_ms)
    }

    /// Records a loss.
    pub(super) fn add_lost(&mut self, slot: u32, range: LostRange) {
        let shard = &mut self.shards[index(slot)];
        let place = shard.lost.partition_point(|other| other.first < range.first);
        shard.lost.insert(place, range);
    }

    fn count(&mut self, segment: u64, pieces: i64, bytes: i64) {
        if let Some(segment) = self.segments.get_mut(&segment) {
            if pieces < 0 {
                self.epoch += 1;
                segment.released = self.epoch;
            }
            segment.pieces = segment.pieces.saturating_add_signed(i32::try_from(pieces).unwrap_or(0));
            segment.live_bytes = segment.live_bytes.saturating_add_signed(bytes);
        }
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn share(bytes: u64, part: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(bytes) * u128::from(part) / u128::from(whole.max(1))).unwrap_or(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn piece(segment: u64, last: u64) -> Piece {
        Piece { last, segment, oldest_ms: 0, newest_ms: 0, bytes: 100, table: None }
    }

    fn filled() -> Index<()> {
        let mut index = Index::new();
        for number in 1..=3 {
            let tables = Tables::Memory(BTreeMap::new());
            let segment = Segment {
                file: Arc::new(()),
                file_bytes: 0,
                salt: 0,
                first_group: 0,
                last_group: 0,
                last_crc: 0,
                data_end: 0,
                tables,
                pieces: 0,
                live_bytes: 0,
                damaged: false,
                released: 0,
                opened_ms: None,
            };
            index.segments.insert(number, segment);
        }
        index.shard_mut(0, ShardKey { stream: 1, shard: 1 }).end = 31;
        index.add_piece(0, 1, piece(1, 10));
        index.add_piece(0, 11, piece(2, 20));
        index.add_piece(0, 21, piece(3, 30));
        index
    }

    #[test]
    fn a_copied_piece_takes_the_place_of_the_old_one() {
        // Records 3..=6 of segment 1 are copied into segment 3: segment 1 keeps both ends.
        let mut index = filled();
        index.add_piece(0, 3, piece(3, 6));
        let places: Vec<(u64, u64, u64)> =
            index.at(0).pieces.iter().map(|(&first, piece)| (first, piece.last, piece.segment)).collect();
        assert_eq!(places, [(1, 2, 1), (3, 6, 3), (7, 10, 1), (11, 20, 2), (21, 30, 3)]);
        assert_eq!(index.segments[&1].pieces, 2);
        assert_eq!(index.segments[&1].live_bytes, 20 + 40);
        assert_eq!(index.segments[&3].pieces, 2);
        assert_eq!(index.at(0).holes(), []);
    }

    #[test]
    fn a_segment_below_the_floor_is_wanted_by_nobody() {
        let mut index = filled();
        assert!(index.raise_floor(0, 15));
        assert_eq!((index.segments[&1].pieces, index.segments[&2].pieces), (0, 1));
        assert_eq!(index.at(0).bounds().first, 15);
        assert!(!index.raise_floor(0, 3), "a floor never moves back");
        assert_eq!(index.at(0).piece_at(1).map(|(first, _)| first), Some(15));
    }

    #[test]
    fn what_no_piece_holds_is_a_hole() {
        let mut index = filled();
        index.cut(0, 5, 12);
        index.shard_mut(0, ShardKey { stream: 1, shard: 1 }).end = 33;
        let holes: Vec<(u64, u64)> = index.at(0).holes().iter().map(|hole| (hole.first, hole.last)).collect();
        assert_eq!(holes, [(5, 12), (31, 32)]);
    }
}
