//! Which keys are known, and what is made of them.
//!
//! In: keys per stream and id, as they are set and forgotten. Out: keys for runs of one segment.
//! Invariants: a forgotten stream's keys are gone once the groups staged before are written; a stream that is sealed and whose key is
//! not known is never written in the open: its appends are refused.
//! Not here: the ciphers (`keys`), which group is sealed with what (`stage`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::core::{Core, lock};
use crate::format::body::Origin;
use crate::keys::{Cipher, RunKey, StreamKey};
use crate::limits::RUN_KEYS_MAX;
use crate::storage::Storage;
use crate::types::META_STREAM;

/// The keys of a journal's streams: from [`Core::keys`]. None is stored; whoever opens the journal sets them again.
///
/// What stays readable of a sealed run without its key: stream, shard, sequences, times of its first and last record, sizes.
/// Stream 0, the metadata, is never sealed.
pub struct Keys<'a, S: Storage> {
    core: &'a Core<S>,
}

impl<S: Storage> Core<S> {
    /// The keys that runs are sealed and read with.
    pub fn keys(&self) -> Keys<'_, S> {
        Keys { core: self }
    }
}

impl<S: Storage> Keys<'_, S> {
    /// Makes key `key_id` of `stream` known: runs sealed with it can be read from now on. An id names one key for good; setting
    /// another under it makes what the first one sealed unreadable ([`KeyWrong`](crate::ReadError::KeyWrong)) until it is set back.
    pub fn set(&self, stream: u32, key_id: u16, key: StreamKey) {
        // Under the queue's lock, so that a seal set meanwhile does not miss the key.
        self.core.queue.look(|staged| {
            let key = self.core.ring.set(stream, key_id, key);
            staged.seals.key_known(stream, key_id, &key);
        });
    }

    /// What appends to `stream` are sealed with from the next one staged on: a key, or nothing (plain). Appends staged before keep
    /// what was in force. While the key named here is not [set](Self::set), appends to the stream are refused
    /// ([`NoKey`](crate::AppendError::NoKey)). Not kept: after an opening every stream is plain until this is called.
    pub fn seal_with(&self, stream: u32, key_id: Option<u16>) {
        if stream == META_STREAM {
            return;
        }
        self.core.queue.look(|staged| {
            let seal = key_id.map(|key_id| (key_id, self.core.ring.get(stream, key_id)));
            staged.seals.seal_with(stream, seal);
        });
    }

    /// What the next append to `stream` is sealed with.
    pub fn sealed_with(&self, stream: u32) -> Option<u16> {
        self.core.queue.look(|staged| staged.seals.of(stream).map(|seal| seal.key_id))
    }

    /// Forgets all keys of `stream`: they are wiped from memory as soon as the groups staged before are written. Its sealed runs
    /// cannot be read any more, and appends to it are refused when it is sealed. (Copies of a key that the cipher's library
    /// expanded for one segment are freed, not wiped.)
    pub fn forget(&self, stream: u32) {
        self.core.queue.look(|staged| {
            self.core.ring.forget(stream);
            staged.seals.forget(stream);
        });
    }
}

/// Keys by stream and id, and the keys made of them.
#[derive(Default)]
pub(super) struct KeyRing(Mutex<Ring>);

#[derive(Default)]
struct Ring {
    keys: BTreeMap<(u32, u16), Arc<StreamKey>>,
    made: BTreeMap<Made, Arc<RunKey>>,
}

/// Stream, key id, lane, segment salt, cipher.
type Made = (u32, u16, u128, u64, Cipher);

impl KeyRing {
    fn set(&self, stream: u32, key_id: u16, key: StreamKey) -> Arc<StreamKey> {
        let key = Arc::new(key);
        let mut ring = lock(&self.0);
        ring.keys.insert((stream, key_id), Arc::clone(&key));
        ring.made.retain(|made, _| (made.0, made.1) != (stream, key_id));
        key
    }

    fn get(&self, stream: u32, key_id: u16) -> Option<Arc<StreamKey>> {
        lock(&self.0).keys.get(&(stream, key_id)).cloned()
    }

    pub(super) fn forget(&self, stream: u32) {
        let mut ring = lock(&self.0);
        ring.keys.retain(|(of, _), _| *of != stream);
        ring.made.retain(|made, _| made.0 != stream);
    }

    /// The key for runs sealed at `origin`; `None` when the stream's key is not known.
    pub(super) fn to_open(
        &self,
        stream: u32,
        key_id: u16,
        origin: &Origin,
        cipher: Cipher,
    ) -> Option<Arc<RunKey>> {
        let made = (stream, key_id, origin.lane, origin.salt, cipher);
        let mut ring = lock(&self.0);
        if let Some(key) = ring.made.get(&made) {
            return Some(Arc::clone(key));
        }
        let key = Arc::new(ring.keys.get(&(stream, key_id))?.run_key(origin.lane, origin.salt, cipher));
        ring.keep(made, &key);
        Some(key)
    }

    /// The key to seal runs at `origin` with; `key` was known when they were staged.
    pub(super) fn to_seal(
        &self,
        (stream, key_id, key): (u32, u16, &Arc<StreamKey>),
        origin: &Origin,
        cipher: Cipher,
    ) -> Arc<RunKey> {
        let made = (stream, key_id, origin.lane, origin.salt, cipher);
        let mut ring = lock(&self.0);
        // What was forgotten or replaced since must not come back by this way.
        let known = ring.keys.get(&(stream, key_id)).is_some_and(|known| Arc::ptr_eq(known, key));
        if let Some(made) = ring.made.get(&made).filter(|_| known) {
            return Arc::clone(made);
        }
        let run_key = Arc::new(key.run_key(origin.lane, origin.salt, cipher));
        if known {
            ring.keep(made, &run_key);
        }
        run_key
    }
}

impl Ring {
    fn keep(&mut self, made: Made, key: &Arc<RunKey>) {
        // Making one costs a few microseconds: a plain limit will do.
        if self.made.len() >= RUN_KEYS_MAX {
            self.made.clear();
        }
        self.made.insert(made, Arc::clone(key));
    }
}
