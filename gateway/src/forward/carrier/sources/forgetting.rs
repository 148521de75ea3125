//! Shards that are no more: their cursors go, their counts stay.

use super::super::Tools;
use super::Sources;
use crate::forward::cursor;
use headwater_engine::{ShardId, StreamHandle, StreamState};
use headwater_relay::{Forwarding, Progress, SourceId};

/// The counts of shards that were forgotten are kept under this, beside the cursors.
pub(super) const PAST: &str = "past";

impl Sources {
    /// Forgets shards that the stream has forgotten, once they are done.
    pub(super) fn forget(
        &mut self,
        tools: &Tools,
        stream: &StreamHandle,
        state: &StreamState,
        forwarding: &mut Forwarding,
    ) {
        let gone: Vec<ShardId> =
            self.known.keys().copied().filter(|shard| state.shards.get(*shard).is_none()).collect();
        let mut batch = tools.engine.batch();
        for shard in gone {
            let source = SourceId(shard.0);
            let Some((ledger, _)) = forwarding.ledger(source) else { continue };
            let is_noted = ledger.dropped == self.losses.noted(source) && !self.storing.contains_key(&source);
            if !is_noted || forwarding.handle_source_forgotten(source).is_err() {
                continue;
            }
            self.losses.forget(source);
            self.past = self.past.plus(&ledger);
            self.known.remove(&shard);
            self.stored.remove(&shard);
            self.leaving.insert(shard);
            if tools.settings.required {
                tools.holds.release(&tools.settings.name, stream, shard);
            }
        }
        for shard in &self.leaving {
            batch.unmark(&cursor::key_of(&tools.settings.name, stream.number(), *shard));
        }
        if !self.leaving.is_empty() {
            let past = Progress { ledger: self.past, ..Progress::default() };
            let key = format!("{}{PAST}", cursor::prefix_of(&tools.settings.name, stream.number()));
            batch.mark(key.as_bytes(), &cursor::encode(&past, &past.ledger.dropped));
            // One batch: a crash counts a shard here or there. When it is not taken, the next change of shards brings it again.
            match tools.engine.append(&batch) {
                Ok(_) => self.leaving.clear(),
                Err(error) => tracing::debug!(%error, "cursors of forgotten shards stay"),
            }
        }
    }

    /// The stream is gone, and its numbers are never used again.
    pub(in super::super) fn forget_all(&self, tools: &Tools, stream: &StreamHandle) {
        let prefix = cursor::prefix_of(&tools.settings.name, stream.number());
        let mut batch = tools.engine.batch();
        for (key, _) in tools.engine.meta_list(prefix.as_bytes()) {
            batch.unmark(&key);
        }
        if let Err(error) = tools.engine.append(&batch) {
            tracing::debug!(%error, "cursors of a stream that is gone stay");
        }
    }
}
