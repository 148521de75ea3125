//! The listener: accepts, admits, spawns one task a connection, and drains them at the end.

use super::access::Access;
use super::authorize::Authorize;
use super::budget::Budget;
use super::connection;
use super::counters::{Counters, Snapshot};
use super::dials::Dials;
use super::downlink::Downlink;
use super::gate::Gate;
use super::handshake;
use super::limits::{Limits, REFUSALS_MAX};
use super::reason::Reason;
use super::registry::{Away, Registry};
use super::session::Shared;
use super::socket::Socket;
use super::tls::{Acceptor, TlsError, TlsSettings};
use super::will;
use crate::ingest::Ingest;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

/// How often wills and sessions are looked at: their times are whole seconds.
const SWEEP_EVERY: Duration = Duration::from_secs(1);
/// After `accept` failed, for want of file descriptors most likely: time for some to be closed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Configuration of a [`Server`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Address and port to listen on; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// A second address, where clients speak TLS.
    pub tls: Option<(SocketAddr, TlsSettings)>,
    /// See [`Limits`].
    pub limits: Limits,
}

impl Default for Config {
    fn default() -> Config {
        Config { listen: SocketAddr::from(([127, 0, 0, 1], 1883)), tls: None, limits: Limits::default() }
    }
}

/// An MQTT server that is bound and not yet accepting.
pub struct Server<I: Ingest> {
    listener: TcpListener,
    tls: Option<(TcpListener, Arc<Acceptor>)>,
    inner: Arc<Inner<I>>,
}

/// What all connections of a server share.
pub(super) struct Inner<I> {
    pub(super) ingest: Arc<I>,
    pub(super) counters: Arc<Counters>,
    pub(super) access: Arc<Access>,
    /// For connections that come.
    limits: Mutex<Arc<Limits>>,
    pub(super) downlink: Downlink,
    pub(super) registry: Registry,
    pub(super) budget: Arc<Budget>,
    gate: Mutex<Gate>,
    refusals: Arc<Semaphore>,
    last_connection: AtomicU64,
    hasher: RandomState,
    /// Set when the server stops: connections that are not in the registry yet must see it too.
    pub(super) stopping: AtomicBool,
    idle: Notify,
}

impl<I: Ingest> Server<I> {
    /// Binds the listener. Clients may connect from now on, and are served once [`Server::run`] is called.
    ///
    /// `downlink` should have been made with the same limits; its counters are the server's too.
    ///
    /// # Errors
    /// When an address cannot be bound, or the TLS files are not good (kind `InvalidInput`).
    pub async fn bind(
        config: Config,
        ingest: Arc<I>,
        authorize: Arc<dyn Authorize>,
        downlink: Downlink,
    ) -> io::Result<Server<I>> {
        let listener = TcpListener::bind(config.listen).await?;
        let tls = match config.tls {
            Some((listen, settings)) => {
                let invalid = |error: TlsError| io::Error::new(io::ErrorKind::InvalidInput, error);
                let acceptor = Arc::new(Acceptor::new(settings).map_err(invalid)?);
                Some((TcpListener::bind(listen).await?, acceptor))
            }
            None => None,
        };
        Ok(Server { listener, tls, inner: Inner::new(config.limits, ingest, authorize, downlink) })
    }

    /// The address it listens on, with the port the system chose.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The address where it speaks TLS.
    pub fn tls_addr(&self) -> Option<SocketAddr> {
        self.tls.as_ref().and_then(|(listener, _)| listener.local_addr().ok())
    }

    /// What may be changed while it runs.
    #[must_use]
    pub fn dials(&self) -> Dials<I> {
        let acceptor = self.tls.as_ref().map(|(_, acceptor)| Arc::clone(acceptor));
        Dials { inner: Arc::clone(&self.inner), acceptor }
    }

    /// The counters, which stay readable while and after the server runs.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        self.inner.counters.clone()
    }

    /// Serves clients until `shutdown` resolves; then accepts nobody, waits for pending commits and their
    /// acknowledgements, says goodbye (MQTT 5: 0x8B), and returns when all connections are closed or `drain_timeout`
    /// has passed.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Snapshot {
        let (stop, stopped) = watch::channel(false);
        let sweeper = tokio::spawn(sweep(self.inner.clone(), stopped));
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                accepted = self.listener.accept() => self.admit(accepted, None).await,
                (accepted, acceptor) = accept_tls(&self.tls) => self.admit(accepted, Some(acceptor)).await,
            }
        }
        drop((self.listener, self.tls));
        self.inner.stopping.store(true, Relaxed);
        self.inner.registry.close();
        let drained = tokio::time::timeout(self.inner.limits().drain_timeout, self.inner.drained()).await;
        if drained.is_err() {
            tracing::warn!(open = self.inner.open(), "connections left open at shutdown");
        }
        let _ = stop.send(true);
        let _ = sweeper.await;
        self.inner.counters.snapshot()
    }
}

impl<I: Ingest> Server<I> {
    async fn admit(&self, accepted: io::Result<(TcpStream, SocketAddr)>, acceptor: Option<Arc<Acceptor>>) {
        match accepted {
            Ok((stream, peer)) => admit(&self.inner, stream, peer, acceptor),
            Err(error) => {
                tracing::warn!(%error, "accept failed");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// A packet of the largest size must fit.
fn buffered(limits: &Limits) -> usize {
    limits.buffered_bytes.max(limits.packet_bytes as usize)
}

/// The next connection of the TLS listener; never where there is none. Cancel-safe.
async fn accept_tls(
    tls: &Option<(TcpListener, Arc<Acceptor>)>,
) -> (io::Result<(TcpStream, SocketAddr)>, Arc<Acceptor>) {
    match tls {
        Some((listener, acceptor)) => (listener.accept().await, Arc::clone(acceptor)),
        None => std::future::pending().await,
    }
}

impl<I: Ingest> Inner<I> {
    pub(super) fn new(
        limits: Limits,
        ingest: Arc<I>,
        authorize: Arc<dyn Authorize>,
        downlink: Downlink,
    ) -> Arc<Self> {
        let limits = Arc::new(limits);
        Arc::new(Inner {
            ingest,
            registry: Registry::new(limits.sessions_kept),
            budget: Budget::new(buffered(&limits)),
            gate: Mutex::new(Gate::new(&limits)),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            counters: downlink.counters(),
            access: Access::new(authorize),
            limits: Mutex::new(limits),
            downlink,
            last_connection: AtomicU64::new(0),
            hasher: RandomState::new(),
            stopping: AtomicBool::new(false),
            idle: Notify::new(),
        })
    }

    /// What connections that come from now on keep to.
    pub(super) fn limits(&self) -> Arc<Limits> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_limits(&self, limits: Limits) {
        self.gate().set(&limits);
        self.budget.set(buffered(&limits));
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(limits);
    }

    pub(super) fn shared(&self) -> Shared {
        let (counters, access) = (self.counters.clone(), self.access.clone());
        Shared { limits: self.limits(), counters, access }
    }

    /// A number no other connection of this server had.
    pub(super) fn next_connection(&self) -> u64 {
        self.last_connection.fetch_add(1, Relaxed) + 1
    }

    /// A number nobody can guess, for an assigned client identifier.
    pub(super) fn fresh(&self, connection: u64) -> u64 {
        self.hasher.hash_one(connection)
    }

    fn open(&self) -> u64 {
        let counters = &self.counters;
        counters.connections_accepted.get().saturating_sub(counters.connections_closed.get())
    }

    async fn drained(&self) {
        while self.open() > 0 {
            let notified = self.idle.notified();
            if self.open() == 0 {
                return;
            }
            // Counters are not a lock: look again even if the notice was missed.
            let _ = tokio::time::timeout(Duration::from_millis(20), notified).await;
        }
    }

    fn gate(&self) -> std::sync::MutexGuard<'_, Gate> {
        // Its counts are changed in single steps, so they are right even after a panic.
        self.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A session without a connection is over, and with it the delay of its will.
    pub(super) fn end(&self, away: Away) {
        self.counters.sessions_released.add(1);
        if let Some((will, _)) = away.will {
            self.publish_will(away.client, *will);
        }
    }

    pub(super) fn publish_will(&self, client: super::Client, will: super::codec::Will) {
        tokio::spawn(will::publish(self.ingest.clone(), self.downlink.clone(), client, will));
    }
}

/// Counts a connection in, or says why it must go.
pub(super) fn enter<I: Ingest>(inner: &Arc<Inner<I>>, peer: SocketAddr) -> Result<Pass<I>, Reason> {
    let counters = &inner.counters;
    counters.connections_accepted.add(1);
    let ip = peer.ip().to_canonical();
    if let Err(reason) = inner.gate().enter(ip, Instant::now()) {
        counters.refused(reason);
        counters.connections_closed.add(1);
        tracing::debug!(%peer, %reason, "connection refused");
        return Err(reason);
    }
    counters.connections_admitted.add(1);
    Ok(Pass { inner: inner.clone(), ip })
}

/// Lets a connection in and spawns its task, or closes it.
fn admit<I: Ingest>(
    inner: &Arc<Inner<I>>,
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: Option<Arc<Acceptor>>,
) {
    let pass = match enter(inner, peer) {
        Ok(pass) => pass,
        Err(reason) => {
            if let (None, Ok(permit)) = (acceptor, Arc::clone(&inner.refusals).try_acquire_owned()) {
                tokio::spawn(handshake::turn_away(Socket::Plain(stream), reason, permit));
            }
            return;
        }
    };
    // Without it a PUBACK waits for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let inner = inner.clone();
    tokio::spawn(async move {
        let socket = match acceptor {
            None => Socket::Plain(stream),
            // Boxed, so that the memory of the handshake is not held while the connection lives.
            Some(acceptor) => match Box::pin(acceptor.accept(stream)).await {
                Ok(socket) => socket,
                Err(error) => {
                    inner.counters.tls_refused.add(1);
                    tracing::debug!(%peer, %error, "TLS handshake failed");
                    return;
                }
            },
        };
        connection::run(inner, socket, peer, pass).await;
    });
}

/// Counts a connection out when its task ends.
pub(super) struct Pass<I: Ingest> {
    inner: Arc<Inner<I>>,
    ip: IpAddr,
}

impl<I: Ingest> Drop for Pass<I> {
    fn drop(&mut self) {
        self.inner.gate().leave(self.ip);
        self.inner.counters.connections_closed.add(1);
        self.inner.idle.notify_one();
    }
}

/// Publishes wills that are due and drops sessions that are over.
async fn sweep<I: Ingest>(inner: Arc<Inner<I>>, mut stopped: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(SWEEP_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = stopped.changed() => return,
        }
        let now = Instant::now();
        let due = inner.registry.take_due(now);
        for (client, will) in due.wills {
            inner.publish_will(client, *will);
        }
        inner.counters.sessions_released.add(due.over.len());
        inner.gate().sweep(now);
    }
}
