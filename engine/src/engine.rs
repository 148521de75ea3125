//! The engine: what holds the streams, the log and the clock together.
//!
//! In: batches of records, changes of streams. Out: commits, handles, pages. Not here: the API's wording (operations),
//! sockets (http), files (journal).

use crate::api::{Call, Format, Reply, ReplyBody};
use crate::batch::{Commit, EngineBatch};
use crate::clock::{Begun, Clock};
use crate::consumers::{self, Consumers};
use crate::control;
use crate::counters::{EngineCounters, Tally};
use crate::definition::Shard;
use crate::hash::HashKey;
use crate::keys::{KeyFileError, KeySource, Keys};
use crate::limits;
use crate::meters::Meters;
use crate::names::{ShardId, StreamArn, StreamName};
use crate::operations;
use crate::queues::{self, Queues};
use crate::quota::HeldBack;
use crate::scaling::Scalings;
use crate::storage::embedded::{EmbeddedLog, EmbeddedMeta};
use crate::storage::{AppendError, LogState, MetaStore, ShardLog, Versioned};
use crate::stream::{Registry, StreamHandle};
use crate::throttle::{LimitProfile, Throttle};
use bytes::Bytes;
use headwater_journal::{self as journal, Journal};
use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Directory of streams' wrapped keys, beside the journal's.
pub(crate) const KEYS_DIR: &str = "keys";

/// Settings of an engine.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Directory of the journal; made when it does not exist.
    pub dir: PathBuf,
    /// Settings of the journal.
    pub journal: journal::Config,
    /// Region in the ARNs, `us-east-1` unless set.
    pub region: String,
    /// Account in the ARNs, twelve digits, `000000000000` unless set.
    pub account: String,
    /// Where the time comes from.
    pub clock: Clock,
    /// Which rates the API keeps to, none unless set. The host's own appends have no rate.
    pub limits: LimitProfile,
    /// How long the states CREATING, UPDATING and DELETING are shown, at most [`limits::TRANSITION_MAX`]. Zero unless set: work
    /// is done when it is answered, and a client's waiter finds it done at its first look.
    pub transition: Duration,
    /// Where the master keys are that streams' keys are wrapped with; nowhere unless set.
    pub master_keys: KeySource,
}

impl EngineConfig {
    /// The default settings for a journal in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        EngineConfig {
            dir: dir.into(),
            journal: journal::Config::default(),
            region: "us-east-1".into(),
            account: "000000000000".into(),
            clock: Clock::system(),
            limits: LimitProfile::None,
            transition: Duration::ZERO,
            master_keys: KeySource::None,
        }
    }
}

/// The shard engine. Cheap to clone; all clones are one engine.
#[derive(Clone)]
pub struct Engine(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) log: Arc<dyn ShardLog>,
    pub(crate) meta: Arc<dyn MetaStore>,
    pub(crate) registry: Registry,
    /// One change of streams at a time; put-if-version guards against other processes, this against ourselves.
    pub(crate) control: tokio::sync::Mutex<()>,
    /// How long states that pass are shown.
    pub(crate) transition: Duration,
    pub(crate) upkeep: control::Upkeep,
    pub(crate) clock: Clock,
    pub(crate) begun: Begun,
    pub(crate) region: Box<str>,
    pub(crate) account: Box<str>,
    pub(crate) tally: Tally,
    pub(crate) queues: Queues,
    pub(crate) meters: Meters,
    pub(crate) keys: Keys,
    pub(crate) scalings: Scalings,
    /// `None` without rate limits.
    pub(crate) throttle: Option<Throttle>,
    pub(crate) consumers: Consumers,
    pub(crate) held_back: HeldBack,
    /// Bytes left for replies that clients have not taken yet.
    pub(crate) replies: Arc<Semaphore>,
    journal: Mutex<Option<Journal>>,
}

impl Engine {
    /// Opens an engine on the journal in `config.dir`, with everything that was durable in it.
    ///
    /// # Errors
    /// [`OpenError`] when the settings cannot work or the journal cannot be opened. A damaged journal opens; the
    /// [`journal::Recovery`] names what it lost.
    pub fn open(config: EngineConfig) -> Result<(Engine, journal::Recovery), OpenError> {
        let name = StreamName::parse("x").map_err(|e| OpenError::Config(e.to_string()))?;
        let arn = StreamArn::new(&config.region, &config.account, name);
        StreamArn::parse(&arn.to_string()).map_err(|_| {
            OpenError::Config(format!("region `{}` or account `{}`", config.region, config.account))
        })?;
        let scope = (config.region.as_str(), config.account.as_str());
        let keys =
            Keys::open(config.master_keys.clone(), &config.dir.join(KEYS_DIR), scope, config.clock.now_ms())?;
        let clock = config.clock.of_journal();
        let (journal, recovery) = Journal::open_with(&config.dir, config.journal.clone(), clock)?;
        let log = EmbeddedLog::new(journal.clone());
        let meta = EmbeddedMeta::new(&log);
        let engine = Engine::with(Arc::new(log), Arc::new(meta), keys, &config);
        *engine.0.journal.lock().unwrap_or_else(PoisonError::into_inner) = Some(journal);
        Ok((engine, recovery))
    }

    /// An engine on storage of the caller's making: the settings' directory, journal and master keys are not looked at.
    #[must_use]
    pub fn on(log: Arc<dyn ShardLog>, meta: Arc<dyn MetaStore>, config: &EngineConfig) -> Engine {
        Engine::with(log, meta, Keys::none(&config.region, &config.account), config)
    }

    fn with(log: Arc<dyn ShardLog>, meta: Arc<dyn MetaStore>, keys: Keys, config: &EngineConfig) -> Engine {
        let moment = config.clock.moment();
        let begun = Begun::at(moment, log.kept_ms(moment));
        let registry = Registry::load(&*meta, &config.region, &config.account);
        let consumers = Consumers::load(&*meta);
        let queues = Queues::load(&*meta, &config.region, &config.account);
        let engine = Engine(Arc::new(Inner {
            log,
            meta,
            registry,
            control: tokio::sync::Mutex::new(()),
            transition: config.transition,
            upkeep: control::Upkeep::default(),
            clock: config.clock.clone(),
            begun,
            region: config.region.as_str().into(),
            account: config.account.as_str().into(),
            tally: Tally::new(operations::names()),
            queues,
            meters: Meters::default(),
            keys,
            scalings: Scalings::default(),
            throttle: Throttle::of(config.limits),
            consumers,
            held_back: HeldBack::default(),
            replies: Arc::new(Semaphore::new(limits::REPLY_BYTES_IN_FLIGHT_MAX)),
            journal: Mutex::new(None),
        }));
        engine.0.keys.unlock(&*engine.0.log, &engine.0.registry.list());
        control::resume(&engine);
        consumers::resume(&engine);
        queues::resume(&engine);
        engine
    }

    /// The stream of this name, if there is one.
    #[must_use]
    pub fn stream(&self, name: &StreamName) -> Option<StreamHandle> {
        self.0.registry.get(name)
    }

    /// All streams in order of their names.
    #[must_use]
    pub fn streams(&self) -> Vec<StreamHandle> {
        self.0.registry.list()
    }

    /// The open shard that takes records of this partition key.
    #[must_use]
    pub fn shard_for(&self, stream: &StreamHandle, partition_key: &str) -> ShardId {
        let state = stream.state();
        let shard: &Shard = state.shards.route(HashKey::of(partition_key.as_bytes()));
        shard.id
    }

    /// An empty batch.
    #[must_use]
    pub fn batch(&self) -> EngineBatch {
        EngineBatch::default()
    }

    /// Stages everything in `batch`, to become durable in one flush. Does not wait. The records' arrival time is now.
    /// Records whose shard has ended since they were put go to the shards that take their keys now.
    ///
    /// # Errors
    /// [`AppendError`]; nothing of the batch is staged then, and it can be appended again. While a stream is resharded that
    /// is [`AppendError::Busy`], [`AppendError::Sealed`] when it was deleted.
    pub fn append(&self, batch: &EngineBatch) -> Result<Commit, AppendError> {
        match self.stage(batch) {
            Err(AppendError::Sealed(_)) => {}
            outcome => return outcome,
        }
        // A start may have left a reshard to finish.
        control::ensure(self);
        let again = batch.rerouted(&self.0.registry).map_err(AppendError::Sealed)?;
        self.stage(&again).map_err(|error| match error {
            // Between the end of the parents and the beginning of their children, or resharded once more.
            AppendError::Sealed(key) if self.0.registry.takes(key.stream) => AppendError::Busy,
            error => error,
        })
    }

    fn stage(&self, batch: &EngineBatch) -> Result<Commit, AppendError> {
        if self.0.held_back.refuses(batch) {
            return Err(AppendError::Full);
        }
        // Counted before it can be durable, so that nobody sees more stored than received.
        let (set, origin) = (batch.set(), batch.origin());
        self.0.meters.offered(set, origin, false);
        let appended = self.0.log.append(set, self.0.clock.now_ms());
        let pending = appended.inspect_err(|_| self.0.meters.offered(set, origin, true))?;
        Tally::add(&self.0.tally.records_put, batch.len());
        Tally::add(&self.0.tally.bytes_put, set.record_bytes());
        self.0.meters.incoming(set, origin);
        Ok(batch.commit(pending))
    }

    /// Resolves when everything staged so far is durable: for answering a repeat whose first copy may not be yet.
    #[must_use]
    pub fn barrier(&self) -> Commit {
        Commit::barrier(self.0.log.barrier())
    }

    /// The value of a metadata key set by [`EngineBatch::mark`].
    #[must_use]
    pub fn meta_get(&self, key: &[u8]) -> Option<Versioned> {
        self.0.meta.get(key)
    }

    /// All metadata keys that begin with `prefix`, in order.
    #[must_use]
    pub fn meta_list(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Versioned)> {
        self.0.meta.list(prefix)
    }

    /// What the engine has counted so far.
    #[must_use]
    pub fn counters(&self) -> EngineCounters {
        let streams = self.0.registry.list().len() as u64;
        let open_shards = self.0.registry.open_shards() as u64;
        let journal = self.journal().as_ref().map(|journal| journal.counters());
        EngineCounters { streams, open_shards, journal, ..self.0.tally.snapshot() }
    }

    /// What was written to the disk lately, and what the journal's budget makes of it; `None` once it is closed.
    #[must_use]
    pub fn write_budget(&self) -> Option<journal::WriteBudget> {
        self.journal().as_ref().map(|journal| journal.write_budget())
    }

    /// How many places of its files the disk does not give back now, and the `most` that were waited for longest.
    #[must_use]
    pub fn unread_places(&self, most: usize) -> (u64, Vec<journal::UnreadPlace>) {
        let journal = self.journal();
        journal
            .as_ref()
            .map_or_else(Default::default, |journal| (journal.unread(), journal.unread_places(most)))
    }

    /// Goes by another budget of bytes written a day, or by none; see [`journal::Config::write_budget`].
    pub fn set_write_budget(&self, bytes_a_day: Option<NonZeroU64>) {
        if let Some(journal) = self.journal().as_ref() {
            journal.set_write_budget(bytes_a_day);
        }
    }

    /// Whether the engine takes records.
    #[must_use]
    pub fn state(&self) -> LogState {
        self.0.log.state()
    }

    /// Runs one operation of the API in the process, as a request in JSON over HTTP would: for hosts and tests that need no
    /// socket. Event streams cannot be taken this way.
    pub async fn call(&self, operation: &str, body: &[u8]) -> Answer {
        control::ensure(self);
        let call = Call::json(Bytes::copy_from_slice(body));
        let outcome = match operations::find(operation) {
            Ok((_, operation)) => operations::run(operation, self, call).await,
            Err(error) => Err(error),
        };
        match outcome {
            Ok(Reply { body: ReplyBody::Whole(body), .. }) => Answer { status: 200, body },
            Ok(Reply { body: ReplyBody::Events(_), .. }) => Answer { status: 406, body: Vec::new() },
            Err(error) => Answer { status: error.error.status(), body: error.body(Format::Json) },
        }
    }

    /// Makes everything staged durable and closes the journal. Appends through other clones fail from then on.
    pub async fn close(&self) {
        let journal = self.0.journal.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(journal) = journal {
            // Closing waits for the device.
            let closed = tokio::task::spawn_blocking(move || journal.close()).await;
            if closed.is_err() {
                tracing::error!("closing the journal did not finish");
            }
        }
    }

    pub(crate) fn journal(&self) -> std::sync::MutexGuard<'_, Option<Journal>> {
        self.0.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("region", &self.0.region).field("account", &self.0.account).finish()
    }
}

/// What an operation answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status it would have.
    pub status: u16,
    /// The body in JSON; empty for operations without an output, an object with `__type` and `message` for errors.
    pub body: Vec<u8>,
}

/// An engine did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting cannot work.
    #[error("engine settings: {0} cannot be part of an ARN: the account must have 12 digits")]
    Config(String),
    /// The journal did not open.
    #[error(transparent)]
    Journal(#[from] journal::OpenError),
    /// The master keys cannot be used, or the keys of streams not be read.
    #[error(transparent)]
    Keys(#[from] KeyFileError),
}
