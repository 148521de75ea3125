//! Sending to Amazon Kinesis and whatever speaks its API.

mod clock;
mod credentials;
mod endpoint;
mod environment;
mod http;
mod kinesis;
pub mod kpl;
pub mod limits;
mod profile;
mod secret;
mod sigv4;
mod skew;
mod text;
mod timekeeper;
mod timestamp;
mod wire;
pub use clock::{Clock, Now};
pub use credentials::{
    Credentials, CredentialsError, IotSettings, Provider, ProviderSettings, RoleSettings, Source,
    SourceError, SourceErrorKind, WebIdentity,
};
pub use endpoint::{Endpoint, EndpointError, Region, Variant};
pub use environment::Environment;
pub use http::{Http, HttpError, HttpErrorKind, HttpSettings, Identity, Trust, TrustError};
pub use kinesis::{
    CallError, Class, FormatChoice, Kinesis, KinesisSettings, NewStream, Position, PutAnswer, PutBody,
    PutError, Record, RecordOutcome, Records, SetupError, Shard, ShardId, ShardMap, StreamInfo, StreamRef,
    StreamStatus, Thing, hash_key,
};
pub use profile::{ProfileError, Profiles};
pub use secret::Secret;
pub use sigv4::{Scope, Signable, Signature, sign};
pub use skew::Skew;
pub use timestamp::Timestamp;
pub use wire::Format;
