//! The MQTT front: MQTT 3.1.1 and 5 on one port, where PUBACK means "durable".
//!
//! In: TCP connections, plain or TLS. Out: batches of publishes for [`crate::ingest::Ingest`], acknowledged to their senders when the
//! commit it returned has resolved; messages to subscribers through a [`Downlink`].
//! Invariants: nothing is acknowledged before it is durable; acknowledgements leave in the order of their packets;
//! everything is bounded ([`limits`]); no input of a client panics or stops anything but its own connection.
//! Not here: where a topic goes (`route`), persistence of sessions (they live in memory, as retained messages do).
//!
//! ```text
//! socket ─ connection ─ codec ─ session ─┬─ Ingest ─ commit ─ acknowledgements
//!            (task)     (bytes)  (pure)  └─ downlink ─ bus ─ other sessions
//! ```
//! One read, all its publishes in one call, one commit awaited, all acknowledgements in one write: the batch grows
//! with the load. While a batch waits its socket is not read, which is the back-pressure clients feel.

pub mod limits;

mod access;
mod authorize;
mod budget;
mod codec;
mod connection;
mod counters;
mod dials;
mod downlink;
mod gate;
mod handshake;
mod reason;
mod registry;
mod server;
mod session;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulation;
mod socket;
mod tls;
mod topic;
mod will;

pub(crate) use authorize::covers;
pub use authorize::{
    AllowAll, AllowLoopback, Authorize, Certificate, Client, Denied, Devices, Login, User, Users,
};
pub use counters::{Counter, Counters, Snapshot};
pub use dials::{Dials, Setting};
pub use downlink::{Downlink, PublishError};
pub use limits::Limits;
pub(crate) use limits::SUBSCRIBERS_MAX;
pub use reason::Reason;
pub use server::{Config, Server};
pub use tls::{TlsError, TlsSettings};
pub use topic::{FilterError, TopicFilter, matches, valid_topic};
