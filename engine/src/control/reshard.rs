//! Reshards: shards end, others begin, and no record is lost or overtaken by a later one of its key.
//!
//! Steps, each durable before the next: the plan is kept in the definition; the shards that end are sealed, after which no
//! append reaches them; the new layout is stored, with their ends; the definition names it, which is the commit. Only then
//! does anything route to the new shards. A crash before the commit leaves the old layout and the plan, which the next start
//! carries out again from its beginning; after it, at most an old layout to clear away.

use super::delete::remove_all;
use super::{Control, Effect, StreamError, check_shards, detached, settled, show, store};
use crate::definition::{Definition, LAYOUTS, Layout, Reshard, StreamStatus, prefix_of};
use crate::engine::Engine;
use crate::layout::LayoutId;
use crate::names::{ShardId, StreamName};
use crate::reshard::{Plan, Resharded};
use crate::shards::{Shard, ShardMap};
use crate::storage::{Fence, Position, ShardKey};
use crate::stream::StreamHandle;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Engine {
    /// Splits, merges or resizes the shards of a stream that is ACTIVE, without the limits that the API keeps to. Durable and in
    /// force when this returns.
    ///
    /// # Errors
    /// [`StreamError::NotFound`], [`StreamError::NotActive`], [`StreamError::Plan`], [`StreamError::Shards`]: nothing has changed
    /// then. Otherwise what the storage says: then the reshard is finished as soon as it can be.
    pub async fn reshard(&self, name: &StreamName, plan: Plan) -> Result<(), StreamError> {
        resize(self, name, plan).await
    }
}

/// Reshards a stream that is ACTIVE: whoever decides, `UpdateShardCount` or the engine itself for on-demand streams. Durable
/// and in force when this returns; the state UPDATING is shown for as long as the settings say.
///
/// # Errors
/// [`StreamError::NotActive`], [`StreamError::Plan`], [`StreamError::Shards`]: nothing has changed then. Otherwise what the
/// storage says: then the reshard is finished as soon as it can be.
pub(crate) async fn resize(engine: &Engine, name: &StreamName, plan: Plan) -> Result<(), StreamError> {
    begin(engine, name, move |_| Ok(plan)).await
}

/// As [`resize`], with a plan made from the stream as it is when its turn has come, and what else should change with it.
pub(crate) async fn begin<E: From<StreamError> + Send + 'static>(
    engine: &Engine,
    name: &StreamName,
    plan: impl FnOnce(&mut Begin<'_>) -> Result<Plan, E> + Send + 'static,
) -> Result<(), E> {
    let (engine, name) = (engine.clone(), name.clone());
    detached(async move {
        let control = engine.0.control.lock().await;
        let stream = settled(&engine, &name, &control).await?;
        let state = stream.state();
        let mut definition = state.definition.clone();
        let plan = plan(&mut Begin { stream: &stream, shards: &state.shards, definition: &mut definition })?;
        super::active(&stream)?;
        let at_ms = engine.0.clock.now_ms().max(newest_ms(&state.shards));
        let resharded = Resharded::of(&state.shards, &plan, at_ms)
            .map_err(|error| StreamError::Plan { stream: name.clone(), error })?;
        let (before, after) = (state.shards.open_count(), resharded.open_count());
        if after > before {
            let more = u32::try_from(after - before).unwrap_or(u32::MAX);
            check_shards(&engine, more, after)?;
        }
        if resharded.ended.is_empty() {
            return Ok(());
        }
        definition.status = StreamStatus::Updating;
        definition.until_ms = Effect::Shown.until(&engine);
        definition.reshard = Some(Reshard { plan, at_ms });
        store(&engine, &stream, definition, None).await?;
        let finished = finish(&engine, &stream, &control).await;
        show(&engine, &stream);
        finished.map_err(E::from)
    })
    .await
}

/// What a plan is made from.
pub(crate) struct Begin<'a> {
    pub(crate) stream: &'a StreamHandle,
    pub(crate) shards: &'a ShardMap,
    /// What is stored with the plan, if it is carried out.
    pub(crate) definition: &'a mut Definition,
}

/// Shards begin after those they come from, also when the clock was set back.
fn newest_ms(shards: &ShardMap) -> u64 {
    shards.all().iter().map(|shard| shard.opened_ms).max().unwrap_or(0)
}

/// Carries out the reshard in the stream's definition, from its beginning.
pub(super) async fn finish(
    engine: &Engine,
    stream: &StreamHandle,
    control: &Control<'_>,
) -> Result<(), StreamError> {
    let state = stream.state();
    let Some(Reshard { plan, at_ms }) = &state.definition.reshard else { return Ok(()) };
    let resharded = Resharded::of(&state.shards, plan, *at_ms)
        .map_err(|error| StreamError::Plan { stream: stream.name().clone(), error })?;
    let ends = seal(engine, stream, &resharded.ended).await?;
    let shards = resharded.with_ends(&ends);
    let definition = Definition {
        status: match state.definition.until_ms {
            Some(_) => StreamStatus::Updating,
            None => StreamStatus::Active,
        },
        reshard: None,
        ..state.definition.clone()
    };
    follow_parents(engine, stream, &shards);
    let open = put_layout(engine, stream, definition, shards, control).await?;
    tracing::info!(stream = %stream.name(), open, "stream resharded");
    Ok(())
}

/// Seals shards, all in one flush. After a crash they are open again until this is repeated, and end further on.
async fn seal(
    engine: &Engine,
    stream: &StreamHandle,
    shards: &[ShardId],
) -> Result<BTreeMap<ShardId, Position>, StreamError> {
    let key = |shard| ShardKey { stream: stream.number(), shard };
    let sealing: Vec<_> =
        shards.iter().map(|&shard| (shard, engine.0.log.seal(key(shard), Fence(0)))).collect();
    let mut ends = BTreeMap::new();
    for (shard, sealed) in sealing {
        ends.insert(shard, sealed.await?);
    }
    Ok(ends)
}

/// Lets open shards that came from others go on where these ended.
pub(super) fn follow_parents(engine: &Engine, stream: &StreamHandle, shards: &[Shard]) {
    let key = |shard| ShardKey { stream: stream.number(), shard };
    for child in shards.iter().filter(|shard| shard.closed.is_none() && shard.generation > 0) {
        let parents: Vec<_> = child.parent.into_iter().chain(child.adjacent_parent).map(key).collect();
        engine.0.log.begin_after(key(child.id), &parents);
    }
}

/// Stores a layout, then the definition that names it, then clears away what was before. Gives the number of open shards.
pub(super) async fn put_layout(
    engine: &Engine,
    stream: &StreamHandle,
    mut definition: Definition,
    shards: Vec<Shard>,
    _control: &Control<'_>,
) -> Result<usize, StreamError> {
    let version = match definition.layout {
        Layout::Even { .. } => 1,
        Layout::Stored { version, .. } => version.checked_add(1).ok_or(StreamError::Damaged("s/l"))?,
    };
    let layout = LayoutId { stream: stream.number(), version };
    // What an attempt left that was interrupted.
    remove_all(engine, &layout.prefix()).await?;
    let values = layout.encode(&shards);
    let chunks = u32::try_from(values.len()).map_err(|_| StreamError::Damaged("s/l"))?;
    let puts: Vec<_> =
        (0..).zip(&values).map(|(chunk, value)| engine.0.meta.put(&layout.key(chunk), value, 0)).collect();
    for put in puts {
        put.await?;
    }
    definition.layout = Layout::Stored { version, chunks };
    let map = ShardMap::new(shards).ok_or(StreamError::Damaged("s/l"))?;
    let open = map.open_count();
    store(engine, stream, definition, Some(Arc::new(map))).await?;
    // The change is done. Old layouts that stay behind because this fails go with the next change, start or delete.
    if let Err(error) = clear_layouts(engine, stream).await {
        tracing::warn!(stream = %stream.name(), %error, "an old layout was not removed");
    }
    Ok(open)
}

/// Removes every layout but the one that counts.
pub(super) async fn clear_layouts(engine: &Engine, stream: &StreamHandle) -> Result<(), StreamError> {
    let kept = match stream.state().definition.layout {
        Layout::Even { .. } => None,
        Layout::Stored { version, .. } => Some(LayoutId { stream: stream.number(), version }.prefix()),
    };
    let found = engine.0.meta.list(&prefix_of(LAYOUTS, stream.number())).into_iter();
    let old = found.filter(|(key, _)| kept.as_ref().is_none_or(|kept| !key.starts_with(kept)));
    let removals: Vec<_> = old.map(|(key, stored)| engine.0.meta.delete(&key, stored.version)).collect();
    for removal in removals {
        removal.await?;
    }
    Ok(())
}

/// Forgets closed shards of which nothing can be read any more.
pub(super) async fn expire(
    engine: &Engine,
    stream: &StreamHandle,
    control: &Control<'_>,
) -> Result<(), StreamError> {
    let state = stream.state();
    let horizon_ms = engine.horizon_ms(&state.definition);
    let (expired, left): (Vec<Shard>, Vec<Shard>) =
        state.shards.all().iter().cloned().partition(|shard| shard.is_expired(horizon_ms));
    if expired.is_empty() || state.definition.reshard.is_some() {
        return Ok(());
    }
    put_layout(engine, stream, state.definition.clone(), left, control).await?;
    for shard in &expired {
        if let Some(closed) = shard.closed {
            engine.0.log.trim(ShardKey { stream: stream.number(), shard: shard.id }, closed.end);
        }
    }
    tracing::info!(stream = %stream.name(), shards = expired.len(), "closed shards have expired");
    Ok(())
}
