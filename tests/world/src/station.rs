//! A machine with a disk and an engine: the gateway's, and the target's.
//!
//! In: time, faults. Out: an engine that serves while there is power. Invariants: what outlives a life is on the disk alone; the disk is
//! flushed by [`Station::work`] and by nothing else, once a tick at most. Not here: what runs on the engine.

use crate::appends::{Appends, Heard};
use crate::chance::Chance;
use crate::clock::WorldClock;
use crate::host::Host;
use crate::trace::Trace;
use headwater_engine::storage::embedded::{EmbeddedLog, EmbeddedMeta};
use headwater_engine::storage::{MetaStore, ShardLog};
use headwater_engine::{Engine, EngineConfig, LimitProfile};
use headwater_journal::storage::SimDisk;
use headwater_journal::{Config, Core, Journal, Moment, OpenError, State, Storage};
use std::sync::Arc;

/// How often the journal is kept: the threads of a real one look once a second, and when somebody rings.
const UPKEEP_EVERY_MS: u64 = 25;

/// Puts something between an engine and its log: a bug that a test plants.
pub(crate) type Plant = Arc<dyn Fn(Arc<dyn ShardLog>) -> Arc<dyn ShardLog>>;

/// What outlives every life of a machine.
pub(crate) struct Station {
    pub(crate) disk: SimDisk,
    pub(crate) clock: WorldClock,
    pub(crate) chance: Chance,
    config: Config,
    limits: LimitProfile,
    plant: Option<Plant>,
    appends: Appends,
    /// What its disk was asked until it was told last.
    told: u64,
    /// A flush of this disk takes at least so long, ms.
    pub(crate) flush_ms: u64,
    life: Option<Life>,
}

/// What does not.
struct Life {
    host: Host,
    journal: Journal<SimDisk>,
    engine: Engine,
    flush_at: u64,
    upkeep_at: u64,
}

/// What became of a tick's work on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Nothing was flushed: the machine is off, or its disk is busy.
    None,
    /// Everything that was staged is durable.
    Flushed,
    /// The journal has stopped.
    Failed,
}

impl Station {
    pub(crate) fn new(clock: WorldClock, mut chance: Chance, config: Config, limits: LimitProfile) -> Self {
        let disk = SimDisk::new(chance.draw());
        Self {
            disk,
            clock,
            chance,
            config,
            limits,
            plant: None,
            appends: Appends::default(),
            told: 0,
            flush_ms: 0,
            life: None,
        }
    }

    pub(crate) fn plant(&mut self, plant: Option<Plant>) {
        self.plant = plant;
    }

    /// Opens everything that is on the disk. A disk that fails leaves the machine off.
    pub(crate) fn boot(&mut self) -> Result<(), OpenError> {
        let (seed, moment) = (self.chance.draw(), self.moment());
        let (core, _) = Core::open_at(self.disk.clone(), self.config.clone(), moment, seed)?;
        // A machine whose power went while it read its disk is off, whatever it made of that.
        self.disk.list().map_err(|source| OpenError::Io { doing: "starting".to_owned(), source })?;
        // Before the first record: what the next life must know of this one's clock.
        core.look(moment);
        let journal = Journal::unattended(core);
        let log = EmbeddedLog::new(journal.clone());
        let meta: Arc<dyn MetaStore> = Arc::new(EmbeddedMeta::new(&log));
        let mut log: Arc<dyn ShardLog> = Arc::new(log);
        if let Some(plant) = &self.plant {
            log = plant(log);
        }
        log = Arc::new(Heard::new(log, self.appends.clone()));
        let host = Host::start();
        let clock = self.clock.clone();
        let config = EngineConfig {
            clock: headwater_engine::Clock::new(move || clock.utc_ms()),
            limits: self.limits,
            ..EngineConfig::new("")
        };
        let engine = {
            let _inside = host.handle().enter();
            Engine::on(log, meta, &config)
        };
        self.life = Some(Life { host, journal, engine, flush_at: 0, upkeep_at: 0 });
        Ok(())
    }

    /// Ends the process, and with `cut` the power: what was not flushed meets its fate.
    pub(crate) fn end(&mut self, is_cut: bool) {
        self.life = None;
        let fate = self.chance.draw();
        self.disk = if is_cut { self.disk.power_cut(fate) } else { self.disk.kill() };
    }

    /// Ends the process in order.
    pub(crate) fn close(&mut self) {
        if let Some(life) = self.life.take() {
            let Life { host, journal, engine, .. } = life;
            drop((host, engine));
            journal.close();
        }
        self.disk = self.disk.kill();
    }

    /// What its clocks say. Somebody vouches for the wall's while it is right.
    fn moment(&self) -> Moment {
        let (wall_ms, uptime_ms) = (self.clock.utc_ms(), self.clock.world_ms());
        Moment { wall_ms, uptime_ms, is_certain: wall_ms == crate::EPOCH_MS + uptime_ms }
    }

    /// Tells what was appended, and what its disk was asked, since this was called last.
    pub(crate) fn tell(&mut self, who: &str, trace: &mut Trace) {
        self.appends.tell(who, trace);
        let asked = self.disk.digest();
        if std::mem::replace(&mut self.told, asked) != asked {
            trace.count(format_args!("{who}'s disk"), asked);
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.life.is_some()
    }

    pub(crate) fn engine(&self) -> Option<&Engine> {
        self.life.as_ref().map(|life| &life.engine)
    }

    pub(crate) fn host(&self) -> Option<&Host> {
        self.life.as_ref().map(|life| &life.host)
    }

    /// Lets the machine run for a tick.
    pub(crate) fn tick(&mut self, ms: u64) {
        if let Some(life) = &self.life {
            life.host.tick(ms);
        }
    }

    /// Does what the threads of a journal do.
    pub(crate) fn work(&mut self) -> Work {
        let (now, moment) = (self.clock.world_ms(), self.moment());
        let Some(life) = &mut self.life else { return Work::None };
        if now >= life.upkeep_at {
            life.upkeep_at = now + UPKEEP_EVERY_MS;
            while life.journal.maintain_at(moment) {}
        }
        if matches!(life.journal.state(), State::Failed { .. }) {
            return Work::Failed;
        }
        if now < life.flush_at {
            return Work::None;
        }
        life.flush_at = now + self.flush_ms;
        match life.journal.commit() {
            Ok(_) => Work::Flushed,
            Err(_) => Work::Failed,
        }
    }
}
