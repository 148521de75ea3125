//! The end of a stream: the state DELETING is durable first, the definition goes last, so that a start finishes what a
//! crash interrupted.

use super::{Control, Effect, StreamError, show, store};
use crate::consumers;
use crate::definition::{Definition, KINDS, StreamStatus, definition_key, prefix_of};
use crate::engine::Engine;
use crate::names::StreamName;
use crate::queues;
use crate::stream::StreamHandle;

pub(super) async fn delete(engine: &Engine, name: &StreamName, effect: Effect) -> Result<(), StreamError> {
    let control = engine.0.control.lock().await;
    let stream = super::settled(engine, name, &control).await?;
    let state = stream.state();
    // A stream that is being changed may be deleted by the host; what the API allows is the operation's to say.
    let until_ms = effect.until(engine);
    let definition =
        Definition { status: StreamStatus::Deleting, until_ms, reshard: None, ..state.definition.clone() };
    store(engine, &stream, definition, None).await?;
    // With the answer, not when the state has been shown for long enough: nobody can read what it held any more.
    engine.0.keys.forget(engine, stream.number()).await?;
    show(engine, &stream);
    super::settle::settle(engine, &stream, &control).await
}

/// Removes a stream that is DELETING with everything that belongs to it.
pub(super) async fn remove(
    engine: &Engine,
    stream: &StreamHandle,
    _control: &Control<'_>,
) -> Result<(), StreamError> {
    engine.0.keys.forget(engine, stream.number()).await?;
    engine.0.log.drop_stream(stream.number());
    // The API deletes no stream that has queues; the host may.
    queues::forget(engine, stream.number()).await?;
    for kind in KINDS {
        remove_all(engine, &prefix_of(kind, stream.number())).await?;
    }
    engine.0.meta.delete(&definition_key(stream.name()), stream.state().version).await?;
    engine.0.registry.remove(stream.name());
    consumers::forget(engine, stream.number());
    engine.0.meters.forget(stream.number());
    if let Some(throttle) = &engine.0.throttle {
        throttle.forget(stream.number());
    }
    tracing::info!(stream = %stream.name(), "stream deleted");
    Ok(())
}

/// Removes all metadata under a prefix, in one flush.
pub(super) async fn remove_all(engine: &Engine, prefix: &[u8]) -> Result<(), StreamError> {
    let found = engine.0.meta.list(prefix).into_iter();
    let removals: Vec<_> = found.map(|(key, stored)| engine.0.meta.delete(&key, stored.version)).collect();
    for removal in removals {
        removal.await?;
    }
    Ok(())
}
