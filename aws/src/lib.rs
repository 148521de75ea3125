//! Sending to Amazon Kinesis and whatever speaks its API.
//!
//! In: the name of a stream, records, and what AWS's own tools read to know who and where we are. Out: an [outcome] for each
//! record, or a [`CallError`] with a [`Class`] that says what to do.
//!
//! Invariants:
//! - A record is [`RecordOutcome::Stored`] only when the target said so of this record; an error says with `may_be_done`
//!   whether records may be stored all the same.
//! - No secret is shown by `Debug`, `Display` or a log; what refuses credentials is named with its reason.
//! - No answer, file or list of others takes more memory or time than [`limits`] say; certificates are always checked.
//!
//! ```
//! # use headwater_engine::{Engine, EngineConfig};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
//! # let dir = tempfile::tempdir()?;
//! # let journal = headwater_journal::Config { segment_bytes: 1 << 20, reserve_bytes: 0, ..headwater_journal::Config::small() };
//! # let (engine, _) = Engine::open(EngineConfig { journal, ..EngineConfig::new(dir.path()) })?;
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let endpoint = format!("http://{}", listener.local_addr()?);
//! # tokio::spawn(async move { engine.http(listener, std::future::pending()).await });
//! use headwater_aws::{Environment, Kinesis, KinesisSettings, NewStream, PutBody, RecordOutcome, StreamRef};
//! use std::time::Duration;
//!
//! // Usually `Environment::of_process()`, and no endpoint: AWS in the region it names.
//! let environment: Environment =
//!     [("AWS_ACCESS_KEY_ID", "any"), ("AWS_SECRET_ACCESS_KEY", "any"), ("AWS_REGION", "eu-west-1")].into_iter().collect();
//! let client = Kinesis::new(KinesisSettings { endpoint: Some(endpoint), ..KinesisSettings::of(environment) })?;
//!
//! let stream = StreamRef::name("telemetry");
//! client.create_stream("telemetry", NewStream { shards: Some(2), record_kib_max: None }).await?;
//! let info = client.wait_until_active(&stream, Duration::from_secs(60)).await?;
//!
//! let mut body = PutBody::new(&stream, client.format(), info.record_bytes_max, 100);
//! body.put("boiler-7", None, br#"{"celsius":73.5}"#)?;
//! for outcome in client.put_records(body).await?.outcomes {
//!     match outcome {
//!         RecordOutcome::Stored { shard, .. } => println!("stored in {shard}"),
//!         RecordOutcome::Failed { class, code, .. } => println!("not stored: {code}, {class:?}"),
//!     }
//! }
//! # Ok(()) })
//! # }
//! ```
//!
//! Many readings in one record: [`kpl`]. Not here: when to try again, in what order, at what rate (relay); what is durable
//! where the records come from (engine, gateway).
//!
//! [outcome]: RecordOutcome

pub mod kpl;
pub mod limits;

mod clock;
mod credentials;
mod endpoint;
mod environment;
mod http;
mod kinesis;
mod profile;
mod secret;
mod sigv4;
mod skew;
mod text;
mod timekeeper;
mod timestamp;
mod wire;
mod xml;

pub use clock::{Clock, Now};
pub use credentials::{
    Credentials, CredentialsError, IotSettings, Provider, ProviderSettings, RoleSettings, Source,
    SourceError, SourceErrorKind, WebIdentity,
};
pub use endpoint::{Endpoint, EndpointError, Region, Variant};
pub use environment::Environment;
pub use http::{
    Connecting, Http, HttpError, HttpErrorKind, HttpSettings, Identity, Io, Transport, Trust, TrustError,
};
pub use kinesis::{
    CallError, Class, FormatChoice, Kinesis, KinesisSettings, MayPut, NewStream, Position, PutAnswer,
    PutBody, PutError, Record, RecordOutcome, Records, SetupError, Shard, ShardId, ShardMap, StreamInfo,
    StreamRef, StreamStatus, Thing, hash_key,
};
pub use profile::{ProfileError, Profiles};
pub use secret::Secret;
pub use sigv4::{Scope, Signable, Signature, sign};
pub use skew::Skew;
pub use timestamp::Timestamp;
pub use wire::Format;
