//! One segment: its file, its groups, and where its run tables are.
//!
//! In: what the header or trailer said, runs as they become durable. Out: the pieces that its footer will list.
//! Invariant: `pieces` and `live_bytes` are what shards have here; at zero nobody wants the segment.
//! Not here: counting them (`index`), letting it go (`upkeep`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::ShardKey;
use crate::format::footer::{PieceEntry, RunRef, TableRef};

/// A segment that is in the directory.
pub(in crate::core) struct Segment<F> {
    pub(in crate::core) file: Arc<F>,
    pub(in crate::core) file_bytes: u64,
    pub(in crate::core) salt: u64,
    pub(in crate::core) first_group: u64,
    pub(in crate::core) last_group: u64,
    pub(in crate::core) last_crc: u32,
    pub(in crate::core) data_end: u32,
    pub(in crate::core) tables: Tables,
    /// Pieces that point here, and their bytes.
    pub(in crate::core) pieces: u32,
    pub(in crate::core) live_bytes: u64,
    /// Has damage: kept for a person to look at even when nothing of it is wanted by a reader.
    pub(in crate::core) damaged: bool,
    /// Epoch in which the last piece went.
    pub(in crate::core) released: u64,
    /// Kept time at its opening, when its header tells: whatever is in segments before it was there by then.
    pub(in crate::core) opened_ms: Option<u64>,
}

/// Where a segment's run tables are.
pub(in crate::core) enum Tables {
    /// In memory, by slot; each in order of sequences.
    Memory(BTreeMap<u32, Vec<RunRef>>),
    /// In the footer, which begins here; the run table follows after this many pieces.
    Footer { at: u32, pieces: u32 },
}

impl<F> Segment<F> {
    /// The pieces of a table in memory, split where sequences are not consecutive, with `table` filled in.
    pub(in crate::core) fn pieces_of(slot_key: ShardKey, runs: &[RunRef], start: u32) -> Vec<PieceEntry> {
        let mut pieces: Vec<PieceEntry> = Vec::new();
        for (at, run) in (start..).zip(runs) {
            match pieces.last_mut() {
                Some(piece) if piece.last + 1 == run.first => {
                    piece.last = run.last();
                    piece.newest_ms = piece.newest_ms.max(run.newest_ms());
                    piece.table.runs += 1;
                    piece.bytes = piece.bytes.saturating_add(run.stored);
                }
                _ => pieces.push(PieceEntry {
                    shard: slot_key,
                    first: run.first,
                    last: run.last(),
                    oldest_ms: run.base_ms,
                    newest_ms: run.newest_ms(),
                    table: TableRef { start: at, runs: 1, crc: 0 },
                    bytes: run.stored,
                }),
            }
        }
        pieces
    }
}
