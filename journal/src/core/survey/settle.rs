//! What only the snapshot knows, added to what the segments say.
//!
//! In: the snapshot, damage of which nobody knows what it held. Out: floors, and the next sequence of every shard.
//! Invariant: no sequence that may have been given is given again, so a possible loss shows as a hole.
//! Not here: naming the holes (`recover`).

use super::Survey;
use crate::ShardKey;
use crate::core::scan::Damage;
use crate::format::body::LZ4_RATIO_MAX;
use crate::format::snapshot::Snapshot;
use crate::storage::StorageFile;
use crate::types::FIRST_SEQUENCE;

/// Fewest bytes a record takes: three varints. Bounds how many records unknown bytes can have held.
const RECORD_BYTES_MIN: u64 = 3;

impl<F: StorageFile> Survey<F> {
    /// Adds what only the snapshot knows: floors, and how far shards came whose segments are gone or damaged.
    pub(in crate::core) fn snapshot(&mut self, snapshot: &Snapshot, blind: bool) {
        for state in &snapshot.shards {
            let slot = self.staged.slot(state.shard);
            let shard = self.index.shard_mut(slot, state.shard);
            shard.end = shard.end.max(state.next);
            shard.newest_ms = shard.newest_ms.max(state.newest_ms);
        }
        for damage in std::mem::take(&mut self.unknown) {
            // Up to its group the snapshot knows every shard's next sequence, and the loss shows as a hole.
            if damage.last_group > snapshot.group {
                self.skip(&damage);
            }
        }
        for (key, slot) in self.index.keys() {
            let state = snapshot.shards.iter().find(|state| state.shard == key);
            let floor = match state {
                // What the snapshot holds of stream 0 need not be read again.
                Some(state) if key == ShardKey::META => state.next,
                Some(state) => state.floor,
                // Without a snapshot nobody knows what was let go on purpose.
                None if blind => {
                    self.index.at(slot).pieces.first_key_value().map_or(FIRST_SEQUENCE, |(&first, _)| first)
                }
                None => FIRST_SEQUENCE,
            };
            self.index.raise_floor(slot, floor);
            let shard = self.index.at(slot);
            self.staged.restore(key, shard.end, shard.newest_ms);
        }
        self.next_number = snapshot.next_segment;
        self.staged.meta.load(snapshot.keys.clone());
        self.recovery.last_group = self.last.0.max(snapshot.group);
        self.staged.resume(self.recovery.last_group);
    }

    /// Moves the end of every shard that may have had records in `damage` past as many as can have been there, so that no sequence
    /// is given twice and the possible loss is named.
    fn skip(&mut self, damage: &Damage) {
        let ratio = if self.compressed { LZ4_RATIO_MAX as u64 } else { 1 };
        let records = (damage.unknown_bytes * ratio).div_ceil(RECORD_BYTES_MIN);
        for (key, slot) in self.index.keys() {
            if self.seen.get(&slot).is_none_or(|&group| group <= damage.last_group) {
                self.index.shard_mut(slot, key).end += records;
            }
        }
    }
}
