//! Who is registered: consumers in metadata and in memory.
//!
//! A consumer is JSON under `s/c/{stream number}/{name}`. CREATING, ACTIVE and DELETING are stretches of time, told from
//! the stored times and the clock, so nothing has to happen for a state to change. What is past its DELETING is gone for
//! every reader; its key goes a moment later, or with the next start. Not here: changes (change).

use super::ConsumerArn;
use crate::api::{ApiError, ErrorType};
use crate::clock::is_over;
use crate::engine::Engine;
use crate::names::{StreamArn, StreamNumber};
use crate::queues;
use crate::storage::MetaStore;
use crate::stream::StreamHandle;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A consumer as it is stored. Members are only ever added, with defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Consumer {
    /// Its name, unique in the stream.
    pub(crate) name: String,
    /// When it was registered, UTC ms since 1970, a whole second: it is part of the ARN.
    pub(crate) created_ms: u64,
    /// From when on it can be used, UTC ms since 1970.
    pub(crate) active_ms: u64,
    /// From when on it is gone, UTC ms since 1970; set when it was deregistered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gone_ms: Option<u64>,
    /// Its tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tags: BTreeMap<String, String>,
}

impl Consumer {
    /// The word of the API for its state.
    pub(crate) fn status(&self, now_ms: u64) -> &'static str {
        match self.gone_ms {
            Some(_) => "DELETING",
            None if !is_over(self.active_ms, now_ms) => "CREATING",
            None => "ACTIVE",
        }
    }

    /// Its ARN in `stream`.
    pub(crate) fn arn(&self, engine: &Engine, stream: &StreamHandle) -> ConsumerArn {
        ConsumerArn {
            stream: StreamArn::new(&engine.0.region, &engine.0.account, stream.name().clone()),
            name: self.name.clone(),
            created_s: self.created_ms / 1_000,
        }
    }

    pub(super) fn is_gone(&self, now_ms: u64) -> bool {
        self.gone_ms.is_some_and(|gone_ms| is_over(gone_ms, now_ms))
    }
}

pub(super) type Place = (StreamNumber, String);

/// A consumer with the version its stored form has.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) consumer: Arc<Consumer>,
    pub(super) version: u64,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<Place, Entry>,
    /// Consumers deregistered in the second they were registered in, or before the clock was set back: one of the same
    /// name must get another ARN. Kept for as long as that can happen.
    left_ms: BTreeMap<Place, u64>,
}

#[derive(Default)]
pub(super) struct Registry(Mutex<State>);

/// Prefix of all consumers.
const CONSUMERS: &str = "s/c/";

pub(super) fn key((stream, name): &Place) -> Vec<u8> {
    format!("{CONSUMERS}{}/{name}", stream.0).into_bytes()
}

fn place(key: &[u8]) -> Option<Place> {
    let (stream, name) = std::str::from_utf8(key).ok()?.strip_prefix(CONSUMERS)?.split_once('/')?;
    Some((StreamNumber(stream.parse().ok()?), name.to_owned()))
}

impl Registry {
    /// Reads every stored consumer. One that cannot be read is left alone and named in the log.
    pub(super) fn load(meta: &dyn MetaStore) -> Self {
        let mut state = State::default();
        for (key, stored) in meta.list(CONSUMERS.as_bytes()) {
            let consumer = serde_json::from_slice::<Consumer>(&stored.value);
            let (Some(place), Ok(consumer)) = (place(&key), consumer) else {
                tracing::error!(key = %key.escape_ascii(), "consumer cannot be read");
                continue;
            };
            state.entries.insert(place, Entry { consumer: Arc::new(consumer), version: stored.version });
        }
        Registry(Mutex::new(state))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, place: &Place) -> Option<Entry> {
        self.lock().entries.get(place).cloned()
    }

    /// Shows what has become durable.
    pub(super) fn set(&self, place: Place, consumer: Consumer, version: u64) -> Arc<Consumer> {
        let consumer = Arc::new(consumer);
        self.lock().entries.insert(place, Entry { consumer: Arc::clone(&consumer), version });
        consumer
    }

    /// How many consumers of all streams are being made.
    pub(super) fn creating(&self, now_ms: u64) -> usize {
        let creating = |entry: &&Entry| entry.consumer.status(now_ms) == "CREATING";
        self.lock().entries.values().filter(creating).count()
    }

    /// The second a new consumer counts as created in: now, or the next one that gives it an ARN of its own.
    pub(super) fn created_ms(&self, place: &Place, now_ms: u64) -> u64 {
        let second_ms = now_ms / 1_000 * 1_000;
        let mut state = self.lock();
        state.left_ms.retain(|_, left_ms| *left_ms >= second_ms);
        state.left_ms.get(place).map_or(second_ms, |left_ms| left_ms + 1_000)
    }

    /// Forgets a consumer that was deregistered.
    pub(super) fn leave(&self, place: &Place) {
        let mut state = self.lock();
        if let Some(entry) = state.entries.remove(place) {
            state.left_ms.insert(place.clone(), entry.consumer.created_ms);
        }
    }
}

pub(super) fn registry(engine: &Engine) -> &Registry {
    &engine.0.consumers.registry
}

/// The consumer of this name.
pub(crate) fn find(engine: &Engine, stream: StreamNumber, name: &str) -> Option<Arc<Consumer>> {
    let now_ms = engine.steady_ms();
    let found = registry(engine).get(&(stream, name.to_owned()))?.consumer;
    (!found.is_gone(now_ms)).then_some(found)
}

/// All consumers of a stream, by name.
pub(crate) fn list(engine: &Engine, stream: StreamNumber) -> Vec<Arc<Consumer>> {
    let now_ms = engine.steady_ms();
    let state = registry(engine).lock();
    let of_stream = state.entries.range((stream, String::new())..).take_while(|((s, _), _)| *s == stream);
    of_stream.map(|(_, entry)| &entry.consumer).filter(|c| !c.is_gone(now_ms)).cloned().collect()
}

/// How many consumers a stream has: what `DescribeStreamSummary` says and `EnforceConsumerDeletion` asks.
pub(crate) fn count(engine: &Engine, stream: StreamNumber) -> usize {
    list(engine, stream).len()
}

/// How many places of the stream's limit are taken: consumers and queues share it.
pub(crate) fn registered(engine: &Engine, stream: StreamNumber) -> usize {
    count(engine, stream) + queues::of_stream(engine, stream).len()
}

/// Forgets all consumers of a stream that was deleted with everything stored of it, and ends their subscriptions.
pub(crate) fn forget(engine: &Engine, stream: StreamNumber) {
    for consumer in list(engine, stream) {
        registry(engine).lock().entries.remove(&(stream, consumer.name.clone()));
        engine.0.consumers.leases.end_consumer(stream, &consumer.name);
    }
}

/// After a start: removes what is left of consumers whose DELETING the stop cut short.
pub(crate) fn resume(engine: &Engine) {
    registry(engine).lock().entries.retain(|place, entry| {
        let stays = entry.consumer.gone_ms.is_none();
        if !stays {
            // Staged by the call; whether it is durable before the next crash does not matter.
            drop(engine.0.meta.delete(&key(place), entry.version));
        }
        stays
    });
}

/// The answer when there is no such consumer; `consumer` is its name or its ARN.
pub(crate) fn no_consumer(engine: &Engine, consumer: &str) -> ApiError {
    let message = format!("Consumer {consumer}, account {} not found.", engine.0.account);
    ApiError::new(ErrorType::ResourceNotFound, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_consumers_read_as_version_1_wrote_them() {
        // If this fails, the code is wrong: such bytes are on disks.
        let plain = r#"{"name":"board","created_ms":1700000000000,"active_ms":1700000000250}"#;
        let mut consumer = Consumer {
            name: "board".into(),
            created_ms: 1_700_000_000_000,
            active_ms: 1_700_000_000_250,
            gone_ms: None,
            tags: BTreeMap::new(),
        };
        assert_eq!(serde_json::to_string(&consumer).unwrap(), plain);
        assert_eq!(serde_json::from_str::<Consumer>(plain).unwrap(), consumer);
        let full = r#"{"name":"board","created_ms":1700000000000,"active_ms":1700000000250,"gone_ms":1700000009000,"tags":{"a":"b"}}"#;
        consumer.gone_ms = Some(1_700_000_009_000);
        consumer.tags.insert("a".into(), "b".into());
        assert_eq!(serde_json::to_string(&consumer).unwrap(), full);
        assert_eq!(serde_json::from_str::<Consumer>(full).unwrap(), consumer);
    }

    #[test]
    fn keys_come_back_as_places() {
        let there = (StreamNumber(7), "a.b-c_9".to_owned());
        assert_eq!(place(&key(&there)), Some(there));
        assert_eq!(place(b"s/c/x/y"), None);
        assert_eq!(place(b"s/c/7"), None);
    }
}
