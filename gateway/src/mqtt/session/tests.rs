//! Sessions with invented time and no sockets.

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
        authorize: Arc::new(AllowAll),
    }
}

fn start(connect: &[u8], limits: Limits, kept: Option<Box<Kept>>) -> Client5 {
    let connect = decode_connect(0x10, connect).unwrap();
    let terms = open(&connect, &limits, 1).unwrap();
    let client = super::super::Client {
        id: terms.client_id.as_str().into(),
        username: None,
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

const PUBLISH_1: &[u8] = b"\x32\x06\0\x01a\0\x01x";
const PUBLISH_2: &[u8] = b"\x32\x06\0\x01b\0\x02y";
const QOS2: &[u8] = b"\x34\x06\0\x01a\0\x07x";
const QOS2_AGAIN: &[u8] = b"\x3c\x06\0\x01a\0\x07x";

#[test]
fn acknowledgements_leave_after_the_commit_and_in_order() {
    let mut client = session(V4);
    let bytes = [PUBLISH_1, b"\xc0\0", PUBLISH_2].concat();
    let batch = client.feed(&bytes).unwrap();
    assert_eq!(batch.publishes.iter().map(Pending::topic).collect::<Vec<_>>(), ["a", "b"]);
    let acks = batch.into_acks();
    assert_eq!(client.out(), b"\xd0\0", "only the ping is answered before the commit");
    client.session.handle_commit(&acks, &[Verdict::Accepted; 2]).unwrap();
    assert_eq!(client.out(), b"\x40\x02\0\x01\x40\x02\0\x02");
}

#[test]
fn verdicts_become_reason_codes_for_mqtt_5() {
    let verdicts =
        [Verdict::NoRoute, Verdict::Rejected("payload is not JSON"), Verdict::Rejected("device is unknown")];
    let v5 = b"\x32\x07\0\x01a\0\x01\0x\x32\x07\0\x01b\0\x02\0y\x32\x07\0\x01c\0\x03\0z";
    let mut client = session(V5);
    let out = client.commit(v5, &verdicts);
    assert!(
        out.starts_with(b"\x40\x03\0\x01\x10\x40\x1a\0\x02\x99\x16\x1f\0\x13payload is not JSON\x40"),
        "{out:x?}"
    );
    assert!(out.windows(3).any(|window| window == [0, 3, 0x83]));
    let counters = &client.session.shared.counters;
    assert_eq!((counters.unrouted.get(), counters.rejected.get(), counters.acks.get()), (1, 2, 3));
}

#[test]
fn what_was_not_stored_is_never_acknowledged_to_3_1_1() {
    let verdicts = [Verdict::NoRoute, Verdict::Rejected("no room anywhere"), Verdict::Accepted];
    let mut client = session(V4);
    let bytes = [PUBLISH_1, PUBLISH_2, QOS2].concat();
    let acks = client.feed(&bytes).unwrap().into_acks();
    let end = client.session.handle_commit(&acks, &verdicts);
    assert!(matches!(end, Err(End::Close(Reason::ImplementationSpecificError, _))), "{end:?}");
    // The others are: one that was never subscribed to or routed, and one that is stored and must not be stored again.
    assert_eq!(client.out(), b"\x40\x02\0\x01\x50\x02\0\x07");
    assert_eq!(client.commit(QOS2_AGAIN, &[]), b"\x50\x02\0\x07");
}

#[test]
fn a_qos_2_publish_is_stored_once_until_its_release() {
    let mut client = session(V4);
    // Twice in one read, then again after the commit: stored once.
    let both = [QOS2, QOS2_AGAIN].concat();
    assert_eq!(client.commit(&both, &[Verdict::Accepted]), b"\x50\x02\0\x07\x50\x02\0\x07");
    assert_eq!(client.commit(QOS2_AGAIN, &[]), b"\x50\x02\0\x07");
    assert_eq!(client.commit(b"\x62\x02\0\x07", &[]), b"\x70\x02\0\x07");
    // Released: the identifier is free for another message.
    assert_eq!(client.commit(QOS2, &[Verdict::Accepted]), b"\x50\x02\0\x07");
    assert_eq!(client.session.shared.counters.repeats_qos2.get(), 2);
}

#[test]
fn a_qos_2_publish_whose_commit_failed_is_not_remembered() {
    let mut client = start(V5_KEPT, Limits::default(), None);
    let publish = b"\x34\x07\0\x01a\0\x07\0x";
    drop(client.feed(publish).unwrap());
    let kept = client.session.into_parts(End::Lost).kept;
    let mut client = start(V5_KEPT, Limits::default(), kept);
    assert_eq!(client.commit(publish, &[Verdict::Accepted]), b"\x50\x02\0\x07");
}

#[test]
fn a_kept_session_goes_on_with_what_it_received() {
    let mut client = start(V5_KEPT, Limits::default(), None);
    let publish = b"\x34\x07\0\x01a\0\x07\0x";
    client.commit(publish, &[Verdict::Accepted]);
    let kept = client.session.into_parts(End::Lost).kept;
    let mut client = start(V5_KEPT, Limits::default(), kept);
    assert_eq!(client.commit(publish, &[]), b"\x50\x02\0\x07", "still known");
}

#[test]
fn a_full_disk_is_said_in_mqtt_5() {
    let mut client = session(V5);
    let batch = client.feed(b"\x32\x07\0\x01a\0\x01\0x\x34\x07\0\x01a\0\x07\0x").unwrap();
    let acks = batch.into_acks();
    client.session.handle_full(&acks);
    assert_eq!(client.out(), b"\x40\x03\0\x01\x97\x50\x03\0\x07\x97");
    // The QoS 2 identifier was refused, so it is not remembered.
    assert_eq!(client.commit(b"\x34\x07\0\x01a\0\x07\0x", &[Verdict::Accepted]), b"\x50\x02\0\x07");
}

#[test]
fn the_window_is_an_error_in_mqtt_5_and_a_pause_in_3_1_1() {
    let limits = Limits { inflight: 2, ..Limits::default() };
    let three = b"\x32\x07\0\x01a\0\x01\0x\x32\x07\0\x01b\0\x02\0y\x32\x07\0\x01c\0\x03\0z";
    let mut client = start(V5, limits.clone(), None);
    assert!(matches!(client.feed(three), Err(End::Close(Reason::ReceiveMaximumExceeded, _))));
    let mut client = start(V4, limits, None);
    let bytes = [PUBLISH_1, PUBLISH_2].concat();
    let batch = client.feed(&bytes).unwrap();
    assert!(!client.session.has_room(&batch));
}

#[test]
fn unreleased_qos_2_publishes_count_against_the_window() {
    let mut client = start(V5, Limits { inflight: 1, ..Limits::default() }, None);
    client.commit(b"\x34\x07\0\x01a\0\x07\0x", &[Verdict::Accepted]);
    assert!(matches!(
        client.feed(b"\x34\x07\0\x01a\0\x08\0x"),
        Err(End::Close(Reason::ReceiveMaximumExceeded, _))
    ));
}

#[test]
fn subscribing_again_and_again_owes_retained_messages_once() {
    let mut client = session(V5);
    for _ in 0..100 {
        client.subscribe(b"\x82\x07\0\x05\0\0\x01a\x02");
    }
    assert!(client.session.poll_replay().is_some());
    assert!(client.session.poll_replay().is_none(), "the others were the same");
}

#[test]
fn what_is_sent_again_waits_for_room() {
    // Two messages of 300 kB were not acknowledged; the write buffer takes the first alone.
    let mut client = start(V5_KEPT, Limits::default(), None);
    client.subscribe(b"\x82\x07\0\x05\0\0\x01a\x02");
    for topic in ["a", "b"] {
        let message = Message {
            topic: topic.into(),
            payload: vec![7; 300_000].into(),
            qos: 1,
            retain: false,
            properties: PublishProperties::default(),
            publisher: 0,
            expires: None,
        };
        let delivery = Delivery::Message { tag: 1, message: Arc::new(message) };
        client.session.handle_delivery(delivery, client.now).unwrap();
    }
    assert!(client.out().len() > 600_000);
    let kept = client.session.into_parts(End::Lost).kept;
    let mut client = start(V5_KEPT, Limits::default(), kept);
    assert!((300_000..400_000).contains(&client.out().len()));
    assert!(!client.session.wants_delivery(), "nothing new before what is old");
    assert!(client.session.has_output(client.now));
    assert!((300_000..400_000).contains(&client.out().len()));
    assert!(!client.session.has_output(client.now));
}

#[test]
fn topic_aliases_are_resolved_and_bounded() {
    let mut client = session(V5);
    let bytes = b"\x30\x07\0\x01a\x03\x23\0\x01\x30\x06\0\0\x03\x23\0\x01\x30\x07\0\x01b\x03\x23\0\x01\x30\x06\0\0\x03\x23\0\x01";
    let batch = client.feed(bytes).unwrap();
    assert_eq!(batch.publishes.iter().map(Pending::topic).collect::<Vec<_>>(), ["a", "a", "b", "b"]);
    drop(batch);
    assert!(matches!(client.feed(b"\x30\x06\0\0\x03\x23\0\x02"), Err(End::Close(Reason::ProtocolError, _))));
    assert!(matches!(
        client.feed(b"\x30\x07\0\x01a\x03\x23\0\x41"),
        Err(End::Close(Reason::TopicAliasInvalid, _))
    ));
}

#[test]
fn text_that_is_not_utf8_is_refused_without_storing_it() {
    let mut client = session(V5);
    let out = client.commit(b"\x32\x09\0\x01a\0\x01\x02\x01\x01\xff", &[]);
    assert_eq!(out, b"\x40\x03\0\x01\x99");
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

#[test]
fn filters_are_answered_one_by_one() {
    let mut client = session(V5);
    let bytes = b"\x82\x1b\0\x05\0\0\x03a/#\x02\0\x02a+\0\0\x0a$share/g/a\x01";
    assert_eq!(client.subscribe(bytes), b"\x90\x06\0\x05\0\x02\x8f\x01");
    let mut client = session(V4);
    assert_eq!(client.subscribe(b"\x82\x0d\0\x05\0\x03a/#\x01\0\x02a+\0"), b"\x90\x04\0\x05\x01\x80");
    // A session that outlives its connection cannot share.
    let mut client = session(V5_KEPT);
    assert_eq!(client.subscribe(b"\x82\x10\0\x05\0\0\x0a$share/g/a\x01"), b"\x90\x04\0\x05\0\x9e");
    assert!(client.session.kept.subscriptions.is_empty());
}

#[test]
fn unsubscribing_answers_for_each_filter() {
    let mut client = session(V5);
    client.subscribe(b"\x82\x07\0\x05\0\0\x01a\x01");
    client.feed(b"\xa2\x0d\0\x06\0\0\x01a\0\x01b\0\x02a+").unwrap();
    assert_eq!(client.out(), b"\xb0\x06\0\x06\0\0\x11\x8f");
    assert!(
        matches!(client.session.poll_event(), Some(Event::Unsubscribe(filter, 1)) if filter.as_str() == "a")
    );
    assert!(client.deliver(1, "a", 1, 9).is_empty(), "what was under way is dropped");
}

#[test]
fn deliveries_keep_to_the_window_of_the_client_and_are_repeated_after_a_reconnect() {
    let mut client = start(V5_KEPT, Limits::default(), None);
    client.subscribe(b"\x82\x07\0\x05\0\0\x01a\x01");
    assert_eq!(client.deliver(1, "a", 2, 9), b"\x32\x07\0\x01a\0\x01\0x", "QoS is the lower of the two");
    client.deliver(1, "a", 1, 9);
    assert!(!client.session.wants_delivery());
    assert!(client.deliver(1, "a", 1, 9).is_empty(), "the third waits");
    client.feed(b"\x40\x02\0\x01").unwrap();
    assert_eq!(client.out(), b"\x32\x07\0\x01a\0\x03\0x");
    let kept = client.session.into_parts(End::Lost).kept;
    let connect = decode_connect(0x10, V5_KEPT).unwrap();
    let limits = Limits::default();
    let terms = open(&connect, &limits, 1).unwrap();
    let client =
        super::super::Client { id: "c".into(), username: None, peer: "127.0.0.1:1".parse().unwrap() };
    let mut session = Session::new(shared(limits), client, 2, connect, terms, kept, Instant::now());
    let out = session.poll_transmit();
    assert_eq!(out[2], 1, "session present");
    assert!(
        out.ends_with(b"\x3a\x07\0\x01a\0\x02\0x\x3a\x07\0\x01a\0\x03\0x"),
        "with DUP, in order: {out:x?}"
    );
}

#[test]
fn qos_2_deliveries_are_released_in_two_steps() {
    let mut client = session(V4);
    client.subscribe(b"\x82\x06\0\x05\0\x01a\x02");
    assert_eq!(client.deliver(1, "a", 2, 9), b"\x34\x06\0\x01a\0\x01x");
    client.feed(b"\x50\x02\0\x01").unwrap();
    assert_eq!(client.out(), b"\x62\x02\0\x01");
    client.feed(b"\x50\x02\0\x01").unwrap();
    assert_eq!(client.out(), b"\x62\x02\0\x01", "a repeated PUBREC is answered again");
    client.feed(b"\x70\x02\0\x01").unwrap();
    assert_eq!(client.deliver(1, "a", 1, 9), b"\x32\x06\0\x01a\0\x02x");
}

#[test]
fn acknowledgements_may_come_in_any_order_and_unknown_ones_are_ignored() {
    let mut client = session(V4);
    client.subscribe(b"\x82\x06\0\x05\0\x01a\x01");
    for _ in 0..3 {
        client.deliver(1, "a", 1, 9);
    }
    client.feed(b"\x40\x02\0\x03\x40\x02\0\x01\x40\x02\0\x09\x40\x02\0\x02").unwrap();
    assert!(client.session.wants_delivery());
}

#[test]
fn no_local_and_large_packets_are_left_out() {
    let mut client = session(V5);
    client.subscribe(b"\x82\x07\0\x05\0\0\x01a\x05");
    assert!(client.deliver(1, "a", 0, 1).is_empty(), "its own");
    assert!(!client.deliver(1, "a", 0, 2).is_empty());
    let mut small = session(b"\0\x04MQTT\x05\x02\0\x0a\x05\x27\0\0\0\x28\0\x01c");
    small.subscribe(b"\x82\x07\0\x05\0\0\x01a\x01");
    assert!(small.deliver(1, &"a".repeat(50), 1, 2).is_empty());
    assert!(!small.deliver(1, "a", 1, 2).is_empty(), "and it holds no place in the window");
}

#[test]
fn retained_messages_are_marked_and_expired_ones_are_not_sent() {
    let mut client = session(V5);
    client.subscribe(b"\x82\x07\0\x05\0\0\x01#\x01");
    let replay = client.session.poll_replay().unwrap();
    let message = |topic: &str, expires| {
        Arc::new(Message {
            topic: topic.into(),
            payload: "x".into(),
            qos: 0,
            retain: true,
            properties: PublishProperties::default(),
            publisher: 0,
            expires,
        })
    };
    let now = client.now;
    let page =
        vec![message("a", None), message("b", Some(now)), message("c", Some(now + Duration::from_secs(9)))];
    client.session.handle_replay(replay, page, None, now);
    assert_eq!(client.out(), b"\x31\x05\0\x01a\0x\x31\x0a\0\x01c\x05\x02\0\0\0\x09x");
    // Retain handling 1: not again for a subscription that was there.
    client.subscribe(b"\x82\x07\0\x05\0\0\x01#\x11");
    assert_eq!(client.session.poll_replay(), None);
    client.subscribe(b"\x82\x07\0\x05\0\0\x01#\x01");
    assert!(client.session.poll_replay().is_some());
}

#[test]
fn the_end_of_the_bus_ends_the_connection() {
    let mut client = session(V5);
    assert!(matches!(
        client.session.handle_delivery(Delivery::Lost, client.now),
        Err(End::Close(Reason::ServerBusy, _))
    ));
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
