//! The packets of MQTT 5 that a device needs, as bytes.
//!
//! In: values, received packets. Out: bytes, and what they mean. Pure. Invariants: nothing a server sends makes it panic or
//! read beyond the packet; what is not needed is skipped by its length. Not here: when (`session`), sockets (`stream`).
//! Rules are those of MQTT 5.0 (OASIS standard, 2019-03-07), section numbers beside them.
//!
//! Own code, because the client crates do not fit: minimq hides the reason of a PUBACK, and 0x10 (nobody wants it, nothing was
//! stored) counts as delivered there; rust-mqtt needs an allocator or `unsafe` for its buffers; both keep a clock or a session
//! of their own, which a device with a spool has already.

use super::limits::{HEAD_BYTES_MAX, KEEP_ALIVE_SECS, PACKET_BYTES_MAX, RESULTS_MAX};
use heapless::Vec;

/// The beginning of a packet; the payload of a PUBLISH follows it.
pub(crate) type Head = Vec<u8, HEAD_BYTES_MAX>;

/// Name and password; empty strings are not sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Login<'a> {
    pub(crate) user: &'a str,
    pub(crate) password: &'a str,
}

/// What a server said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packet<'a> {
    ConnAck { reason: u8, server: Server },
    Publish { topic: &'a [u8], packet_id: Option<u16>, payload: &'a [u8] },
    PubAck { packet_id: u16, reason: u8 },
    SubAck { packet_id: u16, reason: u8 },
    PingResp,
    Disconnect { reason: u8 },
}

/// What a server can and wants, from its CONNACK (3.2.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    pub(crate) keep_alive_secs: u16,
    pub(crate) takes_qos_1: bool,
    pub(crate) retains: bool,
    pub(crate) packet_bytes_max: u32,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            keep_alive_secs: KEEP_ALIVE_SECS,
            takes_qos_1: true,
            retains: true,
            packet_bytes_max: u32::MAX,
        }
    }
}

/// Why a packet cannot be understood; the connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// CONNECT with a clean start (3.1): what the device has to send is in its spool, not in a session.
pub(crate) fn connect(client_id: &str, login: Login<'_>) -> Option<Head> {
    let mut body = Head::new();
    text(&mut body, "MQTT")?;
    let flags = 0x02 | u8::from(!login.user.is_empty()) << 7 | u8::from(!login.password.is_empty()) << 6;
    bytes(&mut body, &[5, flags])?;
    bytes(&mut body, &KEEP_ALIVE_SECS.to_be_bytes())?;
    let receive = u16::try_from(RESULTS_MAX).ok()?.to_be_bytes();
    let packet = u32::try_from(PACKET_BYTES_MAX).ok()?.to_be_bytes();
    // Receive maximum, maximum packet size (3.1.2.11).
    bytes(&mut body, &[8, 0x21, receive[0], receive[1], 0x27, packet[0], packet[1], packet[2], packet[3]])?;
    text(&mut body, client_id)?;
    if !login.user.is_empty() {
        text(&mut body, login.user)?;
    }
    if !login.password.is_empty() {
        text(&mut body, login.password)?;
    }
    packet_of(0x10, &body, 0)
}

/// SUBSCRIBE to one topic, QoS 1 at the most, without what is retained there (3.8): an old command is not one for now.
pub(crate) fn subscribe(packet_id: u16, topic: &str) -> Option<Head> {
    let mut body = Head::new();
    bytes(&mut body, &packet_id.to_be_bytes())?;
    bytes(&mut body, &[0])?;
    text(&mut body, topic)?;
    bytes(&mut body, &[0x01 | 2 << 4])?;
    packet_of(0x82, &body, 0)
}

/// How a PUBLISH is sent (3.3.1). QoS 1 when it has a packet id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manner {
    pub(crate) packet_id: Option<u16>,
    pub(crate) retain: bool,
}

/// A PUBLISH up to its payload of `len` bytes.
pub(crate) fn publish(topic: &str, manner: Manner, len: usize) -> Option<Head> {
    let mut body = Head::new();
    text(&mut body, topic)?;
    if let Some(packet_id) = manner.packet_id {
        bytes(&mut body, &packet_id.to_be_bytes())?;
    }
    bytes(&mut body, &[0])?;
    let qos = u8::from(manner.packet_id.is_some()) << 1;
    packet_of(0x30 | qos | u8::from(manner.retain), &body, len)
}

/// PUBACK of success (3.4).
pub(crate) fn puback(packet_id: u16) -> Option<Head> {
    packet_of(0x40, &packet_id.to_be_bytes(), 0)
}

/// PINGREQ (3.12).
pub(crate) fn pingreq() -> Option<Head> {
    packet_of(0xc0, &[], 0)
}

/// A packet of `body` and `more` bytes that follow.
fn packet_of(first: u8, body: &[u8], more: usize) -> Option<Head> {
    let mut head = Head::new();
    head.push(first).ok()?;
    let mut left = u32::try_from(body.len() + more).ok()?;
    loop {
        let [low, ..] = left.to_le_bytes();
        left >>= 7;
        head.push(low & 0x7f | u8::from(left > 0) << 7).ok()?;
        if left == 0 {
            break;
        }
    }
    bytes(&mut head, body)?;
    Some(head)
}

fn bytes(out: &mut Head, bytes: &[u8]) -> Option<()> {
    out.extend_from_slice(bytes).ok()
}

fn text(out: &mut Head, text: &str) -> Option<()> {
    bytes(out, &u16::try_from(text.len()).ok()?.to_be_bytes())?;
    bytes(out, text.as_bytes())
}

/// How long the packet at the beginning of `bytes` is, with its header; none when that is not known yet.
pub(crate) fn length(received: &[u8]) -> Result<Option<usize>, Malformed> {
    let mut remaining = 0usize;
    for (index, &byte) in received.iter().skip(1).take(4).enumerate() {
        remaining |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let length = 2 + index + remaining;
            return if length <= PACKET_BYTES_MAX { Ok(Some(length)) } else { Err(Malformed) };
        }
    }
    if received.len() < 5 { Ok(None) } else { Err(Malformed) }
}

/// Reads one whole packet.
pub(crate) fn read(packet: &[u8]) -> Result<Packet<'_>, Malformed> {
    let (&first, rest) = packet.split_first().ok_or(Malformed)?;
    let header = rest.iter().position(|byte| byte & 0x80 == 0).ok_or(Malformed)?;
    let mut body = Reader(&rest[header + 1..]);
    match first {
        0x20 => connack(&mut body),
        0x40 => {
            let packet_id = body.u16()?;
            Ok(Packet::PubAck { packet_id, reason: body.u8().unwrap_or(0) })
        }
        0x90 => {
            let packet_id = body.u16()?;
            body.properties()?;
            Ok(Packet::SubAck { packet_id, reason: body.u8()? })
        }
        0xd0 => Ok(Packet::PingResp),
        0xe0 => Ok(Packet::Disconnect { reason: body.u8().unwrap_or(0) }),
        // QoS 2 was not subscribed to.
        _ if first >> 4 == 3 && first >> 1 & 0b11 < 2 => {
            let topic = body.text()?;
            let packet_id = (first >> 1 & 0b11 == 1).then(|| body.u16()).transpose()?;
            body.properties()?;
            Ok(Packet::Publish { topic, packet_id, payload: body.0 })
        }
        _ => Err(Malformed),
    }
}

fn connack<'a>(body: &mut Reader<'a>) -> Result<Packet<'a>, Malformed> {
    body.u8()?; // session present: never, after a clean start
    let reason = body.u8()?;
    let mut server = Server::default();
    // A server that speaks an older version refuses without properties.
    let mut properties = if body.0.is_empty() { Reader(&[]) } else { body.properties()? };
    while !properties.0.is_empty() {
        match properties.u8()? {
            0x13 => server.keep_alive_secs = properties.u16()?,
            0x24 => server.takes_qos_1 = properties.u8()? > 0,
            0x25 => server.retains = properties.u8()? > 0,
            0x27 => server.packet_bytes_max = properties.u32()?,
            other => properties.skip(other)?,
        }
    }
    Ok(Packet::ConnAck { reason, server })
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.take(1).map(|bytes| bytes[0])
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.take(4).map(|bytes| u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn text(&mut self) -> Result<&'a [u8], Malformed> {
        let len = self.u16()?;
        self.take(len.into())
    }

    /// A variable byte integer (1.5.5).
    fn varint(&mut self) -> Result<usize, Malformed> {
        let mut value = 0usize;
        for index in 0..4 {
            let byte = self.u8()?;
            value |= usize::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    fn properties(&mut self) -> Result<Reader<'a>, Malformed> {
        let len = self.varint()?;
        self.take(len).map(Reader)
    }

    /// Passes the value of a property that a server may put into a CONNACK (3.2.2.3).
    fn skip(&mut self, property: u8) -> Result<(), Malformed> {
        match property {
            0x28..=0x2a => self.u8().map(drop),
            0x21 | 0x22 => self.u16().map(drop),
            0x11 => self.u32().map(drop),
            0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => self.text().map(drop),
            0x26 => {
                self.text()?;
                self.text().map(drop)
            }
            _ => Err(Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_those_of_the_standard() {
        let login = Login { user: "u", password: "pw" };
        let packet = connect("dev", login).unwrap();
        let mut expected = std::vec![0x10, 31, 0, 4];
        expected.extend(b"MQTT");
        expected.extend([5, 0xc2, 0, 60, 8, 0x21, 0, 4, 0x27]);
        expected.extend(u32::try_from(PACKET_BYTES_MAX).unwrap().to_be_bytes());
        expected.extend(b"\0\x03dev\0\x01u\0\x02pw");
        assert_eq!(packet.as_slice(), expected);
        assert_eq!(connect("dev", Login::default()).unwrap()[9], 0x02);

        assert_eq!(subscribe(7, "a/b").unwrap(), *b"\x82\x09\0\x07\0\0\x03a/b\x21");
        let manner = Manner { packet_id: Some(0x102), retain: true };
        assert_eq!(publish("t", manner, 200).unwrap(), *b"\x33\xce\x01\0\x01t\x01\x02\0");
        assert_eq!(
            publish("t", Manner { packet_id: None, retain: false }, 0).unwrap(),
            *b"\x30\x04\0\x01t\0"
        );
        assert_eq!(puback(5).unwrap(), [0x40, 2, 0, 5]);
        assert_eq!(pingreq().unwrap(), [0xc0, 0]);
    }

    #[test]
    fn the_longest_names_fit() {
        let long = "x".repeat(64);
        assert!(connect(&long[..32], Login { user: &long[..32], password: &long }).is_some());
    }

    #[test]
    fn answers_are_read_and_unknown_properties_passed_by() {
        let server =
            Server { keep_alive_secs: 20, takes_qos_1: false, retains: false, packet_bytes_max: 700 };
        // Among the known ones: assigned client id, a user property, topic alias maximum, wildcard subscription.
        let mut packet = std::vec![0x20, 0, 0, 0x87, 0];
        packet
            .extend(b"\x12\0\x01a\x26\0\x01k\0\x01v\x22\0\x05\x28\x01\x13\0\x14\x24\0\x25\0\x27\0\0\x02\xbc");
        packet[4] = u8::try_from(packet.len() - 5).unwrap();
        packet[1] = u8::try_from(packet.len() - 2).unwrap();
        assert_eq!(length(&packet), Ok(Some(packet.len())));
        assert_eq!(read(&packet), Ok(Packet::ConnAck { reason: 0x87, server }));
        let old = Packet::ConnAck { reason: 1, server: Server::default() };
        assert_eq!(read(&[0x20, 2, 0, 1]), Ok(old));

        assert_eq!(read(&[0x40, 2, 0, 9]), Ok(Packet::PubAck { packet_id: 9, reason: 0 }));
        assert_eq!(read(&[0x40, 4, 0, 9, 0x97, 0]), Ok(Packet::PubAck { packet_id: 9, reason: 0x97 }));
        assert_eq!(read(&[0x90, 4, 0, 3, 0, 0x87]), Ok(Packet::SubAck { packet_id: 3, reason: 0x87 }));
        assert_eq!(read(&[0xd0, 0]), Ok(Packet::PingResp));
        assert_eq!(read(&[0xe0, 0]), Ok(Packet::Disconnect { reason: 0 }));
        let publish = Packet::Publish { topic: b"t", packet_id: Some(6), payload: b"xy" };
        assert_eq!(read(b"\x32\x0a\0\x01t\0\x06\x02\x01\x01xy"), Ok(publish));
        assert_eq!(read(b"\x34\x0a\0\x01t\0\x06\x02\x01\x01xy"), Err(Malformed));
    }

    #[test]
    fn whatever_is_sent_is_read_or_refused() {
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        let mut read_well = 0;
        for _ in 0..200_000 {
            let mut packet = std::vec::Vec::new();
            for _ in 0..random % 24 + 2 {
                random ^= random << 13;
                random ^= random >> 7;
                random ^= random << 17;
                packet.push(random.to_le_bytes()[3]);
            }
            let kinds = [0x20, 0x40, 0x90, 0xd0, 0xe0, 0x30, 0x32];
            packet[0] = kinds[usize::from(packet[0]) % kinds.len()];
            packet[1] = u8::try_from(packet.len() - 2).unwrap();
            let _ = length(&packet);
            read_well += u32::from(read(&packet).is_ok());
        }
        assert!(read_well > 1_000, "the test no longer reaches a good packet");
        assert_eq!(length(&[0x30, 0xff, 0xff, 0xff]), Ok(None));
        assert_eq!(length(&[0x30, 0xff, 0xff, 0xff, 0xff]), Err(Malformed));
        assert_eq!(length(&[0x30, 0xff, 0xff, 0xff, 0x7f]), Err(Malformed));
    }
}
