//! The Amazon Kinesis API as a client: what a forwarder and its tools need of it.
//!
//! In: a stream's name, records. Out: an outcome for each record, or a [`CallError`] that says what kind of failure it was
//! and whether the target may have stored the records all the same.
//! Done here, once a call: signing again after the clock was learned, asking for new credentials when the target finds them
//! ended, JSON after CBOR was not understood. Everything else is the caller's: when to try again, in what order (relay).
//! Invariants: no record is sent twice within a call unless the target refused the whole of it; nothing is waited for
//! longer than the call's timeout.

mod call;
mod create;
mod error;
mod permission;
mod put;
mod read;
mod records;
mod setup;
mod shards;
mod signed;
mod stream;
mod subject;

pub use call::{FormatChoice, Kinesis};
pub use create::NewStream;
pub use error::{CallError, Class, Thing};
pub use permission::MayPut;
pub use put::{PutBody, PutError};
pub use read::{Position, Record, Records};
pub use records::{PutAnswer, RecordOutcome};
pub use setup::{KinesisSettings, SetupError};
pub use shards::{Shard, ShardId, ShardMap, hash_key};
pub use stream::{StreamInfo, StreamStatus};
pub use subject::StreamRef;
