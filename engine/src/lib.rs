//! The shard engine: streams, shards, sequence numbers and the Amazon Kinesis Data Streams API.
//!
//! In: records with partition keys, from the API's clients or from the process that hosts the engine. Out: the same
//! records, in order per shard, to any number of readers.
//!
//! Invariants:
//! - Nothing is acknowledged (a [`Commit`] resolved, HTTP 200) before it is durable.
//! - Within a shard sequence numbers increase strictly, across restarts; what was read once is read again the same.
//! - A request from outside cannot panic the engine, and what it may use of memory is in [`limits`].
//!
//! Storage is behind two traits ([`storage`]); time is a [`Clock`]. Not here: files (journal), MQTT and routes (gateway).

pub mod limits;
pub mod storage;

mod api;
mod batch;
mod clock;
mod control;
mod counters;
mod definition;
mod engine;
mod hash;
mod http;
mod names;
mod operations;
mod sequence;
mod stream;

pub use batch::{Commit, EngineBatch, PutError};
pub use clock::Clock;
pub use control::{NewStream, StreamError};
pub use counters::{EngineCounters, OperationCounters};
pub use definition::{Closed, Definition, Layout, Shard, ShardMap, StreamMode, StreamState, StreamStatus};
pub use engine::{Engine, EngineConfig, OpenError};
pub use hash::{HashKey, HashKeyError, HashRange, split_evenly};
pub use names::{NameError, PartitionKey, ShardId, StreamArn, StreamName, StreamNumber};
pub use sequence::{SEQUENCE_DIGITS, SequenceError, SequenceNumber};
pub use stream::StreamHandle;
