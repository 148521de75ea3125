//! Footers: the run tables of a full segment, written behind its groups.
//!
//! In: a segment that is full and has no footer. Out: the same, with a footer on the device and without run tables in memory.
//! Invariant: a footer is derived. Where it is missing or damaged the segment is read whole, so nothing is lost by not writing one.
//! Not here: the layout (`format::footer`), when it is time (`upkeep`).

use std::sync::Arc;

use crate::blocks::{BLOCK_BYTES, Blocks};
use crate::bytes::crc32c;
use crate::core::Core;
use crate::core::index::{Segment, Tables};
use crate::core::upkeep::Upkeep;
use crate::error::Failed;
use crate::format::footer::{PIECE_BYTES, PieceEntry, RUN_BYTES, RunRef};
use crate::format::segment::{FileName, TRAILER_BYTES, Trailer};
use crate::format::{index, u32_of};
use crate::storage::{Storage, StorageFile};

impl<S: Storage> Core<S> {
    /// Writes the footer of one full segment.
    pub(super) fn seal_one(&self, upkeep: &mut Upkeep<S::File>) -> Result<bool, Failed> {
        let Some((number, file, file_bytes, trailer, mut pieces, runs)) = self.to_seal(upkeep) else {
            return Ok(false);
        };
        let mut table = Vec::with_capacity(runs.len() * RUN_BYTES);
        for piece in &mut pieces {
            let start = table.len();
            let (from, count) = (index(piece.table.start), index(piece.table.runs));
            runs[from..from + count].iter().for_each(|run| run.encode(&mut table));
            piece.table.crc = crc32c(&table[start..]);
        }
        let mut bytes = Vec::with_capacity(pieces.len() * PIECE_BYTES + table.len());
        pieces.iter().for_each(|piece| piece.encode(&mut bytes));
        let pieces_crc = crc32c(&bytes);
        bytes.extend_from_slice(&table);
        let room = index(TRAILER_BYTES) + bytes.len().next_multiple_of(BLOCK_BYTES);
        let at = usize::try_from(file_bytes).unwrap_or(0).checked_sub(room);
        let Some(at) = at.filter(|&at| at >= index(trailer.data_end)) else {
            tracing::warn!(segment = number, "no room for a footer");
            upkeep.unsealable.insert(number);
            return Ok(true);
        };
        let (footer_at, count) = (u32_of(at), u32_of(pieces.len()));
        let trailer = Trailer { footer_at, pieces: count, runs: u32_of(runs.len()), pieces_crc, ..trailer };
        let mut out = Blocks::from(&bytes[..]);
        out.pad();
        trailer.encode(&mut out);
        let written = file.write_at(&out, u64::from(footer_at)).and_then(|()| file.sync());
        written
            .map_err(|error| Failed::new(format!("{}: footer failed: {error}", FileName::Segment(number))))?;
        self.totals.bytes_written.add(out.len() as u64);
        self.totals.device_writes.add(1);
        self.totals.flushes.add(1);
        self.sealed(number, footer_at, &pieces);
        Ok(true)
    }

    #[expect(clippy::type_complexity, reason = "taken apart by its only caller")]
    fn to_seal(
        &self,
        upkeep: &Upkeep<S::File>,
    ) -> Option<(u64, Arc<S::File>, u64, Trailer, Vec<PieceEntry>, Vec<RunRef>)> {
        let index = self.index();
        let (&number, segment) = index.segments.iter().find(|(number, segment)| {
            let unsealed =
                matches!(segment.tables, Tables::Memory(_)) && !segment.damaged && segment.pieces > 0;
            unsealed && index.open != Some(**number) && !upkeep.unsealable.contains(*number)
        })?;
        let Tables::Memory(tables) = &segment.tables else { return None };
        let (mut pieces, mut all) = (Vec::new(), Vec::new());
        let mut slots: Vec<u32> = tables.keys().copied().filter(|&slot| !index.at(slot).dropped).collect();
        slots.sort_by_key(|&slot| index.at(slot).key);
        for slot in slots {
            let shard = index.at(slot);
            let start = u32_of(all.len());
            pieces.extend(Segment::<S::File>::pieces_of(shard.key, &tables[&slot], start));
            all.extend_from_slice(&tables[&slot]);
        }
        let trailer = Trailer {
            number,
            salt: segment.salt,
            first_group: segment.first_group,
            last_group: segment.last_group,
            last_crc: segment.last_crc,
            data_end: segment.data_end,
            footer_at: 0,
            pieces: 0,
            runs: 0,
            pieces_crc: 0,
        };
        Some((number, Arc::clone(&segment.file), segment.file_bytes, trailer, pieces, all))
    }

    /// Forgets the run tables of a segment that has a footer now.
    fn sealed(&self, number: u64, at: u32, entries: &[PieceEntry]) {
        let mut index = self.index_mut();
        for entry in entries {
            if let Some(slot) = index.slot_of(entry.shard) {
                let shard = index.shard_mut(slot, entry.shard);
                let start =
                    shard.piece_at(entry.first).map_or(entry.first, |(first, _)| first.min(entry.first));
                for piece in shard.pieces.range_mut(start..=entry.last).map(|(_, piece)| piece) {
                    if piece.segment == number {
                        piece.table = Some(entry.table);
                    }
                }
            }
        }
        if let Some(segment) = index.segments.get_mut(&number) {
            segment.tables = Tables::Footer { at, pieces: u32_of(entries.len()) };
        }
    }
}
