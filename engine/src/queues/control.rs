//! Changes of queues: create, update, delete. Each is one durable step, or is finished by the next start.
//!
//! In: what a queue should become. Out: its new state, durable. Invariants: a number is never given to two queues; a
//! queue's positions are stored in the same step as the queue; a delete that began is finished. Not here: the API's words.

use super::core::{QueueCore, StoredKey, Verdict};
use super::definition::{NEXT_NUMBER, QueueDefinition, Start};
use super::queue::Queue;
use super::refusal;
use crate::api::{ApiError, ErrorType};
use crate::consumers;
use crate::control::detached;
use crate::engine::Engine;
use crate::limits;
use crate::names::StreamNumber;
use crate::storage::{AppendSet, Cursor, MetaError, ShardKey};
use crate::stream::StreamHandle;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a new queue should be.
#[derive(Debug, Clone)]
pub(crate) struct NewQueue {
    pub(crate) name: String,
    pub(crate) stream: StreamHandle,
    pub(crate) start: Start,
    pub(crate) visibility_seconds: u32,
    pub(crate) receives_max: Option<u32>,
    pub(crate) tags: BTreeMap<String, String>,
    /// Consumers and queues together that the stream may have.
    pub(crate) registered_max: usize,
}

/// What of a queue should change.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Update {
    pub(crate) visibility_seconds: Option<u32>,
    /// The number of receives, or none for no dead letters.
    pub(crate) receives_max: Option<Option<u32>>,
}

/// Creates a queue. It is durable when this returns.
///
/// # Errors
/// `ResourceInUseException` when the name is taken, `LimitExceededException`, and failures of the log.
pub(crate) async fn create(engine: &Engine, new: NewQueue) -> Result<Arc<Queue>, ApiError> {
    let engine = engine.clone();
    detached(async move {
        let _one_at_a_time = engine.0.control.lock().await;
        check(&engine, &new)?;
        let number = next_number(&engine).await?;
        let now_ms = engine.0.clock.now_ms();
        let stream = new.stream.state();
        let definition = QueueDefinition {
            number,
            name: new.name,
            stream: new.stream.number().0,
            stream_name: new.stream.name().as_str().into(),
            stream_created_ms: stream.definition.created_ms,
            created_ms: now_ms,
            start: new.start,
            visibility_seconds: new.visibility_seconds,
            receives_max: new.receives_max,
            tags: new.tags,
            deleting: false,
            creating_until_ms: engine.steady_ms().saturating_add(transition_ms(&engine)),
            updating_until_ms: 0,
        };
        let core = begin(&engine, &new.stream, &definition).await?;
        let mut set = AppendSet::default();
        set.mark(&QueueDefinition::key(number), &definition.encode());
        for stored in core.persist() {
            set.mark(&stored.key.bytes(number), &stored.value.unwrap_or_default());
        }
        engine.0.log.append(&set, now_ms).map_err(refusal)?.await?;
        let mut core = core;
        core.commit();
        tracing::info!(queue = %definition.name, stream = %new.stream.name(), "queue created");
        Ok(engine.0.queues.insert(&engine, definition, core))
    })
    .await
}

fn check(engine: &Engine, new: &NewQueue) -> Result<(), ApiError> {
    let queues = engine.0.queues.list();
    let account = &engine.0.account;
    if queues.iter().any(|queue| queue.definition().name == new.name) {
        let message = format!("Queue {} under account {account} already exists.", new.name);
        return Err(ApiError::new(ErrorType::ResourceInUse, message));
    }
    if engine.stream(new.stream.name()).as_ref() != Some(&new.stream) {
        return Err(ApiError::no_stream(new.stream.name().as_str(), account));
    }
    let (registered, most) = (consumers::registered(engine, new.stream.number()), new.registered_max);
    if registered >= most {
        let message = format!(
            "This request would exceed the limit of {most} registered consumers, queues included, of stream {} under \
             account {account}.",
            new.stream.name()
        );
        return Err(ApiError::new(ErrorType::LimitExceeded, message));
    }
    if queues.len() >= limits::QUEUES_MAX {
        let message = format!("Account {account} cannot have more than {} queues.", limits::QUEUES_MAX);
        return Err(ApiError::new(ErrorType::LimitExceeded, message));
    }
    Ok(())
}

/// Where delivery begins in every shard there is.
async fn begin(
    engine: &Engine,
    stream: &StreamHandle,
    definition: &QueueDefinition,
) -> Result<QueueCore, ApiError> {
    let mut core = QueueCore::new(definition.receives_max);
    let cursor = match definition.start {
        Start::Latest => Cursor::Latest,
        Start::TrimHorizon => Cursor::TrimHorizon,
        Start::AtTimestamp(time_ms) => Cursor::AtTime(time_ms),
    };
    for shard in stream.state().shards.all() {
        let key = ShardKey { stream: stream.number(), shard: shard.id };
        let begins = engine.0.log.locate(key, cursor).await;
        // KMS's own errors are not among those of CreateQueue.
        core.begin(shard.id, begins?);
    }
    Ok(core)
}

/// Takes the next number of a queue. Taken durably before it is used: a crash in between wastes it and nothing else.
async fn next_number(engine: &Engine) -> Result<u32, ApiError> {
    let stored = engine.0.meta.get(NEXT_NUMBER);
    let version = stored.as_ref().map_or(0, |stored| stored.version);
    let number =
        stored.and_then(|stored| stored.value.as_slice().try_into().ok()).map_or(1, u32::from_le_bytes);
    let next = number
        .checked_add(1)
        .ok_or_else(|| ApiError::new(ErrorType::InternalFailure, "There are no more numbers for queues."))?;
    engine.0.meta.put(NEXT_NUMBER, &next.to_le_bytes(), version).await.map_err(unchanged)?;
    Ok(number)
}

/// Changes a queue. Durable when this returns.
///
/// # Errors
/// `ResourceInUseException` unless the queue is active, and failures of the log.
pub(crate) async fn update(engine: &Engine, queue: &Arc<Queue>, update: Update) -> Result<(), ApiError> {
    let receives_max = update.receives_max;
    if receives_max.is_some() {
        settle(engine, queue).await?;
    }
    change(engine, queue, move |engine, definition| {
        let now_ms = engine.steady_ms();
        let status = definition.status(now_ms);
        if status != super::definition::QueueStatus::Active {
            let message = format!("Queue {} is {}, not ACTIVE.", definition.name, status.as_str());
            return Err(ApiError::new(ErrorType::ResourceInUse, message));
        }
        definition.visibility_seconds = update.visibility_seconds.unwrap_or(definition.visibility_seconds);
        definition.receives_max = update.receives_max.unwrap_or(definition.receives_max);
        definition.updating_until_ms = now_ms.saturating_add(transition_ms(engine));
        Ok(())
    })
    .await?;
    if let Some(receives_max) = receives_max {
        let stepped = queue.step(engine, |state, now_ms| state.core.set_receives_max(now_ms, receives_max));
        let ((), durable) = stepped.await.map_err(refusal)?;
        durable.await?;
    }
    queue.wake();
    Ok(())
}

/// What became a dead letter under the old rule stays one: stored before the new rule is used.
async fn settle(engine: &Engine, queue: &Queue) -> Result<(), ApiError> {
    loop {
        let stepped = queue.step(engine, |state, now_ms| {
            state.core.settle(now_ms);
            state.core.has_lazy()
        });
        let (more, durable) = stepped.await.map_err(refusal)?;
        durable.await?;
        if !more {
            return Ok(());
        }
    }
}

/// Changes the definition of a queue. Durable when this returns.
///
/// # Errors
/// What `change` refuses, `ResourceNotFoundException` when the queue is gone, and failures of the log.
pub(crate) async fn change(
    engine: &Engine,
    queue: &Arc<Queue>,
    change: impl FnOnce(&Engine, &mut QueueDefinition) -> Result<(), ApiError> + Send + 'static,
) -> Result<(), ApiError> {
    let (engine, queue) = (engine.clone(), Arc::clone(queue));
    detached(async move {
        let _one_at_a_time = engine.0.control.lock().await;
        if queue.is_gone() {
            return Err(super::not_found(&queue));
        }
        let mut definition = (*queue.definition()).clone();
        change(&engine, &mut definition)?;
        store(&engine, &queue, definition).await
    })
    .await
}

async fn store(engine: &Engine, queue: &Queue, definition: QueueDefinition) -> Result<(), ApiError> {
    let key = QueueDefinition::key(queue.number);
    let version = engine.0.meta.get(&key).map_or(0, |stored| stored.version);
    engine.0.meta.put(&key, &definition.encode(), version).await.map_err(unchanged)?;
    queue.set_definition(definition);
    Ok(())
}

/// Deletes a queue: it delivers nothing more when this returns, and that is durable.
///
/// # Errors
/// `ResourceNotFoundException` when it is gone, and failures of the log.
pub(crate) async fn delete(engine: &Engine, queue: &Arc<Queue>) -> Result<(), ApiError> {
    let (engine, queue) = (engine.clone(), Arc::clone(queue));
    detached(async move {
        let _one_at_a_time = engine.0.control.lock().await;
        delete_locked(&engine, &queue).await
    })
    .await
}

async fn delete_locked(engine: &Engine, queue: &Arc<Queue>) -> Result<(), ApiError> {
    if queue.is_gone() {
        return Err(super::not_found(queue));
    }
    let definition = QueueDefinition { deleting: true, ..(*queue.definition()).clone() };
    store(engine, queue, definition).await?;
    queue.end();
    let pause = std::time::Duration::from_millis(transition_ms(engine));
    if pause.is_zero() {
        remove(engine, queue.number).await.map_err(unchanged)?;
        engine.0.queues.remove(queue.number);
        return Ok(());
    }
    let (engine, number) = (engine.clone(), queue.number);
    tokio::spawn(async move {
        tokio::time::sleep(pause).await;
        // What stays is removed by the next start.
        if let Err(error) = remove(&engine, number).await {
            tracing::warn!(queue = number, %error, "queue not removed yet");
        }
        engine.0.queues.remove(number);
    });
    Ok(())
}

/// Removes everything stored of a queue, its definition last: what a crash leaves is found by the next start.
async fn remove(engine: &Engine, number: u32) -> Result<(), MetaError> {
    let mut keys: Vec<Vec<u8>> = Vec::new();
    for prefix in StoredKey::prefixes(number) {
        keys.extend(engine.0.meta.list(&prefix).into_iter().map(|(key, _)| key));
    }
    keys.push(QueueDefinition::key(number));
    let mut set = AppendSet::default();
    for keys in keys.chunks(limits::QUEUE_KEYS_REMOVED) {
        set.clear();
        keys.iter().for_each(|key| set.unmark(key));
        let now_ms = engine.0.clock.now_ms();
        engine.0.log.append(&set, now_ms)?.await?;
    }
    Ok(())
}

/// Removes the queues of a stream that is being deleted, durably. The caller holds the engine's lock for changes.
///
/// # Errors
/// Failures of the log.
pub(crate) async fn forget(engine: &Engine, stream: StreamNumber) -> Result<(), MetaError> {
    for queue in super::of_stream(engine, stream) {
        queue.end();
        remove(engine, queue.number).await?;
        engine.0.queues.remove(queue.number);
    }
    Ok(())
}

fn unchanged(error: MetaError) -> ApiError {
    match error {
        MetaError::Append(error) => refusal(error),
        MetaError::Commit(error) => error.into(),
        MetaError::Conflict { .. } => ApiError::new(ErrorType::InternalFailure, error.to_string()),
    }
}

/// Whether a verdict needs the receivers told: what it makes visible soon.
pub(crate) fn is_heard(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Acknowledge => false,
        Verdict::Hide(timeout_ms) => timeout_ms <= limits::QUEUE_WAIT_MS_MAX,
        Verdict::Restore => true,
    }
}

/// How long a queue counts as being created, updated or deleted.
fn transition_ms(engine: &Engine) -> u64 {
    u64::try_from(engine.0.transition.min(limits::TRANSITION_MAX).as_millis()).unwrap_or(0)
}
