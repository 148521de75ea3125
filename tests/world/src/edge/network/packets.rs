//! Where MQTT packets end, and what a PUBLISH is about (MQTT 5, 2.1 and 3.3).

/// Type of a PUBLISH.
pub(super) const PUBLISH: u8 = 3;
/// Type of a PUBACK.
pub(super) const PUBACK: u8 = 4;

/// Cuts a stream into packets.
#[derive(Debug, Default)]
pub(super) struct Packets(Vec<u8>);

impl Packets {
    /// Takes bytes; gives the packets that are whole now.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.0.extend_from_slice(bytes);
        let mut whole = Vec::new();
        while let Some(len) = length(&self.0).filter(|len| *len <= self.0.len()) {
            let rest = self.0.split_off(len);
            whole.push(std::mem::replace(&mut self.0, rest));
        }
        whole
    }
}

/// The type of a packet.
pub(super) fn kind(packet: &[u8]) -> u8 {
    packet.first().map_or(0, |first| first >> 4)
}

/// Topic and payload of a PUBLISH.
pub(super) fn publish_of(packet: &[u8]) -> Option<(&str, &[u8])> {
    if kind(packet) != PUBLISH {
        return None;
    }
    let qos = packet[0] >> 1 & 3;
    let (_, body) = variable(&packet[1..])?;
    let (len, rest) = body.split_at_checked(2)?;
    let (topic, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([len[0], len[1]])))?;
    let rest = if qos > 0 { rest.get(2..)? } else { rest };
    let (properties, rest) = variable(rest)?;
    Some((std::str::from_utf8(topic).ok()?, rest.get(properties..)?))
}

fn length(bytes: &[u8]) -> Option<usize> {
    let after = bytes.get(1..)?;
    let (remaining, rest) = variable(after)?;
    Some(1 + after.len() - rest.len() + remaining)
}

/// A variable byte integer, and what follows it.
fn variable(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_found_wherever_the_stream_is_cut() {
        let payload = [7u8; 200];
        let mut publish = vec![0x32, 0, 0, 0, 3, b'a', b'/', b'b', 0, 9, 0];
        publish.extend(payload);
        let remaining = publish.len() - 3;
        (publish[1], publish[2]) = (u8::try_from(remaining & 0x7f | 0x80).unwrap(), 1);
        assert_eq!(remaining >> 7, 1);
        let stream = [publish.clone(), vec![0x40, 2, 0, 9], publish.clone()].concat();
        for piece in 1..stream.len() {
            let mut packets = Packets::default();
            let found: Vec<_> = stream.chunks(piece).flat_map(|piece| packets.push(piece)).collect();
            assert_eq!(found, [publish.clone(), vec![0x40, 2, 0, 9], publish.clone()]);
            assert_eq!(publish_of(&found[0]), Some(("a/b", &payload[..])));
            assert_eq!((kind(&found[1]), publish_of(&found[1])), (PUBACK, None));
        }
    }
}
