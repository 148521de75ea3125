//! Device links: TCP connections and serial ports, the same frames on both.
//!
//! In: byte streams. Out: items in the spool, answers to devices. Here are the shells that hold sockets, ports and
//! timers; what a link means is [`session`], pure.
//!
//! Always true: a link that cannot be spooled is not read. The device keeps what it has in flash.

mod asking;
mod orders;
mod ports;
mod serial;
pub(crate) mod session;
mod tcp;

pub(crate) use ports::{Wanted, run_ports};
pub(crate) use serial::run_serial;
pub(crate) use tcp::{bind, run_tcp};

use crate::clock::Clock;
use crate::limits::{FULL_RETRY_MS, READ_BYTES_MAX, WRITE_TIMEOUT_MS};
use crate::roster::{Place, Roster};
use crate::spool::{Durable, Spool};
use crate::status::Counters;
use crate::stop::Stop;
use headwater_journal::{AppendError, FileStorage, Storage};
use session::{Item, Policy, Session};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Stands for "no limit" where a moment is needed: ten years.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What every link needs.
pub(crate) struct Links<S: Storage = FileStorage> {
    pub(crate) spool: Arc<Spool<S>>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) roster: Roster,
    /// Which devices are taken, as it is now.
    pub(crate) policy: watch::Receiver<Policy>,
    pub(crate) clock: Clock,
    /// True once links must end.
    pub(crate) stop: Stop,
}

/// Why a link ended.
pub(crate) enum End {
    /// The peer closed it.
    Closed,
    /// Nothing was heard for too long.
    Idle,
    /// The port or socket failed.
    Io(io::Error),
    /// The agent stops, or its journal did.
    Stopped,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed by the device"),
            Self::Idle => f.write_str("nothing heard for too long"),
            Self::Io(error) => write!(f, "failed: {error}"),
            Self::Stopped => f.write_str("agent stops"),
        }
    }
}

// By hand: a storage need not be one that can be cloned.
impl<S: Storage> Clone for Links<S> {
    fn clone(&self) -> Self {
        Self {
            spool: Arc::clone(&self.spool),
            counters: Arc::clone(&self.counters),
            roster: self.roster.clone(),
            policy: self.policy.clone(),
            clock: self.clock.clone(),
            stop: self.stop.clone(),
        }
    }
}

impl<S: Storage> Links<S> {
    /// Runs one link until it ends. `port`: its name for people. `idle`: how long the peer may be silent.
    pub(crate) async fn run_link(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        port: String,
        idle: Option<Duration>,
        resync: bool,
    ) -> End {
        self.counters.links_opened.add(1);
        let mut session = Session::new(self.policy.borrow().clone(), Arc::clone(&self.counters));
        if resync {
            session.resync(self.clock.mono_ms());
        }
        let place = self.roster.enter(port, self.clock.utc_ms());
        let end = match self.pump(stream, &mut session, place, idle).await {
            Ok(end) => end,
            Err(error) => End::Io(error),
        };
        self.counters.links_closed.add(1);
        let device = session.device().map_or("", |device| device.as_str());
        tracing::info!(device, reason = %end, "link closed");
        end
    }

    async fn pump(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin,
        session: &mut Session,
        mut place: Place,
        idle: Option<Duration>,
    ) -> io::Result<End> {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let mut durable = self.spool.durable();
        let (mut stop, mut policy) = (self.stop.clone(), self.policy.clone());
        // One that came since the link was opened counts too.
        policy.mark_changed();
        let mut buffer = vec![0u8; READ_BYTES_MAX];
        let mut heard_at = Instant::now();
        // What was read and does not fit the spool yet. Nothing more is read until it does.
        let mut unspooled: Vec<Item> = Vec::new();
        loop {
            let synced = durable.borrow_and_update().clone();
            match synced {
                Durable::Through(ticket) => session.handle_synced(ticket),
                Durable::Failed(_) => return Ok(End::Stopped),
            }
            session.handle_timeout(self.clock.mono_ms());
            send(&mut writer, &session.take_transmit()).await?;
            let retry_at = session.poll_timeout().map(|at_ms| self.clock.instant_at(at_ms));
            tokio::select! {
                // In this order, so that a seed tells what happens; reading, which may always be ready, comes after what may not.
                biased;
                () = stop.stopped() => return Ok(End::Stopped),
                Ok(()) = policy.changed() => session.handle_policy(policy.borrow_and_update().clone()),
                // Only a link that waits for a sync wakes for it: with many links most have nothing to say.
                changed = durable.changed(), if session.waits_for_sync() => {
                    if changed.is_err() {
                        return Ok(End::Stopped);
                    }
                }
                command = place.command(), if session.wants_commands() => session.handle_command(command),
                () = sleep_until(retry_at.unwrap_or_else(Instant::now)), if retry_at.is_some() => {}
                () = sleep(Duration::from_millis(FULL_RETRY_MS)), if !unspooled.is_empty() => {}
                // Reading is cancel-safe: either bytes are in the buffer, or none were taken.
                read = reader.read(&mut buffer), if unspooled.is_empty() && session.wants_bytes() => {
                    let count = read?;
                    if count == 0 {
                        return Ok(End::Closed);
                    }
                    heard_at = Instant::now();
                    let now = self.clock.now();
                    session.handle_bytes(&buffer[..count], now);
                    place.heard(now.utc_ms, session.take_news());
                    unspooled = session.take_items();
                }
                () = sleep_until(heard_at + idle.unwrap_or(FOREVER)), if idle.is_some() && unspooled.is_empty() => {
                    return Ok(End::Idle);
                }
            }
            if !unspooled.is_empty() && self.append(session, &unspooled)? {
                unspooled.clear();
                heard_at = Instant::now();
            }
        }
    }

    /// Appends items; false when the spool has no room now.
    fn append(&self, session: &mut Session, items: &[Item]) -> io::Result<bool> {
        match self.spool.append(items, self.clock.utc_ms()) {
            Ok(intake) => {
                if self.counters.spool_full.swap(0) == 1 {
                    tracing::info!("spool has room again, devices are read");
                }
                session.handle_staged(intake.ticket, &intake.acks);
                Ok(true)
            }
            Err(AppendError::Full) => {
                if self.counters.spool_full.swap(1) == 0 {
                    self.counters.spool_full_events.add(1);
                    tracing::warn!("spool is full, devices are not read and keep their data");
                }
                Ok(false)
            }
            Err(AppendError::Busy { .. }) => {
                tracing::debug!("spool is busy, a link waits");
                Ok(false)
            }
            Err(error) => {
                tracing::error!(%error, "spool does not take records");
                Err(io::Error::other(error))
            }
        }
    }
}

async fn send(writer: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let write = async {
        writer.write_all(bytes).await?;
        writer.flush().await
    };
    timeout(Duration::from_millis(WRITE_TIMEOUT_MS), write).await.map_err(|_| io::ErrorKind::TimedOut)?
}
