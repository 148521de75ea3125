//! What the index knows of each shard, for people: counts and sizes without reading a record.
//!
//! In: the index. Out: a line per shard, and how many records lie in a range.
//! Not here: the records (`read`), whether the device still has them (`verify`).

use crate::ShardKey;
use crate::core::Core;
use crate::page::LostRange;
use crate::storage::Storage;
use crate::types::Bounds;

/// What is kept of one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holdings {
    /// The shard.
    pub shard: ShardKey,
    /// What of it can be read.
    pub bounds: Bounds,
    /// Records that can be read.
    pub records: u64,
    /// Bytes they take in the files: keys, data and framing, compressed and sealed as they are. An estimate where a part of a piece was
    /// let go.
    pub bytes: u64,
    /// Where a required reader was when the journal was opened, if there is one: neither retention nor trim passes it.
    pub hold: Option<u64>,
    /// Ranges that are lost and that readers can still meet.
    pub lost: Vec<LostRange>,
}

impl<S: Storage> Core<S> {
    /// What is kept of every shard that has or had records, or that is held, in order; without the journal's own.
    pub fn holdings(&self) -> Vec<Holdings> {
        let index = self.index();
        let mut all = Vec::new();
        for (shard, slot) in index.keys() {
            let state = index.at(slot);
            if shard == ShardKey::META || !(state.has_records() || state.hold.is_some()) {
                continue;
            }
            all.push(Holdings {
                shard,
                bounds: state.bounds(),
                records: state.pieces.iter().map(|(&first, piece)| piece.last - first + 1).sum(),
                bytes: state.pieces.values().map(|piece| piece.bytes).sum(),
                hold: state.hold,
                lost: state.lost.clone(),
            });
        }
        all
    }

    /// Readable records of `shard` from sequence `from` to before `to`.
    pub fn count(&self, shard: ShardKey, from: u64, to: u64) -> u64 {
        let index = self.index();
        let Some(state) = index.shard(shard) else { return 0 };
        let (mut count, from) = (0, from.max(state.floor));
        for (&first, piece) in &state.pieces {
            count += (piece.last + 1).min(to).saturating_sub(first.max(from));
        }
        count
    }
}
