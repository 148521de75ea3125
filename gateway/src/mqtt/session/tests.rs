//! Sessions with invented time and no sockets: a client to test with, and how sessions begin and end.
//!
//! Not here: what a client publishes (`publishing`), what it is sent (`subscribing`).

mod publishing;
mod subscribing;

use super::*;
use crate::ingest::Verdict;
use crate::mqtt::authorize::AllowAll;
use crate::mqtt::codec::{decode_connect, frame};
use crate::mqtt::downlink::{Delivery, Message, PublishProperties};

const V4: &[u8] = b"\0\x04MQTT\x04\x02\0\x0a\0\x01c";
const V5: &[u8] = b"\0\x04MQTT\x05\x02\0\x0a\0\0\x01c";
/// Session expiry 60 s, receive maximum 2.
const V5_KEPT: &[u8] = b"\0\x04MQTT\x05\0\0\x0a\x08\x11\0\0\0\x3c\x21\0\x02\0\x01c";

struct Client5 {
    session: Session,
    now: Instant,
}

fn shared(limits: Limits) -> Shared {
    Shared {
        limits: Arc::new(limits),
        counters: Arc::new(Counters::default()),
        access: Access::new(Arc::new(AllowAll)),
    }
}

fn start(connect: &[u8], limits: Limits, kept: Option<Box<Kept>>) -> Client5 {
    let connect = decode_connect(0x10, connect).unwrap();
    let terms = open(&connect, &limits, 1).unwrap();
    let client = super::super::Client {
        id: terms.client_id.as_str().into(),
        username: None,
        certificate: super::super::Certificate::None,
        peer: "127.0.0.1:1".parse().unwrap(),
    };
    let now = Instant::now();
    let mut session = Session::new(shared(limits), client, 1, connect, terms, kept, now);
    let out = session.poll_transmit();
    assert_eq!(out[0], 0x20);
    let header = frame(out, 1000).unwrap().unwrap();
    out.drain(..header.total);
    Client5 { session, now }
}

fn session(connect: &[u8]) -> Client5 {
    start(connect, Limits::default(), None)
}

impl Client5 {
    /// Feeds packets; gives the batch they make, or how it ended.
    fn feed<'a>(&mut self, mut bytes: &'a [u8]) -> Result<Batch<'a>, End> {
        let mut batch = Batch::default();
        while !bytes.is_empty() {
            let header = frame(bytes, 1 << 20)?.expect("whole packets");
            let packet =
                codec::decode(header.first, &bytes[header.body..header.total], self.session.version())?;
            self.session.handle_packet(packet, &mut batch, self.now)?;
            bytes = &bytes[header.total..];
        }
        Ok(batch)
    }

    fn out(&mut self) -> Vec<u8> {
        std::mem::take(self.session.poll_transmit())
    }

    /// Feeds packets and commits what they publish with `verdicts`.
    fn commit(&mut self, bytes: &[u8], verdicts: &[Verdict]) -> Vec<u8> {
        let batch = self.feed(bytes).unwrap();
        assert_eq!(batch.publishes.len(), verdicts.len());
        let acks = batch.into_acks();
        self.session.handle_commit(&acks, verdicts).unwrap();
        self.out()
    }

    fn subscribe(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.feed(bytes).unwrap();
        let Some(Event::Subscribe(request)) = self.session.poll_event() else { panic!("a subscription") };
        self.session.handle_subscribed(request, Ok(()));
        self.out()
    }

    fn deliver(&mut self, tag: u32, topic: &str, qos: u8, publisher: u64) -> Vec<u8> {
        let message = Arc::new(Message {
            topic: topic.into(),
            payload: "x".into(),
            qos,
            retain: false,
            properties: PublishProperties::default(),
            publisher,
            expires: None,
        });
        self.session.handle_delivery(Delivery::Message { tag, message }, self.now).unwrap();
        self.out()
    }
}

#[test]
fn silence_ends_the_connection_after_one_and_a_half_keep_alives() {
    let mut client = session(V4);
    let deadline = client.session.poll_timeout().unwrap();
    assert_eq!(deadline - client.now, Duration::from_secs(15));
    assert_eq!(client.session.handle_timeout(deadline - Duration::from_millis(1)), Ok(()));
    client.now = deadline - Duration::from_millis(1);
    client.feed(b"\xc0\0").unwrap();
    assert_eq!(client.session.handle_timeout(deadline), Ok(()));
    let end = client.session.handle_timeout(client.now + Duration::from_secs(15)).unwrap_err();
    assert!(matches!(end, End::Close(Reason::KeepAliveTimeout, _)));
}

#[test]
fn terms_follow_the_limits() {
    let limits = Limits::default();
    let of = |body: &[u8]| open(&decode_connect(0x10, body).unwrap(), &limits, 0xfeed);
    // 3.1.1: no identifier only for a clean session.
    assert_eq!(of(b"\0\x04MQTT\x04\0\0\0\0\0").unwrap_err().0, Reason::ClientIdentifierNotValid);
    assert_eq!(of(b"\0\x04MQTT\x04\x02\0\0\0\0").unwrap().client_id, "headwater-000000000000feed");
    assert_eq!(of(b"\0\x04MQTT\x04\x02\0\0\0\x01c").unwrap().silence_max, None);
    // MQTT 5: told the identifier, the keep alive and the expiry it gets.
    let terms = of(b"\0\x04MQTT\x05\0\0\0\x05\x11\xff\xff\xff\xff\0\0").unwrap();
    assert_eq!(terms.connack.assigned_client_id.as_deref(), Some("headwater-000000000000feed"));
    assert_eq!(terms.connack.keep_alive_s, Some(600));
    assert_eq!(terms.connack.session_expiry_s, Some(7 * 24 * 3600));
    assert_eq!(
        of(b"\0\x04MQTT\x05\0\0\0\x04\x15\0\x01x\0\0").unwrap_err().0,
        Reason::BadAuthenticationMethod
    );
}

#[test]
fn the_will_stays_with_every_end_but_a_normal_one() {
    let with_will = b"\0\x04MQTT\x05\x06\0\x0a\0\0\x01c\0\0\x01w\0\x01p";
    for (bytes, expected) in [(&b"\xe0\0"[..], false), (b"\xe0\x01\x04", true), (b"\x30\x03\0\x01#", true)] {
        let mut client = session(with_will);
        let end = client.feed(bytes).unwrap_err();
        client.session.close(end);
        assert_eq!(client.session.into_parts(end).will.is_some(), expected, "{bytes:x?}");
    }
}

#[test]
fn a_session_expiry_cannot_be_given_to_a_session_that_had_none() {
    let mut client = session(V5);
    assert!(matches!(
        client.feed(b"\xe0\x07\0\x05\x11\0\0\0\x09"),
        Err(End::Close(Reason::ProtocolError, _))
    ));
    let mut client = session(V5_KEPT);
    assert_eq!(client.feed(b"\xe0\x07\0\x05\x11\0\0\0\x09").unwrap_err(), End::Client);
    assert_eq!(client.session.into_parts(End::Client).keep_for, Duration::from_secs(9));
}

#[test]
fn goodbyes_are_said_in_mqtt_5_only() {
    let end = End::Close(Reason::SessionTakenOver, "again");
    let mut client = session(V4);
    client.session.close(end);
    assert!(client.out().is_empty());
    let mut client = session(V5);
    client.session.close(end);
    assert_eq!(client.out(), b"\xe0\x0a\x8e\x08\x1f\0\x05again");
}

/// A session is fed random packets, whole and mangled: it answers or ends, and never panics.
#[test]
fn no_packets_make_a_session_panic() {
    let packets: [&[u8]; 9] = [
        b"\x32\x07\0\x01a\0\x01\0x",
        b"\x34\x07\0\x01a\0\x07\0x",
        b"\x62\x02\0\x07",
        b"\x82\x07\0\x05\0\0\x01a\x02",
        b"\xa2\x06\0\x06\0\0\x01a",
        b"\x40\x02\0\x01",
        b"\x50\x02\0\x01",
        b"\x70\x02\0\x01",
        b"\x30\x07\0\x01a\x03\x23\0\x01",
    ];
    let mut seed = 7_u32;
    let mut random = move |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        usize::try_from(seed >> 8).unwrap() % below
    };
    for _ in 0..200 {
        let mut client = session(V5);
        for _ in 0..100 {
            let mut bytes = packets[random(packets.len())].to_vec();
            if random(10) == 0 {
                let at = random(bytes.len());
                bytes[at] = u8::try_from(random(256)).unwrap();
            }
            let whole = matches!(frame(&bytes, 1 << 20), Ok(Some(frame)) if frame.total == bytes.len());
            let Ok(batch) = (if whole { client.feed(&bytes) } else { continue }) else { break };
            let verdicts = vec![Verdict::Accepted; batch.publishes.len()];
            let acks = batch.into_acks();
            client.session.handle_commit(&acks, &verdicts).unwrap();
            while let Some(event) = client.session.poll_event() {
                if let Event::Subscribe(request) = event {
                    client.session.handle_subscribed(request, Ok(()));
                }
            }
            client.deliver(u32::try_from(random(4)).unwrap(), "a", u8::try_from(random(3)).unwrap(), 2);
        }
    }
}
