//! Bytes that are not MQTT, over real sockets: they end their own connection and nothing else.

mod mqtt_support;

use headwater::mqtt::Limits;
use mqtt_support::{Client, Front, connect, publish4, publish5};
use std::time::Duration;

/// splitmix64: the same bytes in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % limit as u64).unwrap_or(0)
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_malformed_packet_is_answered_with_its_reason() {
    let front = Front::start().await;
    for (bytes, reason) in [
        (&b"\x36\x08\0\x01a\0\x01\0xx"[..], 0x81),
        (b"\x30\x04\0\x01#\0", 0x90),
        (b"\x30\x04\0\x01\xff\0", 0x81),
        (b"\x30\x04\0\x01\0\0", 0x81),
        (b"\x30\x03\0\0\0", 0x82),
        (b"\x30\x09\0\x01a\x05\x11\0\0\0\x01", 0x81),
        (b"\x32\x06\0\x01a\0\0\0", 0x82),
        (b"\x82\x03\0\x01\0", 0x82),
        (b"\x80\x07\0\x01\0\0\x01a\0", 0x81),
        (b"\xc0\x80\x80\x80\x80", 0x81),
        (b"\x30\xff\xff\xff\x7f", 0x95),
        (b"\x20\x02\0\0", 0x82),
        (b"\xf0\0", 0x82),
        (b"\x00\0", 0x82),
    ] {
        let mut client = front.v5("c");
        client.send(bytes);
        let answer = client.rest();
        assert_eq!((answer[0], answer[2]), (0xE0, reason), "{bytes:x?} got {answer:x?}");
        let mut client = front.v4("d");
        client.send(bytes);
        if bytes != b"\x30\x04\0\x01\xff\0" && bytes[0] != 0x82 {
            client.try_send(&[0xE0, 0]);
        }
        assert!(client.rest().is_empty(), "3.1.1 has no DISCONNECT from a server");
    }
    assert!(front.storage.topics().iter().all(|topic| topic == "a"), "{:?}", front.storage.topics());
    front.assert_alive();
}

/// Random bytes before CONNECT, after it, and packets with random bytes changed, on 600 connections.
#[tokio::test(flavor = "multi_thread")]
async fn random_bytes_end_only_their_connection() {
    let limits = Limits {
        connect_timeout: Duration::from_millis(500),
        packet_timeout: Duration::from_millis(500),
        ..Limits::default()
    };
    let front = Front::with_limits(limits).await;
    let mut witness = front.v5("witness");
    witness.subscribe5("#", 1);
    let mut random = Random(1);
    for round in 0..600 {
        let mut client = Client::open(front.addr);
        let version = if round % 2 == 0 { 4 } else { 5 };
        let mut bytes = connect(version, &format!("r{}", random.below(5)), 2, 60, &[]);
        match round % 3 {
            0 => bytes = random.bytes(40),
            1 => {
                let noise = 20 + random.below(200);
                bytes.extend(random.bytes(noise));
            }
            _ => {
                for id in 1..20 {
                    bytes.extend(if version == 4 {
                        publish4(2, "down/x", id, b"payload")
                    } else {
                        publish5(1, "a", id, b"\x23\0\x01", b"p")
                    });
                    bytes.extend(b"\x82\x07\0\x01\0\0\x01a\x01\x62\x02\0\x01\xc0\0");
                }
                for _ in 0..8 {
                    let at = random.below(bytes.len());
                    bytes[at] = random.next().to_le_bytes()[0];
                }
            }
        }
        client.try_send(&bytes);
        if round % 50 == 0 {
            client.packet_within(Duration::from_millis(100));
        }
    }
    witness.send(&[0xC0, 0]);
    while witness.packet() != [0xD0, 0] {}
    front.assert_alive();
    let counters = front.counters.snapshot();
    assert_eq!(counters.bus_renewals, 0);
    assert!(counters.connections_accepted > 600);
}
