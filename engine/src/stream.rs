//! Handles of streams and the registry that finds them by name.
//!
//! In: definitions from the metadata store. Out: cheap handles. Invariant: a handle always shows the newest state that is
//! durable. Not here: changing streams (control).

use crate::changes::{Changing, Following};
use crate::definition::{DEFINITIONS, Definition, Layout, StreamState, StreamStatus};
use crate::layout::LayoutId;
use crate::names::{StreamArn, StreamName, StreamNumber};
use crate::shards::ShardMap;
use crate::storage::MetaStore;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

/// A stream that exists. Cheap to clone and to keep: after the stream was deleted, puts through it are refused.
#[derive(Clone)]
pub struct StreamHandle(Arc<Stream>);

struct Stream {
    name: StreamName,
    number: StreamNumber,
    arn: Box<str>,
    state: Changing,
}

impl StreamHandle {
    pub(crate) fn new(name: StreamName, state: StreamState, region: &str, account: &str) -> Self {
        let arn = StreamArn::new(region, account, name.clone()).to_string().into();
        StreamHandle(Arc::new(Stream { name, number: state.number(), arn, state: Changing::new(state) }))
    }

    /// The stream's name.
    #[must_use]
    pub fn name(&self) -> &StreamName {
        &self.0.name
    }

    /// The engine's number of the stream.
    #[must_use]
    pub fn number(&self) -> StreamNumber {
        self.0.number
    }

    /// The stream's ARN.
    #[must_use]
    pub fn arn(&self) -> &str {
        &self.0.arn
    }

    /// The stream as it is now.
    #[must_use]
    pub fn state(&self) -> Arc<StreamState> {
        self.0.state.newest()
    }

    /// Tells of every change from now on: of status, settings and shards. After the stream is gone its last state is
    /// `DELETING`. Those who wait are told in the order in which they began to. For readers that wait, as a shard that ends gives them no record.
    #[must_use]
    pub fn changes(&self) -> Following {
        self.0.state.follow()
    }

    pub(crate) fn set_state(&self, state: StreamState) {
        self.0.state.set(state);
    }
}

impl fmt::Debug for StreamHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("StreamHandle").field(&self.0.name).finish()
    }
}

impl PartialEq for StreamHandle {
    fn eq(&self, other: &Self) -> bool {
        self.0.number == other.0.number
    }
}

impl Eq for StreamHandle {}

/// All streams by name.
#[derive(Default)]
pub(crate) struct Registry(RwLock<BTreeMap<StreamName, StreamHandle>>);

impl Registry {
    /// Reads every stored definition. One that cannot be read is left alone and named in the log: a damaged value must
    /// not keep the other streams from starting.
    pub(crate) fn load(meta: &dyn MetaStore, region: &str, account: &str) -> Self {
        let mut streams = BTreeMap::new();
        for (key, stored) in meta.list(DEFINITIONS) {
            let name = std::str::from_utf8(&key[DEFINITIONS.len()..])
                .ok()
                .and_then(|name| StreamName::parse(name).ok());
            let definition = serde_json::from_slice::<Definition>(&stored.value);
            let (Some(name), Ok(definition)) = (name, definition) else {
                tracing::error!(key = %key.escape_ascii(), "stream definition cannot be read");
                continue;
            };
            let shards = match read_shards(meta, &definition) {
                Ok(shards) => Arc::new(shards),
                // Its layout goes before its definition does.
                Err(_) if definition.status == StreamStatus::Deleting => Arc::new(ShardMap::even(1, 0)),
                Err(reason) => {
                    tracing::error!(stream = %name, reason, "shards of a stream cannot be read");
                    continue;
                }
            };
            let state = StreamState::new(definition, stored.version, shards);
            streams.insert(name.clone(), StreamHandle::new(name, state, region, account));
        }
        Registry(RwLock::new(streams))
    }

    pub(crate) fn get(&self, name: &StreamName) -> Option<StreamHandle> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// The stream of this number. Looks at all of them.
    pub(crate) fn numbered(&self, number: StreamNumber) -> Option<StreamHandle> {
        let streams = self.0.read().unwrap_or_else(PoisonError::into_inner);
        streams.values().find(|stream| stream.number() == number).cloned()
    }

    /// Whether there is a stream of this number that takes records, now or after a change that is under way.
    pub(crate) fn takes(&self, number: StreamNumber) -> bool {
        self.numbered(number).is_some_and(|stream| stream.state().definition.status.is_usable())
    }

    /// All streams in order of their names.
    pub(crate) fn list(&self) -> Vec<StreamHandle> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn insert(&self, stream: StreamHandle) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(stream.name().clone(), stream);
    }

    pub(crate) fn remove(&self, name: &StreamName) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Open shards of all streams together.
    pub(crate) fn open_shards(&self) -> usize {
        self.list().iter().map(|stream| stream.state().shards.open_count()).sum()
    }
}

fn read_shards(meta: &dyn MetaStore, definition: &Definition) -> Result<ShardMap, String> {
    match definition.layout {
        Layout::Even { shards } => Ok(ShardMap::even(shards, definition.created_ms)),
        Layout::Stored { version, chunks } => {
            LayoutId { stream: StreamNumber(definition.number), version }.read(meta, chunks)
        }
    }
}
