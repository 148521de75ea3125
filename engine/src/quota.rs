//! Streams that take no records for now, because somebody who must have them does not.
//!
//! In: who holds which stream back. Out: refusals as of a full disk, which every publisher knows how to wait out. Invariant: a stream is
//! open again when everybody who held it back let go. Not stored: whoever holds back says so again after a start.

use crate::batch::EngineBatch;
use crate::engine::Engine;
use crate::names::{ShardId, StreamNumber};
use crate::storage::{Position, ShardKey};
use crate::stream::StreamHandle;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock};

/// Who holds back what.
#[derive(Debug, Default)]
pub(crate) struct HeldBack {
    /// Nearly always false, so that appends need not look further.
    any: AtomicBool,
    streams: RwLock<BTreeMap<StreamNumber, BTreeSet<String>>>,
}

impl HeldBack {
    /// Whether a batch has records for a stream that takes none.
    pub(crate) fn refuses(&self, batch: &EngineBatch) -> bool {
        if !self.any.load(Ordering::Relaxed) {
            return false;
        }
        let streams = self.streams.read().unwrap_or_else(PoisonError::into_inner);
        batch.set().shards().iter().any(|(shard, _)| streams.contains_key(&shard.stream))
    }
}

impl Engine {
    /// While `is_held`, appends with records for the stream are refused as [`AppendError::Full`](crate::storage::AppendError::Full).
    /// Each `who` counts by itself.
    pub fn hold_back(&self, stream: &StreamHandle, who: &str, is_held: bool) {
        let held = &self.0.held_back;
        let mut streams = held.streams.write().unwrap_or_else(PoisonError::into_inner);
        let by = streams.entry(stream.number()).or_default();
        if is_held {
            by.insert(who.to_owned())
        } else {
            by.remove(who)
        };
        streams.retain(|_, by| !by.is_empty());
        held.any.store(!streams.is_empty(), Ordering::Relaxed);
    }

    /// Bytes on the device of a shard's records from `from` on, as they are stored; 0 where the storage does not say.
    #[must_use]
    pub fn bytes_from(&self, stream: &StreamHandle, shard: ShardId, from: Position) -> u64 {
        self.0.log.bytes_from(ShardKey { stream: stream.number(), shard }, from)
    }
}
