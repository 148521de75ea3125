//! Where the publishes of a fleet in virtual time go, and where its shards are read back.

use std::fmt;

/// One publish, as an agent or a device would send it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish<'a> {
    /// The MQTT topic.
    pub topic: &'a str,
    /// The application message.
    pub payload: &'a [u8],
}

/// What became of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is durable: who sent it may forget it.
    Stored,
    /// Nothing of it is kept; it may be sent again.
    Refused,
}

/// One record of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored<'a> {
    /// Stream and shard.
    pub shard: &'a str,
    /// Its sequence number.
    pub number: &'a str,
    /// Its partition key.
    pub key: &'a str,
    /// When it arrived, UTC ms.
    pub arrived_ms: u64,
    /// Its data.
    pub data: &'a [u8],
}

/// Shards behind the routes of a gateway.
pub trait Sink {
    /// Stores `publishes` in their order and waits until what was taken is durable. `now_ms` is the virtual time, UTC; it is
    /// the arrival time of the records. One verdict for each.
    ///
    /// # Errors
    /// Nothing can be stored any more, or a publish can never be: the fleet ends.
    fn store(&mut self, now_ms: u64, publishes: &[Publish<'_>]) -> Result<Vec<Verdict>, SinkError>;

    /// Shows every record of every shard: shards in a fixed order, records in the order of their shard.
    ///
    /// # Errors
    /// The shards cannot be read.
    fn read(&mut self, visit: &mut dyn FnMut(Stored<'_>)) -> Result<(), SinkError>;

    /// Entries so far that came again and were dropped.
    fn repeats_dropped(&self) -> u64;
}

/// Why a sink gave up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkError(pub String);

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SinkError {}
