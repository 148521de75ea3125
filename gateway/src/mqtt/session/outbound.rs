//! Messages on their way to one client: identifiers, the window, and what to send again.
//!
//! Invariant: at most `window` publishes of QoS 1 and 2 are unacknowledged; messages leave in the order they came.

use crate::mqtt::codec::{self, Ack, Outgoing, Version, kind};
use crate::mqtt::downlink::Message;
use crate::mqtt::limits::WRITE_BYTES_HIGH;
use crate::mqtt::reason::Reason;
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::time::Instant;

/// A message with what its subscription makes of it.
#[derive(Debug, Clone)]
pub(super) struct Addressed {
    pub(super) message: Arc<Message>,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) subscription_id: Option<u32>,
}

#[derive(Debug)]
struct Sent {
    id: u16,
    /// `None` once PUBREC came: PUBREL was sent and PUBCOMP is awaited.
    publish: Option<Addressed>,
    /// To be sent again on this connection.
    again: bool,
}

#[derive(Debug)]
pub(super) struct Outbound {
    version: Version,
    window: usize,
    packet_bytes_max: u32,
    last_id: u16,
    inflight: VecDeque<Sent>,
    /// Waiting for the window. Short: nothing is taken off the bus while this is not empty.
    queue: VecDeque<Addressed>,
}

impl Default for Outbound {
    fn default() -> Outbound {
        Outbound {
            version: Version::V5,
            window: 1,
            packet_bytes_max: u32::MAX,
            last_id: 0,
            inflight: VecDeque::new(),
            queue: VecDeque::new(),
        }
    }
}

impl Outbound {
    /// A connection with these terms begins.
    pub(super) fn open(&mut self, version: Version, window: usize, packet_bytes_max: u32) {
        self.version = version;
        self.window = window.max(1);
        self.packet_bytes_max = packet_bytes_max;
        self.inflight.iter_mut().for_each(|sent| sent.again = true);
    }

    pub(super) fn has_room(&self) -> bool {
        self.queue.is_empty() && self.inflight.len() < self.window && !self.resends()
    }

    /// Whether something is still to be sent again: nothing new may leave before it.
    fn resends(&self) -> bool {
        self.inflight.iter().any(|sent| sent.again)
    }

    /// Sends again what an earlier connection left unacknowledged (MQTT 4.4), in order, as far as `out` has room: a whole
    /// window of the largest messages for each of many clients would be more than there is memory.
    pub(super) fn resend(&mut self, out: &mut Vec<u8>, now: Instant) {
        for sent in self.inflight.iter_mut().filter(|sent| sent.again) {
            if out.len() >= WRITE_BYTES_HIGH {
                return;
            }
            sent.again = false;
            match &sent.publish {
                Some(publish) => write(out, self.version, publish, sent.id, true, now),
                None => codec::ack(out, kind::PUBREL, self.version, sent.id, Reason::Success, None),
            }
        }
        self.drain(out, now);
    }

    /// Sends a message, or queues it for the window.
    pub(super) fn offer(&mut self, addressed: Addressed, out: &mut Vec<u8>, now: Instant) {
        self.queue.push_back(addressed);
        self.drain(out, now);
    }

    pub(super) fn handle_puback(&mut self, ack: Ack, out: &mut Vec<u8>, now: Instant) {
        self.inflight
            .retain(|sent| !(sent.id == ack.id && sent.publish.as_ref().is_some_and(|p| p.qos == 1)));
        self.drain(out, now);
    }

    pub(super) fn handle_pubrec(&mut self, ack: Ack, out: &mut Vec<u8>, now: Instant) {
        let Some(at) = self.inflight.iter().position(|sent| sent.id == ack.id && sent.awaits_pubrec()) else {
            // MQTT 5, 4.3.3: answer anyway, so that the receiver can let go of the identifier.
            let reason = Reason::PacketIdentifierNotFound;
            codec::ack(out, kind::PUBREL, self.version, ack.id, reason, None);
            return;
        };
        if ack.reason >= 0x80 {
            self.inflight.remove(at);
            self.drain(out, now);
            return;
        }
        self.inflight[at].publish = None;
        codec::ack(out, kind::PUBREL, self.version, ack.id, Reason::Success, None);
    }

    pub(super) fn handle_pubcomp(&mut self, ack: Ack, out: &mut Vec<u8>, now: Instant) {
        self.inflight.retain(|sent| !(sent.id == ack.id && sent.publish.is_none()));
        self.drain(out, now);
    }

    fn drain(&mut self, out: &mut Vec<u8>, now: Instant) {
        if self.resends() {
            return;
        }
        while let Some(next) = self.queue.front() {
            if next.qos > 0 && self.inflight.len() >= self.window {
                return;
            }
            let Some(next) = self.queue.pop_front() else { return };
            if next.message.is_expired(now) || !fits(&next, self.packet_bytes_max) {
                continue;
            }
            if next.qos == 0 {
                write(out, self.version, &next, 0, false, now);
                continue;
            }
            let id = self.next_id();
            write(out, self.version, &next, id, false, now);
            self.inflight.push_back(Sent { id, publish: Some(next), again: false });
        }
    }

    /// The next identifier not in flight. The window is far below 65,535, so one is always free.
    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.checked_add(1).unwrap_or(1);
            if self.inflight.iter().all(|sent| sent.id != self.last_id) {
                return self.last_id;
            }
        }
    }
}

impl Sent {
    /// Also true for one already released, because a receiver may repeat its PUBREC.
    fn awaits_pubrec(&self) -> bool {
        self.publish.as_ref().is_none_or(|publish| publish.qos == 2)
    }
}

/// MQTT 5, 3.1.2.11.4: a packet the client does not take is dropped, not cut. The estimate errs on the large side.
fn fits(addressed: &Addressed, packet_bytes_max: u32) -> bool {
    let bytes = addressed.message.size_bytes() + 32;
    u32::try_from(bytes).is_ok_and(|bytes| bytes <= packet_bytes_max)
}

fn write(out: &mut Vec<u8>, version: Version, addressed: &Addressed, id: u16, dup: bool, now: Instant) {
    let message = &addressed.message;
    let outgoing = Outgoing {
        topic: &message.topic,
        payload: &message.payload,
        qos: addressed.qos,
        retain: addressed.retain,
        dup: dup && addressed.qos > 0,
        id,
        properties: &message.properties,
        expiry_s: message.expires_in_s(now),
        subscription_id: addressed.subscription_id,
    };
    codec::encode_publish(out, version, &outgoing);
}
