//! A receive: claiming records, waiting for some, and giving them with their content.
//!
//! In: what a receiver asks for. Out: records, after the receive is durable: so its count and its invisibility outlive a
//! crash, and its handles stay good. The price is that a receive waits for one flush, shared with everyone who writes.
//!
//! While nothing is visible a receiver holds no records, no reads and no lock: it waits to be told. One receiver of a
//! queue listens to the log for all; each has a timer for the next record that becomes visible.
//! Invariant: a claim that is not answered is released, or becomes visible by itself.

use super::core::{Ask, Claimed, Fetch, Receipt, Side};
use super::handle::seal_receipt;
use super::queue::{Content, Queue};
use super::refusal;
use crate::api::{ApiError, ErrorType};
use crate::engine::Engine;
use crate::limits;
use crate::names::ShardId;
use crate::sequence::SequenceNumber;
use crate::storage::{BoxFuture, CommitError, Position, ReadLimits, ShardKey};
use crate::stream::StreamHandle;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

/// What a receiver asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Receive {
    pub(crate) side: Side,
    pub(crate) records: usize,
    pub(crate) wait: Duration,
    /// How long the records stay invisible; the queue's own time when there is none.
    pub(crate) timeout_ms: Option<u64>,
}

/// A record on its way to a receiver.
#[derive(Debug, Clone)]
pub(crate) struct Delivered {
    pub(crate) handle: String,
    pub(crate) record: SequenceNumber,
    pub(crate) content: Content,
    pub(crate) first_ms: u64,
    pub(crate) count: u32,
}

/// The records of one answer and the room it takes.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    pub(crate) records: Vec<Delivered>,
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// Receives records, waiting for the first one as long as asked.
///
/// # Errors
/// `ResourceNotFoundException` when the queue is gone, `ThrottlingException` when too many wait, and failures of the log.
pub(crate) async fn receive(engine: &Engine, queue: &Queue, ask: Receive) -> Result<Delivery, ApiError> {
    let mut until = Instant::now() + ask.wait;
    let mut place = None;
    let mut closing = engine.0.queues.closing.subscribe();
    loop {
        let mut told = pin!(queue.line(ask.side).changed.notified());
        // Before looking: what becomes visible from here on is told.
        told.as_mut().enable();
        let stream =
            queue.stream(engine).filter(|_| !queue.is_gone()).ok_or_else(|| super::not_found(queue))?;
        let mut changes = stream.changes();
        engine.0.keys.look(engine);
        queue.follow(engine, &stream).await?;
        if queue.is_delivering(engine.steady_ms()) {
            read_ahead(engine, queue, &stream, &ask).await?;
            let delivery = claim(engine, queue, &stream, &ask).await?;
            if let Some(delivery) = delivery {
                return Ok(delivery);
            }
        }
        let now = Instant::now();
        if now >= until {
            return Ok(Delivery::default());
        }
        if place.is_none() {
            place = Some(engine.0.queues.waiting.clone().try_acquire_owned().map_err(|_| {
                ApiError::new(ErrorType::Throttling, "Too many receive requests wait for records.")
            })?);
        }
        let pause = pause(engine, queue, ask.side).min(until - now);
        tokio::select! {
            () = told => {}
            () = tokio::time::sleep(pause) => {}
            // New shards, another retention.
            () = changes.changed() => {}
            _ = closing.changed() => until = now,
            () = listen(engine, queue, &stream), if ask.side == Side::Live => {}
        }
    }
}

/// How long nothing becomes visible by time alone; shortened, because the stream's shards and the clock may change.
fn pause(engine: &Engine, queue: &Queue, side: Side) -> Duration {
    let now_ms = engine.steady_ms();
    let next_ms = queue.state().core.next_visible_ms(now_ms, side);
    let pause =
        next_ms.map_or(limits::QUEUE_TICK, |next_ms| Duration::from_millis(next_ms.saturating_sub(now_ms)));
    pause.min(limits::QUEUE_TICK)
}

/// Reads new records when there are too few to give.
async fn read_ahead(
    engine: &Engine,
    queue: &Queue,
    stream: &StreamHandle,
    ask: &Receive,
) -> Result<(), ApiError> {
    if ask.side == Side::Dead {
        return Ok(());
    }
    let now_ms = engine.steady_ms();
    let fetches = {
        let state = queue.state();
        if state.core.is_short(now_ms, ask.side, ask.records) { state.core.fetches() } else { Vec::new() }
    };
    for fetch in fetches {
        if fetch.dry && !has_more(engine, stream, &fetch) {
            continue;
        }
        queue.fetch(engine, stream, fetch).await?;
        if !queue.state().core.is_short(now_ms, ask.side, ask.records) {
            break;
        }
    }
    Ok(())
}

/// Whether the log has a record for a read, without waiting for one.
fn has_more(engine: &Engine, stream: &StreamHandle, fetch: &Fetch) -> bool {
    let key = ShardKey { stream: stream.number(), shard: fetch.shard };
    let mut wait = engine.0.log.wait(key, fetch.from);
    let mut context = Context::from_waker(Waker::noop());
    fetch.closed || matches!(wait.as_mut().poll(&mut context), Poll::Ready(Ok(())))
}

/// Waits for a new record in any shard that would be read, on behalf of all receivers of the queue.
async fn listen(engine: &Engine, queue: &Queue, stream: &StreamHandle) {
    let _lead = queue.line(Side::Live).lead.lock().await;
    let fetches = queue.state().core.fetches();
    let key = |fetch: &Fetch| ShardKey { stream: stream.number(), shard: fetch.shard };
    let mut waits: Vec<BoxFuture<'_, Result<(), CommitError>>> =
        fetches.iter().map(|fetch| engine.0.log.wait(key(fetch), fetch.from)).collect();
    poll_fn(|cx| {
        // A log that stopped has nothing new to tell; asking it again at once would spin.
        let mut told = false;
        waits.retain_mut(|wait| match wait.as_mut().poll(cx) {
            Poll::Ready(outcome) => {
                told |= outcome.is_ok();
                false
            }
            Poll::Pending => true,
        });
        if told { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Claims what is visible; `None` when nothing is, or when the stream no longer has what was claimed.
async fn claim(
    engine: &Engine,
    queue: &Queue,
    stream: &StreamHandle,
    receive: &Receive,
) -> Result<Option<Delivery>, ApiError> {
    if queue.state().core.is_short(engine.steady_ms(), receive.side, 1) {
        return Ok(None);
    }
    let definition = queue.definition();
    let timeout_ms = receive.timeout_ms.unwrap_or(u64::from(definition.visibility_seconds) * 1_000);
    let not_before_ms = queue.not_before_ms(engine, stream);
    let stepped = queue.step(engine, |state, now_ms| {
        let ask = Ask {
            side: receive.side,
            records: receive.records,
            bytes: limits::QUEUE_RECEIVE_BYTES_MAX,
            timeout_ms,
            not_before_ms,
        };
        let claimed = state.core.claim(now_ms, &ask);
        let content = |claimed: &Claimed| state.content(claimed.shard, claimed.position);
        let found: Vec<_> = claimed.iter().map(|claimed| (*claimed, content(claimed))).collect();
        state.drop_read();
        let more = !state.core.is_short(now_ms, receive.side, 1);
        (found, more)
    });
    let ((found, more), durable) = stepped.await.map_err(refusal)?;
    if more {
        queue.line(receive.side).changed.notify_one();
    }
    if found.is_empty() {
        return Ok(None);
    }
    let claims = Claims { queue, engine, claimed: found.iter().map(|(claimed, _)| *claimed).collect() };
    let room = room(engine, &claims.claimed).await?;
    let content = read(engine, queue, stream, found).await?;
    durable.await?;
    claims.answered();
    let delivered: Vec<_> = content
        .into_iter()
        .filter_map(|(claimed, content)| deliver(engine, queue, stream, receive.side, &claimed, content))
        .collect();
    Ok((!delivered.is_empty()).then_some(Delivery { records: delivered, room: Some(room) }))
}

fn deliver(
    engine: &Engine,
    queue: &Queue,
    stream: &StreamHandle,
    side: Side,
    claimed: &Claimed,
    content: Content,
) -> Option<Delivered> {
    let generation = stream.state().shards.get(claimed.shard)?.generation;
    let (shard, position, serial) = (claimed.shard, claimed.position, claimed.entry.serial);
    Some(Delivered {
        handle: seal_receipt(queue.number, &Receipt { side, shard, position, serial }),
        record: SequenceNumber { generation, position, stream: stream.number(), shard },
        content,
        first_ms: engine.utc_of(claimed.entry.first_ms),
        count: claimed.entry.count(),
    })
}

/// Waits for the room an answer with these records takes.
async fn room(engine: &Engine, claimed: &[Claimed]) -> Result<OwnedSemaphorePermit, ApiError> {
    let bytes: usize = claimed.iter().map(|claimed| claimed.entry.bytes as usize).sum();
    let bytes =
        (bytes.div_ceil(3) * 4 + claimed.len() * limits::RECORD_REPLY_BYTES * 2).min(limits::REPLY_BYTES_MAX);
    let room = Arc::clone(&engine.0.replies).acquire_many_owned(u32::try_from(bytes).unwrap_or(u32::MAX));
    match tokio::time::timeout(limits::REPLY_WAIT, room).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(ApiError::new(
            ErrorType::Throttling,
            "Too many answers wait for clients that do not read them.",
        )),
    }
}

/// Reads the content of what was not read ahead. Records the stream no longer has are left out, and done.
async fn read(
    engine: &Engine,
    queue: &Queue,
    stream: &StreamHandle,
    found: Vec<(Claimed, Option<Content>)>,
) -> Result<Vec<(Claimed, Content)>, ApiError> {
    let mut missing: BTreeMap<ShardId, Vec<Position>> = BTreeMap::new();
    for (claimed, _) in found.iter().filter(|(_, content)| content.is_none()) {
        missing.entry(claimed.shard).or_default().push(claimed.position);
    }
    let mut contents = BTreeMap::new();
    for (shard, mut positions) in missing {
        positions.sort_unstable();
        read_shard(engine, queue, stream, shard, &positions, &mut contents).await?;
    }
    let mut read = Vec::with_capacity(found.len());
    for (claimed, content) in found {
        match content.or_else(|| contents.remove(&(claimed.shard, claimed.position))) {
            Some(content) => read.push((claimed, content)),
            None => queue.state().core.expire(claimed.shard, claimed.position),
        }
    }
    Ok(read)
}

/// Reads records at these positions, neighbours together.
async fn read_shard(
    engine: &Engine,
    queue: &Queue,
    stream: &StreamHandle,
    shard: ShardId,
    positions: &[Position],
    contents: &mut BTreeMap<(ShardId, Position), Content>,
) -> Result<(), ApiError> {
    let key = ShardKey { stream: stream.number(), shard };
    let not_before_ms = queue.not_before_ms(engine, stream);
    let near = |a: &Position, b: &Position| b.position - a.position <= limits::QUEUE_READ_HOLE;
    for group in positions.chunk_by(near) {
        let (Some(&first), Some(&last)) = (group.first(), group.last()) else { continue };
        let mut from = first;
        // A page may end early for its bytes; every turn gives at least one record or ends.
        while from <= last {
            let records = usize::try_from(last.position - from.position).unwrap_or(0) + group.len();
            let limits = ReadLimits { records, bytes: limits::QUEUE_RECEIVE_BYTES_MAX, not_before_ms };
            let page = engine.0.log.read(key, from, limits).await;
            let page = page.map_err(|error| engine.0.keys.unreadable(error))?;
            for run in &page.runs {
                run.visit(&mut |record| {
                    if group.binary_search(&record.position).is_ok() {
                        let (key, data) = (record.key.to_vec().into(), record.data.to_vec().into());
                        let content = Content { time_ms: record.time_ms, key, data };
                        contents.insert((shard, record.position), content);
                    }
                });
            }
            if page.next <= from || page.next >= page.end {
                break;
            }
            from = page.next;
        }
    }
    Ok(())
}

/// Claims that are not answered yet: released when the answer fails, or when the receiver goes away before it is made.
struct Claims<'a> {
    queue: &'a Queue,
    engine: &'a Engine,
    claimed: Vec<Claimed>,
}

impl Claims<'_> {
    fn answered(mut self) {
        self.claimed.clear();
    }
}

impl Drop for Claims<'_> {
    fn drop(&mut self) {
        if self.claimed.is_empty() {
            return;
        }
        let released = self.queue.step_now(self.engine, |state, now_ms| {
            self.claimed.iter().for_each(|claimed| state.core.release(now_ms, claimed));
        });
        // What cannot be staged becomes visible by itself.
        if released {
            self.queue.line(Side::Live).changed.notify_one();
            self.queue.line(Side::Dead).changed.notify_one();
        }
    }
}
