//! How far the records of a shard must stay, for all sinks together.
//!
//! In: how far each required sink is done. Out: holds on the engine's shards, at the least of them. Invariant: a hold is never ahead of
//! the stored checkpoint of a required sink.

use headwater_engine::storage::Position;
use headwater_engine::{Engine, ShardId, StreamHandle, StreamNumber};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// For each shard, from where each sink needs it.
type Needed = BTreeMap<(StreamNumber, ShardId), BTreeMap<String, u64>>;

/// Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Holds {
    engine: Engine,
    state: Arc<Mutex<Needed>>,
}

impl Holds {
    pub(super) fn new(engine: Engine) -> Self {
        Self { engine, state: Arc::default() }
    }

    /// `sink` will say how far it is, and needs nothing of the shard before `from`: until it does, no other sink moves the hold further.
    pub(super) fn expect(&self, sink: &str, stream: &StreamHandle, shard: ShardId, from: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.entry((stream.number(), shard)).or_default().insert(sink.to_owned(), from);
    }

    /// `sink` needs nothing of the shard before `from`.
    pub(super) fn hold(&self, sink: &str, stream: &StreamHandle, shard: ShardId, from: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let sinks = state.entry((stream.number(), shard)).or_default();
        sinks.insert(sink.to_owned(), from);
        let least = sinks.values().min().copied().unwrap_or(from);
        self.engine.hold(stream, shard, Position { position: least, index: 0 });
    }

    /// `sink` needs nothing any more of the streams that it does not keep.
    pub(super) fn keep_only(&self, sink: &str, keeps: impl Fn(&StreamHandle) -> bool) {
        let streams = self.engine.streams();
        let held: Vec<(StreamNumber, ShardId)> = {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.iter().filter(|(_, sinks)| sinks.contains_key(sink)).map(|(place, _)| *place).collect()
        };
        for (number, shard) in held {
            if let Some(stream) = streams.iter().find(|stream| stream.number() == number && !keeps(stream)) {
                self.release(sink, stream, shard);
            }
        }
    }

    /// `sink` needs nothing of the shard any more.
    pub(super) fn release(&self, sink: &str, stream: &StreamHandle, shard: ShardId) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let sinks = state.entry((stream.number(), shard)).or_default();
        sinks.remove(sink);
        match sinks.values().min().copied() {
            Some(least) => self.engine.hold(stream, shard, Position { position: least, index: 0 }),
            None => {
                state.remove(&(stream.number(), shard));
                self.engine.release(stream, shard);
            }
        }
    }
}
