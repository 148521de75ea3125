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
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use headwater_engine::{Engine, EngineConfig, StreamName};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # let dir = tempfile::tempdir()?;
//! # let journal = headwater_journal::Config { segment_bytes: 1 << 20, reserve_bytes: 0, ..headwater_journal::Config::small() };
//! let (engine, recovery) = Engine::open(EngineConfig { journal, ..EngineConfig::new(dir.path()) })?;
//! assert!(recovery.is_clean());
//! let stream = engine.ensure_stream(&StreamName::parse("telemetry")?, 4).await?;
//!
//! let mut batch = engine.batch();
//! batch.put(&stream, "boiler-7", None, br#"{"celsius":73.5}"#)?;
//! batch.mark(b"g/seen/boiler-7", b"17"); // durable with the record or not at all
//! let mut commit = engine.append_within(&batch, std::time::Duration::from_secs(1)).await?;
//! (&mut commit).await?; // now it survives a power cut
//! let (shard, number) = commit.placed().next().expect("one record was put");
//! assert_eq!(shard, engine.shard_for(&stream, "boiler-7"));
//! assert_eq!(number.to_string().len(), 56);
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! engine.http(listener, async {}).await; // serves until its second argument resolves
//! engine.close().await;
//! # Ok(()) })
//! # }
//! ```
//!
//! Storage is behind two traits ([`storage`]); time is a [`Clock`]. Not here: files (journal), MQTT and routes (gateway).

pub mod keys;
pub mod limits;
pub mod offline;
pub mod storage;

mod api;
mod batch;
mod books;
mod changes;
mod clock;
mod consumers;
mod control;
mod counters;
mod definition;
mod engine;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod hash;
mod http;
mod layout;
mod meters;
mod names;
mod operations;
mod patience;
mod queues;
mod quota;
mod reader;
mod reshard;
mod scaling;
mod sequence;
mod settings;
mod shards;
mod stream;
mod throttle;

pub use batch::{Commit, EngineBatch, PutError};
pub use books::{Origin, Received};
pub use changes::Following;
pub use clock::{Clock, ClockState, Moment};
pub use control::{NewStream, StreamError};
pub use counters::{EngineCounters, OperationCounters};
pub use definition::{Definition, Layout, Reshard, StreamMode, StreamState, StreamStatus};
pub use engine::{Answer, Engine, EngineConfig, OpenError};
pub use hash::{HashKey, HashKeyError, HashRange, split_evenly};
pub use http::Connections;
pub use meters::{Metric, MetricKind, Reading, Sample};
pub use names::{NameError, PartitionKey, ShardId, StreamArn, StreamName, StreamNumber};
pub use queues::QueueCounters;
pub use reshard::{Plan, PlanError, Step};
pub use sequence::{SEQUENCE_DIGITS, SequenceError, SequenceNumber};
pub use settings::{Changes, Distribution, Encryption, StreamSettings};
pub use shards::{Closed, Shard, ShardMap};
pub use stream::StreamHandle;
pub use throttle::LimitProfile;
