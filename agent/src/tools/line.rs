//! A conversation with one device, in the hands of a person.
//!
//! In: a byte stream. Out: messages of the device, results of orders. Invariants: an order is sent again with its own number until
//! its result comes, so a noisy line does not do it twice; batches are acknowledged by nobody here but [`Line::take`].

use headwater_telemetry::limits::FRAME_BYTES_MAX;
use headwater_telemetry::{
    Batch, Command, CommandId, CommandOutcome, Deframer, Down, Hello, Order, TimeQuality, Timestamp, Up,
    UtcTime, decode_body, encode_frame,
};
use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use serial2_tokio::SerialPort;
use std::collections::VecDeque;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout_at};

/// A device answers an order at once, or flash takes a moment.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// Times an order is sent before the device is given up.
const SENDS_MAX: u32 = 5;

/// A device that nobody answers says hello every four seconds; one that somebody answered lately may take three batches.
const HELLO_TIMEOUT: Duration = Duration::from_secs(20);

/// A restart: the answer's delay, the boot of a radio board, the first hello.
const RESTART_TIMEOUT: Duration = Duration::from_secs(30);

/// Why a conversation did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum TalkError {
    /// The port cannot be opened.
    #[error("{port}: {source}")]
    Open {
        /// Its path.
        port: String,
        /// What the system says.
        source: io::Error,
    },
    /// Another program has the port, the running agent most likely.
    #[error(
        "{0} is in use by another program, expected it free: stop the agent or take the port out of its links"
    )]
    Busy(String),
    /// The port failed, or its device went away.
    #[error("port failed: {0}")]
    Io(#[from] io::Error),
    /// Nothing that is a device's message came.
    #[error("no device answers within {0} s, expected a Headwater device at this baud rate")]
    Silent(u64),
    /// An order was not answered.
    #[error("device {0} does not answer the order, expected a result: is its firmware too old?")]
    Unanswered(String),
    /// The device cannot do it.
    #[error("device {device} refuses: {what}")]
    Refused {
        /// Its name.
        device: String,
        /// What was asked for, in words.
        what: String,
    },
    /// The device's flash failed.
    #[error("flash of device {0} does not take it, expected working flash; try again, or replace the board")]
    Flash(String),
}

/// A number that nobody used for this device lately.
pub fn chance() -> u32 {
    // The standard library draws the keys of its hash from the system.
    let [a, b, c, d, ..] = RandomState::new().hash_one(SystemTime::now()).to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}

/// Opens a serial port for oneself; it is one's own as long as the second value lives. Who opens ports so does not get in each other's
/// way: the agent does. Must be called inside a tokio runtime.
///
/// # Errors
/// It is not there, not permitted, or another program has it.
pub fn open_serial(path: &Path, baud: u32) -> Result<(SerialPort, OwnedFd), TalkError> {
    let port = path.display().to_string();
    let failed = |source| TalkError::Open { port: port.clone(), source };
    // Without these flags opening a port without carrier waits for ever.
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let lock = rustix::fs::open(path, flags, Mode::empty()).map_err(|error| failed(error.into()))?;
    if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(TalkError::Busy(port));
    }
    let opened = SerialPort::open(path, baud).map_err(failed)?;
    Ok((opened, lock))
}

/// A line to one device.
pub struct Line<S> {
    stream: S,
    deframer: Deframer,
    heard: VecDeque<Up>,
}

impl<S> std::fmt::Debug for Line<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Line").field("heard", &self.heard.len()).finish_non_exhaustive()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    /// A line over an open stream.
    pub fn new(stream: S) -> Self {
        Self { stream, deframer: Deframer::new(), heard: VecDeque::new() }
    }

    /// The next message, if one comes before `deadline`. The time is told to a device that asks, or it would say nothing more.
    ///
    /// # Errors
    /// The stream failed or ended.
    pub async fn hear(&mut self, deadline: Instant) -> Result<Option<Up>, TalkError> {
        loop {
            if let Some(message) = self.heard.pop_front() {
                if let Up::TimeRequest { nonce } = message {
                    self.tell_time(nonce).await?;
                }
                return Ok(Some(message));
            }
            let mut bytes = [0; 1024];
            let Ok(read) = timeout_at(deadline, self.stream.read(&mut bytes)).await else { return Ok(None) };
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

    async fn say(&mut self, message: &Down) -> Result<(), TalkError> {
        let mut frame = [0; FRAME_BYTES_MAX];
        let frame = encode_frame(message, &mut frame).expect("every message fits a frame");
        // The zero ends what an earlier program may have broken off.
        self.stream.write_all(&[0]).await?;
        self.stream.write_all(frame).await?;
        Ok(self.stream.flush().await?)
    }

    async fn tell_time(&mut self, nonce: u32) -> Result<(), TalkError> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at = Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        // Nobody asked this host how good its clock is.
        let utc = UtcTime { at, quality: TimeQuality::Estimated };
        self.say(&Down::Time { nonce, utc }).await
    }

    /// Who is there. A device that speaks already is asked to say it.
    ///
    /// # Errors
    /// Nobody answers.
    pub async fn hello(&mut self) -> Result<Hello, TalkError> {
        self.hello_where(HELLO_TIMEOUT, |_| true).await
    }

    async fn hello_where(
        &mut self,
        within: Duration,
        wanted: impl Fn(&Hello) -> bool,
    ) -> Result<Hello, TalkError> {
        let deadline = Instant::now() + within;
        let mut asked = false;
        while let Some(message) = self.hear(deadline).await? {
            match message {
                Up::Hello(hello) if wanted(&hello) => return Ok(hello),
                Up::Batch(_) | Up::Log(_) if !asked => {
                    asked = true;
                    self.say(&Down::Identify).await?;
                }
                _ => {}
            }
        }
        Err(TalkError::Silent(within.as_secs()))
    }

    /// Has an order done. `what` says it in words, for a refusal.
    ///
    /// # Errors
    /// No answer, or one that says why not.
    pub async fn order(&mut self, device: &Hello, order: Order, what: &str) -> Result<(), TalkError> {
        let command = Command { id: CommandId(chance()), order };
        let name = || device.device.to_string();
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

    /// Restarts the device and waits until it says hello again.
    ///
    /// # Errors
    /// As [`Line::order`]; or it does not come back.
    pub async fn reboot(&mut self, device: &Hello) -> Result<Hello, TalkError> {
        self.order(device, Order::Reboot, "a restart").await?;
        self.hello_where(RESTART_TIMEOUT, |hello| hello.boot != device.boot).await
    }

    /// Tells the device that a batch is durable, which it is not: the device forgets it.
    ///
    /// # Errors
    /// The stream failed.
    pub async fn take(&mut self, batch: &Batch) -> Result<(), TalkError> {
        match batch.through() {
            Some(through) => self.say(&Down::Ack { boot: batch.boot, through }).await,
            None => Ok(()),
        }
    }
}
