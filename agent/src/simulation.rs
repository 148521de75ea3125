//! An agent whose disk, lines, network and clock are simulated, for the tests of the whole.
//!
//! In: a [`SimDisk`], streams, the time. Out: the agent's own links, spool and uplink as futures, on the runtime they are called on.
//! Always: no thread is started and no chance is drawn but from the seed; what is staged becomes durable when the caller commits the
//! [journal](SimulatedAgent::journal). Not here: ports, sockets, signals, the status port.

use crate::clock::Clock;
use crate::config::Config;
use crate::link::Links;
use crate::link::session::Policy;
use crate::roster::Roster;
use crate::spool::{Durable, Spool};
use crate::status::Counters;
use crate::stop::{Stopper, stop};
use crate::uplink::{Settings, Uplink, simulated};
use headwater_journal::storage::SimDisk;
use headwater_journal::{Journal, OpenError, ShardKey, State};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use tokio::io::DuplexStream;
use tokio::sync::watch;

/// Where the journal keeps what waits for the uplink: key `{device}/batch`, data the body as received.
pub const SPOOL: ShardKey = crate::spool::SPOOL;

/// The UTC of a host, ms.
#[derive(Clone)]
pub struct Utc(pub Arc<dyn Fn() -> u64 + Send + Sync>);

impl fmt::Debug for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Utc")
    }
}

/// A new connection to the gateway; none when nobody is there.
pub type Way = Arc<dyn Fn() -> Option<DuplexStream> + Send + Sync>;

/// Told topic, payload and reason (MQTT 5, 3.4.2.1) of every publish whose PUBACK came in.
pub type Seen = Arc<dyn Fn(&str, &[u8], u8) + Send + Sync>;

/// A mistake that a simulation must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// Devices are acked before their batches are durable.
    AckBeforeSync,
    /// The checkpoint moves before the gateway has answered.
    CheckpointBeforePuback,
}

/// See the module.
pub struct SimulatedAgent {
    spool: Arc<Spool<SimDisk>>,
    links: Links<SimDisk>,
    config: Config,
    seed: u64,
    planted: Option<Planted>,
    // Dropped, they say stop.
    _stoppers: [Stopper; 2],
    _lie: Option<watch::Sender<Durable>>,
    stop: crate::stop::Stop,
}

impl SimulatedAgent {
    /// Opens the spool. Call it on the runtime where the agent will run.
    ///
    /// # Errors
    /// The spool does not open.
    pub fn open(
        disk: SimDisk,
        config: &Config,
        utc: Utc,
        seed: u64,
        planted: Option<Planted>,
    ) -> Result<Self, OpenError> {
        let (clock, counters) = (Clock::start_with(utc), Arc::new(Counters::default()));
        clock.set_synchronised(true);
        let mut spool = Spool::open_on(disk, &config.spool, Arc::clone(&counters), clock.utc_ms(), seed)?;
        let lie = (planted == Some(Planted::AckBeforeSync)).then(|| spool.plant_no_sync());
        let spool = Arc::new(spool);
        let ((stop_links, links_stop), (stop_uplink, uplink_stop)) = (stop(), stop());
        let links = Links {
            spool: Arc::clone(&spool),
            counters,
            roster: Roster::new(),
            policy: tokio::sync::watch::channel(Policy { allow: Arc::new(config.allow.clone()) }).1,
            clock,
            stop: links_stop,
        };
        let config = config.clone();
        Ok(Self {
            spool,
            links,
            config,
            seed,
            planted,
            _stoppers: [stop_links, stop_uplink],
            _lie: lie,
            stop: uplink_stop,
        })
    }

    /// Serves one device link until it ends, as one on a serial port.
    pub fn link(&self, stream: DuplexStream, port: String) -> impl Future<Output = String> + Send + 'static {
        let links = self.links.clone();
        async move { links.run_link(stream, port, None, true).await.to_string() }
    }

    /// Carries the spool up until the journal fails.
    pub fn uplink(&self, way: Way, seen: Seen) -> impl Future<Output = ()> + Send + 'static {
        let Links { counters, roster, clock, .. } = self.links.clone();
        let dial = simulated::dial(way, seen, self.planted);
        let (config, spool) = (self.config.uplink.clone(), Arc::clone(&self.spool));
        Uplink::new(
            Settings::fixed(config),
            dial,
            spool,
            counters,
            roster,
            clock,
            self.stop.clone(),
            self.seed,
        )
        .run()
    }

    /// The journal under the spool: to commit, to keep house, to look at.
    pub fn journal(&self) -> &Journal<SimDisk> {
        self.spool.journal()
    }

    /// First record that is not done, as the metadata says.
    pub fn checkpoint(&self) -> u64 {
        self.spool.checkpoint()
    }

    /// Why the agent can do nothing more, when that is so; its process would end now.
    pub fn failure(&self) -> Option<String> {
        match &*self.spool.durable().borrow() {
            Durable::Failed(reason) => Some(reason.clone()),
            Durable::Through(_) => match self.spool.journal().state() {
                State::Failed { reason } => Some(reason),
                State::Open | State::Full => None,
            },
        }
    }

    /// Everything counted since it was opened.
    pub fn counters(&self) -> &Counters {
        &self.links.counters
    }
}
