//! The books: what came in, from whom, and what became of it, over restarts.
//!
//! In: counts of the engine, the routes and the MQTT front, all since the start; what was stored of them before. Out: the same since the
//! beginning, per stream ([`StreamRow`]) and of publishes ([`Publishes`]).
//!
//! Always true:
//! - what is stored is exact after any crash: it is counted by the positions of shards and not by a counter;
//! - who put it is exact after a stop; after a crash what came since the counts were stored last is of unknown origin, in the sum;
//! - counts are stored with cursors of sinks that are stored anyway, by themselves once a [minute](STORED_EVERY) at most, and not at all
//!   while nothing comes.
//!
//! Not here: what sinks did with it ([`crate::forward`]).

mod mark;
mod publishes;
mod row;

pub use publishes::Publishes;
pub use row::StreamRow;

use crate::mqtt;
use crate::route::{Noticed, Router};
use headwater_engine::{Engine, EngineBatch, Origin, Received, StreamHandle, StreamNumber};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How often counts are stored by themselves: an SD card takes 4 KiB for it, 6 MB a day, only while something comes.
pub(crate) const STORED_EVERY: Duration = Duration::from_secs(60);

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Books(Arc<Inner>);

struct Inner {
    engine: Engine,
    router: Arc<Router>,
    mqtt: Arc<mqtt::Counters>,
    state: Mutex<State>,
}

struct State {
    publishes: Account<Publishes>,
    streams: BTreeMap<StreamNumber, Account<Counts>>,
}

/// Counts from before the start, and when they were stored last.
struct Account<T> {
    before: T,
    stored_at: Option<Instant>,
}

impl<T> Account<T> {
    fn opened(before: T) -> Self {
        Self { before, stored_at: None }
    }

    /// Adds a mark to a batch unless it stands there already, or was set not so long ago.
    fn ride(&mut self, engine: &Engine, batch: &mut EngineBatch, key: &str, words: &[u64], after: Duration) {
        if self.stored_at.is_some_and(|at| at.elapsed() < after) {
            return;
        }
        let stored = engine.meta_get(key.as_bytes()).map(|stored| stored.value);
        let value = mark::encode(words);
        let is_nothing = stored.is_none() && words.iter().all(|word| *word == 0);
        if !is_nothing && stored.as_ref() != Some(&value) {
            batch.mark(key.as_bytes(), &value);
            self.stored_at = Some(Instant::now());
        }
    }
}

/// What is stored of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Counts {
    origins: [u64; Origin::ALL.len()],
    unknown: u64,
    torn: u64,
    throttled: u64,
    failed: u64,
    repeated: u64,
    lost_at_devices: u64,
}

impl Counts {
    fn of_words(words: &[u64]) -> Self {
        let word = |index: usize| words.get(index).copied().unwrap_or(0);
        Self {
            origins: [word(0), word(1), word(2), word(3)],
            unknown: word(4),
            torn: word(5),
            throttled: word(6),
            failed: word(7),
            repeated: word(8),
            lost_at_devices: word(9),
        }
    }

    fn to_words(self) -> [u64; 10] {
        let [api, routes, sinks, host] = self.origins;
        let Self { unknown, torn, throttled, failed, repeated, lost_at_devices, .. } = self;
        [api, routes, sinks, host, unknown, torn, throttled, failed, repeated, lost_at_devices]
    }

    /// Makes the sum what the log has.
    fn balance(&mut self, stored: u64) {
        let counted = self.origins.iter().sum::<u64>() + self.unknown;
        self.unknown += (stored + self.torn).saturating_sub(counted);
        self.torn += counted.saturating_sub(stored + self.torn);
    }

    fn and_since(mut self, origins: [u64; Origin::ALL.len()], received: &Received, noticed: Noticed) -> Self {
        for (mine, more) in self.origins.iter_mut().zip(origins) {
            *mine += more;
        }
        self.throttled += received.throttled;
        self.failed += received.failed;
        self.repeated += noticed.repeated;
        self.lost_at_devices += noticed.lost_at_devices;
        self
    }
}

impl Books {
    /// Opens the books. Before anything is served: what is stored by then and not counted is of unknown origin.
    pub(crate) fn open(engine: &Engine, router: Arc<Router>, mqtt: Arc<mqtt::Counters>) -> Self {
        let stored = stored(engine);
        let mut marks = BTreeMap::new();
        for (key, value) in engine.meta_list(mark::prefix()) {
            match (mark::stream_of(&key), mark::decode(&value.value)) {
                (Some(stream), Some(words)) => drop(marks.insert(stream, Counts::of_words(&words))),
                (Some(_), None) => {
                    tracing::error!(key = %key.escape_ascii(), "counts of a stream cannot be read, they begin anew")
                }
                (None, _) => {}
            }
        }
        let mut streams = BTreeMap::new();
        for stream in engine.streams() {
            let mut counts: Counts = marks.get(&stream.number()).copied().unwrap_or_default();
            counts.balance(stored.get(&stream.number()).map_or(0, |stored| stored.appended));
            streams.insert(stream.number(), Account::opened(counts));
        }
        let words = engine.meta_get(mark::GATEWAY.as_bytes()).and_then(|value| mark::decode(&value.value));
        let publishes = Account::opened(words.map(|words| Publishes::of_words(&words)).unwrap_or_default());
        let state = Mutex::new(State { publishes, streams });
        Self(Arc::new(Inner { engine: engine.clone(), router, mqtt, state }))
    }

    /// Publishes since the beginning.
    pub(crate) fn publishes(&self) -> Publishes {
        let before = self.state().publishes.before;
        self.publishes_and(&before)
    }

    fn publishes_and(&self, before: &Publishes) -> Publishes {
        before.and_since(&self.0.router.counters(), &self.0.mqtt.snapshot())
    }

    /// Every stream there is, in order of their names.
    pub(crate) fn rows(&self) -> Vec<StreamRow> {
        let engine = &self.0.engine;
        // In this order: what is durable was counted before.
        let stored = stored(engine);
        let row = |stream: StreamHandle| {
            let received = engine.received(&stream);
            let counts = self.before(&stream).and_since(received.offered, &received, self.noticed(&stream));
            let Counts { origins: [by_api, by_routes, by_sinks, by_host], .. } = counts;
            let held = stored.get(&stream.number()).copied().unwrap_or_default();
            let mut row = StreamRow {
                stream: stream.name().to_string(),
                by_api,
                by_routes,
                by_sinks,
                by_host,
                by_unknown: counts.unknown,
                stored: held.appended,
                in_flight: 0,
                torn: counts.torn,
                expired: held.gone,
                damaged: held.damaged,
                throttled: counts.throttled,
                failed: counts.failed,
                repeated: counts.repeated,
                lost_at_devices: counts.lost_at_devices,
            };
            row.in_flight = row.received().saturating_sub(row.stored + row.torn);
            row
        };
        engine.streams().into_iter().map(row).collect()
    }

    fn before(&self, stream: &StreamHandle) -> Counts {
        self.state().streams.get(&stream.number()).map(|account| account.before).unwrap_or_default()
    }

    fn noticed(&self, stream: &StreamHandle) -> Noticed {
        self.0.router.noticed(stream.number())
    }

    /// Adds to a batch that is appended anyway what has not been stored for `after`: counts of publishes, and of `only` this stream or of all.
    pub(crate) fn ride(&self, batch: &mut EngineBatch, only: Option<&StreamHandle>, after: Duration) {
        let engine = &self.0.engine;
        let streams = only.map_or_else(|| engine.streams(), |stream| vec![stream.clone()]);
        let mut state = self.state();
        for stream in streams {
            let received = engine.received(&stream);
            let account =
                state.streams.entry(stream.number()).or_insert_with(|| Account::opened(Counts::default()));
            // Only what is staged: it is durable no later than this mark.
            let counts = account.before.and_since(received.staged, &received, self.noticed(&stream));
            account.ride(engine, batch, &mark::key_of(stream.number()), &counts.to_words(), after);
        }
        let publishes = self.publishes_and(&state.publishes.before);
        state.publishes.ride(engine, batch, mark::GATEWAY, &publishes.to_words(), after);
    }

    /// Stores what changed, and forgets streams that are gone.
    pub(crate) async fn store(&self) {
        let engine = &self.0.engine;
        let mut batch = engine.batch();
        self.ride(&mut batch, None, Duration::ZERO);
        let there: Vec<StreamNumber> = engine.streams().iter().map(StreamHandle::number).collect();
        for (key, _) in engine.meta_list(mark::prefix()) {
            if mark::stream_of(&key).is_some_and(|stream| !there.contains(&stream)) {
                batch.unmark(&key);
            }
        }
        self.state().streams.retain(|stream, _| there.contains(stream));
        if batch.is_empty() {
            return;
        }
        let stored = match engine.append(&batch) {
            Ok(commit) => commit.await.map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        if let Err(error) = stored {
            tracing::warn!(error, "counts of records are not stored");
        }
    }

    /// Stores what changed from time to time, for ever.
    pub(crate) async fn attend(self) {
        loop {
            tokio::time::sleep(STORED_EVERY).await;
            self.store().await;
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Books {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Books").finish_non_exhaustive()
    }
}

/// What a log has and had of a stream, its forgotten shards included.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    appended: u64,
    gone: u64,
    damaged: u64,
}

fn stored(engine: &Engine) -> BTreeMap<StreamNumber, Held> {
    let sum = |sum: Held, extent: &headwater_engine::storage::Extent| Held {
        appended: sum.appended + extent.appended,
        gone: sum.gone + extent.gone,
        damaged: sum.damaged + extent.damaged,
    };
    let extents = engine.extents().into_iter();
    extents.map(|(stream, shards)| (stream, shards.values().fold(Held::default(), sum))).collect()
}
