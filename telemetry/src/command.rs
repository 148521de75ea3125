//! What a person asks of a device that runs, and what became of it.
//!
//! In: an order with a number that its sender chose. Out: one result with that number. Invariant: a command that
//! comes again, after a lost result or a restart, is answered with its first result and not carried out again.
//! Not here: who may ask (the gateway's rules), how it reaches the device.

use crate::{ChannelId, Config, CredentialsPart};
use serde::{Deserialize, Serialize};

/// Names a command. The sender chooses it: a number that it did not use for this device lately, at random. A device
/// remembers the last eight with their outcomes, also over a restart; what comes under a number it remembers is answered
/// with that outcome, whatever the order is.
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// Show yourself: blink for some seconds, and say hello again.
    Identify,
    /// Read a channel, or every one, this often; holds at once and after restarts, until another order for the channel
    /// comes. It goes before [`Config::period_ms`], which goes before the firmware's own period of the channel.
    Period {
        /// Which channel; none means all, and replaces what was ordered for single ones.
        channel: Option<ChannelId>,
        /// Milliseconds between two readings, 10 to 86 400 000 (a day); 0 takes the order back, so that the
        /// configuration's period holds, or the firmware's where that has none.
        period_ms: u32,
    },
    /// Store what is open and start anew.
    Reboot,
    /// Take new settings; they hold from the next start on.
    Provision(Config),
    /// Take a part of new credentials; they hold from the next start on, once all parts are there.
    Credentials(CredentialsPart),
}

/// What became of a command. Grows only at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandOutcome {
    /// Done, and durable where it is to be. A reboot follows within five seconds.
    Done,
    /// The device cannot: no such channel, a period out of range, a network on a device without radio, a part that
    /// does not follow. Nothing changed.
    Refused,
    /// Flash did not take it; the former setting may be lost. A reboot was not done: it could not be remembered, and
    /// would be done again and again. To try again, send it under another number.
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
