//! One queue in memory: its core, what was read ahead for it, and who waits.
//!
//! In: steps on the core. Out: the same, staged in the log in the order they were made. Invariants: what the core says and
//! what is staged never differ once the lock is released; data read ahead is bounded over all queues, and no lock is held
//! while anything is read or awaited.
//! Not here: the loop of a receive (receive), what steps there are (core).

use super::core::{Fetch, Fresh, QueueCore, ShardView, Side};
use super::definition::{QueueArn, QueueDefinition, QueueStatus};
use crate::api::ApiError;
use crate::engine::Engine;
use crate::limits;
use crate::names::ShardId;
use crate::storage::{AppendError, AppendSet, Cursor, Page, Pending, Position, ReadLimits, ShardKey};
use crate::stream::StreamHandle;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::{Notify, OwnedSemaphorePermit};

/// A queue that exists.
#[derive(Debug)]
pub(crate) struct Queue {
    pub(crate) number: u32,
    pub(crate) arn: Box<str>,
    definition: RwLock<Arc<QueueDefinition>>,
    state: Mutex<State>,
    /// Receivers of live records and of dead letters.
    lines: [Line; 2],
    gone: AtomicBool,
}

/// Receivers that wait for one side of a queue.
#[derive(Debug, Default)]
pub(crate) struct Line {
    /// Told when something may have become visible.
    pub(crate) changed: Notify,
    /// Held by the one receiver that listens to the log for all.
    pub(crate) lead: tokio::sync::Mutex<()>,
}

/// What is behind the lock.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) core: QueueCore,
    ahead: BTreeMap<ShardId, Ahead>,
    /// Version of the stream's definition whose shards the core knows.
    version: u64,
    swept_ms: u64,
    set: AppendSet,
}

/// Records of one shard that were read before anyone asked for them.
#[derive(Debug)]
struct Ahead {
    bytes: Bytes,
    records: Vec<Record>,
    _room: OwnedSemaphorePermit,
}

/// Where in [`Ahead::bytes`] a record is.
#[derive(Debug, Clone, Copy)]
struct Record {
    fresh: Fresh,
    start: usize,
    key_bytes: usize,
}

/// A record's content.
#[derive(Debug, Clone)]
pub(crate) struct Content {
    pub(crate) time_ms: u64,
    pub(crate) key: Bytes,
    pub(crate) data: Bytes,
}

impl State {
    /// The content of a record, when it was read ahead.
    pub(crate) fn content(&self, shard: ShardId, position: Position) -> Option<Content> {
        let ahead = self.ahead.get(&shard)?;
        let at = ahead.records.binary_search_by_key(&position, |record| record.fresh.position).ok()?;
        let record = ahead.records.get(at)?;
        let key_end = record.start + record.key_bytes;
        Some(Content {
            time_ms: record.fresh.time_ms,
            key: ahead.bytes.slice(record.start..key_end),
            data: ahead.bytes.slice(key_end..record.start + record.fresh.bytes as usize),
        })
    }

    /// Lets go of what was read ahead and has all been received.
    pub(crate) fn drop_read(&mut self) {
        let core = &self.core;
        self.ahead.retain(|&shard, _| core.ready_len(shard) > 0);
    }
}

impl Queue {
    pub(crate) fn new(definition: QueueDefinition, core: QueueCore, region: &str, account: &str) -> Self {
        let arn = QueueArn::new(region, account, &definition).0.into();
        Queue {
            number: definition.number,
            arn,
            definition: RwLock::new(Arc::new(definition)),
            state: Mutex::new(State { core, ..State::default() }),
            lines: Default::default(),
            gone: AtomicBool::new(false),
        }
    }

    /// The definition as it is now.
    pub(crate) fn definition(&self) -> Arc<QueueDefinition> {
        self.definition.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_definition(&self, definition: QueueDefinition) {
        *self.definition.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(definition);
    }

    /// The state, locked.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn line(&self, side: Side) -> &Line {
        &self.lines[usize::from(side == Side::Dead)]
    }

    /// Wakes every receiver to look again.
    pub(crate) fn wake(&self) {
        self.lines.iter().for_each(|line| line.changed.notify_waiters());
    }

    /// Ends the queue for everyone who still holds it.
    pub(crate) fn end(&self) {
        self.gone.store(true, Ordering::Release);
        self.wake();
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// The stream, unless it was deleted or made again.
    pub(crate) fn stream(&self, engine: &Engine) -> Option<StreamHandle> {
        let definition = self.definition();
        let name = crate::names::StreamName::parse(&definition.stream_name).ok()?;
        engine.stream(&name).filter(|stream| stream.number() == definition.stream())
    }

    /// Makes a step on the core and stages what it changes. The step is made again after a wait when the log is busy, and
    /// is as if it was never made when it cannot be staged. The answer may be given when the [`Pending`] has resolved.
    ///
    /// # Errors
    /// [`AppendError`] of the log.
    pub(crate) async fn step<T>(
        &self,
        engine: &Engine,
        mut step: impl FnMut(&mut State, u64) -> T,
    ) -> Result<(T, Pending), AppendError> {
        let until = tokio::time::Instant::now() + limits::BUSY_WAIT;
        loop {
            match self.try_step(engine, &mut step) {
                Err(AppendError::Busy) if tokio::time::Instant::now() < until => {
                    tokio::time::sleep(limits::BUSY_PAUSE).await;
                }
                outcome => return outcome,
            }
        }
    }

    /// [`Queue::step`] for callers that cannot wait: whether it was staged.
    pub(crate) fn step_now(&self, engine: &Engine, mut step: impl FnMut(&mut State, u64)) -> bool {
        self.try_step(engine, &mut step).is_ok()
    }

    /// Whether records are delivered now.
    pub(crate) fn is_delivering(&self, now_ms: u64) -> bool {
        matches!(self.definition().status(now_ms), QueueStatus::Active | QueueStatus::Updating)
    }

    fn try_step<T>(
        &self,
        engine: &Engine,
        step: &mut impl FnMut(&mut State, u64) -> T,
    ) -> Result<(T, Pending), AppendError> {
        let now_ms = engine.steady_ms();
        let mut state = self.state();
        let outcome = step(&mut state, now_ms);
        let mut set = std::mem::take(&mut state.set);
        set.clear();
        for stored in state.core.persist() {
            let key = stored.key.bytes(self.number);
            match &stored.value {
                Some(value) => set.mark(&key, value),
                None => set.unmark(&key),
            }
        }
        // Under the lock: the log takes steps in the order they were made.
        let staged =
            if set.is_empty() { Ok(engine.0.log.barrier()) } else { engine.0.log.append(&set, now_ms) };
        state.set = set;
        match staged {
            Ok(pending) => {
                state.core.commit();
                engine.0.queues.count(state.core.take_tally());
                Ok((outcome, pending))
            }
            Err(error) => {
                state.core.rollback();
                Err(error)
            }
        }
    }

    /// Takes the stream's shards as they are now, and lets go of records whose retention is over.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) async fn follow(&self, engine: &Engine, stream: &StreamHandle) -> Result<(), ApiError> {
        let now_ms = engine.steady_ms();
        let shards = {
            let mut state = self.state();
            let stream = stream.state();
            if state.version != stream.version {
                state.version = stream.version;
                let view = |shard: &crate::definition::Shard| ShardView {
                    id: shard.id,
                    parents: shard.parent.into_iter().chain(shard.adjacent_parent).collect(),
                    end: shard.closed.map(|closed| closed.end),
                };
                let views: Vec<ShardView> = stream.shards.all().iter().map(view).collect();
                state.core.set_shards(&views);
            }
            if now_ms < state.swept_ms.saturating_add(limits::QUEUE_SWEEP_MS) {
                return Ok(());
            }
            state.swept_ms = now_ms;
            state.core.shards_with_open()
        };
        let not_before_ms = self.not_before_ms(engine, stream);
        for shard in shards {
            let key = ShardKey { stream: stream.number(), shard };
            let first = engine.0.log.locate(key, Cursor::AtTime(not_before_ms)).await;
            let first = first.map_err(|error| engine.0.keys.unreadable(error))?;
            self.state().core.expire_before(shard, first);
        }
        Ok(())
    }

    /// Records that arrived before this UTC time (ms) are not delivered (any more).
    pub(crate) fn not_before_ms(&self, engine: &Engine, stream: &StreamHandle) -> u64 {
        let retained = engine.horizon_ms(&stream.state().definition);
        retained.max(self.definition().start.not_before_ms())
    }

    /// Reads new records of one shard ahead, unless another receiver does.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) async fn fetch(
        &self,
        engine: &Engine,
        stream: &StreamHandle,
        fetch: Fetch,
    ) -> Result<(), ApiError> {
        let Some(mut reading) = Reading::begin(self, fetch) else { return Ok(()) };
        let limits = ReadLimits {
            records: limits::QUEUE_AHEAD_RECORDS,
            bytes: limits::QUEUE_AHEAD_BYTES,
            not_before_ms: self.not_before_ms(engine, stream),
        };
        let key = ShardKey { stream: stream.number(), shard: fetch.shard };
        let page = engine.0.log.read(key, fetch.from, limits).await;
        let page = page.map_err(|error| engine.0.keys.unreadable(error))?;
        reading.ended = true;
        let (records, bytes) = copy(&page);
        let fresh: Vec<Fresh> = records.iter().map(|record| record.fresh).collect();
        let room = u32::try_from(bytes.len()).ok();
        let room = room.and_then(|bytes| engine.0.queues.ahead.clone().try_acquire_many_owned(bytes).ok());
        let mut state = self.state();
        state.core.fetched(&fetch, &fresh, page.next, page.next >= page.end);
        state.ahead.remove(&fetch.shard);
        // Without room for the content it is read again for whoever receives it.
        if let Some(_room) = room.filter(|_| !records.is_empty()) {
            state.ahead.insert(fetch.shard, Ahead { bytes, records, _room });
        }
        Ok(())
    }
}

fn copy(page: &Page) -> (Vec<Record>, Bytes) {
    let (mut records, mut bytes) = (Vec::new(), Vec::new());
    for run in &page.runs {
        run.visit(&mut |record| {
            let start = bytes.len();
            bytes.extend_from_slice(record.key);
            bytes.extend_from_slice(record.data);
            let size = u32::try_from(bytes.len() - start).unwrap_or(u32::MAX);
            let fresh = Fresh { position: record.position, time_ms: record.time_ms, bytes: size };
            records.push(Record { fresh, start, key_bytes: record.key.len() });
        });
    }
    (records, bytes.into())
}

/// A read under way: a receiver that goes away in the middle must not keep others from reading.
struct Reading<'a> {
    queue: &'a Queue,
    shard: ShardId,
    ended: bool,
}

impl<'a> Reading<'a> {
    fn begin(queue: &'a Queue, fetch: Fetch) -> Option<Self> {
        let began = queue.state().core.fetch_began(&fetch);
        began.then_some(Reading { queue, shard: fetch.shard, ended: false })
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.queue.state().core.fetch_ended(self.shard);
            self.queue.line(Side::Live).changed.notify_one();
        }
    }
}
