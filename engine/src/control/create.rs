//! New streams. A number is taken durably before it is used, so that a crash in between wastes it and nothing else; the
//! definition is the one step that makes the stream.

use super::{Effect, StreamError, encode, show};
use crate::definition::{
    Definition, Layout, NEXT_NUMBER, StreamMode, StreamState, StreamStatus, definition_key,
};
use crate::engine::Engine;
use crate::limits;
use crate::names::{StreamName, StreamNumber};
use crate::settings::{Changes, StreamSettings};
use crate::shards::ShardMap;
use crate::stream::StreamHandle;
use std::collections::BTreeMap;
use std::sync::Arc;

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

pub(super) async fn create(
    engine: &Engine,
    new: NewStream,
    effect: Effect,
) -> Result<StreamHandle, StreamError> {
    let control = engine.0.control.lock().await;
    if let Some(stream) = engine.stream(&new.name) {
        // What is to be removed by now may be waiting for its turn.
        super::settle::settle(engine, &stream, &control).await?;
    }
    if engine.stream(&new.name).is_some() {
        return Err(StreamError::Exists(new.name));
    }
    super::check_shards(engine, new.shards, new.shards as usize)?;
    let number = next_number(engine).await?;
    let now_ms = engine.0.clock.now_ms();
    let until_ms = effect.until(engine);
    let definition = Definition {
        number: number.0,
        name: new.name.as_str().into(),
        created_ms: now_ms,
        status: if until_ms.is_some() { StreamStatus::Creating } else { StreamStatus::Active },
        mode: new.mode,
        retention_hours: new.retention_hours,
        record_kib_max: new.record_kib_max,
        tags: new.tags,
        layout: Layout::Even { shards: new.shards },
        settings: new.settings,
        until_ms,
        reshard: None,
        readable_from_ms: 0,
        resizes: Changes::default(),
    };
    engine.0.log.retain(number, definition.retention_ms());
    let version = engine.0.meta.put(&definition_key(&new.name), &encode(&definition), 0).await?;
    tracing::info!(stream = %new.name, shards = new.shards, "stream created");
    let shards = Arc::new(ShardMap::even(new.shards, now_ms));
    let state = StreamState::new(definition, version, shards);
    let stream = StreamHandle::new(new.name, state, &engine.0.region, &engine.0.account);
    engine.0.registry.insert(stream.clone());
    show(engine, &stream);
    Ok(stream)
}

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
