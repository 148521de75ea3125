//! One segment, every byte that counts.
//!
//! In: a segment of the index. Out: what of it is damaged, with the records that are known to be lost.
//! Not here: records of which nobody knows where they stood (`holes`).

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Verification;
use crate::ShardKey;
use crate::bytes::{Fields, crc32c};
use crate::core::Core;
use crate::core::index::{Segment, Tables};
use crate::core::recover::without;
use crate::core::scan::{Found, Start, scan};
use crate::format::footer::{PIECE_BYTES, PieceEntry, RUN_BYTES, RunRef, TableRef};
use crate::format::index;
use crate::format::segment::{FileName, HEADER_BYTES, SegmentHeader, TRAILER_BYTES, Trailer};
use crate::page::LostRange;
use crate::storage::{StorageFile, ViewFile, ViewStorage};
use crate::types::Lost;

/// A damaged place that may have held any records: the holes of shards tell which.
pub(super) struct Unknown {
    pub(super) finding: usize,
    pub(super) number: u64,
    pub(super) at: u32,
}

/// What the index knows of a segment.
struct Look {
    number: u64,
    /// As it is in the directory.
    file: Arc<ViewFile>,
    file_bytes: u64,
    salt: u64,
    first_group: u64,
    /// Where the footer is that the index trusts.
    footer: Option<(u32, u32)>,
    /// First group behind this segment, as far as that is sure.
    followed_by: Option<u64>,
}

/// A damaged place of the segment: its finding, its bytes, and whether it was known what they held.
type Place = (usize, u32);

impl Core<ViewStorage> {
    pub(super) fn verify_segment(&self, number: u64, to: &mut Verification, unknown: &mut Vec<Unknown>) {
        let Some(look) = self.look_at(number) else { return };
        let name = FileName::Segment(number).to_string();
        let chain = match look.header() {
            Some(header) => Some(header.previous_crc),
            None => {
                to.find(name.clone(), 0, "the header is damaged");
                None
            }
        };
        let salt = Some(look.salt).filter(|&salt| salt != 0);
        let start = Start { salt, next: look.first_group, chain, followed_by: look.followed_by };
        let found = match scan(&*look.file, look.file_bytes, start) {
            Ok(found) => found,
            Err(error) => {
                let finding = to.find(name, 0, format!("cannot be read: {error}"));
                unknown.push(Unknown { finding, number, at: 0 });
                return;
            }
        };
        to.groups += found.groups.len() as u64;
        to.records += found
            .groups
            .iter()
            .flat_map(|group| &group.runs)
            .map(|(run, _)| u64::from(run.count))
            .sum::<u64>();
        to.torn_bytes += found.torn_bytes;
        let mut places: Vec<Place> = Vec::new();
        for damage in &found.damage {
            let groups = match damage.last_group - damage.first_group {
                0 => format!("group {}", damage.first_group),
                _ => format!("groups {} to {}", damage.first_group, damage.last_group),
            };
            let what = match damage.runs.len() {
                0 => format!("{groups}: the head is damaged or missing"),
                1 => format!("{groups}: the checksum of its records is wrong"),
                runs => format!("{groups}: the checksums of {runs} runs of records are wrong"),
            };
            let finding = to.find(name.clone(), u64::from(damage.at), what);
            places.push((finding, damage.at));
            if look.footer.is_none() {
                for run in &damage.runs {
                    self.lose_run(run.shard, run.first, run.last(), &mut to.findings[finding].lost);
                }
                if damage.runs.is_empty() {
                    unknown.push(Unknown { finding, number, at: damage.at });
                }
            }
        }
        match look.footer {
            Some(footer) => self.verify_pieces(&look, footer, &found, &places, to),
            None => {
                if let Some(what) = look.bad_footer(found.data_end) {
                    to.find(name, look.file_bytes.saturating_sub(u64::from(TRAILER_BYTES)), what);
                }
            }
        }
    }

    fn look_at(&self, number: u64) -> Option<Look> {
        let all = self.index();
        let segment: &Segment<ViewFile> = all.segments.get(&number)?;
        let footer = match segment.tables {
            Tables::Footer { at, pieces } => Some((at, pieces)),
            Tables::Memory(_) => None,
        };
        let next = all.segments.get(&(number + 1)).filter(|next| next.salt != 0).map(|next| next.first_group);
        Some(Look {
            number,
            file: Arc::new(segment.file.untouched()),
            file_bytes: segment.file_bytes,
            salt: segment.salt,
            first_group: segment.first_group,
            footer,
            followed_by: if footer.is_some() { Some(segment.last_group + 1) } else { next },
        })
    }

    /// A run that is not whole: what of it no other piece holds is lost.
    fn lose_run(&self, shard: ShardKey, first: u64, last: u64, lost: &mut Vec<Lost>) {
        let index = self.index();
        let Some(state) = index.shard(shard) else { return };
        for hole in state.holes() {
            let range = LostRange { first: hole.first.max(first), last: hole.last.min(last) };
            if range.first <= range.last {
                lost.push(Lost { shard, range });
            }
        }
    }

    /// The pieces that a trusted footer speaks of, as far as they are wanted: each of their runs must be whole.
    fn verify_pieces(
        &self,
        look: &Look,
        (at, pieces): (u32, u32),
        found: &Found,
        places: &[Place],
        to: &mut Verification,
    ) {
        let name = FileName::Segment(look.number).to_string();
        let whole: BTreeSet<u32> = found
            .groups
            .iter()
            .flat_map(|group| group.runs.iter().map(|(run, _)| group.at + run.offset))
            .collect();
        if !look.tables_are_whole(at) {
            to.find(name.clone(), u64::from(at), "the footer is damaged; the groups are read instead");
        }
        for (shard, first, last, table) in self.wanted(look, at) {
            let offset = u64::from(at) + u64::from(pieces) * PIECE_BYTES as u64;
            let listed = table.and_then(|table| self.table(look.number, &look.file, offset, table));
            let runs: Vec<RunRef> = match listed {
                Some(runs) => runs.to_vec(),
                None => scanned_runs(found, shard),
            };
            let is_whole = |run: &RunRef| whole.contains(&run.offset) || look.body_is_whole(run);
            let good: Vec<LostRange> = runs
                .iter()
                .filter(|run| is_whole(run))
                .map(|run| LostRange { first: run.first, last: run.last() })
                .collect();
            for range in without(LostRange { first, last }, &good) {
                let offset = runs.iter().find(|run| run.last() >= range.first).map_or(0, |run| run.offset);
                let place =
                    places.iter().rev().find(|(_, at)| *at <= offset.max(HEADER_BYTES)).or(places.first());
                let finding = place.map(|(finding, _)| *finding).unwrap_or_else(|| {
                    to.find(
                        name.clone(),
                        u64::from(offset),
                        "the footer speaks of records that are not there",
                    )
                });
                to.findings[finding].lost.push(Lost { shard, range });
            }
        }
    }

    /// Shard, range and run table of every piece that is read from the segment; and of what its footer at `at` speaks of and nobody has:
    /// the opening has read the metadata, and a reader that meets damage forgets where that stood.
    fn wanted(&self, look: &Look, at: u32) -> Vec<(ShardKey, u64, u64, Option<TableRef>)> {
        let (index, entries) = (self.index(), look.pieces(at).unwrap_or_default());
        let mut wanted = Vec::new();
        for (shard, slot) in index.keys() {
            let pieces = index.at(slot).pieces.iter().filter(|(_, piece)| piece.segment == look.number);
            wanted.extend(pieces.map(|(&first, piece)| (shard, first, piece.last, piece.table)));
            let holes = index.at(slot).holes();
            for entry in entries.iter().filter(|entry| entry.shard == shard) {
                let within =
                    holes.iter().map(|hole| (hole.first.max(entry.first), hole.last.min(entry.last)));
                let within = within.filter(|(first, last)| first <= last);
                wanted.extend(within.map(|(first, last)| (shard, first, last, Some(entry.table))));
            }
        }
        wanted
    }
}

impl Look {
    fn header(&self) -> Option<SegmentHeader> {
        let mut block = vec![0; index(HEADER_BYTES)];
        self.file.read_at(&mut block, 0).ok()?;
        SegmentHeader::decode(&block)
            .ok()
            .filter(|header| header.number == self.number && header.salt == self.salt)
    }

    fn read(&self, offset: u64, bytes: usize) -> Option<Vec<u8>> {
        let mut buffer = vec![0; bytes];
        self.file.read_at(&mut buffer, offset).ok().map(|()| buffer)
    }

    /// What the footer at `at` says that the segment has, when it is whole.
    fn pieces(&self, at: u32) -> Option<Vec<PieceEntry>> {
        let trailer_at = self.file_bytes.checked_sub(u64::from(TRAILER_BYTES))?;
        let trailer = Trailer::decode(&self.read(trailer_at, index(TRAILER_BYTES))?)?;
        let table = self.read(u64::from(at), index(trailer.pieces) * PIECE_BYTES)?;
        PieceEntry::decode_all(&table, trailer.pieces, trailer.pieces_crc)
    }

    /// Whether every run table of the footer at `at` is whole, also of shards that want nothing of it any more.
    fn tables_are_whole(&self, at: u32) -> bool {
        let Some(pieces) = self.pieces(at) else { return false };
        let runs_at = u64::from(at) + (pieces.len() * PIECE_BYTES) as u64;
        pieces.iter().all(|piece| {
            let offset = runs_at + u64::from(piece.table.start) * RUN_BYTES as u64;
            let table = self.read(offset, index(piece.table.runs) * RUN_BYTES);
            table.is_some_and(|table| RunRef::decode_all(&table, piece.table.crc).is_some())
        })
    }

    fn body_is_whole(&self, run: &RunRef) -> bool {
        // The footer's checksum was right, so the length is one that a segment can have.
        let mut body = vec![0; index(run.stored)];
        self.file.read_at(&mut body, u64::from(run.offset)).is_ok() && crc32c(&body) == run.crc
    }

    /// What is wrong with the footer of a segment that is read without one; nothing when there is none.
    fn bad_footer(&self, data_end: u32) -> Option<&'static str> {
        let at =
            self.file_bytes.checked_sub(u64::from(TRAILER_BYTES)).filter(|&at| at >= u64::from(data_end))?;
        let mut block = vec![0; index(TRAILER_BYTES)];
        self.file.read_at(&mut block, at).ok()?;
        let what = "the footer is damaged, or a stop in the middle of its writing tore it; the next start writes it again";
        match Trailer::decode(&block) {
            Some(trailer) => (trailer.number == self.number && trailer.salt == self.salt).then_some(what),
            // A trailer of the file's earlier life has another salt, and no two are within two bits.
            None => {
                let salt = Fields::new(&block[16..24]).u64()?;
                ((salt ^ self.salt).count_ones() <= 2).then_some(what)
            }
        }
    }
}

/// The runs of a shard in the groups, in order, without those that come twice.
fn scanned_runs(found: &Found, shard: ShardKey) -> Vec<RunRef> {
    let mut runs: Vec<RunRef> = found
        .groups
        .iter()
        .flat_map(|group| group.runs.iter().map(move |(run, newest_ms)| (group.at, run, *newest_ms)))
        .filter(|(_, run, _)| run.shard == shard)
        .map(|(at, run, newest_ms)| RunRef::of(run, at, newest_ms))
        .collect();
    runs.sort_by_key(|run| run.first);
    runs
}
