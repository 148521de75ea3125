//! All sinks of a gateway: started, shown and stopped together.
//!
//! In: settings, the engine. Out: a carrier for each stream that a sink carries, also for streams that come later.

use super::carrier::{Carrier, Tools};
use super::counters::{Carried, Shown};
use super::cursor;
use super::holds::Holds;
use super::letters::Letters;
use super::limits;
use super::settings::SinkSettings;
use super::stop::{Stop, Stopper};
use super::surroundings::Surroundings;
use headwater_aws::{Kinesis, SetupError, StreamRef, Timestamp};
use headwater_engine::storage::Cursor;
use headwater_engine::{Engine, StreamHandle, StreamName, StreamNumber};
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::{Id, JoinHandle, JoinSet};
use tokio::time::sleep;

/// Why sinks do not start.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The client of a sink cannot be set up.
    #[error("sink {name}: {source}")]
    Setup {
        /// The sink.
        name: String,
        /// Why.
        source: SetupError,
    },
    /// The stream for dead letters has no good name.
    #[error("the stream for dead letters is named \"{0}\", which is no name of a stream")]
    DeadLetter(String),
}

/// The sinks that run.
#[derive(Debug)]
pub struct Forwarders {
    pub(super) surroundings: Arc<Surroundings>,
    pub(super) engine: Engine,
    pub(super) holds: Holds,
    pub(super) letters: Letters,
    pub(super) running: Mutex<Vec<Running>>,
    pub(super) shown: Board,
}

/// A sink that runs.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) settings: Arc<SinkSettings>,
    stop: Stopper,
    task: JoinHandle<()>,
}

impl Running {
    /// Stops it and waits: calls on their way get a moment to be answered, and how far each shard came is stored.
    pub(super) async fn stop(self) {
        self.stop.tell();
        if let Err(error) = self.task.await {
            tracing::error!(sink = self.settings.name, %error, "a sink ended badly");
        }
    }
}

/// A sink that can run: its client is set up.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) settings: Arc<SinkSettings>,
    client: Kinesis,
}

/// Every carrier there is. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Board(Arc<Mutex<Vec<Shown>>>);

impl Board {
    /// What each is doing, by sink and stream.
    pub(crate) fn carried(&self) -> Vec<Carried> {
        let shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut carried: Vec<Carried> = shown.iter().map(Shown::now).collect();
        carried.sort_by(|a, b| (&a.sink, &a.stream).cmp(&(&b.sink, &b.stream)));
        carried
    }

    /// Shows nothing of `sink` any more.
    pub(super) fn forget(&self, sink: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|shown| shown.now().sink != sink);
    }

    fn remove(&self, gone: &Shown) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|shown| !shown.is(gone));
    }

    fn add(&self, shown: Shown) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(shown);
    }
}

impl Forwarders {
    /// Starts all sinks. Asks no target yet; one that is away is tried again for ever. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// The settings of a sink cannot work: shared files, certificates, region.
    pub async fn start(
        engine: &Engine,
        sinks: &[SinkSettings],
        dead_letter: &str,
    ) -> Result<Self, SinkError> {
        Self::start_in(&Surroundings::of_process(), engine, sinks, dead_letter).await
    }

    /// As [`start`](Self::start), in other surroundings than this process's.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_in(
        surroundings: &Surroundings,
        engine: &Engine,
        sinks: &[SinkSettings],
        dead_letter: &str,
    ) -> Result<Self, SinkError> {
        let surroundings = Arc::new(surroundings.clone());
        let letters = Letters::new(engine.clone(), letters_name(dead_letter)?);
        let ready = ready(&surroundings, engine, sinks).await?;
        release(engine, sinks);
        let (engine, running) = (engine.clone(), Mutex::default());
        let (holds, shown) = (Holds::new(engine.clone()), Board::default());
        expect(&engine, sinks, &holds);
        let forwarders = Self { surroundings, engine, holds, letters, running, shown };
        ready.into_iter().for_each(|ready| forwarders.run(ready));
        Ok(forwarders)
    }

    /// Starts a sink.
    pub(super) fn run(&self, ready: Ready) {
        let Ready { settings, client } = ready;
        let (stop, stopped) = Stop::new();
        let tools = Tools {
            engine: self.engine.clone(),
            settings: Arc::clone(&settings),
            client,
            holds: self.holds.clone(),
            letters: self.letters.clone(),
            started_ms: self.engine.now_ms(),
            surroundings: Arc::clone(&self.surroundings),
            stop: stopped,
        };
        let running = run(tools, self.shown.clone());
        let task = match self.surroundings.runtimes.get(&settings.name) {
            Some(runtime) => runtime.spawn(running),
            None => tokio::spawn(running),
        };
        self.lock().push(Running { settings, stop, task });
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn board(&self) -> Board {
        self.shown.clone()
    }

    /// What each stream of each sink is doing.
    #[must_use]
    pub fn carried(&self) -> Vec<Carried> {
        self.shown.carried()
    }

    /// Stops: calls on their way get a moment to be answered, and how far each shard came is stored.
    pub async fn stop(self) {
        let running = std::mem::take(&mut *self.lock());
        for sink in &running {
            sink.stop.tell();
        }
        for sink in running {
            sink.stop().await;
        }
        for carried in self.shown.carried() {
            tracing::info!(%carried, "sink stopped");
        }
    }
}

/// The stream for dead letters.
pub(super) fn letters_name(name: &str) -> Result<StreamName, SinkError> {
    StreamName::parse(name).map_err(|_| SinkError::DeadLetter(name.to_owned()))
}

/// Sets up the clients of sinks. Asks no target.
pub(super) async fn ready<'a>(
    surroundings: &Surroundings,
    engine: &Engine,
    sinks: impl IntoIterator<Item = &'a SinkSettings>,
) -> Result<Vec<Ready>, SinkError> {
    let sinks: Vec<&SinkSettings> = sinks.into_iter().collect();
    let not_before = if sinks.is_empty() { Timestamp::default() } else { newest(engine).await };
    let one = |settings: &SinkSettings| {
        let client = Kinesis::new(surroundings.client(settings, not_before));
        let client = client.map_err(|source| SinkError::Setup { name: settings.name.clone(), source })?;
        Ok(Ready { settings: Arc::new(settings.clone()), client })
    };
    sinks.into_iter().map(one).collect()
}

/// When the newest record arrived that is stored: it is not earlier than that now, whatever the clock of this machine says.
async fn newest(engine: &Engine) -> Timestamp {
    let mut newest_ms = 0;
    for stream in engine.streams() {
        for shard in stream.state().shards.open() {
            let Ok(end) = engine.locate(&stream, shard.id, Cursor::Latest).await else { continue };
            let page = engine.read(&stream, shard.id, end, (1, 1)).await;
            newest_ms = newest_ms.max(page.ok().and_then(|page| page.newest_ms).unwrap_or(0));
        }
    }
    Timestamp::from_ms(newest_ms)
}

/// Ends the holds on streams that no required sink carries any more.
fn release(engine: &Engine, sinks: &[SinkSettings]) {
    for stream in engine.streams() {
        let name = stream.name().as_str();
        if !sinks.iter().any(|sink| sink.required && sink.carries(name)) {
            for shard in stream.state().shards.all() {
                engine.release(&stream, shard.id);
            }
        }
    }
}

/// Says of all required sinks how far each is by what it stored, before the first of them moves a hold.
pub(super) fn expect<'a>(engine: &Engine, sinks: impl IntoIterator<Item = &'a SinkSettings>, holds: &Holds) {
    for sink in sinks.into_iter().filter(|sink| sink.required) {
        for stream in engine.streams().iter().filter(|stream| sink.carries(stream.name().as_str())) {
            let prefix = cursor::prefix_of(&sink.name, stream.number());
            for (key, value) in engine.meta_list(prefix.as_bytes()) {
                let shard = cursor::shard_of(&prefix, &key);
                if let (Some(shard), Some(progress)) = (shard, cursor::decode(&value.value)) {
                    holds.expect(&sink.name, stream, shard, progress.checkpoint.0);
                }
            }
        }
    }
}

/// Runs one sink: looks for streams it should carry, and carries them.
async fn run(tools: Tools, board: Board) {
    let mut carriers = JoinSet::new();
    let mut carried: BTreeSet<StreamNumber> = BTreeSet::new();
    let mut carrying: HashMap<Id, (StreamHandle, Shown)> = HashMap::new();
    let settings = &tools.settings;
    tracing::info!(sink = settings.name, endpoint = tools.client.endpoint(), streams = ?settings.streams, "sink started");
    loop {
        for stream in tools.engine.streams() {
            let name = stream.name().as_str();
            let is_usable = stream.state().definition.status.is_usable();
            if !settings.carries(name) || !is_usable || !carried.insert(stream.number()) {
                continue;
            }
            let target = settings.target_of(name);
            let shown = Shown::default();
            shown.change(|shown| {
                (shown.sink, shown.stream) = (settings.name.clone(), name.to_owned());
                shown.target.clone_from(&target);
            });
            board.add(shown.clone());
            let carrier =
                Carrier::new(tools.clone(), stream.clone(), StreamRef::name(&target), shown.clone());
            let (board, stop, own) = (board.clone(), tools.stop.clone(), shown.clone());
            let carrier = carriers.spawn(async move {
                carrier.run().await;
                // At the end of the gateway people want to see what became of it; a stream that is gone has no more to show.
                if !stop.is_told() {
                    board.remove(&own);
                }
            });
            carrying.insert(carrier.id(), (stream, shown));
        }
        let ended = tokio::select! {
            biased;
            () = tools.stop.told() => break,
            Some(ended) = carriers.join_next_with_id() => ended,
            () = sleep(limits::STREAMS_EVERY) => continue,
        };
        let error = match ended {
            Ok((id, ())) => {
                carrying.remove(&id);
                continue;
            }
            Err(error) => error,
        };
        tracing::error!(sink = settings.name, %error, "a carrier ended badly, another goes on where it came to");
        if let Some((stream, shown)) = carrying.remove(&error.id()) {
            tools.engine.hold_back(&stream, &settings.name, false);
            board.remove(&shown);
            carried.remove(&stream.number());
        }
        // What ends badly at once must not spin.
        sleep(limits::STREAMS_EVERY).await;
    }
    while carriers.join_next().await.is_some() {}
}
