//! The few packets of MQTT 5 that a publisher needs.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// CONNECT of `client` with a clean start and a keep alive of a minute.
pub(crate) fn connect(client: &str) -> Vec<u8> {
    packet(0x10, &[b"\0\x04MQTT\x05\x02\0\x3c\0", &text(client)[..]].concat())
}

/// PUBLISH with QoS 1.
pub(crate) fn publish(topic: &str, packet_id: u16, payload: &[u8]) -> Vec<u8> {
    packet(0x32, &[&text(topic)[..], &packet_id.to_be_bytes(), &[0], payload].concat())
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let (high, low) = (body.len() >> 7, body.len() & 0x7f);
    let length = if high == 0 { vec![low] } else { vec![low | 0x80, high] };
    let length = length.into_iter().map(|byte| u8::try_from(byte).expect("packets of a test are short"));
    std::iter::once(first).chain(length).chain(body.iter().copied()).collect()
}

fn text(text: &str) -> Vec<u8> {
    [&u16::try_from(text.len()).unwrap().to_be_bytes()[..], text.as_bytes()].concat()
}

/// The next packet: its first byte and what follows its length. Not cancel-safe.
pub(crate) async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(u8, Vec<u8>)> {
    let first = stream.read_u8().await?;
    let length = stream.read_u8().await?;
    assert!(length < 0x80, "a gateway's answers to a publisher are short");
    let mut body = vec![0; usize::from(length)];
    stream.read_exact(&mut body).await?;
    Ok((first, body))
}
