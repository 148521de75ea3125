//! How long records are kept: ages, trims, holds, and streams that are dropped.
//!
//! In: what users of the journal ask for, and how long things were kept (`kept`). Out: floors that rise, and the journal's own metadata about them.
//! Invariants: no floor passes a hold; a floor rises at most to where whole pieces are too old or somebody said so.
//! Not here: what becomes of segments nobody wants any more (`upkeep`).

use std::sync::atomic::Ordering;

use crate::ShardKey;
use crate::core::index::Piece;
use crate::core::meta::own;
use crate::core::{Core, lock};
use crate::set::AppendSet;
use crate::storage::Storage;

impl<S: Storage> Core<S> {
    /// Keeps records of `stream` for `max_age_ms` at least; without an age for ever. Kept in metadata, so it is durable with the
    /// next commit. Whole segments are let go, so records live somewhat longer.
    pub fn retain(&self, stream: u32, max_age_ms: Option<u64>) {
        let (key, now_ms) = (own::retention(stream), self.newest_ms.load(Ordering::Relaxed));
        let (present, dropped) = self.queue.look(|staged| {
            let present = staged.meta.get(&key).map(|meta| meta.value.clone());
            (present, staged.is_dropped(stream))
        });
        let wanted = max_age_ms.map(|age| age.to_le_bytes().to_vec());
        if dropped || present == wanted {
            return;
        }
        let mut set = AppendSet::new();
        match wanted {
            Some(age) => set.put(&key, &age, None),
            None => set.delete(&key, None),
        }
        self.append_own(&set, now_ms);
    }

    /// Nothing of `shard` before sequence `before` is needed any more: not readable from now on, unless a [`hold`](Self::hold) keeps
    /// it. Durable some time later, with the next snapshot; a crash may bring trimmed records back.
    pub fn trim(&self, shard: ShardKey, before: u64) {
        let mut index = self.index_mut();
        if let Some(slot) = index.slot_of(shard) {
            let state = index.shard_mut(slot, shard);
            state.trimmed = state.trimmed.max(before);
            let floor = state.trimmed.min(state.hold.unwrap_or(u64::MAX));
            if index.raise_floor(slot, floor) {
                self.upkeep_due.store(true, Ordering::Relaxed);
            }
        }
    }

    /// A required reader of `shard` has come to sequence `from`: neither retention nor trim passes it. One hold per shard; a later
    /// call moves it. Setting it or moving it back is kept in metadata; moving it on is only remembered until the journal is closed,
    /// so after a restart it is where it was first set until the reader says again. Nothing when the stream was dropped.
    pub fn hold(&self, shard: ShardKey, from: u64) {
        let now_ms = self.newest_ms.load(Ordering::Relaxed);
        // A slot would make a dropped stream known again.
        let slot = self.queue.look(|staged| (!staged.is_dropped(shard.stream)).then(|| staged.slot(shard)));
        let Some(slot) = slot else { return };
        let before = self.index_mut().shard_mut(slot, shard).hold.replace(from);
        if before.is_none_or(|before| from < before) {
            let mut set = AppendSet::new();
            set.put(&own::hold(shard), &from.to_le_bytes(), None);
            self.append_own(&set, now_ms);
        }
        self.trim(shard, 0);
    }

    /// Ends the hold on `shard`.
    pub fn release(&self, shard: ShardKey) {
        let mut index = self.index_mut();
        let held = index.slot_of(shard).and_then(|slot| index.shard_mut(slot, shard).hold.take());
        drop(index);
        if held.is_some() {
            let mut set = AppendSet::new();
            set.delete(&own::hold(shard), None);
            self.append_own(&set, self.newest_ms.load(Ordering::Relaxed));
            self.trim(shard, 0);
        }
    }

    /// Bytes that the records of `shard` from sequence `from` on take on the device, as they are stored. Counted by whole pieces; of the
    /// piece that holds `from` its part by number of records.
    pub fn bytes_from(&self, shard: ShardKey, from: u64) -> u64 {
        let index = self.index();
        let Some(state) = index.shard(shard) else { return 0 };
        let part = |(first, piece): (&u64, &Piece)| {
            let records = piece.last.saturating_sub(*first).saturating_add(1);
            let wanted = piece.last.saturating_add(1).saturating_sub(from.max(*first));
            let bytes = u128::from(piece.bytes) * u128::from(wanted) / u128::from(records.max(1));
            u64::try_from(bytes).unwrap_or(u64::MAX)
        };
        state.pieces.iter().map(part).sum()
    }

    /// Forgets all shards of `stream` and its [keys](Self::keys); its number is never used again. Durable with the next commit.
    pub fn drop_stream(&self, stream: u32) {
        let mut set = AppendSet::new();
        for key in self.queue.look(|staged| own::of_stream(&staged.meta, stream)) {
            set.delete(&key, None);
        }
        set.put(&own::dropped(stream), &[], None);
        self.append_own(&set, self.newest_ms.load(Ordering::Relaxed));
        let slots = self.queue.look(|staged| {
            self.ring.forget(stream);
            staged.seals.drop_stream(stream);
            staged.forget(stream)
        });
        let mut index = self.index_mut();
        for (shard, slot) in slots {
            // A shard whose first records are still staged is not known here yet, and must not come up with them.
            index.shard_mut(slot, shard);
        }
        index.drop_stream(stream);
        drop(index);
        self.upkeep_due.store(true, Ordering::Relaxed);
    }

    /// Raises floors past what is too old: by arrival times where these tell, and by how long ago segments were closed. Only segments
    /// that are full count, so that an idle journal stays as it is.
    pub(super) fn expire(&self) {
        let retentions = self.queue.look(|staged| own::retentions(&staged.meta));
        for (stream, age_ms) in retentions {
            let kept = lock(&self.kept).clone();
            let horizon_ms = kept.horizon_ms(age_ms);
            let mut index = self.index_mut();
            let open = index.open;
            for (key, slot) in index.keys().into_iter().filter(|(key, _)| key.stream == stream) {
                let state = index.at(slot);
                let is_old = |piece: &&Piece| {
                    let closed = |ms| kept.age_ms(piece.segment, ms) > age_ms;
                    Some(piece.segment) != open
                        && (piece.newest_ms < horizon_ms
                            || index.closed_ms(piece.segment).is_some_and(closed))
                };
                let Some(floor) = state.pieces.values().take_while(is_old).last().map(|piece| piece.last + 1)
                else {
                    continue;
                };
                let floor = floor.min(state.hold.unwrap_or(u64::MAX));
                if index.raise_floor(slot, floor) {
                    tracing::debug!(stream, shard = key.shard, floor, "records expired");
                }
            }
        }
    }
}
