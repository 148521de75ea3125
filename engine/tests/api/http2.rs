//! HTTP/2 peers that misbehave, frame by frame, and one that only seems to.

use crate::events::{SHARD, consumer};
use crate::support::{Client, Server};
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// RFC 9113, 7: a peer that makes too much work.
const ENHANCE_YOUR_CALM: u8 = 0xb;

/// A connection of which a test writes every frame.
struct Peer(TcpStream);

struct Frame {
    kind: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Peer {
    /// Opens a connection; streams may send `window` bytes.
    fn connect(server: &Server, window: u32) -> Peer {
        let socket = TcpStream::connect(server.address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut peer = Peer(socket);
        peer.0.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        // SETTINGS_INITIAL_WINDOW_SIZE
        let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
        peer.send(SETTINGS, 0, 0, &settings).unwrap();
        peer
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> std::io::Result<()> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[kind, flags], &stream.to_be_bytes()].concat();
        self.0.write_all(&[&head, payload].concat())
    }

    fn receive(&mut self) -> std::io::Result<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload)?;
        let stream = u32::from_be_bytes(head[5..9].try_into().unwrap());
        Ok(Frame { kind: head[3], stream, payload })
    }

    /// Sends a whole request.
    fn ask(&mut self, stream: u32, operation: &str, body: &str) -> std::io::Result<()> {
        self.send(HEADERS, END_HEADERS, stream, &head(operation))?;
        self.send(DATA, END_STREAM, stream, body.as_bytes())
    }

    /// Frames until one of this kind and stream.
    fn until(&mut self, kind: u8, stream: u32) -> Frame {
        loop {
            let frame = self.receive().unwrap();
            assert_ne!((frame.kind, kind == GOAWAY), (GOAWAY, false), "{:?}", frame.payload);
            if frame.kind == kind && frame.stream == stream {
                return frame;
            }
        }
    }

    /// Frames until the server says goodbye; gives its reason, or nothing when it just closes.
    fn goodbye(&mut self) -> Option<u8> {
        loop {
            match self.receive() {
                Ok(Frame { kind: GOAWAY, payload, .. }) => return Some(payload[7]),
                Ok(_) => {}
                Err(error) => {
                    assert_ne!(error.kind(), ErrorKind::WouldBlock, "the server says nothing");
                    return None;
                }
            }
        }
    }
}

/// Header fields without compression (RFC 7541, 6.2.2).
fn head(operation: &str) -> Vec<u8> {
    let target = format!("Kinesis_20131202.{operation}");
    let mut fields = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/"),
        (":authority", "engine"),
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", &target),
        ("x-amz-date", "20260101T000000Z"),
        ("authorization", "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0"),
    ] {
        fields.push(0);
        for text in [name, value] {
            fields.push(u8::try_from(text.len()).unwrap());
            fields.extend_from_slice(text.as_bytes());
        }
    }
    fields
}

fn lives(client: &mut Client) {
    client.call("ListStreams", &json!({}));
}

#[test]
fn a_client_that_says_goodbye_still_gets_its_subscription() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut client = server.client();
    client.call("CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let reader = consumer(&mut client, "s", "a");
    let asked = json!({ "ConsumerARN": reader, "ShardId": SHARD, "StartingPosition": { "Type": "LATEST" } });
    let mut peer = Peer::connect(&server, 1 << 20);
    peer.ask(1, "SubscribeToShard", &asked.to_string()).unwrap();
    peer.until(HEADERS, 1);
    // The SDK for JavaScript does so with the head of the answer. The last stream of a GOAWAY is the last one that the
    // server opened, which is none; what the client opened goes on (RFC 9113, 6.8).
    peer.send(GOAWAY, 0, 0, &[0; 8]).unwrap();
    for i in 0..3 {
        let data = base64_simd::STANDARD.encode_to_string(format!("number {i}"));
        client.call("PutRecord", &json!({ "StreamName": "s", "Data": data, "PartitionKey": "k" }));
        loop {
            let frame = peer.until(DATA, 1);
            if frame.payload.windows(data.len()).any(|window| window == data.as_bytes()) {
                break;
            }
        }
    }
    drop(peer);
    server.stop();
}

#[test]
fn a_peer_that_opens_and_resets_streams_without_end_is_sent_away() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut peer = Peer::connect(&server, 1 << 20);
    let mut sent = 0;
    for i in 0..200_000 {
        let stream = 2 * i + 1;
        let reset = peer
            .send(HEADERS, END_HEADERS, stream, &head("ListStreams"))
            .and_then(|()| peer.send(RST_STREAM, 0, stream, &8_u32.to_be_bytes()));
        if reset.is_err() {
            break;
        }
        sent += 1;
    }
    assert!(sent < 200_000, "it may go on for ever");
    lives(&mut server.client());
    server.stop();
}

#[test]
fn headers_without_an_end_are_not_kept() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut peer = Peer::connect(&server, 1 << 20);
    peer.send(HEADERS, 0, 1, &head("ListStreams")).unwrap();
    let field = [&[0, 1, b'x', 100][..], &[b'y'; 100]].concat();
    let mut sent = 0;
    while sent < 100 << 20 && peer.send(CONTINUATION, 0, 1, &field.repeat(100)).is_ok() {
        sent += 100 * field.len();
    }
    assert!(sent < 20 << 20, "{sent} bytes of headers were taken");
    // Empty frames add nothing to any size.
    let mut peer = Peer::connect(&server, 1 << 20);
    peer.send(HEADERS, 0, 1, &head("ListStreams")).unwrap();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(10) && peer.send(CONTINUATION, 0, 1, b"").is_ok() {}
    assert!(begun.elapsed() < Duration::from_secs(10), "empty frames may go on for ever");
    lives(&mut server.client());
    server.stop();
}

#[test]
fn a_peer_may_have_so_many_requests_at_once_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut peer = Peer::connect(&server, 1 << 20);
    // None of them ends, so all wait for their bodies.
    for i in 0..200 {
        if peer.send(HEADERS, END_HEADERS, 2 * i + 1, &head("ListStreams")).is_err() {
            break;
        }
    }
    // Beyond 128 streams are refused, one by one or with the connection.
    loop {
        let frame = peer.receive().unwrap();
        match frame.kind {
            RST_STREAM => break assert!(frame.stream > 2 * 127, "{}", frame.stream),
            GOAWAY => break,
            _ => {}
        }
    }
    lives(&mut server.client());
    server.stop();
}

#[test]
fn pings_and_settings_without_end_are_not_answered_into_memory() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut peer = Peer::connect(&server, 1 << 20);
    peer.0.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    // The peer reads no answer: sooner or later the server reads no more, or says goodbye.
    let mut sent = 0_usize;
    while sent < 2_000_000 && peer.send(SETTINGS, 0, 0, b"").is_ok() {
        sent += 1;
    }
    assert!(sent < 2_000_000, "{sent} frames were taken");
    lives(&mut server.client());
    server.stop();
}

#[test]
fn windows_that_overflow_end_the_connection() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut peer = Peer::connect(&server, 1 << 20);
    for _ in 0..3 {
        peer.send(WINDOW_UPDATE, 0, 0, &0x7fff_ffff_u32.to_be_bytes()).unwrap();
    }
    assert_eq!(peer.goodbye(), Some(3), "flow control error");
    let mut peer = Peer::connect(&server, 1 << 20);
    peer.send(DATA, 0, 1, b"of no request").unwrap();
    assert!(peer.goodbye().is_some_and(|reason| reason != 0 && reason != ENHANCE_YOUR_CALM));
    lives(&mut server.client());
    server.stop();
}
