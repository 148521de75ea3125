//! One connection on a byte stream, as a state machine without bytes.
//!
//! ```text
//! Greeting ── time answer ──> Idle ── batch given ──> Waiting ── ack ──> Idle
//!     └─ no answer: down                                 └─ no ack: again, then down
//! ```
//! In: messages from the peer, batches, the uptime. Out: what to transmit, what was delivered. Invariants: data is
//! only sent to a peer that answered; a batch is delivered only when an ack of its boot covers its last place.
//!
//! One batch is in flight, on purpose. A stream can lose one frame and bring the next, and an ack is cumulative: with
//! two in flight, a receiver that took the second would acknowledge the first, which it never saw. With one, every
//! receiver is safe, and 24 readings a round trip is more than a sensor makes.
//! Not here: frames, flash, reconnecting.

use crate::Item;
use crate::limits::{ACK_TIMEOUT_MS, GREETING_TIMEOUT_MS, SENDS_MAX, TIME_REQUEST_MS};
use core::fmt;
use headwater_telemetry::{Command, CommandResult, Config, ConfigOutcome, Down, Order, Uptime, UtcTime};

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkDown {
    /// The stream ended or failed.
    Closed,
    /// The peer did not answer the greeting.
    Silent,
    /// The peer did not acknowledge a batch.
    Unacknowledged,
    /// The peer took no bytes for [`WRITE_TIMEOUT_MS`](crate::limits::WRITE_TIMEOUT_MS).
    Stalled,
    /// Nobody answers at the address, or the network is not there.
    Unreachable,
    /// The peer is not who it should be, or does not believe who this is.
    Untrusted,
    /// The gateway's TLS makes records or certificates larger than a device has room for.
    TooLarge,
    /// The gateway refuses the connection or what was sent, with this MQTT reason code.
    Refused(u8),
}

impl fmt::Display for LinkDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refused(reason) => return write!(f, "gateway refuses with reason 0x{reason:02x}"),
            Self::Unreachable => "gateway is not reachable",
            Self::Untrusted => "gateway is not trusted, or does not trust this device",
            Self::TooLarge => "gateway sends larger TLS records or certificates than fit, expected 2 KiB",
            Self::Closed => "stream ended",
            Self::Silent => "peer did not answer",
            Self::Unacknowledged => "peer did not acknowledge a batch",
            Self::Stalled => "peer took no bytes",
        })
    }
}

/// What to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transmit {
    /// The hello.
    Hello,
    /// A time request.
    TimeRequest {
        /// To come back in the answer.
        nonce: u32,
    },
    /// The batch given last.
    Batch,
    /// The answer to a configuration.
    ConfigResult(ConfigOutcome),
    /// The answer to a command.
    CommandResult(CommandResult),
}

/// What a message from the peer means.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Nothing to do.
    None,
    /// Everything up to here is durable at the receiver.
    Delivered(Item),
    /// The time, and the uptime at which it was asked for.
    Time {
        /// Uptime of the request.
        asked: Uptime,
        /// The answer.
        utc: UtcTime,
    },
    /// Store this and call [`Link::handle_configured`].
    Configure(Config),
    /// Do this and call [`Link::handle_performed`].
    Command(Command),
    /// Show yourself.
    Identify,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Greeting { since: Uptime },
    Idle,
    Waiting { item: Item, sent: Uptime, sends: u8, due: bool },
}

/// State of one connection.
#[derive(Clone, Debug)]
pub struct Link {
    state: State,
    hello_due: bool,
    time_due: Uptime,
    asked: Option<(u32, Uptime)>,
    nonce: u32,
    config_result: Option<ConfigOutcome>,
    command_result: Option<CommandResult>,
}

impl Link {
    /// A connection that begins at `now`. `nonce` is any number that connections and boots do not share.
    pub fn new(now: Uptime, nonce: u32) -> Self {
        Self {
            state: State::Greeting { since: now },
            hello_due: true,
            time_due: now,
            asked: None,
            nonce,
            config_result: None,
            command_result: None,
        }
    }

    /// What to send next; call until none.
    pub fn poll_transmit(&mut self, now: Uptime) -> Option<Transmit> {
        if self.hello_due {
            self.hello_due = false;
            return Some(Transmit::Hello);
        }
        if self.time_due <= now {
            self.time_due = Uptime(now.0.saturating_add(TIME_REQUEST_MS));
            self.nonce = self.nonce.wrapping_add(1);
            self.asked = Some((self.nonce, now));
            return Some(Transmit::TimeRequest { nonce: self.nonce });
        }
        if let Some(outcome) = self.config_result.take() {
            return Some(Transmit::ConfigResult(outcome));
        }
        if let Some(result) = self.command_result.take() {
            return Some(Transmit::CommandResult(result));
        }
        match &mut self.state {
            State::Waiting { due, sent, sends, .. } if *due => {
                (*due, *sent, *sends) = (false, now, *sends + 1);
                Some(Transmit::Batch)
            }
            _ => None,
        }
    }

    /// Whether [`Link::handle_batch`] may be called.
    pub fn wants_batch(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Whether the peer has answered.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Greeting { .. })
    }

    /// A batch to be sent, and sent again until acknowledged.
    pub fn handle_batch(&mut self, item: Item, now: Uptime) {
        assert!(self.wants_batch(), "one batch is in flight");
        self.state = State::Waiting { item, sent: now, sends: 0, due: true };
    }

    /// A message of the peer.
    pub fn handle_message(&mut self, message: Down) -> Event {
        match message {
            Down::Ack { boot, through } => match self.state {
                State::Waiting { item, .. } if boot == item.boot && through >= item.through => {
                    self.state = State::Idle;
                    Event::Delivered(item)
                }
                _ => Event::None,
            },
            Down::Time { nonce, utc } => match self.asked {
                Some((expected, asked)) if nonce == expected => {
                    self.asked = None;
                    if !self.is_open() {
                        self.state = State::Idle;
                    }
                    Event::Time { asked, utc }
                }
                _ => Event::None,
            },
            Down::Config(config) => Event::Configure(config),
            Down::Command(command) => {
                self.hello_due |= matches!(command.order, Order::Identify);
                Event::Command(command)
            }
            Down::Identify => {
                self.hello_due = true;
                Event::Identify
            }
        }
    }

    /// What became of a configuration.
    pub fn handle_configured(&mut self, outcome: ConfigOutcome) {
        self.config_result = Some(outcome);
    }

    /// What became of a command.
    pub fn handle_performed(&mut self, result: CommandResult) {
        self.command_result = Some(result);
    }

    /// When to call [`Link::handle_timeout`] and [`Link::poll_transmit`] again.
    pub fn poll_timeout(&self) -> Uptime {
        let due = match self.state {
            State::Greeting { since } => since.0 + GREETING_TIMEOUT_MS,
            State::Idle => u64::MAX,
            State::Waiting { sent, .. } => sent.0 + ACK_TIMEOUT_MS,
        };
        Uptime(due.min(self.time_due.0))
    }

    /// The uptime moved on.
    ///
    /// # Errors
    /// When the peer is to be given up.
    pub fn handle_timeout(&mut self, now: Uptime) -> Result<(), LinkDown> {
        match &mut self.state {
            State::Greeting { since } if now.0 >= since.0 + GREETING_TIMEOUT_MS => Err(LinkDown::Silent),
            State::Waiting { sent, sends, due, .. } if !*due && now.0 >= sent.0 + ACK_TIMEOUT_MS => {
                if *sends >= SENDS_MAX {
                    return Err(LinkDown::Unacknowledged);
                }
                *due = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }
}
