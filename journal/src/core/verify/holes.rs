//! Which damage a hole belongs to.
//!
//! In: holes of shards, and damaged places of which nobody knows what they held. Out: every hole in a finding.
//! Rule: records of a shard stand in the order of their sequences, so a hole lies between the run before and the run after it. Where that
//! order does not hold (runs were copied to free a segment) every damaged place is named.
//! Not here: holes that a run's own header explains (`segment`).

use super::Verification;
use super::segment::Unknown;
use crate::ShardKey;
use crate::core::Core;
use crate::core::index::Tables;
use crate::core::recover::without;
use crate::format::segment::FileName;
use crate::page::LostRange;
use crate::storage::ViewStorage;
use crate::types::Lost;

/// A place in the log: segment and offset.
type At = (u64, u32);

impl Core<ViewStorage> {
    pub(super) fn place_holes(&self, unknown: &[Unknown], to: &mut Verification) {
        let holes: Vec<(ShardKey, u32, LostRange)> = {
            let index = self.index();
            let of = |(shard, slot)| index.at(slot).holes().into_iter().map(move |hole| (shard, slot, hole));
            index.keys().into_iter().flat_map(of).collect()
        };
        for (shard, slot, hole) in holes {
            let explained: Vec<LostRange> = to
                .findings
                .iter()
                .flat_map(|finding| &finding.lost)
                .filter(|lost| lost.shard == shard)
                .map(|lost| lost.range)
                .collect();
            for range in without(hole, &explained) {
                self.place(shard, slot, range, unknown, to);
            }
        }
    }

    fn place(
        &self,
        shard: ShardKey,
        slot: u32,
        range: LostRange,
        unknown: &[Unknown],
        to: &mut Verification,
    ) {
        let (before, after) = self.around(slot, range);
        let mut chosen: Vec<usize> = unknown
            .iter()
            .filter(|unknown| before < (unknown.number, unknown.at) && (unknown.number, unknown.at) < after)
            .map(|unknown| unknown.finding)
            .collect();
        if chosen.is_empty() {
            chosen = self.missing(before.0, after.0, to);
        }
        if chosen.is_empty() {
            chosen = unknown.iter().map(|unknown| unknown.finding).collect();
        }
        if chosen.is_empty() {
            let last = self.index().segments.keys().next_back().copied().unwrap_or(1);
            let (number, at, what) = match before {
                (0, _) => (last, 0, "ends before what the snapshots know of"),
                // The segment before is whole to its end.
                (number, u32::MAX) => (number + 1, 0, "is missing, or shows nothing that can be used"),
                (number, at) => (number, at, "ends before what the snapshots know of"),
            };
            let file = FileName::Segment(number).to_string();
            let known = to.findings.iter().position(|finding| finding.file == file && finding.what == what);
            chosen.push(known.unwrap_or_else(|| to.find(file, u64::from(at), what)));
        }
        for finding in chosen {
            to.findings[finding].lost.push(Lost { shard, range });
        }
    }

    /// Where the run before a range stands, and the run after it.
    fn around(&self, slot: u32, range: LostRange) -> (At, At) {
        let index = self.index();
        let pieces = &index.at(slot).pieces;
        let runs = |segment: u64| match index.segments.get(&segment).map(|segment| &segment.tables) {
            Some(Tables::Memory(tables)) => tables.get(&slot).map(Vec::as_slice).unwrap_or_default(),
            _ => &[],
        };
        let before = pieces.range(..range.first).next_back().map_or((0, 0), |(_, piece)| {
            let run = runs(piece.segment).iter().rev().find(|run| run.last() < range.first);
            // With a footer, damage of unknown content lies behind the segment and not in it.
            (piece.segment, run.map_or(u32::MAX, |run| run.offset))
        });
        let after = pieces.range(range.last..).next().map_or((u64::MAX, u32::MAX), |(_, piece)| {
            let run = runs(piece.segment).iter().find(|run| run.first > range.last);
            (piece.segment, run.map_or(0, |run| run.offset))
        });
        (before, after)
    }

    /// Findings for segments that are not there between two that are; made when they are new.
    fn missing(&self, before: u64, after: u64, to: &mut Verification) -> Vec<usize> {
        let there: Vec<u64> =
            self.index().segments.keys().copied().filter(|&number| number > before).collect();
        let end = there.iter().copied().find(|&number| number >= after).unwrap_or(after);
        let known_end = there.last().map_or(before, |last| last + 1);
        // What nothing stands before was let go in time, but for the last of it.
        let lowest = self.index().segments.keys().next().copied().unwrap_or(1);
        let before = if before == 0 { lowest.saturating_sub(2) } else { before };
        let gone = (before + 1..end.min(known_end)).filter(|number| !there.contains(number));
        let gone: Vec<u64> = gone.take(GONE_NAMED_MAX).collect();
        gone.into_iter()
            .map(|number| {
                let name = FileName::Segment(number).to_string();
                let known = to.findings.iter().position(|finding| finding.file == name);
                known.unwrap_or_else(|| to.find(name, 0, "this segment is missing"))
            })
            .collect()
    }
}

/// Missing files that are named for one hole: numbers in a damaged directory may be far apart.
const GONE_NAMED_MAX: usize = 16;
