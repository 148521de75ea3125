//! The seam between the MQTT front and whatever stores what it receives.
//!
//! In: a batch of PUBLISH packets as they came off the sockets. Out: one verdict for each, and a commit that
//! resolves when everything that was accepted is durable.
//! Invariant: nothing is acknowledged to a publisher before the commit resolved with `Ok`.
//! Not here: sockets and sessions (`mqtt`), topics and payloads (`route`).

use std::future::Future;

/// One PUBLISH as a client sent it, borrowed from the connection's read buffer.
#[derive(Debug, Clone, Copy)]
pub struct Inbound<'a> {
    /// The client's identifier (given, or assigned by the gateway).
    pub client_id: &'a str,
    /// The topic, alias already resolved: valid UTF-8, no wildcards, not empty.
    pub topic: &'a str,
    /// The application message.
    pub payload: &'a [u8],
    /// Quality of service the client asked for, 0 to 2.
    pub qos: u8,
    /// The retain flag of the packet.
    pub retain: bool,
    /// MQTT 5 content type, if the client gave one.
    pub content_type: Option<&'a str>,
    /// MQTT 5 user properties in the order they were sent; empty for MQTT 3.1.1.
    pub user_properties: &'a [(String, String)],
}

/// What became of one PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is part of the batch's commit: acknowledge it when that is durable.
    Accepted,
    /// No route takes this topic; nothing was stored. MQTT 5: 0x10, no matching subscribers.
    NoRoute,
    /// Not stored, and sending it again will not help. The text says why.
    Rejected(&'static str),
}

/// What a batch of publishes became.
#[derive(Debug)]
pub struct Ingested<C> {
    /// Resolves when everything accepted is durable. With nothing accepted it may be resolved from the start.
    pub commit: C,
    /// One verdict per publish, in their order.
    pub verdicts: Vec<Verdict>,
    /// Per publish: also hand it to subscribers, once the commit resolved with `Ok`.
    pub downlink: Vec<bool>,
    /// What the gateway itself has to say about them, to subscribers.
    pub said: Vec<Said>,
}

/// A message of the gateway itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Where to.
    pub topic: String,
    /// What.
    pub payload: Vec<u8>,
    /// Quality of service, 0 to 2.
    pub qos: u8,
    /// Whether those get it too who subscribe later.
    pub retain: bool,
    /// Before the commit; it promises nothing. Otherwise once the commit resolved with `Ok`.
    pub at_once: bool,
    /// For whoever published what it answers, and nobody else where that client is subscribed to `topic`.
    pub to_asker: bool,
}

/// Why a batch could not be taken, or not be made durable. Nothing of it may be acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IngestError {
    /// The disk is full down to its reserve. Stop reading from sockets; MQTT 5 publishers get 0x97.
    #[error("the state directory is full: no room for new records")]
    Full,
    /// Too much waits to become durable. Wait for a commit, then offer the same batch again.
    #[error("too much data waits to become durable")]
    Busy,
    /// Storage refuses writes until the gateway is restarted.
    #[error("storage failed: {0}")]
    Failed(String),
}

/// Takes batches of publishes and makes them durable.
pub trait Ingest: Send + Sync + 'static {
    /// Resolves once the batch is durable, or with the reason why it never will be.
    type Commit: Future<Output = Result<(), IngestError>> + Send + Unpin + 'static;

    /// Stages `publishes` as one commit: either everything accepted in it becomes durable, or nothing.
    /// Returns at once; it never waits for the disk.
    ///
    /// # Errors
    /// Nothing of the batch was taken; see [`IngestError`] for what to do about it.
    fn ingest(&self, publishes: &[Inbound<'_>]) -> Result<Ingested<Self::Commit>, IngestError>;
}
