//! The copy of the state that a snapshot is written from.
//!
//! In: the wish for one. Out: metadata and the next sequence of every shard as they were between two groups.
//! Invariant: a copy holds all of the groups up to its own and nothing of the next, and is given away when that group is durable.
//! Not here: floors and the file (`upkeep`, `snapshot`).

use super::Staged;
use crate::format::index;
use crate::format::snapshot::{ShardState, Snapshot};

/// A copy of the state for the next snapshot.
#[derive(Default)]
pub(super) enum Cut {
    #[default]
    Idle,
    Wanted,
    Made(Snapshot),
}

impl Staged {
    /// Asks for a copy of the state at the next point between two groups; made at once when nothing waits.
    pub(in crate::core) fn want_cut(&mut self) {
        if matches!(self.cut, Cut::Idle) {
            self.cut = Cut::Wanted;
        }
        if self.waiting.is_empty() {
            self.make_cut(self.last_taken);
        }
    }

    /// The copy, once group `durable` covers it.
    pub(in crate::core) fn take_cut(&mut self, durable: u64) -> Option<Snapshot> {
        match std::mem::take(&mut self.cut) {
            Cut::Made(snapshot) if snapshot.group <= durable => Some(snapshot),
            other => {
                self.cut = other;
                None
            }
        }
    }

    pub(super) fn make_cut(&mut self, group: u64) {
        if matches!(self.cut, Cut::Wanted) {
            let state = |&slot: &u32| {
                let shard = &self.shards[index(slot)];
                ShardState { shard: shard.key, floor: 0, next: shard.next, newest_ms: shard.newest_ms }
            };
            let shards = self.slots.values().map(state).collect();
            self.cut = Cut::Made(Snapshot { group, shards, keys: self.meta.all(), ..Snapshot::default() });
        }
    }
}
