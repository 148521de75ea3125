//! One running agent: opens the spool, binds the links, starts the tasks, stops them in order.

use crate::clock::Clock;
use crate::config::{Config, HostTime, LinkConfig};
use crate::link::session::Policy;
use crate::link::{Links, Wanted, bind, run_ports, run_serial, run_tcp};
use crate::reload::Dials;
use crate::roster::Roster;
use crate::spool::{Durable, SetAside, Spool};
use crate::status::{Counters, Ledger};
use crate::stop::{Stopper, stop};
use crate::uplink::{Client, Settings, Uplink};
use crate::{host_time, http, link};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

/// Why an agent did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The spool's folder does not open.
    #[error("spool in {path} does not open")]
    Spool {
        /// The folder.
        path: PathBuf,
        /// What the journal says.
        #[source]
        source: headwater_journal::OpenError,
    },
    /// An address is not free, or not of this host.
    #[error("{key} \"{listen}\" cannot be listened on")]
    Listen {
        /// The configuration key.
        key: String,
        /// The address.
        listen: String,
        /// What the system says.
        #[source]
        source: io::Error,
    },
}

/// A running agent. Dropping it without [`Agent::stop`] ends it like a crash: nothing acked is lost.
pub struct Agent {
    spool: Arc<Spool>,
    counters: Arc<Counters>,
    pub(crate) dials: Dials,
    link_addrs: Vec<SocketAddr>,
    http_addr: Option<SocketAddr>,
    stop_links: Stopper,
    stop_uplink: Stopper,
    links: JoinSet<()>,
    uplink: JoinHandle<()>,
    status: JoinSet<()>,
}

impl Agent {
    /// Opens the spool, binds the links and starts. Must be called inside a tokio runtime with time and IO.
    ///
    /// # Errors
    /// The spool or an address is not usable; nothing is running then.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let clock = Clock::start();
        let counters = Arc::new(Counters::default());
        let (listeners, link_addrs) = bind_links(&config).await?;
        let status_listener = bind_status(&config).await?;
        let http_addr = status_listener.as_ref().and_then(|listener| listener.local_addr().ok());
        let spool = open_spool(&config, &counters, clock.clone()).await?;
        let seed =
            config.seed.unwrap_or_else(|| clock.utc_ms() ^ u64::from(std::process::id()).rotate_left(32));
        let (stop_links, stop_links_seen) = stop();
        let (stop_uplink, stop_uplink_seen) = stop();
        let roster = Roster::new();
        let (policy, policy_seen) = watch::channel(Policy { allow: Arc::new(config.allow.clone()) });
        let (uplink_settings, uplink_seen) = Settings::new(config.uplink.clone());
        let shared = Links {
            spool: Arc::clone(&spool),
            counters: Arc::clone(&counters),
            roster: roster.clone(),
            policy: policy_seen,
            clock: clock.clone(),
            stop: stop_links_seen,
        };
        let mut links = JoinSet::new();
        for (index, (link, listener)) in config.links.iter().zip(listeners).enumerate() {
            let seed = seed.wrapping_add((index as u64 + 1) * 1_000);
            spawn_link(&mut links, shared.clone(), link.clone(), listener, &config, seed);
        }
        let uplink = Uplink::new(
            uplink_seen,
            Arc::new(Client::open),
            Arc::clone(&spool),
            Arc::clone(&counters),
            roster.clone(),
            clock.clone(),
            stop_uplink_seen.clone(),
            seed,
        );
        let mut status = JoinSet::new();
        match config.time_quality {
            HostTime::Auto => drop(status.spawn(host_time::follow(clock, stop_uplink_seen.clone()))),
            HostTime::Synced => drop(clock.set_synchronised(true)),
            HostTime::Estimated => {}
        }
        if let Some(listener) = status_listener {
            let view = Arc::new(View { spool: Arc::clone(&spool), counters: Arc::clone(&counters), roster });
            status.spawn(http::serve(listener, view, stop_uplink_seen));
        }
        status.spawn(log_status(Arc::clone(&counters), config.status_every));
        tracing::info!(name = config.name, state = %config.state.display(), links = ?link_addrs, status = ?http_addr, "agent started");
        let uplink = tokio::spawn(uplink.run());
        let dials = Dials::new(config, policy, uplink_settings);
        Ok(Self {
            spool,
            counters,
            dials,
            link_addrs,
            http_addr,
            stop_links,
            stop_uplink,
            links,
            uplink,
            status,
        })
    }

    /// Addresses of the TCP links, in the order of the configuration.
    pub fn link_addrs(&self) -> &[SocketAddr] {
        &self.link_addrs
    }

    /// Address of the status port.
    pub fn http_addr(&self) -> Option<SocketAddr> {
        self.http_addr
    }

    /// Everything counted since the start.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Where the records of the spool are.
    pub fn ledger(&self) -> Ledger {
        self.counters.ledger()
    }

    /// Records the gateway will never take, oldest first, from `from` on (0: the oldest), at most one page; and where
    /// to read on, none at the end. They are kept for a month.
    ///
    /// # Errors
    /// The spool cannot be read.
    pub fn set_aside(&self, from: u64) -> Result<(Vec<SetAside>, Option<u64>), headwater_journal::ReadError> {
        self.spool.set_aside_page(from)
    }

    /// Returns when the journal has failed, with its reason: the agent does nothing more and should be stopped.
    pub async fn failed(&self) -> String {
        let mut durable = self.spool.durable();
        match durable
            .wait_for(|durable| matches!(durable, Durable::Failed(_)))
            .await
            .map(|durable| durable.clone())
        {
            Ok(Durable::Failed(reason)) => reason,
            Ok(Durable::Through(_)) | Err(_) => "journal closed".to_owned(),
        }
    }

    /// Resolves when everything that was spooled before is durable. Writes nothing when that is so already.
    ///
    /// # Errors
    /// The journal has stopped, with its reason.
    pub async fn synced(&self) -> Result<(), String> {
        self.spool.synced().await
    }

    /// Stops in order: links are closed, what is in flight gets a moment to be acked, the spool is sealed.
    /// What devices sent and was not acked to them they will send again.
    pub async fn stop(mut self) {
        self.stop_links.stop();
        while self.links.join_next().await.is_some() {}
        self.stop_uplink.stop();
        if let Err(error) = self.uplink.await {
            tracing::error!(%error, "uplink ended badly");
        }
        self.status.shutdown().await;
        self.counters.log_line();
        let spool = Arc::clone(&self.spool);
        // Closing waits for the last sync.
        if let Err(error) = tokio::task::spawn_blocking(move || spool.close()).await {
            tracing::error!(%error, "spool not closed");
        }
        tracing::info!("agent stopped");
    }
}

/// Gives every record that was set aside to `each`, oldest first. For an agent that does not run: two cannot have one
/// spool. Blocks on the disk.
///
/// # Errors
/// The spool does not open or cannot be read, in words.
pub fn each_set_aside(config: &Config, mut each: impl FnMut(SetAside)) -> Result<(), String> {
    let path = config.state.join("spool");
    let failed = |error: &dyn std::error::Error| format!("spool in {}: {error}", path.display());
    if !path.exists() {
        return Ok(());
    }
    let spool = Spool::open(&path, &config.spool, Arc::new(Counters::default()), Clock::start().utc_ms())
        .map_err(|error| failed(&error))?;
    let mut from = Some(0);
    while let Some(next) = from {
        let (records, next) = spool.set_aside_page(next).map_err(|error| failed(&error))?;
        records.into_iter().for_each(&mut each);
        from = next;
    }
    spool.close();
    Ok(())
}

async fn bind_links(config: &Config) -> Result<(Vec<Option<TcpListener>>, Vec<SocketAddr>), StartError> {
    let (mut listeners, mut addrs) = (Vec::new(), Vec::new());
    for (index, link) in config.links.iter().enumerate() {
        match link {
            LinkConfig::Tcp { listen, .. } => {
                let key = format!("links[{index}].listen");
                let (listener, addr) = bind(listen).await.map_err(|source| StartError::Listen {
                    key,
                    listen: listen.clone(),
                    source,
                })?;
                listeners.push(Some(listener));
                addrs.push(addr);
            }
            LinkConfig::Serial { .. } | LinkConfig::Ports { .. } => listeners.push(None),
        }
    }
    Ok((listeners, addrs))
}

async fn bind_status(config: &Config) -> Result<Option<TcpListener>, StartError> {
    let Some(listen) = &config.http else { return Ok(None) };
    let bound = link::bind(listen).await;
    let (listener, _) = bound.map_err(|source| StartError::Listen {
        key: "http.listen".to_owned(),
        listen: listen.clone(),
        source,
    })?;
    Ok(Some(listener))
}

async fn open_spool(
    config: &Config,
    counters: &Arc<Counters>,
    clock: Clock,
) -> Result<Arc<Spool>, StartError> {
    let path = config.state.join("spool");
    let (spool_config, counters) = (config.spool.clone(), Arc::clone(counters));
    let opened = tokio::task::spawn_blocking(move || {
        Spool::open(&path, &spool_config, counters, clock.utc_ms())
            .map_err(|source| StartError::Spool { path, source })
    });
    opened.await.expect("opening the spool does not panic").map(Arc::new)
}

fn spawn_link(
    links: &mut JoinSet<()>,
    shared: Links,
    link: LinkConfig,
    listener: Option<TcpListener>,
    config: &Config,
    seed: u64,
) {
    match (link, listener) {
        (LinkConfig::Tcp { connections_max, idle, .. }, Some(listener)) => {
            links.spawn(run_tcp(shared, listener, connections_max, idle));
        }
        (LinkConfig::Serial { path, baud }, _) => {
            links.spawn(async move { run_serial(shared, &path, baud, false, seed).await });
        }
        (LinkConfig::Ports { patterns, exclude, baud }, _) => {
            let path = |link: &LinkConfig| match link {
                LinkConfig::Serial { path, .. } => Some(path.clone()),
                LinkConfig::Tcp { .. } | LinkConfig::Ports { .. } => None,
            };
            let taken = config.links.iter().filter_map(path).collect();
            links.spawn(run_ports(shared, Wanted { patterns, exclude, taken }, baud, seed));
        }
        (LinkConfig::Tcp { .. }, None) => unreachable!("every TCP link was bound"),
    }
}

async fn log_status(counters: Arc<Counters>, every: std::time::Duration) {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick.tick().await;
    loop {
        tick.tick().await;
        counters.log_line();
    }
}

/// What the status port sees.
struct View {
    spool: Arc<Spool>,
    counters: Arc<Counters>,
    roster: Roster,
}

impl http::Status for View {
    fn metrics(&self) -> String {
        self.counters.prometheus()
    }

    fn devices(&self) -> String {
        self.roster.json()
    }

    fn trouble(&self) -> Option<String> {
        match &*self.spool.durable().borrow() {
            Durable::Failed(reason) => return Some(format!("journal failed: {reason}")),
            Durable::Through(_) => {}
        }
        (self.counters.spool_full.get() == 1).then(|| "spool is full".to_owned())
    }
}
