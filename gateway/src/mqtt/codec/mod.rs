//! MQTT packets to and from bytes, both versions, strictly.
//!
//! In: bytes of a socket, at most [`super::limits::Limits::packet_bytes`] a packet. Out: [`Packet`], borrowed from them.
//! Invariant: whatever the bytes are, decoding returns; it never panics and never reads past the packet.
//! Not here: whether a packet is allowed now (`session`).
//!
//! Why not a library's codec: those we looked at copy topic and payload (300 ns a PUBLISH against 30), and leave out
//! most checks the standard asks of a server: fixed header flags, NUL and minimal lengths, duplicate properties,
//! properties in the wrong packet, binary passwords, an empty DISCONNECT. `rumqttc`'s codec is the
//! counterpart in the tests instead: what it writes we read, and what we write it reads.
//!
//! ```text
//! fixed header   type (4 bits) flags (4) | remaining length, 1 to 4 bytes of 7 bits, low first
//! variable part  string and binary: u16 length, bytes · properties (5 only): length, then id and value each
//! ```

mod connect;
mod encode;
mod properties;
mod publish;
mod reader;
mod subscribe;

pub(crate) use connect::{Connect, Will, decode_connect};
pub(crate) use encode::{
    ConnackProperties, Outgoing, ack, connack, disconnect, pingresp, publish as encode_publish, suback,
    unsuback,
};
pub(crate) use properties::PublishProperties;
pub(crate) use publish::Publish;
pub(crate) use reader::{CodecError, Reader};
pub(crate) use subscribe::{Subscribe, Unsubscribe};

use super::reason::Reason;
use properties::{Properties, Property};

/// Protocol version of a connection, from the level byte of CONNECT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// MQTT 3.1.1 (level 4).
    V4,
    /// MQTT 5 (level 5).
    V5,
}

/// Control packet types: the upper half of the first byte.
pub(crate) mod kind {
    pub(crate) const CONNECT: u8 = 1;
    pub(crate) const CONNACK: u8 = 2;
    pub(crate) const PUBLISH: u8 = 3;
    pub(crate) const PUBACK: u8 = 4;
    pub(crate) const PUBREC: u8 = 5;
    pub(crate) const PUBREL: u8 = 6;
    pub(crate) const PUBCOMP: u8 = 7;
    pub(crate) const SUBSCRIBE: u8 = 8;
    pub(crate) const SUBACK: u8 = 9;
    pub(crate) const UNSUBSCRIBE: u8 = 10;
    pub(crate) const UNSUBACK: u8 = 11;
    pub(crate) const PINGREQ: u8 = 12;
    pub(crate) const PINGRESP: u8 = 13;
    pub(crate) const DISCONNECT: u8 = 14;
    pub(crate) const AUTH: u8 = 15;
}

/// A packet a client may send after CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    Publish(Publish<'a>),
    PubAck(Ack),
    PubRec(Ack),
    PubRel(Ack),
    PubComp(Ack),
    Subscribe(Subscribe),
    Unsubscribe(Unsubscribe),
    PingReq,
    Disconnect(Disconnect),
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ack {
    pub(crate) id: u16,
    pub(crate) reason: u8,
}

/// DISCONNECT from a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Disconnect {
    pub(crate) reason: u8,
    pub(crate) session_expiry: Option<u32>,
}

/// Where one packet lies in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    /// First byte: type and flags.
    pub(crate) first: u8,
    /// Where the variable part starts.
    pub(crate) body: usize,
    /// Bytes of the whole packet.
    pub(crate) total: usize,
}

/// Reads the fixed header at the start of `bytes`; `None` when it is not complete yet.
///
/// # Errors
/// When the remaining length has more than four bytes, is not minimal, or makes the packet larger than `packet_bytes`.
pub(crate) fn frame(bytes: &[u8], packet_bytes: usize) -> Result<Option<Frame>, CodecError> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let mut length = 0_usize;
    for at in 0..4 {
        let Some(&byte) = bytes.get(1 + at) else { return Ok(None) };
        length |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            // MQTT 5, 1.5.5: the minimum number of bytes.
            if at > 0 && byte == 0 {
                return Err(CodecError::malformed("remaining length is not minimal"));
            }
            let total = 2 + at + length;
            if total > packet_bytes {
                return Err(CodecError::new(Reason::PacketTooLarge, "packet is larger than announced"));
            }
            return Ok(Some(Frame { first, body: 2 + at, total }));
        }
    }
    Err(CodecError::malformed("remaining length has more than four bytes"))
}

/// Decodes one packet from its first byte and its variable part.
///
/// # Errors
/// With the reason code MQTT 5 asks for when the packet is malformed or not one a client may send now.
pub(crate) fn decode(first: u8, body: &[u8], version: Version) -> Result<Packet<'_>, CodecError> {
    let kind = first >> 4;
    if kind == kind::PUBLISH {
        return publish::decode_publish(first, body, version).map(Packet::Publish);
    }
    // MQTT 2.2.2: the flags of every other packet are fixed.
    let flags = match kind {
        kind::PUBREL | kind::SUBSCRIBE | kind::UNSUBSCRIBE => 0b0010,
        _ => 0,
    };
    if first & 0x0f != flags {
        return Err(CodecError::malformed("reserved flags of the fixed header"));
    }
    let mut reader = Reader::new(body);
    match kind {
        kind::PUBACK => {
            decode_ack(&mut reader, version, &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99])
                .map(Packet::PubAck)
        }
        kind::PUBREC => {
            decode_ack(&mut reader, version, &[0x00, 0x10, 0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99])
                .map(Packet::PubRec)
        }
        kind::PUBREL => decode_ack(&mut reader, version, &[0x00, 0x92]).map(Packet::PubRel),
        kind::PUBCOMP => decode_ack(&mut reader, version, &[0x00, 0x92]).map(Packet::PubComp),
        kind::SUBSCRIBE => subscribe::decode_subscribe(&mut reader, version).map(Packet::Subscribe),
        kind::UNSUBSCRIBE => subscribe::decode_unsubscribe(&mut reader, version).map(Packet::Unsubscribe),
        kind::PINGREQ => reader.end("PINGREQ has a body").map(|()| Packet::PingReq),
        kind::DISCONNECT => decode_disconnect(&mut reader, version).map(Packet::Disconnect),
        kind::CONNECT => Err(CodecError::protocol("second CONNECT on a connection")),
        kind::AUTH if version == Version::V5 => {
            Err(CodecError::protocol("AUTH without an authentication method"))
        }
        _ => Err(CodecError::protocol("packet type that only a server sends")),
    }
}

fn decode_ack(reader: &mut Reader<'_>, version: Version, reasons: &[u8]) -> Result<Ack, CodecError> {
    let id = reader.packet_id()?;
    let mut reason = 0;
    if version == Version::V5 && !reader.is_empty() {
        reason = reader.u8()?;
        if !reasons.contains(&reason) {
            return Err(CodecError::malformed("reason code that this packet cannot carry"));
        }
        if !reader.is_empty() {
            let mut properties = Properties::read(reader)?;
            while let Some(property) = properties.next()? {
                match property {
                    Property::ReasonString(_) | Property::User(..) => {}
                    _ => return Err(Property::misplaced()),
                }
            }
        }
    }
    reader.end("bytes after an acknowledgement")?;
    Ok(Ack { id, reason })
}

fn decode_disconnect(reader: &mut Reader<'_>, version: Version) -> Result<Disconnect, CodecError> {
    let mut disconnect = Disconnect { reason: 0, session_expiry: None };
    if version == Version::V5 && !reader.is_empty() {
        disconnect.reason = reader.u8()?;
        // MQTT 5, 3.14.2.1: the codes a client may send.
        if !matches!(disconnect.reason, 0x00 | 0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x99) {
            return Err(CodecError::malformed("reason code that DISCONNECT from a client cannot carry"));
        }
        if !reader.is_empty() {
            let mut properties = Properties::read(reader)?;
            while let Some(property) = properties.next()? {
                match property {
                    Property::SessionExpiry(seconds) => disconnect.session_expiry = Some(seconds),
                    Property::ReasonString(_) | Property::User(..) => {}
                    _ => return Err(Property::misplaced()),
                }
            }
        }
    }
    reader.end("bytes after DISCONNECT")?;
    Ok(disconnect)
}

#[cfg(test)]
mod tests;
