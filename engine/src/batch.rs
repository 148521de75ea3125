//! Records on their way into shards, and the future that says they are durable.
//!
//! In: records with partition keys. Out: an [`AppendSet`] for the log, then a [`Commit`] with the place of each record.
//! Invariant: records of one shard keep the order they were put in. Not here: waiting rooms and retries (callers).

use crate::books::Origin;
use crate::definition::StreamState;
use crate::hash::HashKey;
use crate::names::{NameError, PartitionKey, ShardId, StreamName, StreamNumber};
use crate::sequence::SequenceNumber;
use crate::shards::Shard;
use crate::storage::{Ack, AppendSet, CommitError, Pending, ShardKey};
use crate::stream::{Registry, StreamHandle};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// A builder of one append: records for any number of streams, and marks, durable together. Reusable after [`EngineBatch::clear`].
#[derive(Debug, Default)]
pub struct EngineBatch {
    set: AppendSet,
    /// Generation of each shard of `set.shards()`.
    generations: Vec<u32>,
    /// Records that do not go by their partition key: (place among the records, the hash key they go by), in order.
    explicit: Vec<(usize, HashKey)>,
    origin: Origin,
}

impl EngineBatch {
    /// Says who puts the records, for [`Engine::received`](crate::Engine::received); the host unless told.
    pub fn set_origin(&mut self, origin: Origin) {
        self.origin = origin;
    }

    pub(crate) fn origin(&self) -> Origin {
        self.origin
    }

    /// Makes room for this many records and bytes of keys and data.
    pub fn reserve(&mut self, records: usize, bytes: usize) {
        self.set.reserve(records, bytes);
    }

    /// Adds a record to the shard that takes its key, after those already there.
    ///
    /// # Errors
    /// [`PutError`] when the key or the size is not allowed or the stream cannot be written; the batch is as before then.
    pub fn put(
        &mut self,
        stream: &StreamHandle,
        partition_key: &str,
        explicit_hash: Option<HashKey>,
        data: &[u8],
    ) -> Result<(), PutError> {
        let key = PartitionKey::parse(partition_key)?;
        let state = stream.state();
        if !state.definition.status.is_usable() {
            return Err(PutError::Unusable(stream.name().clone()));
        }
        let (found, limit) = (partition_key.len() + data.len(), state.definition.record_bytes_max());
        if found > limit {
            return Err(PutError::TooLarge { found, limit });
        }
        self.put_in(&state, Some(key), explicit_hash, |bytes| {
            bytes.extend_from_slice(data);
            Some(())
        });
        Ok(())
    }

    /// Adds a record whose data `write` appends to a buffer; nothing is added when it gives `None`. The caller has
    /// checked the stream and checks the size, and that a record without a key goes to a stream that needs none.
    pub(crate) fn put_in<T>(
        &mut self,
        state: &StreamState,
        key: Option<PartitionKey<'_>>,
        explicit_hash: Option<HashKey>,
        write: impl FnOnce(&mut Vec<u8>) -> Option<T>,
    ) -> Option<T> {
        let key = key.map_or("", PartitionKey::as_str);
        self.push(state, key.as_bytes(), explicit_hash, write)
    }

    fn push<T>(
        &mut self,
        state: &StreamState,
        key: &[u8],
        explicit_hash: Option<HashKey>,
        write: impl FnOnce(&mut Vec<u8>) -> Option<T>,
    ) -> Option<T> {
        // An engine that distributes records itself looks at neither key.
        let explicit_hash = state.spread().or(explicit_hash);
        let hash = explicit_hash.unwrap_or_else(|| HashKey::of(key));
        let shard: &Shard = state.shards.route(hash);
        let shard_key = ShardKey { stream: state.number(), shard: shard.id };
        let written = self.set.record_with(shard_key, key, write)?;
        if let Some(hash) = explicit_hash {
            self.explicit.push((self.set.len() - 1, hash));
        }
        if self.set.shards().len() > self.generations.len() {
            self.generations.push(shard.generation);
        }
        Some(written)
    }

    /// Sets metadata `key` to `value` in the same flush as the records. Keys beginning with `s/` are the engine's own.
    pub fn mark(&mut self, key: &[u8], value: &[u8]) {
        debug_assert!(!key.starts_with(b"s/"), "metadata under s/ belongs to the engine");
        self.set.mark(key, value);
    }

    /// Removes metadata `key` in the same flush as the records.
    pub fn unmark(&mut self, key: &[u8]) {
        debug_assert!(!key.starts_with(b"s/"), "metadata under s/ belongs to the engine");
        self.set.unmark(key);
    }

    /// Forgets everything put, keeps the memory and the origin.
    pub fn clear(&mut self) {
        self.set.clear();
        self.generations.clear();
        self.explicit.clear();
    }

    /// The same records and marks, routed by the shards there are now; records of one key keep their order.
    ///
    /// # Errors
    /// The shard of a record whose stream is gone.
    pub(crate) fn rerouted(&self, streams: &Registry) -> Result<EngineBatch, ShardKey> {
        let mut again = EngineBatch { origin: self.origin, ..EngineBatch::default() };
        again.reserve(self.set.len(), self.set.bytes());
        let mut states: BTreeMap<StreamNumber, Arc<StreamState>> = BTreeMap::new();
        for &(shard, _) in self.set.shards() {
            let stream = streams.numbered(shard.stream).ok_or(shard)?;
            states.insert(shard.stream, stream.state());
        }
        let mut explicit = self.explicit.iter().peekable();
        for (place, record) in self.set.records().enumerate() {
            let (shard, _) = self.set.shards()[record.shard as usize];
            let state = states.get(&shard.stream).ok_or(shard)?;
            let own = explicit.next_if(|(at, _)| *at == place).map(|&(_, hash)| hash);
            again.push(state, record.key, own, |bytes| {
                bytes.extend_from_slice(record.data);
                Some(())
            });
        }
        self.set.marks().for_each(|(key, value)| again.set.mark(key, value));
        Ok(again)
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether there is neither a record nor a mark.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Bytes of keys, data and marks held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.set.bytes()
    }

    /// The streams it has records for.
    pub(crate) fn streams(&self) -> BTreeSet<StreamNumber> {
        self.set.shards().iter().map(|(shard, _)| shard.stream).collect()
    }

    pub(crate) fn set(&self) -> &AppendSet {
        &self.set
    }

    pub(crate) fn commit(&self, pending: Pending) -> Commit {
        let shards = self.set.shards().iter().zip(&self.generations);
        Commit {
            state: CommitState::Waiting(pending),
            shards: shards.map(|(&(key, _), &generation)| (key, generation)).collect(),
            records: self.set.records().map(|record| record.shard).collect(),
            acks: Vec::new(),
        }
    }
}

/// A record cannot be put.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PutError {
    /// The partition key is not allowed.
    #[error(transparent)]
    Key(#[from] NameError),
    /// Key and data together are too large.
    #[error("record of {found} bytes with its key is larger than the {limit} bytes its stream allows")]
    TooLarge {
        /// Bytes of key and data.
        found: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The stream is being created or deleted.
    #[error("stream {0} is not active")]
    Unusable(StreamName),
}

/// Resolves when everything of one append is durable. Dropping it does not take the append back.
pub struct Commit {
    state: CommitState,
    shards: Vec<(ShardKey, u32)>,
    records: Vec<u32>,
    acks: Vec<Ack>,
}

enum CommitState {
    Waiting(Pending),
    Done(Result<(), CommitError>),
}

impl Commit {
    /// A commit without records.
    pub(crate) fn barrier(pending: Pending) -> Self {
        Commit {
            state: CommitState::Waiting(pending),
            shards: Vec::new(),
            records: Vec::new(),
            acks: Vec::new(),
        }
    }

    /// Where each record went, in the order they were put. Empty until the commit has resolved.
    pub fn placed(&self) -> impl Iterator<Item = (ShardId, SequenceNumber)> + '_ {
        let records = if self.acks.is_empty() { &[][..] } else { &self.records[..] };
        let mut taken = vec![0_u32; self.shards.len()];
        records.iter().map(move |&place| {
            let place = place as usize;
            let number = self.number(place, taken[place]);
            taken[place] += 1;
            (number.shard, number)
        })
    }

    /// For each record the index of its shard in [`Commit::firsts`].
    pub(crate) fn shard_of_records(&self) -> &[u32] {
        &self.records
    }

    /// Per shard the number of its first record, once resolved.
    pub(crate) fn firsts(&self) -> Vec<SequenceNumber> {
        (0..self.acks.len()).map(|place| self.number(place, 0)).collect()
    }

    fn number(&self, place: usize, further: u32) -> SequenceNumber {
        let (key, generation) = self.shards[place];
        let position = self.acks[place].first.plus(further);
        SequenceNumber { generation, position, stream: key.stream, shard: key.shard }
    }
}

impl std::fmt::Debug for Commit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Commit").field("records", &self.records.len()).field("acks", &self.acks).finish()
    }
}

impl Future for Commit {
    type Output = Result<(), CommitError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let pending = match &mut self.state {
            CommitState::Waiting(pending) => pending,
            CommitState::Done(outcome) => return Poll::Ready(outcome.clone()),
        };
        let outcome = std::task::ready!(pending.as_mut().poll(cx)).map(|acks| {
            debug_assert_eq!(acks.len(), self.shards.len());
            self.acks = acks;
        });
        self.state = CommitState::Done(outcome.clone());
        Poll::Ready(outcome)
    }
}
