//! The messages of both directions.
//!
//! Invariant: variants are never removed, reordered or changed, only added at the end (see the crate doc).

use crate::limits::LOG_BYTES_MAX;
use crate::{
    Batch, BootId, Command, CommandResult, Config, ConfigOutcome, FrameError, Hello, Seq, Uptime, UtcTime,
};
use crate::{encode_body, value::truncated};
use heapless::String;
use serde::{Deserialize, Serialize};

/// From the device towards the shard.
#[expect(
    clippy::large_enum_variant,
    reason = "no allocation here; one of them lives on a stack for a moment"
)]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Up {
    /// First on every connection.
    Hello(Hello),
    /// Entries. Sent again until acknowledged.
    Batch(Batch),
    /// Asks for [`Down::Time`].
    TimeRequest {
        /// Comes back in the answer, so that the device can halve the round trip.
        nonce: u32,
    },
    /// A line for people.
    Log(Log),
    /// Answers [`Down::Config`].
    ConfigResult(ConfigOutcome),
    /// Answers [`Down::Command`].
    CommandResult(CommandResult),
}

/// Encodes the body of [`Up::Batch`] without taking the batch: a device has no room for a copy.
///
/// # Errors
/// [`FrameError::TooLong`] when it exceeds `buf` or [`BODY_BYTES_MAX`](crate::limits::BODY_BYTES_MAX).
pub fn encode_batch<'b>(batch: &Batch, buf: &'b mut [u8]) -> Result<&'b [u8], FrameError> {
    /// The beginning of [`Up`], borrowed: a variant's number is its place.
    #[derive(Serialize)]
    enum UpTo<'a> {
        #[expect(dead_code, reason = "holds the place of Up::Hello")]
        Hello,
        Batch(&'a Batch),
    }
    encode_body(&UpTo::Batch(batch), buf)
}

/// Towards the device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Down {
    /// Everything of `boot` up to and including `through` is durable at the receiver. Cumulative.
    Ack {
        /// The boot.
        boot: BootId,
        /// Its last durable place.
        through: Seq,
    },
    /// Answers [`Up::TimeRequest`].
    Time {
        /// Of the request.
        nonce: u32,
        /// The time when the answer was sent.
        utc: UtcTime,
    },
    /// New settings; answered by [`Up::ConfigResult`].
    Config(Config),
    /// Show yourself: blink, and say hello again.
    Identify,
    /// Do something; answered by [`Up::CommandResult`].
    Command(Command),
}

/// How bad a [`Log`] is. Grows only at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum LogLevel {
    /// For the record.
    Info,
    /// Recovered by itself; look at the trend.
    Warn,
    /// Data lost or a person needed.
    Error,
}

/// A line for people, not stored by the device: it is lost when no link is up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Log {
    /// The boot it was written in.
    pub boot: BootId,
    /// When.
    pub at: Uptime,
    /// How bad.
    pub level: LogLevel,
    /// One sentence.
    pub text: String<LOG_BYTES_MAX>,
}

impl Log {
    /// A log line; `text` is cut at 64 bytes.
    pub fn new(boot: BootId, at: Uptime, level: LogLevel, text: &str) -> Self {
        Self { boot, at, level, text: truncated(text) }
    }
}
