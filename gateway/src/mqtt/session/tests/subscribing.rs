//! What a client subscribes to and is sent: answers, windows, repeats, retained messages.

use super::*;

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
fn an_answer_goes_to_who_asked_as_it_is_subscribed_and_to_nobody_else() {
    let mut client = session(V5);
    let now = Instant::now();
    assert!(!client.session.handle_answer("a", b"x", 0, now), "not subscribed: it goes over the bus");
    client.subscribe(b"\x82\x07\0\x05\0\0\x01a\x01");
    assert!(client.session.handle_answer("a", b"x", 0, now));
    assert_eq!(client.out(), b"\x30\x05\0\x01a\0x");
    assert!(!client.session.handle_answer("b", b"x", 0, now));
    client.subscribe(b"\x82\x10\0\x06\0\0\x0a$share/g/b\x01");
    assert!(!client.session.handle_answer("b", b"x", 0, now), "another of the group may have asked");
    client.subscribe(b"\x82\x07\0\x07\0\0\x01#\0");
    assert!(client.session.handle_answer("b", b"x", 0, now));
    assert_eq!(client.out(), b"\x30\x05\0\x01b\0x");
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
    let client = super::super::Client {
        id: "c".into(),
        username: None,
        certificate: crate::mqtt::Certificate::None,
        peer: "127.0.0.1:1".parse().unwrap(),
    };
    let mut session = Session::new(shared(limits), client, 2, connect, terms, kept, Instant::now());
    let out = session.poll_transmit();
    assert_eq!(out[2], 1, "session present");
    assert!(
        out.ends_with(b"\x3a\x07\0\x01a\0\x02\0x\x3a\x07\0\x01a\0\x03\0x"),
        "with DUP, in order: {out:x?}"
    );
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
fn subscribing_again_and_again_owes_retained_messages_once() {
    let mut client = session(V5);
    for _ in 0..100 {
        client.subscribe(b"\x82\x07\0\x05\0\0\x01a\x02");
    }
    assert!(client.session.poll_replay().is_some());
    assert!(client.session.poll_replay().is_none(), "the others were the same");
}

#[test]
fn the_end_of_the_bus_ends_the_connection() {
    let mut client = session(V5);
    assert!(matches!(
        client.session.handle_delivery(Delivery::Lost, client.now),
        Err(End::Close(Reason::ServerBusy, _))
    ));
}
