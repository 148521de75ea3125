//! What a person asks of a device that runs, and what became of it.
//!
//! In: an order with a number that its sender chose. Out: one result with that number. Invariant: a command that
//! comes again, after a lost result or a restart, is answered with its first result and not carried out again.
//! Not here: who may ask (the gateway's rules), how it reaches the device.

use crate::limits::CREDENTIALS_PART_BYTES_MAX;
use crate::{ChannelId, Config};
use core::fmt;
use heapless::Vec;
use serde::{Deserialize, Serialize};

/// Names a command. The sender chooses it: a number that it did not use for this device lately, at random.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct CommandId(pub u32);

/// An order and its number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// Comes back in the [`CommandResult`].
    pub id: CommandId,
    /// What to do.
    pub order: Order,
}

/// What a device can be asked to do. Grows only at the end.
#[expect(
    clippy::large_enum_variant,
    reason = "no allocation here; one of them lives on a stack for a moment"
)]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Show yourself: blink for some seconds, and say hello again.
    Identify,
    /// Read a channel, or every one, this often; holds at once and after restarts.
    Period {
        /// Which channel; none means all.
        channel: Option<ChannelId>,
        /// Milliseconds between two readings; 0 returns to the firmware's own period.
        period_ms: u32,
    },
    /// Store what is open and start anew.
    Reboot,
    /// Take new settings; they hold from the next start on.
    Provision(Config),
    /// Take a part of new credentials; they hold from the next start on, once all parts are there.
    Credentials(CredentialsPart),
}

/// A piece of encoded [`Credentials`]. Pieces are sent in order, each after the result of the one before; the piece at
/// offset 0 begins anew.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CredentialsPart {
    /// Bytes of the whole; 0 removes what is stored.
    pub total: u16,
    /// CRC-32/ISCSI of the whole.
    pub checksum: u32,
    /// Where this piece begins.
    pub offset: u16,
    /// The piece.
    pub bytes: Vec<u8, CREDENTIALS_PART_BYTES_MAX>,
}

impl fmt::Debug for CredentialsPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A piece may hold a private key.
        write!(f, "CredentialsPart({} of {} bytes from {})", self.bytes.len(), self.total, self.offset)
    }
}

/// Who a device is for TLS, and whom it trusts. All DER; all keys P-256, which is what small devices can do.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials<'a> {
    /// The name that the gateway's certificate must have.
    pub server_name: &'a str,
    /// Certificate of the authority that signed the gateway's; the only one trusted.
    pub authority: &'a [u8],
    /// The device's own certificate.
    pub certificate: &'a [u8],
    /// Its private key, as SEC 1 DER.
    pub key: &'a [u8],
}

impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("server_name", &self.server_name)
            .field("authority", &self.authority.len())
            .field("certificate", &self.certificate.len())
            .field("key", &"(hidden)")
            .finish()
    }
}

/// What became of a command. Grows only at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandOutcome {
    /// Done, and durable where it is to be. A reboot follows within two seconds.
    Done,
    /// The device cannot: no such channel, a period out of range, a network on a device without radio, a part that
    /// does not follow. Nothing changed.
    Refused,
    /// Flash did not take it; the former setting may be lost.
    FlashFailed,
}

/// Answers a [`Command`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandResult {
    /// Of the command.
    pub id: CommandId,
    /// What became of it.
    pub outcome: CommandOutcome,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::format;

    #[test]
    fn debug_of_credentials_shows_no_key() {
        let credentials =
            Credentials { server_name: "gateway.local", authority: b"ca", certificate: b"mine", key: b"KEY" };
        let part =
            CredentialsPart { total: 3, checksum: 0, offset: 0, bytes: Vec::from_slice(b"KEY").unwrap() };
        let shown = format!("{credentials:?} {part:?}");
        assert!(shown.contains("gateway.local") && shown.contains("3 of 3 bytes"));
        assert!(!shown.contains("75, 69, 89") && !shown.contains("KEY"));
    }
}
