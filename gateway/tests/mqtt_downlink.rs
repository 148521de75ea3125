//! Subscribers over real sockets: what reaches them, and the input that would kill the router behind us.

mod mqtt_support;

use headwater::mqtt::Limits;
use mqtt_support::{Client, Front, connect, eventually, publish, publish4, publish5, string};
use std::time::Duration;

const KEPT: &[u8] = b"\x11\0\0\0\x3c";

fn payload_of(packet: &[u8]) -> &[u8] {
    &packet[packet.len() - 1..]
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_a_route_sends_down_reaches_subscribers_and_only_when_durable() {
    let front = Front::start().await;
    let (mut reader, mut writer) = (front.v4("reader"), front.v4("writer"));
    reader.subscribe4("#");
    writer.send(&publish4(1, "telemetry", 1, b"x"));
    assert_eq!(writer.packet(), [0x40, 2, 0, 1]);
    reader.assert_silent();
    front.storage.hold();
    writer.send(&publish4(1, "down/a", 2, b"y"));
    front.storage.await_stored(2);
    reader.assert_silent();
    front.storage.release_all();
    assert_eq!(reader.packet(), publish4(1, "down/a", 1, b"y"));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_the_gateway_reach_a_device_with_acknowledgement() {
    let front = Front::start().await;
    let mut device = front.v5("device");
    assert_eq!(device.subscribe5("headwater/device/command", 1), 1);
    front.downlink.publish("headwater/device/command", "1", false, 1).unwrap();
    front.downlink.publish("headwater/device/command", "2", false, 0).unwrap();
    assert_eq!(device.packet(), publish5(1, "headwater/device/command", 1, &[], b"1"));
    assert_eq!(device.packet(), publish5(0, "headwater/device/command", 0, &[], b"2"));
    device.send(&[0x40, 2, 0, 1]);
    device.assert_silent();
}

#[tokio::test(flavor = "multi_thread")]
async fn retained_births_all_arrive_on_subscribe() {
    let front = Front::start().await;
    for device in 0..500 {
        front.downlink.publish(&format!("headwater/d{device}/birth"), "b", true, 1).unwrap();
    }
    let mut device = front.v4("publisher");
    device.send(&publish(4, 0b0011, "down/birth", 1, &[], b"live"));
    device.packet();
    let mut reader = front.v4("reader");
    reader.subscribe4("headwater/+/birth");
    let mut topics = std::collections::BTreeSet::new();
    for _ in 0..500 {
        let packet = reader.packet();
        assert_eq!(packet[0] & 0b0111, 0b0011, "QoS 1 and retained");
        let topic = usize::from(packet[3]);
        topics.insert(packet[4..4 + topic].to_vec());
        let id = [packet[4 + topic], packet[5 + topic]];
        reader.send(&[0x40, 2, id[0], id[1]]);
    }
    assert_eq!(topics.len(), 500);
    reader.subscribe4("down/birth");
    assert!(reader.packet().ends_with(b"live"));
    device.send(&publish(4, 0b0011, "down/birth", 2, &[], b""));
    device.packet();
    assert!(front.downlink.retained("down/birth").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_reach_mqtt_5_readers_and_are_dropped_for_others() {
    let front = Front::start().await;
    let (mut old, mut new, mut writer) = (front.v4("old"), front.v5("new"), front.v5("writer"));
    old.subscribe4("down/#");
    new.subscribe5("down/#", 0);
    let properties = b"\x03\0\x01t\x08\0\x01r\x09\0\x01c\x26\0\x01k\0\x01v";
    writer.send(&publish5(1, "down/a", 1, properties, b"x"));
    writer.packet();
    assert_eq!(old.packet(), publish4(1, "down/a", 1, b"x"));
    assert_eq!(new.packet(), publish5(0, "down/a", 0, properties, b"x"));
    // And subscription identifiers, one copy for each subscription that matches.
    let mut body = vec![0, 5, 2, 0x0B, 9];
    string(&mut body, b"down/+");
    body.push(0);
    new.send(&mqtt_support::packet(0x82, &body));
    assert_eq!(new.packet()[0], 0x90);
    front.downlink.publish("down/a", "y", false, 0).unwrap();
    let mut copies = vec![new.packet(), new.packet()];
    copies.sort();
    assert_eq!(copies, [publish5(0, "down/a", 0, &[], b"y"), publish5(0, "down/a", 0, b"\x0b\x09", b"y")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_was_away_gets_what_came_meanwhile() {
    let front = Front::start().await;
    let (mut device, _) = front.v5_with("device", 0, KEPT);
    device.subscribe5("commands", 1);
    front.downlink.publish("commands", "1", false, 1).unwrap();
    assert_eq!(payload_of(&device.packet()), b"1");
    drop(device);
    eventually("kept", || front.counters.snapshot().sessions_kept == 1);
    front.downlink.publish("commands", "2", false, 1).unwrap();
    let (mut device, connack) = front.v5_with("device", 0, KEPT);
    assert_eq!(connack[2], 1);
    let again = device.packet();
    assert_eq!((again[0], payload_of(&again)), (0x3A, &b"1"[..]), "unacknowledged: again, with DUP");
    assert_eq!(payload_of(&device.packet()), b"2");
    device.send(&[0x40, 2, 0, 1, 0x40, 2, 0, 2]);
    front.downlink.publish("commands", "3", false, 1).unwrap();
    assert_eq!(payload_of(&device.packet()), b"3");
}

#[tokio::test(flavor = "multi_thread")]
async fn wills_reach_subscribers() {
    let front = Front::start().await;
    let mut reader = front.v4("reader");
    reader.subscribe4("down/wills");
    let mut rest = Vec::new();
    string(&mut rest, b"down/wills");
    string(&mut rest, b"gone");
    let mut client = Client::open(front.addr);
    client.send(&mqtt_support::connect_with(4, "lost", 0x0E, 60, &[], &rest));
    client.packet();
    drop(client);
    assert!(reader.packet().ends_with(b"gone"));
}

#[tokio::test(flavor = "multi_thread")]
async fn unsubscribing_ends_deliveries() {
    let front = Front::start().await;
    let mut reader = front.v4("reader");
    reader.subscribe4("a");
    reader.subscribe4("b");
    let mut body = vec![0, 7];
    string(&mut body, b"a");
    string(&mut body, b"never");
    reader.send(&mqtt_support::packet(0xA2, &body));
    assert_eq!(reader.packet(), [0xB0, 2, 0, 7], "one answer, whatever was subscribed");
    front.downlink.publish("a", "x", false, 0).unwrap();
    front.downlink.publish("b", "y", false, 0).unwrap();
    assert_eq!(reader.packet(), publish4(0, "b", 0, b"y"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscriber_that_does_not_read_is_dropped_and_holds_nobody_up() {
    let front =
        Front::with_limits(Limits { write_timeout: Duration::from_millis(300), ..Limits::default() }).await;
    let (mut deaf, mut reader) = (front.v4("deaf"), front.v4("reader"));
    deaf.subscribe4("big");
    reader.subscribe4("small");
    let counters = front.counters.clone();
    eventually("the deaf one is dropped", || {
        let _ = front.downlink.publish("big", vec![0; 200_000], false, 0);
        counters.snapshot().clients_disconnected == 1
    });
    front.downlink.publish("small", "x", false, 0).unwrap();
    assert_eq!(reader.packet(), publish4(0, "small", 0, b"x"));
}

/// Each of these ends the router, or the listener, of an embedded rumqttd. Here everything goes on.
#[tokio::test(flavor = "multi_thread")]
async fn input_that_kills_the_broker_behind_us_kills_nothing() {
    let front = Front::with_limits(Limits { connections: 20, ..Limits::default() }).await;
    let mut reader = front.v5("reader");
    reader.subscribe5("#", 0);
    let mut writer = front.v5("writer");

    // A topic whose first letter has two bytes.
    writer.send(&publish5(1, "émission/t", 1, &[], b"1"));
    assert_eq!(writer.packet(), [0x40, 2, 0, 1]);
    assert_eq!(payload_of(&reader.packet()), b"1");

    // A session that outlives its connection leaves a shared subscription with an unacknowledged message.
    let (mut sharer, _) = front.v5_with("sharer", 0, KEPT);
    assert_eq!(sharer.subscribe5("$share/g/s", 1), 0x9E);
    let mut sharer4 = Client::open(front.addr);
    sharer4.send(&connect(4, "sharer4", 0, 60, &[]));
    sharer4.packet();
    let mut body = vec![0, 9];
    string(&mut body, b"$share/g/s");
    body.push(1);
    sharer4.send(&mqtt_support::packet(0x82, &body));
    assert_eq!(sharer4.packet(), [0x90, 3, 0, 9, 0x80]);
    drop((sharer, sharer4));
    // And one that does not, does so.
    let mut member = front.v5("member");
    assert_eq!(member.subscribe5("$share/g/s", 1), 1);
    front.downlink.publish("s", "2", false, 1).unwrap();
    assert_eq!(payload_of(&member.packet()), b"2");
    assert_eq!(payload_of(&reader.packet()), b"2");
    drop(member);

    // Client identifiers with letters that mean something to the router, twice.
    for id in ["a/b", "$x", "a+b", "#", "a/b"] {
        let mut client = front.v5(id);
        client.subscribe5("x", 0);
    }

    // More connections than there may be, again and again.
    let crowd: Vec<_> = (0..40).map(|_| Client::open(front.addr)).collect();
    drop(crowd);

    // Properties for a 3.1.1 reader; AUTH.
    let mut old = Client::open(front.addr);
    eventually("there is room again", || {
        old = Client::open(front.addr);
        // Who finds no room is told so, in a CONNACK too.
        old.try_send(&connect(4, "old", 2, 60, &[]))
            && old.packet_within(Duration::from_secs(10)).is_some_and(|answer| answer == [0x20, 2, 0, 0])
    });
    old.subscribe4("down/p");
    writer.send(&publish5(1, "down/p", 2, b"\x03\0\x01t", b"3"));
    writer.packet();
    assert_eq!(payload_of(&old.packet()), b"3");
    assert_eq!(payload_of(&reader.packet()), b"3");
    writer.send(&[0xF0, 2, 0x18, 0]);
    assert_eq!(writer.rest()[2], 0x82);

    // A connection that says nothing holds up nobody.
    let _silent = Client::open(front.addr);
    front.assert_alive();
    assert_eq!(front.counters.snapshot().bus_renewals, 0, "the router lived through all of it");
}
