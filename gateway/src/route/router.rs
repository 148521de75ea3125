//! The routes over the engine.
//!
//! In: batches of publishes. Out: one engine batch for each, a commit, counters.
//! Invariants: a batch is staged whole or not at all; marks of devices are staged with the data they speak of, and if
//! the engine refuses the batch nothing stays marked; a repeat is acknowledged only after what it repeats is durable.
//! Streams that do not exist are created beside the call: it answers `Busy` and is offered again.

mod counted;
mod known;
mod plan;
mod shelf;

pub(crate) use self::plan::Plan;

use self::known::saved_devices;
use self::shelf::{EngineShelf, Idle, Scratch};
use super::counters::{RouteCounters, Totals, Unmatched};
use super::devices::{Desk, Device, Devices, schema_key, seen_key};
use super::limits::IDLE_SCRATCH_MAX;
use super::rule::Route;
use super::take::{Again, Taker};
use crate::config::{Config, Stream};
use crate::ingest::{Inbound, Ingest, IngestError, Ingested, Verdict};
use headwater_engine::storage::{AppendError, CommitError, LogState};
use headwater_engine::{Clock, Commit, Engine, Origin, StreamError, StreamName};
use headwater_telemetry::{DeviceId, TimeQuality};
use std::collections::{BTreeMap, hash_map::RandomState};
use std::future::Future;
use std::hash::{BuildHasher, Hasher};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// What a router is told.
#[derive(Debug, Clone)]
pub struct RouterSettings {
    /// The routes, in their order.
    pub routes: Vec<Route>,
    /// The stream of the dead letters.
    pub dead_letter: String,
    /// Streams with a shape of their own, created when the router opens.
    pub streams: BTreeMap<String, Stream>,
    /// The shape of all other streams.
    pub stream_defaults: Stream,
    /// Whether streams are created on first use.
    pub create_streams: bool,
    /// Devices whose marks are kept in memory.
    pub devices_in_memory: usize,
    /// Devices whose marks are kept on disk.
    pub devices_max: usize,
    /// Where the time comes from.
    pub clock: Clock,
    /// How good that time is, as devices are told.
    pub time_quality: TimeQuality,
}

impl RouterSettings {
    /// The part of a configuration that a router needs.
    pub fn of(config: &Config) -> Self {
        RouterSettings {
            routes: config.routes.clone(),
            dead_letter: config.dead_letter.clone(),
            streams: config.streams.clone(),
            stream_defaults: config.stream_defaults,
            create_streams: config.create_streams,
            devices_in_memory: config.repeats.devices_in_memory,
            devices_max: config.repeats.devices_max,
            clock: Clock::system(),
            time_quality: config.gateway.time_quality,
        }
    }
}

/// Why a router did not open.
#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    /// A stream has a name that the Kinesis API does not allow.
    #[error("a route or the dead letters name a stream that is not 1 to 128 of a-z A-Z 0-9 _ . -")]
    Name,
    /// A stream could not be created.
    #[error("stream {name} could not be created")]
    Stream {
        /// Its name.
        name: String,
        /// Why.
        source: StreamError,
    },
}

/// Takes publishes to shards. Cheap to share behind an `Arc`.
pub struct Router {
    engine: Engine,
    /// What calls need and give back, and what they go by: one lock gives both.
    idle: Mutex<Idle>,
    devices: Mutex<Devices>,
    totals: Totals,
    unmatched: Unmatched,
    clock: Clock,
    /// Keys of the hash that random numbers are made with; the standard library draws them from the system.
    random: RandomState,
    drawn: AtomicU64,
}

impl Router {
    /// Opens the routes on `engine` and creates the streams that are known by name. Call inside a tokio runtime; it is
    /// kept for creating streams later.
    ///
    /// # Errors
    /// A stream's name is not allowed, or a stream cannot be created.
    pub async fn open(engine: Engine, settings: RouterSettings) -> Result<Router, RouterError> {
        let plan = Plan::prepare(engine.clone(), &settings, None).await?;
        let saved = saved_devices(&engine);
        let devices = Devices::new(settings.devices_in_memory, saved, settings.devices_max);
        Ok(Router {
            engine,
            idle: Mutex::new(Idle::new(plan)),
            devices: Mutex::new(devices),
            totals: Totals::default(),
            unmatched: Unmatched::default(),
            clock: settings.clock,
            random: RandomState::new(),
            drawn: AtomicU64::new(0),
        })
    }

    /// What was counted since the start.
    pub fn counters(&self) -> RouteCounters {
        self.totals.snapshot()
    }

    /// Topics without a route with their counts, most frequent first, at most
    /// [`UNMATCHED_TOPICS_MAX`](super::limits::UNMATCHED_TOPICS_MAX), and the count of all others.
    pub fn unmatched(&self) -> (Vec<(String, u64)>, u64) {
        self.unmatched.snapshot()
    }

    /// Devices whose marks are in memory.
    pub fn devices_in_memory(&self) -> usize {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The engine below.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    fn offer(
        &self,
        publishes: &[Inbound<'_>],
        scratch: &mut Scratch,
        plan: &Plan,
    ) -> Result<Ingested<RouteCommit>, Offered> {
        let load = |id: &DeviceId| self.load(id);
        let random = || self.draw();
        scratch.batch.clear();
        scratch.batch.set_origin(Origin::Routes);
        let shelf = EngineShelf { batch: &mut scratch.batch, creation: &plan.creation };
        let mut taker = Taker {
            rules: &plan.rules,
            shelf,
            desk: Desk::new(&self.devices, &load),
            text: std::mem::take(&mut scratch.text),
            now_ms: self.clock.now_ms(),
            random: &random,
            counts: RouteCounters::default(),
            noticed: Vec::new(),
            leans_on_earlier: false,
            said: Vec::new(),
            time_quality: plan.time_quality,
        };
        let mut verdicts = Vec::with_capacity(publishes.len());
        let mut downlink = Vec::with_capacity(publishes.len());
        for publish in publishes {
            let taken = taker.take(publish).map_err(|Again| Offered::Failed(self.not_now()))?;
            verdicts.push(taken.verdict);
            downlink.push(taken.downlink);
        }
        taker.save_devices();
        let Taker { desk, text, counts, noticed, leans_on_earlier, said, .. } = taker;
        scratch.text = text;
        let commit = if !scratch.batch.is_empty() {
            // The desk still holds its lock: no other call can see marks that this append may take back.
            Some(self.engine.append(&scratch.batch)?)
        } else if leans_on_earlier {
            Some(self.engine.barrier())
        } else {
            None
        };
        desk.keep();
        let number = |name: &StreamName| self.engine.stream(name).map(|stream| stream.number());
        let noticed = noticed.iter().filter_map(|(name, noticed)| Some((number(name)?, *noticed)));
        self.totals.add(&counts, noticed);
        for (publish, verdict) in publishes.iter().zip(&verdicts) {
            if *verdict == Verdict::NoRoute {
                self.unmatched.note(publish.topic);
            }
        }
        Ok(Ingested { commit: RouteCommit(commit), verdicts, downlink, said })
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A stream is missing. It is being created, unless storage takes nothing any more.
    fn not_now(&self) -> IngestError {
        match self.engine.state() {
            LogState::Open => IngestError::Busy,
            LogState::Full => IngestError::Full,
            LogState::Failed { reason } => IngestError::Failed(reason),
        }
    }

    fn load(&self, id: &DeviceId) -> Device {
        let get = |key: &[u8]| self.engine.meta_get(key).map(|found| found.value);
        Device::restore(get(&seen_key(id)).as_deref(), get(&schema_key(id)).as_deref())
    }

    /// 128 bits that nobody can foretell who does not know the keys. For UUIDs, not for secrets.
    fn draw(&self) -> u128 {
        let half = |salt: u8| {
            let mut hasher = self.random.build_hasher();
            hasher.write_u64(self.drawn.load(Relaxed));
            hasher.write_u8(salt);
            u128::from(hasher.finish())
        };
        self.drawn.fetch_add(1, Relaxed);
        let thread = std::thread::current().id();
        let mut hasher = self.random.build_hasher();
        std::hash::Hash::hash(&thread, &mut hasher);
        (half(0) << 64 | half(1)) ^ u128::from(hasher.finish())
    }
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Router").field("rules", &self.plan().rules).finish_non_exhaustive()
    }
}

impl Ingest for Router {
    type Commit = RouteCommit;

    fn ingest(&self, publishes: &[Inbound<'_>]) -> Result<Ingested<RouteCommit>, IngestError> {
        let (mut scratch, plan) = self.idle().take();
        let offered = self.offer(publishes, &mut scratch, &plan);
        let mut idle = self.idle();
        if idle.spares.len() < IDLE_SCRATCH_MAX {
            idle.spares.push(scratch);
        }
        drop(idle);
        match offered {
            Ok(ingested) => Ok(ingested),
            Err(Offered::Failed(error)) => Err(error),
            Err(Offered::TooLarge) if publishes.len() > 1 => self.in_halves(publishes),
            Err(Offered::TooLarge) => Ok(self.too_large(publishes)),
        }
    }
}

impl Router {
    /// For batches that unpack to more than the journal takes at once. If the second half is refused after the first
    /// was staged, the caller offers both again: devices' repeats are dropped, others' are stored twice.
    fn in_halves(&self, publishes: &[Inbound<'_>]) -> Result<Ingested<RouteCommit>, IngestError> {
        let (first, second) = publishes.split_at(publishes.len() / 2);
        let mut whole = self.ingest(first)?;
        let rest = self.ingest(second)?;
        whole.verdicts.extend(rest.verdicts);
        whole.downlink.extend(rest.downlink);
        whole.said.extend(rest.said);
        // Commits become durable in the order they were staged, so the later one covers both.
        if rest.commit.0.is_some() {
            whole.commit = rest.commit;
        }
        Ok(whole)
    }
}

enum Offered {
    TooLarge,
    Failed(IngestError),
}

impl From<AppendError> for Offered {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::TooLarge { .. } => Offered::TooLarge,
            AppendError::Full => Offered::Failed(IngestError::Full),
            // A shard was closed between put and append: offered again, its records find the shards there are then.
            // A stream whose key is disabled takes records again when the key is enabled: until then publishers wait.
            AppendError::Busy | AppendError::Sealed(_) | AppendError::NoKey(_) => {
                Offered::Failed(IngestError::Busy)
            }
            AppendError::Failed(reason) => Offered::Failed(IngestError::Failed(reason)),
        }
    }
}

/// Resolves when everything of a batch is durable.
#[derive(Debug)]
pub struct RouteCommit(Option<Commit>);

impl Future for RouteCommit {
    type Output = Result<(), IngestError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(commit) = &mut self.0 else { return Poll::Ready(Ok(())) };
        Pin::new(commit).poll(cx).map_err(|CommitError { reason }| IngestError::Failed(reason))
    }
}
