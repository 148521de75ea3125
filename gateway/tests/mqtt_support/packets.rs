//! Packets as a client writes them, byte by byte, right or wrong.
//!
//! In: fields. Out: whole packets, for 3.1.1 and MQTT 5. Always: lengths are right; nothing else is checked.
//! Not here: sockets, the packets of the server beyond their length.

/// The first packet of `input`, once all of it is there.
pub fn take_packet(input: &mut Vec<u8>) -> Option<Vec<u8>> {
    let (mut length, mut at) = (0, 1);
    loop {
        let byte = *input.get(at)?;
        length |= usize::from(byte & 0x7f) << (7 * (at - 1));
        at += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    (input.len() >= at + length).then(|| input.drain(..at + length).collect())
}

pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    let mut length = body.len();
    loop {
        let low = u8::try_from(length & 0x7f).unwrap();
        length >>= 7;
        out.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            break;
        }
    }
    out.extend_from_slice(body);
    out
}

pub fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u16::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend_from_slice(bytes);
}

/// CONNECT; `rest` (will, user name, password) follows the identifier.
pub fn connect_with(
    version: u8,
    id: &str,
    flags: u8,
    keep_alive_s: u16,
    properties: &[u8],
    rest: &[u8],
) -> Vec<u8> {
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', version, flags];
    body.extend_from_slice(&keep_alive_s.to_be_bytes());
    if version == 5 {
        body.push(u8::try_from(properties.len()).unwrap());
        body.extend_from_slice(properties);
    }
    string(&mut body, id.as_bytes());
    body.extend_from_slice(rest);
    packet(0x10, &body)
}

pub fn connect(version: u8, id: &str, flags: u8, keep_alive_s: u16, properties: &[u8]) -> Vec<u8> {
    connect_with(version, id, flags, keep_alive_s, properties, &[])
}

pub fn publish4(qos: u8, topic: &str, id: u16, payload: &[u8]) -> Vec<u8> {
    publish(4, qos << 1, topic, id, &[], payload)
}

pub fn publish5(qos: u8, topic: &str, id: u16, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    publish(5, qos << 1, topic, id, properties, payload)
}

/// PUBLISH with these flags (DUP 8, QoS 2 and 4, RETAIN 1).
pub fn publish(version: u8, flags: u8, topic: &str, id: u16, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    string(&mut body, topic.as_bytes());
    if flags & 6 != 0 {
        body.extend_from_slice(&id.to_be_bytes());
    }
    if version == 5 {
        body.push(u8::try_from(properties.len()).unwrap());
        body.extend_from_slice(properties);
    }
    body.extend_from_slice(payload);
    packet(0x30 | flags, &body)
}
