//! What a session says to those who do it: what to transmit, what a packet meant.
//!
//! Not here: when (`session`), bytes (`packet`).

use crate::Item;
use crate::mqtt::packet::Manner;
use headwater_telemetry::{Command, CommandResult, Config, ConfigOutcome, Up, Uptime, UtcTime};

/// What to send.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Transmit {
    Connect,
    Subscribe { packet_id: u16 },
    Birth(Manner),
    TimeRequest { nonce: u32 },
    PubAck { packet_id: u16 },
    Answer(Manner, Answer),
    Ping,
}

/// What goes up about something that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Command(CommandResult),
    Config(ConfigOutcome),
}

impl From<Answer> for Up {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Command(result) => Self::CommandResult(result),
            Answer::Config(outcome) => Self::ConfigResult(outcome),
        }
    }
}

/// What a packet of the server means.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    None,
    /// It is durable at the gateway.
    Delivered(Item),
    Time {
        asked: Uptime,
        utc: UtcTime,
    },
    /// Do this and call [`Session::handle_performed`].
    Command {
        command: Command,
        packet_id: Option<u16>,
    },
    /// Store this and call [`Session::handle_performed`].
    Configure {
        config: Config,
        packet_id: Option<u16>,
    },
    Identify,
    /// The subscription was refused, for this reason: there are neither commands nor the time until [`Event::Heard`].
    Unheard {
        reason: u8,
    },
    /// The subscription was taken after it had been refused.
    Heard,
}
