//! Changes of streams: create, delete, reshard, retention, settings. Each is wholly done or not at all after a crash.
//!
//! In: what a stream should become. Out: its new state, durable. Invariants: one change at a time, under the control lock; a
//! number is never given to two streams; the registry shows a change only after it is durable; what takes several durable
//! steps says so in the definition first and is finished by the next start.
//!
//! States: with [`crate::EngineConfig::transition`] zero, work is done when its caller hears of it, so that a client's waiter
//! finds what it waits for at its first look. With a longer time the work is done at once too, and the state that AWS shows
//! meanwhile (CREATING, UPDATING, DELETING) is kept until that time has passed, also over a restart.
//!
//! Not here: the API's wording (operations), the arithmetic of reshards (reshard), the stored form of layouts (layout).

mod change;
mod create;
mod delete;
mod error;
mod reshard;
mod settle;

pub use create::NewStream;
pub use error::StreamError;
pub(crate) use reshard::{Begin, begin, resize};
pub(crate) use settle::{Upkeep, ensure, keep_time};

use crate::definition::{Definition, StreamState, StreamStatus, definition_key};
use crate::engine::Engine;
use crate::limits;
use crate::names::StreamName;
use crate::shards::ShardMap;
use crate::storage::CommitError;
use crate::stream::StreamHandle;
use settle::show;
use std::sync::Arc;

/// The control lock, held.
pub(crate) type Control<'a> = tokio::sync::MutexGuard<'a, ()>;

/// Whether a change shows the states that AWS shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// No: for the host, which wants to use what it made.
    AtOnce,
    /// As long as the settings say: for the API.
    Shown,
}

impl Effect {
    fn until(self, engine: &Engine) -> Option<u64> {
        let transition = engine.0.transition;
        if self == Effect::AtOnce || transition.is_zero() {
            return None;
        }
        let ms = u64::try_from(transition.min(limits::TRANSITION_MAX).as_millis()).unwrap_or(u64::MAX);
        Some(engine.steady_ms().saturating_add(ms))
    }
}

impl Engine {
    /// Creates a stream with AWS's defaults. It is durable and active when this returns.
    ///
    /// # Errors
    /// [`StreamError`]; [`StreamError::Exists`] when there is one of this name.
    pub async fn create_stream(&self, name: &StreamName, shards: u32) -> Result<StreamHandle, StreamError> {
        self.create(NewStream::new(name.clone(), shards)).await
    }

    /// The stream of this name, created with `shards` shards when there is none. An existing one is given as it is.
    ///
    /// # Errors
    /// [`StreamError`] when it cannot be created.
    pub async fn ensure_stream(&self, name: &StreamName, shards: u32) -> Result<StreamHandle, StreamError> {
        if let Some(stream) = self.stream(name) {
            return Ok(stream);
        }
        match self.create_stream(name, shards).await {
            Err(StreamError::Exists(_)) => {
                self.stream(name).ok_or_else(|| StreamError::NotFound(name.clone()))
            }
            outcome => outcome,
        }
    }

    /// Creates a stream. It is durable and active when this returns.
    ///
    /// # Errors
    /// [`StreamError`]; nothing was created then, unless the log has stopped.
    pub async fn create(&self, new: NewStream) -> Result<StreamHandle, StreamError> {
        self.create_as(new, Effect::AtOnce).await
    }

    pub(crate) async fn create_as(
        &self,
        new: NewStream,
        effect: Effect,
    ) -> Result<StreamHandle, StreamError> {
        let engine = self.clone();
        detached(async move { create::create(&engine, new, effect).await }).await
    }

    /// Deletes a stream and its records. All of it is durable when this returns; shard iterators end with it.
    ///
    /// # Errors
    /// [`StreamError::NotFound`], or what the metadata store says.
    pub async fn delete_stream(&self, name: &StreamName) -> Result<(), StreamError> {
        self.delete_as(name, Effect::AtOnce).await
    }

    pub(crate) async fn delete_as(&self, name: &StreamName, effect: Effect) -> Result<(), StreamError> {
        let (engine, name) = (self.clone(), name.clone());
        detached(async move { delete::delete(&engine, &name, effect).await }).await
    }
}

/// Runs a change to its end even when its caller goes away: half a change would leave memory and store apart.
pub(crate) async fn detached<T: Send + 'static, E: From<StreamError> + Send + 'static>(
    change: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, E> {
    match tokio::spawn(change).await {
        Ok(outcome) => outcome,
        Err(error) => Err(StreamError::from(CommitError { reason: error.to_string() }).into()),
    }
}

/// The stream of this name, after what was under way with it and due is finished.
async fn settled(
    engine: &Engine,
    name: &StreamName,
    control: &Control<'_>,
) -> Result<StreamHandle, StreamError> {
    let missing = || StreamError::NotFound(name.clone());
    settle::settle(engine, &engine.stream(name).ok_or_else(missing)?, control).await?;
    engine.stream(name).ok_or_else(missing)
}

/// Refuses a stream in any other state.
fn active(stream: &StreamHandle) -> Result<(), StreamError> {
    match stream.state().definition.status {
        StreamStatus::Active => Ok(()),
        status => Err(StreamError::NotActive { stream: stream.name().clone(), status }),
    }
}

/// Refuses shards beyond what one stream, which would have `of_stream`, and all together may have open.
fn check_shards(engine: &Engine, more: u32, of_stream: usize) -> Result<(), StreamError> {
    let open = engine.0.registry.open_shards();
    let within = (1..=limits::SHARDS_PER_STREAM_MAX as usize).contains(&of_stream);
    if !within || open + more as usize > limits::SHARDS_MAX as usize {
        return Err(StreamError::Shards { requested: more, open });
    }
    Ok(())
}

/// Stores a changed definition and shows it, with other shards if there are any.
async fn store(
    engine: &Engine,
    stream: &StreamHandle,
    definition: Definition,
    shards: Option<Arc<ShardMap>>,
) -> Result<(), StreamError> {
    let before = stream.state();
    let value = encode(&definition);
    let version = engine.0.meta.put(&definition_key(stream.name()), &value, before.version).await?;
    engine.0.log.retain(stream.number(), definition.retention_ms());
    let shards = shards.unwrap_or_else(|| Arc::clone(&before.shards));
    stream.set_state(StreamState::new(definition, version, shards));
    Ok(())
}

/// After a start: tells the log how long to keep what, and finishes what a crash interrupted as soon as there is a runtime.
pub(crate) fn resume(engine: &Engine) {
    settle::resume(engine);
}

fn encode(definition: &Definition) -> Vec<u8> {
    serde_json::to_vec(definition).expect("a definition has only string keys")
}
