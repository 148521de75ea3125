//! What goes on without a caller: states that end by the clock, reshards and deletes that a start or a failure left
//! unfinished, closed shards that expire.
//!
//! All of it is found in the definitions, so a restart goes on where it was; each step is taken under the control lock. It
//! runs on whatever runtime the engine is used from, from the first use on, and ends with the engine.

use super::{Control, StreamError, delete, reshard, store};
use crate::clock::is_over;
use crate::definition::{Definition, StreamStatus};
use crate::engine::{Engine, Inner};
use crate::limits;
use crate::names::StreamName;
use crate::stream::StreamHandle;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Who looks after the streams, and when the next state ends.
#[derive(Debug)]
pub(crate) struct Upkeep {
    running: AtomicBool,
    /// UTC ms since 1970; never when nothing passes.
    due_ms: AtomicU64,
}

impl Default for Upkeep {
    fn default() -> Self {
        Upkeep { running: AtomicBool::new(false), due_ms: AtomicU64::new(u64::MAX) }
    }
}

/// Ends the states that are due by the engine's clock. Before every call of the API, so that what a client sees does not
/// depend on timers; costs one load when nothing passes.
pub(crate) async fn keep_time(engine: &Engine) {
    let due_ms = &engine.0.upkeep.due_ms;
    let next_ms = due_ms.load(Ordering::Relaxed);
    if next_ms == u64::MAX || engine.steady_ms() < next_ms {
        return;
    }
    // While a change is under way it is nobody's turn; records must not wait for it.
    let Ok(control) = engine.0.control.try_lock() else { return };
    due_ms.store(u64::MAX, Ordering::Relaxed);
    for stream in engine.streams() {
        if let Err(error) = settle(engine, &stream, &control).await {
            tracing::warn!(stream = %stream.name(), %error, "a change of a stream is tried again");
        } else if engine.stream(stream.name()).as_ref() == Some(&stream) {
            note(engine, &stream);
        }
    }
}

/// Remembers when the state of a stream ends.
fn note(engine: &Engine, stream: &StreamHandle) {
    if let Some(until_ms) = stream.state().definition.until_ms {
        engine.0.upkeep.due_ms.fetch_min(until_ms, Ordering::Relaxed);
    }
}

/// Finishes what is under way with a stream and due: nothing for one that is ACTIVE.
pub(super) async fn settle(
    engine: &Engine,
    stream: &StreamHandle,
    control: &Control<'_>,
) -> Result<(), StreamError> {
    if stream.state().definition.reshard.is_some() {
        reshard::finish(engine, stream, control).await?;
    }
    let state = stream.state();
    let definition = &state.definition;
    let due = definition.until_ms.is_none_or(|until_ms| is_over(until_ms, engine.steady_ms()));
    match definition.status {
        StreamStatus::Active => Ok(()),
        _ if !due => Ok(()),
        StreamStatus::Deleting => delete::remove(engine, stream, control).await,
        StreamStatus::Creating | StreamStatus::Updating => {
            let status = StreamStatus::Active;
            store(engine, stream, Definition { status, until_ms: None, ..definition.clone() }, None).await
        }
    }
}

/// Lets the state of a stream end when its time has come.
pub(super) fn show(engine: &Engine, stream: &StreamHandle) {
    let state = stream.state();
    if state.definition.status == StreamStatus::Active {
        return;
    }
    note(engine, stream);
    let wait = remaining(engine, &state.definition);
    // Without a runtime nobody waits for it; the first use within one looks after it.
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(settle_later(Arc::downgrade(&engine.0), stream.name().clone(), wait));
    }
}

fn remaining(engine: &Engine, definition: &Definition) -> Duration {
    let until_ms = definition.until_ms.unwrap_or(0);
    Duration::from_millis(until_ms.saturating_sub(engine.steady_ms())).min(limits::TRANSITION_MAX)
}

async fn settle_later(engine: Weak<Inner>, name: StreamName, mut wait: Duration) {
    loop {
        tokio::time::sleep(wait).await;
        let Some(engine) = engine.upgrade().map(Engine) else { return };
        let Some(stream) = engine.stream(&name) else { return };
        let outcome = settle(&engine, &stream, &engine.0.control.lock().await).await;
        if stream.state().definition.status == StreamStatus::Active || engine.stream(&name).is_none() {
            return;
        }
        wait = match outcome {
            Ok(()) => remaining(&engine, &stream.state().definition).max(limits::BUSY_PAUSE),
            Err(error) => {
                tracing::warn!(stream = %name, %error, "a change of a stream is tried again");
                limits::CHANGE_RETRY
            }
        };
    }
}

/// After a start: tells the log how long to keep what, and looks after the streams from then on.
pub(super) fn resume(engine: &Engine) {
    for stream in engine.0.registry.list() {
        let state = stream.state();
        engine.0.log.retain(stream.number(), state.definition.retention_ms());
        reshard::follow_parents(engine, &stream, state.shards.all());
        note(engine, &stream);
    }
    ensure(engine);
}

/// Looks after the streams from now on, if nobody does and there is a runtime to do it on.
pub(crate) fn ensure(engine: &Engine) {
    if engine.0.upkeep.running.load(Ordering::Relaxed) {
        return;
    }
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    if !engine.0.upkeep.running.swap(true, Ordering::AcqRel) {
        runtime.spawn(keep_up(Running(Arc::downgrade(&engine.0))));
    }
}

/// Says that nobody looks after the streams when the runtime ends before the engine does.
struct Running(Weak<Inner>);

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(inner) = self.0.upgrade() {
            inner.upkeep.running.store(false, Ordering::Release);
        }
    }
}

async fn keep_up(running: Running) {
    let mut started = false;
    loop {
        let Some(engine) = running.0.upgrade().map(Engine) else { return };
        upkeep(&engine).await;
        if !std::mem::replace(&mut started, true) {
            // States that a start found and that last on.
            engine.streams().iter().for_each(|stream| show(&engine, stream));
        }
        crate::scaling::round(&engine).await;
        drop(engine);
        tokio::time::sleep(limits::UPKEEP_INTERVAL).await;
    }
}

/// One round over all streams.
async fn upkeep(engine: &Engine) {
    for stream in engine.streams() {
        let control = engine.0.control.lock().await;
        let outcome = async {
            settle(engine, &stream, &control).await?;
            if engine.stream(stream.name()).as_ref() == Some(&stream) {
                reshard::clear_layouts(engine, &stream).await?;
                reshard::expire(engine, &stream, &control).await?;
            }
            Ok::<(), StreamError>(())
        };
        if let Err(error) = outcome.await {
            tracing::warn!(stream = %stream.name(), %error, "upkeep of a stream is tried again");
        }
    }
}
