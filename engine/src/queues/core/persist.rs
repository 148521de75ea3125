//! What of the core has to be stored, and undoing a step that could not be.

use super::page::{PAGE_POSITIONS, read_header, read_page, write_header, write_page};
use super::{Entry, QueueCore, ShardCore, StoredKey, Undo};
use crate::limits;
use crate::names::ShardId;
use crate::storage::Position;
use std::collections::BTreeSet;
use std::mem;

/// A stored value that changes: set, or removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) key: StoredKey,
    pub(crate) value: Option<Vec<u8>>,
}

/// What differs from what is stored.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    /// Changed by the step that is being made: stored together.
    step: BTreeSet<StoredKey>,
    /// Changed by what follows from time and stream alone: stored along with later steps, a few at a time.
    lazy: BTreeSet<StoredKey>,
}

impl Dirty {
    pub(super) fn header(&mut self, shard: ShardId) {
        self.step.insert(StoredKey::Header(shard));
    }

    pub(super) fn page(&mut self, shard: ShardId, position: Position) {
        self.step.insert(StoredKey::page_of(shard, position));
    }

    pub(super) fn lazy_page(&mut self, shard: ShardId, position: Position) {
        self.lazy.insert(StoredKey::page_of(shard, position));
    }
}

impl QueueCore {
    /// What to store so that the step made since the last [`QueueCore::commit`] is durable, all in one go, and some of
    /// what need not be stored soon.
    pub(crate) fn persist(&self) -> Vec<Stored> {
        let lazy = self.dirty.lazy.iter().filter(|key| !self.dirty.step.contains(key));
        let keys = self.dirty.step.iter().chain(lazy.take(limits::QUEUE_LAZY_PAGES));
        keys.map(|&key| Stored { key, value: self.value(key) }).collect()
    }

    /// Whether something is left that need not be stored soon.
    pub(crate) fn has_lazy(&self) -> bool {
        !self.dirty.lazy.is_empty()
    }

    /// What [`QueueCore::persist`] gave is staged: the step stands.
    pub(crate) fn commit(&mut self) {
        self.undo.clear();
        let step = mem::take(&mut self.dirty.step);
        self.dirty.lazy.retain(|key| !step.contains(key));
        for _ in 0..limits::QUEUE_LAZY_PAGES {
            self.dirty.lazy.pop_first();
        }
    }

    /// What [`QueueCore::persist`] gave was refused: everything is as before the step.
    pub(crate) fn rollback(&mut self) {
        while let Some(undo) = self.undo.pop() {
            match undo {
                Undo::Entry(shard, position, before) => {
                    self.put_entry(shard, position, before);
                }
                Undo::Fresh { shard, fresh, frontier, expired } => {
                    self.tally.expired = self.tally.expired.saturating_sub(u64::from(expired));
                    if let Some(core) = self.shards.get_mut(&shard) {
                        core.untake_ready(fresh, frontier);
                    }
                }
            }
        }
        // Writing the same again is harmless; what was dirty by itself before must not be forgotten.
        let mut step = mem::take(&mut self.dirty.step);
        self.dirty.lazy.append(&mut step);
    }

    fn value(&self, key: StoredKey) -> Option<Vec<u8>> {
        match key {
            StoredKey::Header(shard) => Some(write_header(self.shards.get(&shard)?.frontier())),
            StoredKey::Page(shard, page) => {
                let first = page.saturating_mul(PAGE_POSITIONS);
                let last = first.saturating_add(PAGE_POSITIONS - 1);
                let first = Position { position: first, index: 0 };
                let last = Position { position: last, index: u16::MAX };
                write_page(self.shards.get(&shard)?.open().range(first..=last))
            }
        }
    }

    /// Takes a stored value back. `false`: it cannot be read.
    pub(crate) fn load(&mut self, key: StoredKey, value: &[u8]) -> bool {
        match key {
            StoredKey::Header(shard) => {
                let Some(frontier) = read_header(value) else { return false };
                self.shards.entry(shard).or_default().begin(frontier);
            }
            StoredKey::Page(shard, page) => {
                let Some(entries) = read_page(page, value) else { return false };
                self.shards.entry(shard).or_default();
                for (position, entry) in entries {
                    self.put_entry(shard, position, Some(entry));
                }
            }
        }
        true
    }

    /// Shows what is hidden for longer than until `latest_ms` then.
    pub(crate) fn show_by(&mut self, latest_ms: u64) {
        let late = |(&id, shard): (&ShardId, &ShardCore)| {
            let open = shard.open().iter().filter(|(_, entry)| entry.until_ms > latest_ms);
            open.map(|(&position, &entry)| (id, position, entry)).collect::<Vec<_>>()
        };
        let late: Vec<_> = self.shards.iter().flat_map(late).collect();
        for (id, position, entry) in late {
            self.put_entry(id, position, Some(Entry { until_ms: latest_ms, ..entry }));
        }
    }
}
