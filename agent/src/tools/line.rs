//! A conversation with one device, in the hands of a person.
//!
//! In: a serial port. Out: messages of the device, results of orders. Invariants: an order is sent again with its own number until
//! its result comes, so a noisy line does not do it twice; batches are acknowledged by nobody here but [`Line::take`]; a port that went away
//! with its device, as USB does at a restart, is let go before it is looked for again. Not here: which ports there are (`port`).

use super::port::open_serial;
use headwater_telemetry::limits::FRAME_BYTES_MAX;
use headwater_telemetry::{
    Batch, Command, CommandId, CommandOutcome, Deframer, DeviceId, Down, Hello, Order, TimeQuality,
    Timestamp, Up, UtcTime, decode_body, encode_frame,
};
use serial2_tokio::SerialPort;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout_at};

/// A device answers an order at once, or flash takes a moment.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Times an order is sent before the device is given up.
const SENDS_MAX: u32 = 5;

/// A device that nobody answers says hello every four seconds, and one that is asked answers at once.
pub const HELLO_TIMEOUT: Duration = Duration::from_secs(15);

/// Silence after which whoever is at a port is asked: longer than between two hellos, so that what is no device of ours is told something
/// only where nothing of ours speaks.
const ASK_AFTER: Duration = Duration::from_secs(5);

/// Questions may get lost.
const ASK_EVERY: Duration = Duration::from_secs(3);

/// A restart: the answer's delay, the boot of a radio board, the first hello.
const RESTART_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a port that went away is looked for.
const REOPEN_EVERY: Duration = Duration::from_millis(250);

/// Messages kept that came before the hello that was waited for. A device has five log lines at the most, and one batch in flight.
const PASSED_MAX: usize = 16;

/// Why a conversation did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum TalkError {
    /// The port cannot be opened.
    #[error("{}: {source}", port.display())]
    Open {
        /// Its path.
        port: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The port is not for this user.
    #[error("{}: permission denied, expected a user of the port's group (dialout on Debian, uucp on Arch)", .0.display())]
    Forbidden(PathBuf),
    /// Another program has the port, the running agent most likely.
    #[error(
        "{} is in use by another program, expected it free: stop the agent or take the port out of its links", .0.display()
    )]
    Busy(PathBuf),
    /// The port failed, or its device went away.
    #[error("port failed: {0}")]
    Io(#[from] io::Error),
    /// Nothing that is a device's message came.
    #[error("no Headwater device answers within {0} s, expected one at this baud rate")]
    Silent(u64),
    /// An order was not answered.
    #[error("device {0} does not answer the order, expected a result: is its firmware too old?")]
    Unanswered(DeviceId),
    /// It was told to restart, and was not heard again.
    #[error("device {device} does not come back within {within_s} s, expected its hello after the restart")]
    Gone {
        /// Its name before the restart.
        device: DeviceId,
        /// Seconds waited.
        within_s: u64,
    },
    /// The device cannot do it.
    #[error("device {device} refuses: {what}")]
    Refused {
        /// Its name.
        device: DeviceId,
        /// What was asked for, in words.
        what: String,
    },
    /// The device has no channel of this name.
    #[error("device {device} has no channel \"{wanted}\", expected one of {}", channels.join(", "))]
    Channel {
        /// Its name.
        device: DeviceId,
        /// What was asked for.
        wanted: String,
        /// What it has.
        channels: Vec<String>,
    },
    /// The device's flash failed.
    #[error("flash of device {0} does not take it, expected working flash; try again, or replace the board")]
    Flash(DeviceId),
    /// It came back as another.
    #[error("device calls itself {found} after the restart, expected {expected}")]
    Name {
        /// What it says.
        found: DeviceId,
        /// What it was told.
        expected: DeviceId,
    },
}

/// A number that nobody used for this device lately.
fn chance() -> u32 {
    // The standard library draws the keys of its hash from the system.
    let [a, b, c, d, ..] = RandomState::new().hash_one(SystemTime::now()).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// A line to one device.
#[derive(Debug)]
pub struct Line {
    path: PathBuf,
    baud: u32,
    /// With its lock; none while it is away.
    port: Option<(SerialPort, OwnedFd)>,
    deframer: Deframer,
    heard: VecDeque<Up>,
}

impl Line {
    /// A line over a serial port, which is its own. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// As [`open_serial`].
    pub fn open(path: &Path, baud: u32) -> Result<Self, TalkError> {
        let port = Some(open_serial(path, baud)?);
        Ok(Self { path: path.to_owned(), baud, port, deframer: Deframer::new(), heard: VecDeque::new() })
    }

    /// The next message, if one comes before `deadline`. The time is told to a device that asks, or it would say nothing more.
    ///
    /// # Errors
    /// The port failed or went away.
    pub async fn hear(&mut self, deadline: Instant) -> Result<Option<Up>, TalkError> {
        loop {
            if let Some(message) = self.heard.pop_front() {
                if let Up::TimeRequest { nonce } = message {
                    self.tell_time(nonce).await?;
                }
                return Ok(Some(message));
            }
            let mut bytes = [0; 1024];
            let Ok(read) = timeout_at(deadline, self.port()?.read(&mut bytes)).await else { return Ok(None) };
            let count = read?;
            if count == 0 {
                return Err(TalkError::Io(io::ErrorKind::UnexpectedEof.into()));
            }
            for &byte in &bytes[..count] {
                if let Some(Ok(body)) = self.deframer.push(byte) {
                    self.heard.extend(decode_body::<Up>(body));
                }
            }
        }
    }

    fn port(&mut self) -> Result<&mut SerialPort, TalkError> {
        let port = self.port.as_mut().map(|(port, _)| port);
        port.ok_or_else(|| TalkError::Io(io::ErrorKind::NotConnected.into()))
    }

    async fn say(&mut self, message: &Down) -> Result<(), TalkError> {
        let mut frame = [0; FRAME_BYTES_MAX];
        let frame = encode_frame(message, &mut frame).expect("every message fits a frame");
        let port = self.port()?;
        // The zero ends what an earlier program may have broken off.
        port.write_all(&[0]).await?;
        port.write_all(frame).await?;
        Ok(port.flush().await?)
    }

    async fn tell_time(&mut self, nonce: u32) -> Result<(), TalkError> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        // Nobody asked this host how good its clock is.
        let utc = UtcTime { at, quality: TimeQuality::Estimated };
        self.say(&Down::Time { nonce, utc }).await
    }

    /// Opens a port again that went away with its device, as soon as it is back.
    ///
    /// # Errors
    /// It does not come back before `deadline`, or not for us.
    pub async fn reopen(&mut self, deadline: Instant) -> Result<(), TalkError> {
        // A port that is held gets another number when it comes back.
        self.port = None;
        self.deframer = Deframer::new();
        loop {
            match open_serial(&self.path, self.baud) {
                Ok(port) => {
                    self.port = Some(port);
                    return Ok(());
                }
                Err(error) if Instant::now() >= deadline => return Err(error),
                Err(_) => sleep(REOPEN_EVERY).await,
            }
        }
    }

    /// Who is there. The device is asked, and blinks. Logs and batches that come before the answer are heard afterwards.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn hello(&mut self) -> Result<Hello, TalkError> {
        self.hello_within(Duration::ZERO).await
    }

    /// As [`Line::hello`], where nobody knows whether there is a device at all: listens first, and asks where none says it by itself.
    ///
    /// # Errors
    /// As [`Line::hello`].
    pub async fn overhear(&mut self) -> Result<Hello, TalkError> {
        self.hello_within(ASK_AFTER).await
    }

    async fn hello_within(&mut self, ask_after: Duration) -> Result<Hello, TalkError> {
        let now = Instant::now();
        let hello = self.hello_where(now + HELLO_TIMEOUT, now + ask_after, |_| true).await?;
        hello.ok_or(TalkError::Silent(HELLO_TIMEOUT.as_secs()))
    }

    async fn hello_where(
        &mut self,
        deadline: Instant,
        mut ask_at: Instant,
        wanted: impl Fn(&Hello) -> bool,
    ) -> Result<Option<Hello>, TalkError> {
        let (mut passed, mut has_spoken) = (VecDeque::new(), false);
        let found = loop {
            match self.hear(ask_at.min(deadline)).await? {
                Some(Up::Hello(hello)) if wanted(&hello) => break Some(hello),
                Some(message) => {
                    // A device that speaks of other things does not come to its hello by itself.
                    if !has_spoken {
                        (has_spoken, ask_at) = (true, ask_at.min(Instant::now()));
                    }
                    if matches!(message, Up::Batch(_) | Up::Log(_)) && passed.len() < PASSED_MAX {
                        passed.push_back(message);
                    }
                }
                None if Instant::now() >= deadline => break None,
                None => {
                    self.say(&Down::Identify).await?;
                    ask_at = Instant::now() + ASK_EVERY;
                }
            }
        };
        passed.append(&mut self.heard);
        self.heard = passed;
        Ok(found)
    }

    /// Has an order done. `what` says it in words, for a refusal.
    ///
    /// # Errors
    /// No answer, or one that says why not.
    pub async fn order(&mut self, device: &Hello, order: Order, what: &str) -> Result<(), TalkError> {
        let command = Command { id: CommandId(chance()), order };
        let name = || device.device.clone();
        for _ in 0..SENDS_MAX {
            self.say(&Down::Command(command.clone())).await?;
            let deadline = Instant::now() + ANSWER_TIMEOUT;
            while let Some(message) = self.hear(deadline).await? {
                match message {
                    Up::CommandResult(result) if result.id == command.id => {
                        return match result.outcome {
                            CommandOutcome::Done => Ok(()),
                            CommandOutcome::Refused => {
                                Err(TalkError::Refused { device: name(), what: what.to_owned() })
                            }
                            CommandOutcome::FlashFailed => Err(TalkError::Flash(name())),
                        };
                    }
                    _ => {}
                }
            }
        }
        Err(TalkError::Unanswered(name()))
    }

    /// Restarts the device and waits until it says hello again, on a port that may have gone and come meanwhile.
    ///
    /// # Errors
    /// As [`Line::order`]; or it does not come back.
    pub async fn reboot(&mut self, device: &Hello) -> Result<Hello, TalkError> {
        self.order(device, Order::Reboot, "a restart").await?;
        let deadline = Instant::now() + RESTART_TIMEOUT;
        loop {
            let ask_at = Instant::now() + ASK_AFTER;
            match self.hello_where(deadline, ask_at, |hello| hello.boot != device.boot).await {
                Ok(Some(hello)) => return Ok(hello),
                Ok(None) => break,
                Err(TalkError::Io(_)) if Instant::now() < deadline => self.reopen(deadline).await?,
                Err(error) => return Err(error),
            }
        }
        Err(TalkError::Gone { device: device.device.clone(), within_s: RESTART_TIMEOUT.as_secs() })
    }

    /// Tells the device that a batch is durable, which it is not: the device forgets it.
    ///
    /// # Errors
    /// The port failed.
    pub async fn take(&mut self, batch: &Batch) -> Result<(), TalkError> {
        match batch.through() {
            Some(through) => self.say(&Down::Ack { boot: batch.boot, through }).await,
            None => Ok(()),
        }
    }
}
