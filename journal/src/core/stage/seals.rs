//! What every stream is sealed with, as staged.
//!
//! In: seals as they are set, keys as they become known or are forgotten. Out: the seal of a run.
//! Invariant: one group holds a stream sealed in one way, because a change closes the group; a stream without a seal is plain, one with
//! a seal and no key is refused.
//! Not here: ciphers (`keys`), who knows which key (`core::keys`).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::keys::StreamKey;
use crate::set::AppendSet;

/// What a stream is sealed with.
#[derive(Clone)]
pub(in crate::core) struct Seal {
    pub(in crate::core) key_id: u16,
    /// None while the key is not known.
    pub(in crate::core) key: Option<Arc<StreamKey>>,
}

#[derive(Default)]
pub(in crate::core) struct Seals {
    streams: BTreeMap<u32, Seal>,
    /// A seal changed since the last group was begun.
    changed: bool,
}

impl Seals {
    pub(in crate::core) fn seal_with(&mut self, stream: u32, seal: Option<(u16, Option<Arc<StreamKey>>)>) {
        self.changed = true;
        match seal {
            Some((key_id, key)) => self.streams.insert(stream, Seal { key_id, key }),
            None => self.streams.remove(&stream),
        };
    }

    pub(in crate::core) fn key_known(&mut self, stream: u32, key_id: u16, key: &Arc<StreamKey>) {
        if let Some(seal) = self.streams.get_mut(&stream).filter(|seal| seal.key_id == key_id) {
            self.changed = true;
            seal.key = Some(Arc::clone(key));
        }
    }

    pub(in crate::core) fn forget(&mut self, stream: u32) {
        if let Some(seal) = self.streams.get_mut(&stream) {
            self.changed = true;
            seal.key = None;
        }
    }

    /// Ends the seal of a stream whose number is never used again.
    pub(in crate::core) fn drop_stream(&mut self, stream: u32) {
        self.changed |= self.streams.remove(&stream).is_some();
    }

    pub(in crate::core) fn of(&self, stream: u32) -> Option<&Seal> {
        // Most journals seal nothing: no search then.
        if self.streams.is_empty() { None } else { self.streams.get(&stream) }
    }

    /// How many runs of `set` will be sealed at most.
    pub(super) fn sealed_runs(&self, set: &AppendSet) -> usize {
        if self.streams.is_empty() {
            return 0;
        }
        set.chunks.iter().filter(|chunk| self.streams.contains_key(&chunk.shard.stream)).count()
    }

    /// Whether the group being filled must be closed before more is staged.
    pub(super) fn has_changed(&self) -> bool {
        self.changed
    }

    pub(super) fn group_begun(&mut self) {
        self.changed = false;
    }
}
