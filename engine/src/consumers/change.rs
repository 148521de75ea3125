//! Changes of who is registered, one at a time under the control lock. Each is durable before it shows.

use super::registry::{Consumer, Entry, Place, key, no_consumer, registered, registry};
use crate::api::{ApiError, ErrorType};
use crate::control;
use crate::engine::Engine;
use crate::limits;
use crate::names::StreamNumber;
use crate::storage::MetaError;
use crate::stream::StreamHandle;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Refuses when the stream has as many consumers and queues as it may have.
fn check_room(engine: &Engine, stream: &StreamHandle, limit: usize) -> Result<(), ApiError> {
    let taken = registered(engine, stream.number());
    if taken >= limit {
        let (name, account) = (stream.name(), &engine.0.account);
        let message = format!(
            "Stream {name} under account {account} has {taken} registered consumers and queues. Limit: {limit}."
        );
        return Err(ApiError::new(ErrorType::LimitExceeded, message));
    }
    Ok(())
}

/// Registers a consumer with a stream that may have `limit` consumers and queues. It is durable when this returns.
///
/// # Errors
/// As `RegisterStreamConsumer` declares them.
pub(crate) async fn register(
    engine: &Engine,
    stream: &StreamHandle,
    name: String,
    tags: BTreeMap<String, String>,
    limit: usize,
) -> Result<Arc<Consumer>, ApiError> {
    let (engine, stream) = (engine.clone(), stream.clone());
    control::detached(async move {
        let _one_at_a_time = engine.0.control.lock().await;
        // The stream may have gone while this waited.
        let there = engine.stream(stream.name()).is_some_and(|found| found == stream);
        if !there {
            return Err(ApiError::no_stream(stream.name().as_str(), &engine.0.account));
        }
        let now_ms = engine.steady_ms();
        let place = (stream.number(), name);
        let left = check_new(&engine, &stream, &place, limit, now_ms)?;
        let created_ms = registry(&engine).created_ms(&place, engine.0.clock.now_ms());
        let active_ms = now_ms + transition_ms(&engine);
        let consumer = Consumer { name: place.1.clone(), created_ms, active_ms, gone_ms: None, tags };
        let version = engine.0.meta.put(&key(&place), &encode(&consumer), left).await.map_err(changed)?;
        tracing::info!(stream = %stream.name(), consumer = %consumer.name, "consumer registered");
        Ok(registry(&engine).set(place, consumer, version))
    })
    .await
}

/// Gives the version that what is stored under the new consumer's name has, 0 when nothing is.
fn check_new(
    engine: &Engine,
    stream: &StreamHandle,
    place: &Place,
    limit: usize,
    now_ms: u64,
) -> Result<u64, ApiError> {
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
    check_room(engine, stream, limit)?;
    if registry(engine).creating(now_ms) >= limits::CONSUMERS_CREATING_MAX {
        let limit = limits::CONSUMERS_CREATING_MAX;
        let message = format!("Account {account} has {limit} consumers in CREATING status. Limit: {limit}.");
        return Err(ApiError::new(ErrorType::LimitExceeded, message));
    }
    Ok(there.map_or(0, |entry| entry.version))
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
            let gone_ms = Some(engine.steady_ms() + transition_ms);
            let leaving = Consumer { gone_ms, ..(*entry.consumer).clone() };
            let stored = engine.0.meta.put(&key(&place), &encode(&leaving), entry.version);
            let version = stored.await.map_err(changed)?;
            registry(&engine).set(place.clone(), leaving, version);
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
        registry(&engine).set(place, consumer, version);
        Ok(())
    })
    .await
}

/// How long CREATING and DELETING last.
fn transition_ms(engine: &Engine) -> u64 {
    u64::try_from(engine.0.transition.min(limits::TRANSITION_MAX).as_millis()).unwrap_or(u64::MAX)
}

fn changed(error: MetaError) -> ApiError {
    control::StreamError::from(error).into()
}

fn encode(consumer: &Consumer) -> Vec<u8> {
    serde_json::to_vec(consumer).expect("a consumer has only string keys")
}
