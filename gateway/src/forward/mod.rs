//! Streams on their way to Amazon Kinesis, or to another engine that speaks its API.
//!
//! In: streams of the engine, and what `[sinks.<name>]` says. Out: the same records in the target's streams, in order by key; counters.
//!
//! Always true:
//! - a sink is a reader with a checkpoint: it never passes a record that is neither delivered, nor a dead letter, nor dropped with a reason;
//! - records that a required sink has not delivered are kept, past their retention, until the disk is full;
//! - a target that is slow or away costs memory that does not grow, and nothing else: devices and readers do not notice.
//!
//! | file | what it is |
//! |---|---|
//! | [`settings`](SinkSettings) | what a sink is told |
//! | [`surroundings`](Surroundings) | what it finds around it |
//! | `carrier` | one stream on its way to one sink: the shell around [`headwater_relay::Forwarding`], which decides |
//! | `kept` | what is in records between reading and their end |
//! | `cursor`, `holds` | how far a sink has come, durable; and what must stay for it |
//! | `change` | other sinks in their place while the gateway runs |
//! | `target`, `letters` | the target's shards; what it will never take |
//! | [`counters`](Carried) | what became of everything |

mod carrier;
mod change;
mod counters;
pub(crate) mod cursor;
mod holds;
mod kept;
mod letters;
pub mod limits;
mod settings;
mod sink;
mod stop;
mod surroundings;
mod target;

pub use counters::Carried;
pub use settings::{CredentialsFrom, Drain, Order, SinkSettings, Start, WhenFull};
pub(crate) use sink::Board;
pub use sink::{Forwarders, SinkError};
pub use surroundings::Surroundings;

/// What a stored cursor says, for tests of the whole that look at it from outside.
#[cfg(feature = "simulation")]
#[doc(hidden)]
#[must_use]
pub fn decode_cursor(value: &[u8]) -> Option<headwater_relay::Progress> {
    cursor::decode(value)
}
