//! Changes of streams: create, delete, retention, tags. Each is one durable step, wholly done or not at all after a crash.
//!
//! In: what a stream should become. Out: its new state, durable. Invariants: a number is never given to two streams; the
//! registry shows a change only after it is durable; a delete that began is finished by the next start.
//! Not here: the API's wording (operations).

use crate::definition::{
    Definition, Layout, NEXT_NUMBER, StreamMode, StreamState, StreamStatus, definition_key,
};
use crate::engine::Engine;
use crate::limits;
use crate::names::{StreamName, StreamNumber};
use crate::settings::StreamSettings;
use crate::storage::{CommitError, MetaError};
use crate::stream::StreamHandle;
use std::collections::BTreeMap;

/// What a new stream should be.
#[derive(Debug, Clone)]
pub struct NewStream {
    /// Its name.
    pub name: StreamName,
    /// How many shards, 1 to [`limits::SHARDS_PER_STREAM_MAX`].
    pub shards: u32,
    /// Who decides on the number of shards later.
    pub mode: StreamMode,
    /// How long records can be read, 24 to 8,760 hours.
    pub retention_hours: u32,
    /// Largest record in KiB, 1,024 to 10,240.
    pub record_kib_max: u32,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// What else it is set to.
    pub settings: StreamSettings,
}

impl NewStream {
    /// A provisioned stream with AWS's defaults.
    #[must_use]
    pub fn new(name: StreamName, shards: u32) -> Self {
        NewStream {
            name,
            shards,
            mode: StreamMode::Provisioned,
            retention_hours: limits::RETENTION_HOURS_DEFAULT,
            record_kib_max: 1_024,
            tags: BTreeMap::new(),
            settings: StreamSettings::default(),
        }
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
        let engine = self.clone();
        detached(async move { create(&engine, new).await }).await
    }

    /// Deletes a stream and its records. All of it is durable when this returns; shard iterators end with it.
    ///
    /// # Errors
    /// [`StreamError::NotFound`], or what the metadata store says.
    pub async fn delete_stream(&self, name: &StreamName) -> Result<(), StreamError> {
        let (engine, name) = (self.clone(), name.clone());
        detached(async move { delete(&engine, &name).await }).await
    }

    /// Sets how long records of a stream can be read, 24 to 8,760 hours. Durable when this returns.
    ///
    /// # Errors
    /// [`StreamError::NotFound`], [`StreamError::Retention`], or what the metadata store says.
    pub async fn set_retention(&self, name: &StreamName, hours: u32) -> Result<(), StreamError> {
        if !(limits::RETENTION_HOURS_DEFAULT..=limits::RETENTION_HOURS_MAX).contains(&hours) {
            return Err(StreamError::Retention(hours));
        }
        self.change(name, move |definition| {
            definition.retention_hours = hours;
            Ok(())
        })
        .await
    }

    /// Changes the definition of a stream that is in use. `change` may refuse; it is called once.
    pub(crate) async fn change<E: From<StreamError> + Send + 'static>(
        &self,
        name: &StreamName,
        change: impl FnOnce(&mut Definition) -> Result<(), E> + Send + 'static,
    ) -> Result<(), E> {
        let (engine, name) = (self.clone(), name.clone());
        detached(async move {
            let _one_at_a_time = engine.0.control.lock().await;
            let stream = engine.stream(&name).ok_or_else(|| StreamError::NotFound(name.clone()))?;
            let state = stream.state();
            let mut definition = state.definition.clone();
            change(&mut definition)?;
            store(&engine, &stream, definition, state.version).await?;
            Ok(())
        })
        .await
    }
}

/// Runs a change to its end even when its caller goes away: half a change would leave memory and store apart.
async fn detached<T: Send + 'static, E: From<StreamError> + Send + 'static>(
    change: impl Future<Output = Result<T, E>> + Send + 'static,
) -> Result<T, E> {
    match tokio::spawn(change).await {
        Ok(outcome) => outcome,
        Err(error) => {
            Err(StreamError::from(MetaError::Commit(CommitError { reason: error.to_string() })).into())
        }
    }
}

async fn create(engine: &Engine, new: NewStream) -> Result<StreamHandle, StreamError> {
    let _one_at_a_time = engine.0.control.lock().await;
    if engine.stream(&new.name).is_some() {
        return Err(StreamError::Exists(new.name));
    }
    check_shards(engine, new.shards)?;
    let number = next_number(engine).await?;
    let definition = Definition {
        number: number.0,
        name: new.name.as_str().into(),
        created_ms: engine.0.clock.now_ms(),
        status: StreamStatus::Active,
        mode: new.mode,
        retention_hours: new.retention_hours,
        record_kib_max: new.record_kib_max,
        tags: new.tags,
        layout: Layout::Even { shards: new.shards },
        settings: new.settings,
    };
    let key = definition_key(&new.name);
    engine.0.log.retain(number, definition.retention_ms());
    let version = engine.0.meta.put(&key, &encode(&definition), 0).await?;
    tracing::info!(stream = %new.name, shards = new.shards, "stream created");
    let state = StreamState::new(definition, version);
    let stream = StreamHandle::new(new.name, state, &engine.0.region, &engine.0.account);
    engine.0.registry.insert(stream.clone());
    Ok(stream)
}

fn check_shards(engine: &Engine, shards: u32) -> Result<(), StreamError> {
    let open = engine.0.registry.open_shards();
    let within = (1..=limits::SHARDS_PER_STREAM_MAX).contains(&shards);
    if !within || open + shards as usize > limits::SHARDS_MAX as usize {
        return Err(StreamError::Shards { requested: shards, open });
    }
    Ok(())
}

/// Takes the next stream number. Taken durably before it is used, so that a crash in between wastes it and nothing else.
async fn next_number(engine: &Engine) -> Result<StreamNumber, StreamError> {
    let stored = engine.0.meta.get(NEXT_NUMBER);
    let (number, version) = match &stored {
        None => (1, 0),
        Some(stored) => {
            let bytes = stored.value.as_slice().try_into().map_err(|_| StreamError::Damaged("s/next"))?;
            (u32::from_le_bytes(bytes), stored.version)
        }
    };
    let next = number.checked_add(1).ok_or(StreamError::Damaged("s/next"))?;
    engine.0.meta.put(NEXT_NUMBER, &next.to_le_bytes(), version).await?;
    Ok(StreamNumber(number))
}

async fn delete(engine: &Engine, name: &StreamName) -> Result<(), StreamError> {
    let _one_at_a_time = engine.0.control.lock().await;
    let stream = engine.stream(name).ok_or_else(|| StreamError::NotFound(name.clone()))?;
    let state = stream.state();
    let definition = Definition { status: StreamStatus::Deleting, ..state.definition.clone() };
    let version = store(engine, &stream, definition, state.version).await?;
    engine.0.log.drop_stream(stream.number());
    engine.0.meta.delete(&definition_key(name), version).await?;
    engine.0.registry.remove(name);
    engine.0.meters.forget(stream.number());
    if let Some(throttle) = &engine.0.throttle {
        throttle.forget(stream.number());
    }
    tracing::info!(stream = %name, "stream deleted");
    Ok(())
}

/// Stores a changed definition and shows it.
async fn store(
    engine: &Engine,
    stream: &StreamHandle,
    definition: Definition,
    version: u64,
) -> Result<u64, StreamError> {
    let retention_ms = definition.retention_ms();
    let version = engine.0.meta.put(&definition_key(stream.name()), &encode(&definition), version).await?;
    stream.set_state(StreamState::new(definition, version));
    engine.0.log.retain(stream.number(), retention_ms);
    Ok(version)
}

/// After a start: finishes deletes that a crash interrupted, and tells the log again how long to keep what.
pub(crate) fn resume(engine: &Engine) {
    for stream in engine.0.registry.list() {
        let state = stream.state();
        if state.definition.status == StreamStatus::Deleting {
            engine.0.log.drop_stream(stream.number());
            // Staged by the call; whether it is durable before the next crash does not matter.
            drop(engine.0.meta.delete(&definition_key(stream.name()), state.version));
            engine.0.registry.remove(stream.name());
        } else {
            engine.0.log.retain(stream.number(), state.definition.retention_ms());
        }
    }
}

fn encode(definition: &Definition) -> Vec<u8> {
    serde_json::to_vec(definition).expect("a definition has only string keys")
}

/// A stream cannot be changed as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// There is one of this name.
    #[error("stream {0} already exists")]
    Exists(StreamName),
    /// There is none of this name.
    #[error("stream {0} does not exist")]
    NotFound(StreamName),
    /// More shards than there may be.
    #[error(
        "{requested} shards cannot be added to {open}: a stream has 1 to {}, all together {}",
        limits::SHARDS_PER_STREAM_MAX,
        limits::SHARDS_MAX
    )]
    Shards {
        /// Shards asked for.
        requested: u32,
        /// Open shards there are.
        open: usize,
    },
    /// Not a retention.
    #[error("retention is {0} hours, must be 24 to 8760")]
    Retention(u32),
    /// A stored value cannot be read.
    #[error("stored value `{0}` cannot be read")]
    Damaged(&'static str),
    /// The change was not stored.
    #[error(transparent)]
    Meta(#[from] MetaError),
}
