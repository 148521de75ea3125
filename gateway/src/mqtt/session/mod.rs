//! One client's protocol state, told things and asked things: no sockets, no clock, no tasks.
//!
//! In: packets ([`Session::handle_packet`]), commits of what was published ([`Session::handle_commit`]), messages for
//! the client ([`Session::handle_delivery`]), the time ([`Session::handle_timeout`]). Out: bytes for the client
//! ([`Session::poll_transmit`]), subscriptions to make ([`Session::poll_event`]), when to come back
//! ([`Session::poll_timeout`]), and [`End`] when it is over.
//! Run loop: read; hand every packet to `handle_packet`, which gathers the PUBLISHes in a [`Batch`]; give the batch to
//! storage; when it is durable, `handle_commit`; transmit.
//! Invariants: no PUBACK, and no PUBREC that promises anything, leaves before its commit; acknowledgements leave in the
//! order of their packets; a QoS 2 identifier is remembered from its commit to its PUBREL.
//! Not here: who may connect (`authorize`), who else uses the identifier (`registry`), the bus (`downlink`).

mod batch;
mod open;
mod outbound;
mod subscriptions;

pub(crate) use batch::{Batch, Pending};
pub(crate) use open::{Terms, open};
pub(crate) use subscriptions::{Event, SubscribeRequest};

use super::access::{Access, Seen};
use super::authorize::Client;
use super::codec::{self, Ack, Connect, Packet, Version, Will, kind};
use super::counters::Counters;
use super::limits::{Limits, WRITE_BYTES_HIGH};
use super::reason::Reason;
use outbound::Outbound;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use subscriptions::Subscriptions;
use tokio::time::Instant;

/// A write buffer up to this size stays with an idle connection: the answers to one small batch.
const OUT_BYTES_KEPT: usize = 256;

/// How a session's connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// DISCONNECT: no will.
    Client,
    /// DISCONNECT with 0x04: publish the will all the same.
    ClientWithWill,
    /// The socket closed or failed.
    Lost,
    /// We close, and say why.
    Close(Reason, &'static str),
}

impl From<codec::CodecError> for End {
    fn from(error: codec::CodecError) -> End {
        End::Close(error.reason, error.what)
    }
}

/// What a session leaves for the next connection of its client.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    /// QoS 2 identifiers whose PUBLISH is durable and whose PUBREL has not come.
    received: BTreeSet<u16>,
    subscriptions: Subscriptions,
    outbound: Outbound,
}

/// What every session of a server shares.
#[derive(Clone)]
pub(crate) struct Shared {
    /// As they were when the connection came: some were told to the client.
    pub(crate) limits: Arc<Limits>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) access: Arc<Access>,
}

/// See the module.
pub(crate) struct Session {
    shared: Shared,
    access: Seen,
    pub(crate) client: Client,
    version: Version,
    /// Number of the connection, for No Local.
    connection: u64,
    problem_information: bool,
    silence_max: Option<Duration>,
    heard: Instant,
    session_expiry_s: u32,
    /// Whether CONNECT asked for a session that ends with the connection; it cannot be made longer then.
    ends_with_connection: bool,
    will: Option<Box<Will>>,
    /// Topics by alias, minus one.
    aliases: Vec<Option<Arc<str>>>,
    kept: Box<Kept>,
    events: VecDeque<Event>,
    out: Vec<u8>,
}

impl Session {
    /// Starts a session that was granted `terms`, going on with what an earlier one `kept`. Writes CONNACK, and what the
    /// earlier connection left unacknowledged.
    pub(crate) fn new(
        shared: Shared,
        client: Client,
        connection: u64,
        connect: Connect,
        terms: Terms,
        kept: Option<Box<Kept>>,
        now: Instant,
    ) -> Session {
        let present = kept.is_some();
        let mut session = Session {
            client,
            version: connect.version,
            connection,
            problem_information: connect.problem_information,
            silence_max: terms.silence_max,
            heard: now,
            session_expiry_s: terms.session_expiry_s,
            ends_with_connection: terms.session_expiry_s == 0,
            will: connect.will.map(Box::new),
            aliases: Vec::new(),
            kept: kept.unwrap_or_default(),
            events: VecDeque::new(),
            out: Vec::new(),
            access: Seen::of(&shared.access),
            shared,
        };
        codec::connack(&mut session.out, session.version, present, Reason::Success, Some(&terms.connack));
        let window = connect.receive_maximum.min(session.shared.limits.outbound_inflight);
        session.kept.outbound.open(session.version, usize::from(window), connect.packet_bytes_max);
        session.kept.outbound.resend(&mut session.out, now);
        session
    }

    /// Takes one packet. PUBLISHes are gathered in `batch`; everything else is answered at once.
    ///
    /// # Errors
    /// When the connection is over; [`Session::close`] says goodbye.
    pub(crate) fn handle_packet<'a>(
        &mut self,
        packet: Packet<'a>,
        batch: &mut Batch<'a>,
        now: Instant,
    ) -> Result<(), End> {
        self.heard = now;
        match packet {
            Packet::Publish(publish) => self.handle_publish(publish, batch)?,
            Packet::PubRel(ack) => self.handle_pubrel(ack),
            Packet::PubAck(ack) => self.kept.outbound.handle_puback(ack, &mut self.out, now),
            Packet::PubRec(ack) => self.kept.outbound.handle_pubrec(ack, &mut self.out, now),
            Packet::PubComp(ack) => self.kept.outbound.handle_pubcomp(ack, &mut self.out, now),
            Packet::Subscribe(subscribe) => self.handle_subscribe(subscribe),
            Packet::Unsubscribe(unsubscribe) => self.handle_unsubscribe(unsubscribe),
            Packet::PingReq => codec::pingresp(&mut self.out),
            Packet::Disconnect(disconnect) => return Err(self.handle_disconnect(disconnect)),
        }
        Ok(())
    }

    fn handle_pubrel(&mut self, ack: Ack) {
        let known = self.kept.received.remove(&ack.id);
        let reason = if known { Reason::Success } else { Reason::PacketIdentifierNotFound };
        codec::ack(&mut self.out, kind::PUBCOMP, self.version, ack.id, reason, None);
    }

    fn handle_disconnect(&mut self, disconnect: codec::Disconnect) -> End {
        if let Some(seconds) = disconnect.session_expiry {
            // MQTT 5, 3.14.2.2.2.
            if self.ends_with_connection && seconds != 0 {
                return End::Close(
                    Reason::ProtocolError,
                    "session expiry in DISCONNECT of a session without one",
                );
            }
            let longest = u32::try_from(self.shared.limits.session_expiry.as_secs()).unwrap_or(u32::MAX);
            self.session_expiry_s = seconds.min(longest);
        }
        // Any other reason than normal keeps the will (MQTT 5, 3.14.4).
        if disconnect.reason == 0 { End::Client } else { End::ClientWithWill }
    }

    /// The connection goes on being used though nothing was read from it, because it was not asked.
    pub(crate) fn handle_stall(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Whether the client has been silent for too long.
    ///
    /// # Errors
    /// When it has: the connection is over.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> Result<(), End> {
        match self.poll_timeout() {
            Some(deadline) if now >= deadline => Err(End::Close(
                Reason::KeepAliveTimeout,
                "nothing heard for one and a half times the keep alive",
            )),
            _ => Ok(()),
        }
    }

    /// When to call [`Session::handle_timeout`].
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.silence_max.map(|silence| self.heard + silence)
    }

    /// Bytes for the client; whoever takes some removes them.
    pub(crate) fn poll_transmit(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Whether there are bytes for the client, after writing what is still to be sent again as far as there is room.
    pub(crate) fn has_output(&mut self, now: Instant) -> bool {
        self.kept.outbound.resend(&mut self.out, now);
        !self.out.is_empty()
    }

    /// What the shell shall do next on the bus.
    pub(crate) fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Whether there is room for another delivery: in the client's window and in the write buffer.
    pub(crate) fn wants_delivery(&self) -> bool {
        self.kept.outbound.has_room() && self.out.len() < WRITE_BYTES_HIGH
    }

    /// Says goodbye where the protocol has words for it.
    pub(crate) fn close(&mut self, end: End) {
        if let (End::Close(reason, what), Version::V5) = (end, self.version) {
            codec::disconnect(&mut self.out, reason, self.problem_information.then_some(what));
        }
    }

    /// Takes the session apart: the will to publish, and what to keep for how long.
    pub(crate) fn into_parts(self, end: End) -> Parts {
        let keep_for = Duration::from_secs(u64::from(self.session_expiry_s));
        let will = if end == End::Client { None } else { self.will };
        let has_links = !self.kept.subscriptions.is_empty();
        Parts {
            client: self.client,
            will,
            kept: (self.session_expiry_s > 0).then_some(self.kept),
            keep_for,
            has_links,
        }
    }

    /// What the connection keeps to.
    pub(crate) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    pub(crate) fn connection(&self) -> u64 {
        self.connection
    }

    /// Gives back buffers that grew; called when everything was sent.
    pub(crate) fn shrink(&mut self) {
        if self.out.is_empty() && self.out.capacity() > OUT_BYTES_KEPT {
            self.out = Vec::new();
        }
        if self.events.is_empty() {
            self.events = VecDeque::new();
        }
    }

    fn text(&self, text: &'static str) -> Option<&'static str> {
        self.problem_information.then_some(text)
    }
}

/// What remains of a session.
pub(crate) struct Parts {
    pub(crate) client: Client,
    pub(crate) will: Option<Box<Will>>,
    pub(crate) kept: Option<Box<Kept>>,
    pub(crate) keep_for: Duration,
    pub(crate) has_links: bool,
}

#[cfg(test)]
mod tests;
