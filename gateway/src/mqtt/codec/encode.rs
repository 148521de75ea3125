//! Packets we send, appended to a connection's write buffer.

use super::properties::PublishProperties;
use super::{Version, kind};
use crate::mqtt::reason::Reason;

/// What CONNACK tells an MQTT 5 client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ConnackProperties {
    /// Only when it differs from what the client asked for.
    pub(crate) session_expiry_s: Option<u32>,
    pub(crate) receive_maximum: u16,
    pub(crate) packet_bytes_max: u32,
    pub(crate) topic_alias_maximum: u16,
    pub(crate) assigned_client_id: Option<String>,
    /// Only when the client shall use this one instead of its own.
    pub(crate) keep_alive_s: Option<u16>,
}

/// CONNACK. `properties` only for an accepted MQTT 5 client.
pub(crate) fn connack(
    out: &mut Vec<u8>,
    version: Version,
    session_present: bool,
    reason: Reason,
    properties: Option<&ConnackProperties>,
) {
    let session_present = u8::from(session_present && !reason.is_error());
    if version == Version::V4 {
        out.extend_from_slice(&[kind::CONNACK << 4, 2, session_present, reason.v4_connack()]);
        return;
    }
    let mut block = Vec::new();
    if let Some(properties) = properties {
        if let Some(seconds) = properties.session_expiry_s {
            block.push(0x11);
            block.extend_from_slice(&seconds.to_be_bytes());
        }
        block.push(0x21);
        block.extend_from_slice(&properties.receive_maximum.to_be_bytes());
        block.push(0x27);
        block.extend_from_slice(&properties.packet_bytes_max.to_be_bytes());
        if let Some(id) = &properties.assigned_client_id {
            block.push(0x12);
            string(&mut block, id);
        }
        block.push(0x22);
        block.extend_from_slice(&properties.topic_alias_maximum.to_be_bytes());
        if let Some(seconds) = properties.keep_alive_s {
            block.push(0x13);
            block.extend_from_slice(&seconds.to_be_bytes());
        }
    }
    let mut body = vec![session_present, reason.byte()];
    varint(&mut body, block.len());
    body.extend_from_slice(&block);
    packet(out, kind::CONNACK << 4, &body);
}

/// PUBACK, PUBREC, PUBREL or PUBCOMP, by `kind`. The reason and its text reach only MQTT 5 clients.
pub(crate) fn ack(
    out: &mut Vec<u8>,
    kind: u8,
    version: Version,
    id: u16,
    reason: Reason,
    text: Option<&str>,
) {
    let first = kind << 4 | if kind == kind::PUBREL { 0b0010 } else { 0 };
    let [high, low] = id.to_be_bytes();
    if version == Version::V4 || reason == Reason::Success {
        out.extend_from_slice(&[first, 2, high, low]);
        return;
    }
    let Some(text) = text else {
        out.extend_from_slice(&[first, 3, high, low, reason.byte()]);
        return;
    };
    let mut block = vec![0x1F];
    string(&mut block, text);
    let mut body = vec![high, low, reason.byte()];
    varint(&mut body, block.len());
    body.extend_from_slice(&block);
    packet(out, first, &body);
}

/// SUBACK; for 3.1.1 every error is 0x80.
pub(crate) fn suback(out: &mut Vec<u8>, version: Version, id: u16, codes: &[u8]) {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    body.extend(codes.iter().map(|&code| if version == Version::V4 && code >= 0x80 { 0x80 } else { code }));
    packet(out, kind::SUBACK << 4, &body);
}

/// UNSUBACK; 3.1.1 has no codes in it.
pub(crate) fn unsuback(out: &mut Vec<u8>, version: Version, id: u16, codes: &[u8]) {
    let mut body = id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
        body.extend_from_slice(codes);
    }
    packet(out, kind::UNSUBACK << 4, &body);
}

/// PINGRESP.
pub(crate) fn pingresp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[kind::PINGRESP << 4, 0]);
}

/// DISCONNECT, which a server can send only in MQTT 5.
pub(crate) fn disconnect(out: &mut Vec<u8>, reason: Reason, text: Option<&str>) {
    let mut body = vec![reason.byte()];
    if let Some(text) = text {
        let mut block = vec![0x1F];
        string(&mut block, text);
        varint(&mut body, block.len());
        body.extend_from_slice(&block);
    }
    packet(out, kind::DISCONNECT << 4, &body);
}

/// A PUBLISH to a subscriber.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    pub(crate) qos: u8,
    pub(crate) retain: bool,
    pub(crate) dup: bool,
    pub(crate) id: u16,
    pub(crate) properties: &'a PublishProperties,
    /// Seconds left of the message expiry.
    pub(crate) expiry_s: Option<u32>,
    pub(crate) subscription_id: Option<u32>,
}

/// PUBLISH. Properties are dropped for 3.1.1 readers, who have no place for them.
pub(crate) fn publish(out: &mut Vec<u8>, version: Version, publish: &Outgoing<'_>) {
    let first = kind::PUBLISH << 4 | u8::from(publish.dup) << 3 | publish.qos << 1 | u8::from(publish.retain);
    let mut block = Vec::new();
    if version == Version::V5 {
        let mut properties = Vec::new();
        publish_properties(publish, &mut properties);
        varint(&mut block, properties.len());
        block.extend_from_slice(&properties);
    }
    let id_bytes = if publish.qos > 0 { 2 } else { 0 };
    out.push(first);
    varint(out, 2 + publish.topic.len() + id_bytes + block.len() + publish.payload.len());
    string(out, publish.topic);
    if publish.qos > 0 {
        out.extend_from_slice(&publish.id.to_be_bytes());
    }
    out.extend_from_slice(&block);
    out.extend_from_slice(publish.payload);
}

fn publish_properties(publish: &Outgoing<'_>, out: &mut Vec<u8>) {
    let properties = publish.properties;
    if properties.utf8 {
        out.extend_from_slice(&[0x01, 1]);
    }
    if let Some(seconds) = publish.expiry_s {
        out.push(0x02);
        out.extend_from_slice(&seconds.to_be_bytes());
    }
    if let Some(text) = &properties.content_type {
        out.push(0x03);
        string(out, text);
    }
    if let Some(topic) = &properties.response_topic {
        out.push(0x08);
        string(out, topic);
    }
    if let Some(data) = &properties.correlation_data {
        out.push(0x09);
        binary(out, data);
    }
    if let Some(id) = publish.subscription_id {
        out.push(0x0B);
        varint(out, usize::try_from(id).unwrap_or(usize::MAX));
    }
    for (name, value) in &properties.user {
        out.push(0x26);
        string(out, name);
        string(out, value);
    }
}

fn packet(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    out.push(first);
    varint(out, body.len());
    out.extend_from_slice(body);
}

/// A variable byte integer. What we write is bounded far below its largest value, 268,435,455.
fn varint(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0);
        value >>= 7;
        if value == 0 {
            out.push(low);
            return;
        }
        out.push(low | 0x80);
    }
}

fn string(out: &mut Vec<u8>, text: &str) {
    binary(out, text.as_bytes());
}

/// Binary data after its length. Longer than the wire can say cannot happen: all of it came off the wire or is ours.
fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&bytes[..usize::from(length)]);
}
