//! What the service manager is told: ready, reloading, stopping, alive, and one line for `systemctl status`.
//!
//! In: `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID` as systemd sets them (sd_notify(3)), and what happens to a gateway
//! or an agent.
//! Out: datagrams; nothing at all where nobody listens.
//! Invariants: `WATCHDOG=1` follows a barrier through the commit queue, never time alone, so a program whose commits hang is
//! started again; a barrier of an idle journal writes nothing, so an idle program is neither restarted nor wears a card. A
//! service manager that does not listen delays a caller by `SEND_PATIENCE` at most and stops nothing.
//! Not here: when a program is ready or stops, and what it does about a journal that failed (gateway, agent).
//!
//! Own code: it is a datagram to an address. The crates for it do not know abstract addresses, or wait without end for a
//! service manager that does not read.
//!
//! ```
//! # let socket = tempfile::tempdir()?;
//! # let address = socket.path().join("notify");
//! # let systemd = std::os::unix::net::UnixDatagram::bind(&address)?;
//! use headwater_notify::Notify;
//!
//! let notify = Notify::to(address.as_os_str(), None)?; // a program asks Notify::from_env()
//! notify.ready("listening");
//! # let mut message = [0; 64];
//! # let length = systemd.recv(&mut message)?;
//! # assert_eq!(&message[..length], b"READY=1\nSTATUS=listening");
//! # Ok::<(), std::io::Error>(())
//! ```

use std::convert::Infallible;
use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::future::Future;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;
use tokio::time::{Instant, sleep, timeout};

/// How long a send may wait for room in the service manager's queue. Local and a few bytes: longer means nobody reads.
const SEND_PATIENCE: Duration = Duration::from_secs(1);

/// How often the line of status is renewed, watchdog or not.
const STATUS_EVERY: Duration = Duration::from_secs(20);

/// Signs of life in one watchdog period. With three, commits may stand still for two thirds of it: a card that collects
/// garbage for half a minute is slow, not hung.
const SIGNS_PER_PERIOD: u32 = 3;

/// The way to the service manager, or to nobody.
#[derive(Debug)]
pub struct Notify {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
}

impl Notify {
    /// The service manager that started this process, as its environment says. An address that cannot be used is logged
    /// and nobody is told: a program runs without.
    #[must_use]
    pub fn from_env() -> Notify {
        let Some(address) = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty()) else {
            return Notify { socket: None, watchdog: None };
        };
        let variable = |name: &str| std::env::var(name).ok();
        let watchdog = watchdog(variable("WATCHDOG_USEC"), variable("WATCHDOG_PID"), std::process::id());
        Notify::to(&address, watchdog).unwrap_or_else(|error| {
            tracing::warn!(?address, %error, "the service manager cannot be told anything");
            Notify { socket: None, watchdog: None }
        })
    }

    /// Tells `address`: a path, or `@` and a name without a file (Linux's abstract addresses). With `watchdog` a sign of
    /// life is expected that often.
    ///
    /// # Errors
    /// Nobody listens there, or it is no such address.
    pub fn to(address: &OsStr, watchdog: Option<Duration>) -> io::Result<Notify> {
        let address = match address.as_bytes().split_first() {
            Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
            _ => SocketAddr::from_pathname(OsString::from(address))?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.connect_addr(&address)?;
        socket.set_write_timeout(Some(SEND_PATIENCE))?;
        Ok(Notify { socket: Some(socket), watchdog })
    }

    /// It serves: all listeners are bound, the journal is open.
    pub fn ready(&self, status: impl Display) {
        self.tell(&format!("READY=1\nSTATUS={}", line(status)));
    }

    /// It takes up a new configuration; [`ready`](Self::ready) ends that, whether or not the new one was good.
    pub fn reloading(&self) {
        // systemd 253 and newer take the word only with the time, to tell it from one that was sent before the signal.
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let micros = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
    }

    /// It takes nothing new any more and drains.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=draining");
    }

    /// Shows signs of life for ever: as long as what `barrier` gives resolves with `Ok`, which is when everything that was
    /// staged before it is durable. `status` is the line to show. While a barrier does not resolve, the line says so and no
    /// sign is given. After an `Err` there are no more signs: storage has stopped, and the program ends of itself.
    pub async fn attend<B, E>(&self, barrier: impl Fn() -> B, status: impl Fn() -> String) -> Infallible
    where
        B: Future<Output = Result<(), E>>,
    {
        if self.socket.is_none() {
            return std::future::pending().await;
        }
        let every =
            self.watchdog.map_or(STATUS_EVERY, |period| (period / SIGNS_PER_PERIOD).min(STATUS_EVERY));
        loop {
            let began = Instant::now();
            let mut barrier = std::pin::pin!(barrier());
            let outcome = loop {
                match timeout(every, &mut barrier).await {
                    Ok(outcome) => break outcome,
                    Err(_) => {
                        let waits_s = began.elapsed().as_secs();
                        tracing::warn!(waits_s, "a commit does not become durable");
                        self.tell(&format!("STATUS=a commit has been waiting for the disk for {waits_s} s"));
                    }
                }
            };
            if outcome.is_err() {
                return std::future::pending().await;
            }
            let sign = if self.watchdog.is_some() { "WATCHDOG=1\n" } else { "" };
            self.tell(&format!("{sign}STATUS={}", line(status())));
            sleep(every).await;
        }
    }

    fn tell(&self, message: &str) {
        let Some(socket) = &self.socket else { return };
        if let Err(error) = socket.send(message.as_bytes()) {
            tracing::warn!(%error, message, "the service manager was not told");
        }
    }
}

/// The period within which a sign of life is expected, when it is expected of process `own`.
fn watchdog(micros: Option<String>, pid: Option<String>, own: u32) -> Option<Duration> {
    if pid.is_some_and(|pid| pid.parse() != Ok(own)) {
        return None;
    }
    let micros = micros?.parse().ok().filter(|micros| *micros > 0)?;
    Some(Duration::from_micros(micros))
}

/// Fields of a message are lines, so a status is one.
fn line(status: impl Display) -> String {
    status.to_string().replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(micros: &str, pid: Option<&str>) -> Option<Duration> {
        watchdog(Some(micros.to_owned()), pid.map(str::to_owned), 7)
    }

    #[test]
    fn a_watchdog_of_another_process_is_not_ours() {
        assert_eq!(given("90000000", Some("7")), Some(Duration::from_secs(90)));
        assert_eq!(given("90000000", None), Some(Duration::from_secs(90)));
        assert_eq!(given("90000000", Some("8")), None);
        assert_eq!(given("90000000", Some("x")), None);
        assert_eq!((given("0", None), given("soon", None), watchdog(None, None, 7)), (None, None, None));
    }

    #[test]
    fn a_status_cannot_add_a_field() {
        assert_eq!(line("good\nWATCHDOG=1"), "good WATCHDOG=1");
    }
}
