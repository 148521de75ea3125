//! The gateway of the world: engine, routes and sinks as the product starts them, on a machine that dies and comes back.
//!
//! In: faults, time. Out: a [`Front`] that answers while it is up, what its sinks show. Not here: the MQTT front ([`crate::edge`]), HTTP.

use crate::front::Front;
use crate::host::Host;
use crate::station::{Station, Work};
use crate::way::Way;
use headwater::config::Config;
use headwater::forward::{Carried, Forwarders, Surroundings};
use headwater::route::{Router, RouterSettings};
use headwater_aws::{Environment, Now, Timestamp};
use headwater_engine::{Clock, Engine};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub(crate) struct Gateway {
    pub(crate) station: Station,
    pub(crate) config: Config,
    surroundings: Surroundings,
    front: Front,
    life: Shared,
    /// Where each sink runs, one after another: two that carry one stream are woken in this order.
    lines: BTreeMap<String, Host>,
}

type Shared = Arc<Mutex<Stage>>;

/// How far a life has come.
enum Stage {
    Off,
    Starting,
    Up(Box<Up>),
    /// It could not start; what it said.
    Failed(String),
    /// It ends in order; true when it is done.
    Stopping(bool),
}

struct Up {
    router: Arc<Router>,
    forwarders: Forwarders,
    is_told: bool,
}

/// What a tick brought.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Nothing,
    /// Everything is durable that was staged.
    Flushed,
    /// Storage has failed, or the start has: it must be started anew.
    Broken(String),
    /// It has ended in order.
    Stopped,
}

impl Gateway {
    pub(crate) fn new(station: Station, config: Config, way: &Way, seed: u64, front: Front) -> Self {
        let clock = station.clock.clone();
        let clock = headwater_aws::Clock::new(move || Now {
            wall: Timestamp::from_ms(clock.utc_ms()),
            uptime: Duration::from_millis(clock.world_ms()),
        });
        let transport = Some((way.transport(), clock));
        let surroundings =
            Surroundings { environment: Environment::default(), transport, seed, runtimes: BTreeMap::new() };
        let life = Arc::new(Mutex::new(Stage::Off));
        Self { station, config, surroundings, front, life, lines: BTreeMap::new() }
    }

    /// Switches the machine on. Gives why it stays off.
    pub(crate) fn boot(&mut self) -> Result<(), String> {
        self.station.boot().map_err(|error| error.to_string())?;
        // Another process draws other chances.
        self.surroundings.seed = self.station.chance.draw();
        self.life = Arc::new(Mutex::new(Stage::Starting));
        self.lines = self.config.sinks.iter().map(|sink| (sink.name.clone(), Host::start())).collect();
        let runtimes = self.lines.iter().map(|(name, host)| (name.clone(), host.handle().clone()));
        self.surroundings.runtimes = runtimes.collect();
        if let (Some(engine), Some(host)) = (self.station.engine(), self.station.host()) {
            let clock = self.station.clock.clone();
            let settings = RouterSettings {
                clock: Clock::new(move || clock.utc_ms()),
                ..RouterSettings::of(&self.config)
            };
            let starting = start(engine.clone(), settings, self.config.clone(), self.surroundings.clone());
            let life = Arc::clone(&self.life);
            host.handle().spawn(async move {
                let stage = match starting.await {
                    Ok(up) => Stage::Up(Box::new(up)),
                    Err(error) => Stage::Failed(error),
                };
                *lock(&life) = stage;
            });
        }
        Ok(())
    }

    /// Pulls the plug, or kills the process.
    pub(crate) fn end(&mut self, is_cut: bool) {
        self.front.close();
        self.lines.clear();
        self.station.end(is_cut);
        // What the process held goes with it.
        self.life = Arc::new(Mutex::new(Stage::Off));
    }

    /// Asks it to end in order: sinks settle, then the journal is closed. [`Told::Stopped`] says when.
    pub(crate) fn stop(&mut self) {
        let Some(host) = self.station.host() else { return };
        let mut stage = lock(&self.life);
        if !matches!(*stage, Stage::Up(_)) {
            return;
        }
        let Stage::Up(up) = std::mem::replace(&mut *stage, Stage::Stopping(false)) else { return };
        self.front.close();
        let life = Arc::clone(&self.life);
        host.handle().spawn(async move {
            up.forwarders.stop().await;
            *lock(&life) = Stage::Stopping(true);
        });
    }

    /// Lets it run for a tick, and its disk do what is due.
    pub(crate) fn tick(&mut self, ms: u64) -> Told {
        if !self.station.is_up() {
            return Told::Nothing;
        }
        self.station.tick(ms);
        self.lines.values().for_each(|line| line.tick(ms));
        let work = self.station.work();
        let host = self.station.host();
        match &mut *lock(&self.life) {
            Stage::Failed(error) => return Told::Broken(std::mem::take(error)),
            Stage::Up(up) if !up.is_told => {
                up.is_told = true;
                if let Some(host) = host {
                    self.front.open(host.handle(), Arc::clone(&up.router));
                }
            }
            _ => {}
        }
        if matches!(*lock(&self.life), Stage::Stopping(true)) {
            self.lines.clear();
            self.station.close();
            self.life = Arc::new(Mutex::new(Stage::Off));
            return Told::Stopped;
        }
        match work {
            Work::None => Told::Nothing,
            Work::Flushed => Told::Flushed,
            Work::Failed => Told::Broken("its disk failed".to_owned()),
        }
    }

    /// What the sinks show.
    pub(crate) fn carried(&self) -> Vec<Carried> {
        match &*lock(&self.life) {
            Stage::Up(up) => up.forwarders.carried(),
            _ => Vec::new(),
        }
    }
}

async fn start(
    engine: Engine,
    settings: RouterSettings,
    config: Config,
    surroundings: Surroundings,
) -> Result<Up, String> {
    let router = Router::open(engine.clone(), settings).await.map_err(|error| error.to_string())?;
    let forwarders = Forwarders::start_in(&surroundings, &engine, &config.sinks, &config.dead_letter);
    let forwarders = forwarders.await.map_err(|error| error.to_string())?;
    Ok(Up { router: Arc::new(router), forwarders, is_told: false })
}

fn lock(life: &Shared) -> std::sync::MutexGuard<'_, Stage> {
    life.lock().unwrap_or_else(PoisonError::into_inner)
}
