//! Who is registered: consumers in metadata and in memory.
//!
//! A consumer is JSON under `s/c/{stream number}/{name}`. CREATING, ACTIVE and DELETING are stretches of time, told from
//! the stored times and the clock, so nothing has to happen for a state to change. What is past its DELETING is gone for
//! every reader; its key goes a moment later, or with the next start.

use super::ConsumerArn;
use crate::api::{ApiError, ErrorType};
use crate::control;
use crate::engine::Engine;
use crate::limits;
use crate::names::{StreamArn, StreamNumber};
use crate::queues;
use crate::storage::{MetaError, MetaStore};
use crate::stream::StreamHandle;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

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
            None if now_ms < self.active_ms => "CREATING",
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

    fn is_gone(&self, now_ms: u64) -> bool {
        self.gone_ms.is_some_and(|gone_ms| gone_ms <= now_ms)
    }
}

type Place = (StreamNumber, String);

#[derive(Debug, Clone)]
struct Entry {
    consumer: Arc<Consumer>,
    version: u64,
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

fn key((stream, name): &Place) -> Vec<u8> {
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

    fn get(&self, place: &Place) -> Option<Entry> {
        self.lock().entries.get(place).cloned()
    }
}

fn registry(engine: &Engine) -> &Registry {
    &engine.0.consumers.registry
}

/// The consumer of this name.
pub(crate) fn find(engine: &Engine, stream: StreamNumber, name: &str) -> Option<Arc<Consumer>> {
    let now_ms = engine.0.clock.now_ms();
    let found = registry(engine).get(&(stream, name.to_owned()))?.consumer;
    (!found.is_gone(now_ms)).then_some(found)
}

/// All consumers of a stream, by name.
pub(crate) fn list(engine: &Engine, stream: StreamNumber) -> Vec<Arc<Consumer>> {
    let now_ms = engine.0.clock.now_ms();
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

/// Refuses when the stream has as many consumers and queues as it may have.
fn check_room(engine: &Engine, stream: &StreamHandle) -> Result<(), ApiError> {
    let (taken, limit) = (registered(engine, stream.number()), limits::CONSUMERS_PER_STREAM_MAX);
    if taken >= limit {
        let (name, account) = (stream.name(), &engine.0.account);
        let message = format!(
            "Stream {name} under account {account} has {taken} registered consumers and queues. Limit: {limit}."
        );
        return Err(ApiError::new(ErrorType::LimitExceeded, message));
    }
    Ok(())
}

/// Registers a consumer. It is durable when this returns.
///
/// # Errors
/// As `RegisterStreamConsumer` declares them.
pub(crate) async fn register(
    engine: &Engine,
    stream: &StreamHandle,
    name: String,
    tags: BTreeMap<String, String>,
) -> Result<Arc<Consumer>, ApiError> {
    let (engine, stream) = (engine.clone(), stream.clone());
    control::detached(async move {
        let _one_at_a_time = engine.0.control.lock().await;
        // The stream may have gone while this waited.
        let there = engine.stream(stream.name()).is_some_and(|found| found == stream);
        if !there {
            return Err(ApiError::no_stream(stream.name().as_str(), &engine.0.account));
        }
        let now_ms = engine.0.clock.now_ms();
        let place = (stream.number(), name);
        let left = check_new(&engine, &stream, &place, now_ms)?;
        let created_ms = registry(&engine).created_ms(&place, now_ms);
        let active_ms = now_ms + transition_ms(&engine);
        let consumer = Consumer { name: place.1.clone(), created_ms, active_ms, gone_ms: None, tags };
        let version = engine.0.meta.put(&key(&place), &encode(&consumer), left).await.map_err(changed)?;
        tracing::info!(stream = %stream.name(), consumer = %consumer.name, "consumer registered");
        let consumer = Arc::new(consumer);
        registry(&engine).lock().entries.insert(place, Entry { consumer: Arc::clone(&consumer), version });
        Ok(consumer)
    })
    .await
}

/// Gives the version that what is stored under the new consumer's name has, 0 when nothing is.
fn check_new(engine: &Engine, stream: &StreamHandle, place: &Place, now_ms: u64) -> Result<u64, ApiError> {
    let account = &engine.0.account;
    let there = registry(engine).get(place);
    if there.as_ref().is_some_and(|entry| !entry.consumer.is_gone(now_ms)) {
        let message = format!(
            "Consumer {} under stream {} already exists for account {account}.",
            place.1,
            stream.name()
        );
        return Err(ApiError::new(ErrorType::ResourceInUse, message));
    }
    check_room(engine, stream)?;
    let creating = |entry: &&Entry| entry.consumer.status(now_ms) == "CREATING";
    if registry(engine).lock().entries.values().filter(creating).count() >= limits::CONSUMERS_CREATING_MAX {
        let limit = limits::CONSUMERS_CREATING_MAX;
        let message = format!("Account {account} has {limit} consumers in CREATING status. Limit: {limit}.");
        return Err(ApiError::new(ErrorType::LimitExceeded, message));
    }
    Ok(there.map_or(0, |entry| entry.version))
}

impl Registry {
    /// The second a new consumer counts as created in: now, or the next one that gives it an ARN of its own.
    fn created_ms(&self, place: &Place, now_ms: u64) -> u64 {
        let second_ms = now_ms / 1_000 * 1_000;
        let mut state = self.lock();
        state.left_ms.retain(|_, left_ms| *left_ms >= second_ms);
        state.left_ms.get(place).map_or(second_ms, |left_ms| left_ms + 1_000)
    }

    fn leave(&self, place: &Place) {
        let mut state = self.lock();
        if let Some(entry) = state.entries.remove(place) {
            state.left_ms.insert(place.clone(), entry.consumer.created_ms);
        }
    }
}

/// Deregisters a consumer and ends its subscriptions. That is durable when this returns.
///
/// # Errors
/// As `DeregisterStreamConsumer` declares them.
pub(crate) async fn deregister(
    engine: &Engine,
    stream: &StreamHandle,
    consumer: &Arc<Consumer>,
) -> Result<(), ApiError> {
    let (engine, stream, consumer) = (engine.clone(), stream.clone(), Arc::clone(consumer));
    control::detached(async move {
        let _one_at_a_time = engine.0.control.lock().await;
        let place = (stream.number(), consumer.name.clone());
        let same = |entry: &Entry| entry.consumer.created_ms == consumer.created_ms;
        let Some(entry) = registry(&engine).get(&place).filter(same) else { return Ok(()) };
        if entry.consumer.gone_ms.is_some() {
            return Ok(());
        }
        let transition_ms = transition_ms(&engine);
        if transition_ms == 0 {
            engine.0.meta.delete(&key(&place), entry.version).await.map_err(changed)?;
            registry(&engine).leave(&place);
        } else {
            let gone_ms = Some(engine.0.clock.now_ms() + transition_ms);
            let leaving = Consumer { gone_ms, ..(*entry.consumer).clone() };
            let stored = engine.0.meta.put(&key(&place), &encode(&leaving), entry.version);
            let version = stored.await.map_err(changed)?;
            let entry = Entry { consumer: Arc::new(leaving), version };
            registry(&engine).lock().entries.insert(place.clone(), entry);
            tokio::spawn(sweep(engine.clone(), place, version, Duration::from_millis(transition_ms)));
        }
        engine.0.consumers.leases.end_consumer(stream.number(), &consumer.name);
        engine.0.meters.of(stream.number()).forget_consumer(&consumer.name);
        tracing::info!(stream = %stream.name(), consumer = %consumer.name, "consumer deregistered");
        Ok(())
    })
    .await
}

/// Removes what is left of a consumer when its DELETING is over.
async fn sweep(engine: Engine, place: Place, version: u64, after: Duration) {
    tokio::time::sleep(after).await;
    let _one_at_a_time = engine.0.control.lock().await;
    if registry(&engine).get(&place).is_some_and(|entry| entry.version == version) {
        // Staged by the call; whether it is durable before the next crash does not matter.
        drop(engine.0.meta.delete(&key(&place), version));
        registry(&engine).leave(&place);
    }
}

/// Changes the tags of a consumer. Durable when this returns.
///
/// # Errors
/// `ResourceNotFoundException` when it is gone, and what `change` refuses.
pub(crate) async fn change_tags(
    engine: &Engine,
    stream: StreamNumber,
    name: String,
    change: impl FnOnce(&mut BTreeMap<String, String>) -> Result<(), ApiError> + Send + 'static,
) -> Result<(), ApiError> {
    let engine = engine.clone();
    control::detached(async move {
        let _one_at_a_time = engine.0.control.lock().await;
        let place = (stream, name);
        let entry = registry(&engine).get(&place).ok_or_else(|| no_consumer(&engine, &place.1))?;
        let mut consumer = (*entry.consumer).clone();
        change(&mut consumer.tags)?;
        let version =
            engine.0.meta.put(&key(&place), &encode(&consumer), entry.version).await.map_err(changed)?;
        registry(&engine).lock().entries.insert(place, Entry { consumer: Arc::new(consumer), version });
        Ok(())
    })
    .await
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

/// How long CREATING and DELETING last.
fn transition_ms(engine: &Engine) -> u64 {
    u64::try_from(engine.0.transition.min(limits::TRANSITION_MAX).as_millis()).unwrap_or(u64::MAX)
}

/// The answer when there is no such consumer; `consumer` is its name or its ARN.
pub(crate) fn no_consumer(engine: &Engine, consumer: &str) -> ApiError {
    let message = format!("Consumer {consumer}, account {} not found.", engine.0.account);
    ApiError::new(ErrorType::ResourceNotFound, message)
}

fn changed(error: MetaError) -> ApiError {
    control::StreamError::from(error).into()
}

fn encode(consumer: &Consumer) -> Vec<u8> {
    serde_json::to_vec(consumer).expect("a consumer has only string keys")
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
