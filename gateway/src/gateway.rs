//! One running gateway: engine, routes, MQTT front, Kinesis API and status page, started and stopped in order.
//!
//! In: a [`Config`]. Out: bound addresses, and at the end a [`Ledger`].
//! Invariants: all ports are bound before the state directory is touched; everything that was acknowledged is durable
//! when [`Gateway::stop`] returns, and everything that was received and can be made durable is.
//! Not here: signals and the command line (`cli`).

mod error;
mod front;
mod ledger;
mod reload;

pub use error::StartError;
pub use ledger::Ledger;
pub use reload::{ReloadError, Reloaded};

use self::front::{authorize, limits, retain};
use crate::books::Books;
use crate::config::{self, Config, DurabilityMode};
use crate::forward::Forwarders;
use crate::host_time;
use crate::mqtt::{self, Dials, Downlink, Server};
use crate::route::{Router, RouterSettings};
use crate::status::{self, Status};
use headwater_engine::{Clock, Engine, EngineConfig, OpenError};
use headwater_journal as journal;
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A gateway that serves clients.
pub struct Gateway {
    mqtt_addr: SocketAddr,
    tls_addr: Option<SocketAddr>,
    kinesis_addr: SocketAddr,
    http_addr: SocketAddr,
    downlink: Downlink,
    router: Arc<Router>,
    dials: Dials<Router>,
    /// What it runs with; held while another is taken up, so one at a time.
    running: tokio::sync::Mutex<Config>,
    status: Arc<Status>,
    forwarders: Forwarders,
    /// `true` stops the front, then the API, then the status page: one channel each, in this order.
    stops: [watch::Sender<bool>; 3],
    front: JoinHandle<mqtt::Snapshot>,
    api: JoinHandle<()>,
    page: JoinHandle<()>,
    books: Books,
    accountant: JoinHandle<()>,
}

impl fmt::Debug for Gateway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Gateway");
        out.field("mqtt_addr", &self.mqtt_addr).field("kinesis_addr", &self.kinesis_addr);
        out.field("http_addr", &self.http_addr).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Binds all ports, opens the state directory and serves. Call inside a tokio runtime. Port 0 takes a free port.
    ///
    /// # Errors
    /// Nothing runs then.
    pub async fn start(config: &Config) -> Result<Gateway, StartError> {
        let kinesis = bind("kinesis.listen", config.kinesis.listen).await?;
        let http = bind("http.listen", config.http.listen).await?;
        front_ports_are_free(&config.mqtt).await?;
        let (engine, recovery) = open_engine(config).await?;
        report(&recovery);
        let router =
            Router::open(engine.clone(), RouterSettings::of(config)).await.map_err(StartError::Routes)?;
        let router = Arc::new(router);
        let limits = limits(&config.mqtt);
        let downlink = Downlink::new(&limits);
        retain(router.births(), &downlink);
        let tls = config.mqtt.tls.clone().map(|tls| (tls.listen, tls.settings));
        let front = mqtt::Config { listen: config.mqtt.listen, tls, limits };
        let listen_error = |source: io::Error| match source.kind() {
            io::ErrorKind::InvalidInput => StartError::Tls(source),
            _ => StartError::Listen { key: "mqtt.listen", addr: config.mqtt.listen, source },
        };
        let front = Server::bind(front, Arc::clone(&router), authorize(&config.mqtt), downlink.clone());
        let front = front.await.map_err(listen_error)?;

        let dials = front.dials();
        let (mqtt_addr, tls_addr) = (front.local_addr().map_err(listen_error)?, front.tls_addr());
        let (kinesis, kinesis_addr) = kinesis;
        let (http, http_addr) = http;
        let books = Books::open(&engine, Arc::clone(&router), front.counters());
        let forwarders = Forwarders::start(&engine, &config.sinks, &config.dead_letter);
        let forwarders = forwarders.await.map_err(StartError::Sinks)?;
        let status = Arc::new(Status::new(
            &config.gateway.name,
            books.clone(),
            Arc::clone(&router),
            front.counters(),
            forwarders.board(),
            recovery,
        ));
        let stops: [watch::Sender<bool>; 3] = std::array::from_fn(|_| watch::Sender::new(false));
        let front = tokio::spawn(front.run(stopped(&stops[0])));
        let api = {
            let (engine, stopped) = (engine, stopped(&stops[1]));
            tokio::spawn(async move { engine.http(kinesis, stopped).await })
        };
        let accountant = tokio::spawn(books.clone().attend());
        tokio::spawn(host_time::follow(stopped(&stops[2])));
        let page = tokio::spawn(status::serve(http, Arc::clone(&status), stopped(&stops[2])));
        let state = config.gateway.state.display();
        if let Some(tls) = tls_addr {
            tracing::info!(%tls, "devices may connect with TLS");
        }
        tracing::info!(mqtt = %mqtt_addr, kinesis = %kinesis_addr, http = %http_addr, %state, "gateway started");
        Ok(Gateway {
            mqtt_addr,
            tls_addr,
            kinesis_addr,
            http_addr,
            downlink,
            router,
            dials,
            running: tokio::sync::Mutex::new(config.clone()),
            status,
            forwarders,
            stops,
            front,
            api,
            page,
            books,
            accountant,
        })
    }

    /// Where MQTT clients connect.
    pub fn mqtt_addr(&self) -> SocketAddr {
        self.mqtt_addr
    }

    /// Where devices connect with TLS.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls_addr
    }

    /// Where Kinesis clients connect.
    pub fn kinesis_addr(&self) -> SocketAddr {
        self.kinesis_addr
    }

    /// Where the status page is.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// The way to subscribers.
    pub fn downlink(&self) -> &Downlink {
        &self.downlink
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        self.status.engine()
    }

    /// What was received until now and what became of it.
    pub fn ledger(&self) -> Ledger {
        self.status.ledger()
    }

    /// Stops taking publishes, waits for what is under way (at most `mqtt.drain_timeout` and the API's own limit), makes
    /// everything durable and closes the journal.
    pub async fn stop(self) -> Ledger {
        let Gateway {
            status,
            forwarders,
            stops: [front_stop, api_stop, page_stop],
            front,
            api,
            page,
            books,
            accountant,
            ..
        } = self;
        status.stopping();
        front_stop.send_replace(true);
        let mqtt = front.await.unwrap_or_else(|_| status.ledger().mqtt);
        api_stop.send_replace(true);
        if api.await.is_err() {
            tracing::error!("the Kinesis API did not stop cleanly");
        }
        forwarders.stop().await;
        accountant.abort();
        let _ = accountant.await;
        books.store().await;
        status.engine().close().await;
        page_stop.send_replace(true);
        if page.await.is_err() {
            tracing::error!("the status page did not stop cleanly");
        }
        let ledger = Ledger { mqtt, ..status.ledger() };
        tracing::info!(%ledger, "gateway stopped");
        ledger
    }
}

/// Runs a gateway until `shutdown` resolves, then drains and stops it.
///
/// # Errors
/// The gateway did not start.
pub async fn run(config: Config, shutdown: impl Future<Output = ()>) -> Result<Ledger, StartError> {
    let gateway = Gateway::start(&config).await?;
    shutdown.await;
    Ok(gateway.stop().await)
}

/// The front binds its ports itself, after the routes are open; this tells early that one is taken.
async fn front_ports_are_free(config: &config::Mqtt) -> Result<(), StartError> {
    drop(bind("mqtt.listen", config.listen).await?);
    if let Some(tls) = &config.tls {
        drop(bind("mqtt.tls.listen", tls.listen).await?);
    }
    Ok(())
}

async fn bind(key: &'static str, addr: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let error = |source| StartError::Listen { key, addr, source };
    let listener = TcpListener::bind(addr).await.map_err(error)?;
    let addr = listener.local_addr().map_err(error)?;
    Ok((listener, addr))
}

/// Resolves when `stop` is sent, or its sender is gone.
fn stopped(stop: &watch::Sender<bool>) -> impl Future<Output = ()> + Send + 'static {
    let mut receiver = stop.subscribe();
    async move {
        // An error is a sender that is gone: a gateway dropped without `stop`.
        let _ = receiver.wait_for(|stop| *stop).await;
    }
}

async fn open_engine(config: &Config) -> Result<(Engine, journal::Recovery), StartError> {
    let dir = config.gateway.state.join("journal");
    let settings = EngineConfig {
        journal: journal_config(&config.journal),
        region: config.kinesis.region.clone(),
        account: config.kinesis.account.clone(),
        limits: config.kinesis.limits,
        transition: config.kinesis.transition,
        master_keys: config.key_source(),
        clock: Clock::system(),
        ..EngineConfig::new(&dir)
    };
    let error = |source| StartError::Open { dir: dir.clone(), source };
    // Whoever reads a state directory reads every record.
    let create = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir);
    create.map_err(|source| error(journal_io("creating the directory", source)))?;
    // Opening reads segments; the runtime's threads are for sockets.
    let opened = tokio::task::spawn_blocking(move || Engine::open(settings)).await;
    match opened {
        Ok(opened) => opened.map_err(error),
        Err(panic) => Err(error(journal_io("opening", io::Error::other(panic)))),
    }
}

fn journal_io(doing: &str, source: io::Error) -> OpenError {
    OpenError::Journal(journal::OpenError::Io { doing: doing.to_owned(), source })
}

/// The journal's settings, as the configuration says them.
pub(crate) fn journal_config(config: &config::Journal) -> journal::Config {
    let defaults = journal::Config::default();
    journal::Config {
        segment_bytes: config.segment_bytes,
        pool_segments: config.pool_segments,
        size_bytes_max: config.size_bytes_max,
        reserve_bytes: config.reserve_bytes,
        group_bytes_max: defaults.group_bytes_max.min(config.staged_bytes_max),
        staged_bytes_max: config.staged_bytes_max,
        tail_cache_bytes: config.tail_cache_bytes,
        linger: config.linger,
        write_budget: config.write_budget,
        io: journal::IoMode::Auto,
        durability: match config.durability {
            DurabilityMode::Sync => journal::Durability::Sync,
            DurabilityMode::Interval(every) => journal::Durability::Interval(every),
        },
        unread: journal::Unread { patience: config.unread_patience, ..journal::Unread::AWAITED },
        ..defaults
    }
}

/// A damaged journal opens; what it lost is for a person to see.
fn report(recovery: &journal::Recovery) {
    if recovery.torn_bytes > 0 {
        let size_bytes = recovery.torn_bytes;
        tracing::info!(size_bytes, "dropped a torn tail: a write that was never acknowledged");
    }
    for lost in &recovery.lost {
        tracing::error!(
            stream = lost.shard.stream,
            shard = lost.shard.shard,
            first = lost.range.first,
            last = lost.range.last,
            "acknowledged records are lost: the journal is damaged"
        );
    }
    for file in &recovery.unreadable {
        tracing::error!(file, "file of the journal cannot be read; it is kept");
    }
    if recovery.groups_lost > 0 || recovery.metadata_lost {
        let (groups, metadata) = (recovery.groups_lost, recovery.metadata_lost);
        tracing::error!(groups, metadata, "groups of the journal are damaged");
    }
}
