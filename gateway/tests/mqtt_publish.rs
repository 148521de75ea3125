//! Publishing over real sockets: nothing is acknowledged before the commit, and everything that goes wrong has a code.

mod mqtt_support;

use headwater::ingest::IngestError;
use headwater::mqtt::{Limits, Reason};
use mqtt_support::{Front, eventually, publish, publish4, publish5};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn no_puback_before_the_commit_in_either_version() {
    let front = Front::start().await;
    front.storage.hold();
    let (mut v4, mut v5) = (front.v4("four"), front.v5("five"));
    v4.send(&publish4(1, "a", 1, b"one"));
    v5.send(&[publish5(1, "b", 2, &[], b"two"), publish5(2, "b", 3, &[], b"three")].concat());
    front.storage.await_stored(3);
    v4.assert_silent();
    v5.assert_silent();
    front.storage.release_all();
    assert_eq!(v4.packet(), [0x40, 2, 0, 1]);
    assert_eq!(v5.packet(), [0x40, 2, 0, 2]);
    assert_eq!(v5.packet(), [0x50, 2, 0, 3]);
    assert!(front.storage.stored().iter().any(|stored| stored.client == "four" && stored.topic == "a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_read_becomes_one_commit_and_acknowledgements_keep_their_order() {
    let front = Front::start().await;
    front.storage.hold();
    let mut client = front.v4("c");
    let burst: Vec<u8> = (1..=100).flat_map(|id| publish4(1, "a", id, b"x")).collect();
    client.send(&burst);
    front.storage.await_stored(100);
    assert_eq!(front.storage.batches(), 1);
    front.storage.release();
    for id in 1..=100_u8 {
        assert_eq!(client.packet(), [0x40, 2, 0, id]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn qos_0_is_stored_without_an_answer() {
    let front = Front::start().await;
    let mut client = front.v4("c");
    client.send(&publish4(0, "a", 0, b"x"));
    front.storage.await_stored(1);
    client.send(&[0xC0, 0]);
    assert_eq!(client.packet(), [0xD0, 0]);
    assert_eq!(front.counters.snapshot().publishes_qos0, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn qos_2_is_stored_once() {
    let front = Front::start().await;
    let mut client = front.v4("c");
    client.send(&publish4(2, "a", 7, b"x"));
    assert_eq!(client.packet(), [0x50, 2, 0, 7]);
    client.send(&publish(4, 0b1100, "a", 7, &[], b"x"));
    assert_eq!(client.packet(), [0x50, 2, 0, 7]);
    client.send(&[0x62, 2, 0, 7]);
    assert_eq!(client.packet(), [0x70, 2, 0, 7]);
    assert_eq!(front.storage.stored().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn verdicts_reach_mqtt_5_publishers_as_codes_and_3_1_1_as_the_end() {
    let front = Front::start().await;
    let mut client = front.v5("c");
    client.send(&publish5(1, "nowhere/x", 1, &[], b"x"));
    assert_eq!(client.packet(), [0x40, 3, 0, 1, 0x10]);
    client.send(&publish5(2, "bad/x", 2, &[], b"x"));
    let pubrec = client.packet();
    assert_eq!((pubrec[0], &pubrec[2..5]), (0x50, &[0, 2, 0x99][..]));
    let mut client = front.v4("d");
    client.send(&[publish4(1, "nowhere/x", 1, b"x"), publish4(1, "bad/x", 2, b"x")].concat());
    assert_eq!(client.packet(), [0x40, 2, 0, 1]);
    assert!(
        client.rest().is_empty(),
        "3.1.1 has no word for a rejection: the connection ends unacknowledged"
    );
    let counters = front.counters.snapshot();
    assert_eq!((counters.unrouted, counters.rejected), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn properties_and_aliases_reach_storage() {
    let front = Front::start().await;
    let mut client = front.v5("c");
    let named = b"\x23\0\x01\x03\0\x04json\x26\0\x01k\0\x01v";
    client.send(&publish5(1, "a/b", 1, named, b"x"));
    client.send(&publish5(1, "", 2, b"\x23\0\x01", b"y"));
    assert_eq!((client.packet()[3], client.packet()[3]), (1, 2));
    let stored = front.storage.stored();
    assert_eq!((stored[0].topic.as_str(), stored[1].topic.as_str()), ("a/b", "a/b"));
    assert_eq!(stored[0].content_type.as_deref(), Some("json"));
    assert_eq!(stored[0].user, [("k".to_string(), "v".to_string())]);
    client.send(&publish5(1, "", 3, b"\x23\0\x02", b"y"));
    assert_eq!(client.rest()[2], 0x82);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_told_to_mqtt_5_and_holds_3_1_1_back() {
    let front = Front::start().await;
    let (mut v4, mut v5) = (front.v4("four"), front.v5("five"));
    front.storage.refuse(Some(IngestError::Full));
    v5.send(&publish5(1, "a", 1, &[], b"x"));
    assert_eq!(v5.packet(), [0x40, 3, 0, 1, 0x97]);
    // Sent without waiting, as any client does that keeps a window: it must not overtake the one that was refused.
    v5.send(&publish5(1, "a", 2, &[], b"y"));
    v4.send(&publish4(1, "a", 1, b"x"));
    v4.assert_silent();
    assert!(front.storage.stored().is_empty());
    front.storage.refuse(None);
    assert_eq!(v4.packet(), [0x40, 2, 0, 1], "taken once there is room, without being sent again");
    let goodbye = v5.rest();
    assert_eq!((goodbye[0], goodbye[2]), (0xe0, 0x97), "and no word about the second publish");
    let mut v5 = front.v5("five");
    v5.send(&publish5(1, "a", 1, &[], b"x"));
    assert_eq!(v5.packet(), [0x40, 2, 0, 1]);
    assert_eq!(front.storage.stored().len(), 2, "one of each client");
    let counters = front.counters.snapshot();
    assert!(counters.full_waits >= 2);
    assert_eq!(counters.refused, [(Reason::QuotaExceeded, 2)], "the publish and the connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_stays_full_ends_the_connection() {
    let front =
        Front::with_limits(Limits { stall_timeout: Duration::from_millis(100), ..Limits::default() }).await;
    front.storage.refuse(Some(IngestError::Full));
    let mut client = front.v4("four");
    client.send(&publish4(1, "a", 1, b"x"));
    assert_eq!(client.rest(), b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn busy_storage_is_asked_again() {
    let front = Front::start().await;
    front.storage.refuse(Some(IngestError::Busy));
    let mut client = front.v5("c");
    client.send(&publish5(1, "a", 1, &[], b"x"));
    client.assert_silent();
    assert!(front.counters.snapshot().busy_waits > 1);
    front.storage.refuse(None);
    assert_eq!(client.packet(), [0x40, 2, 0, 1]);
    assert_eq!(front.storage.stored().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_storage_ends_the_connection() {
    let front = Front::start().await;
    front.storage.refuse(Some(IngestError::Failed("EIO".into())));
    let (mut v4, mut v5) = (front.v4("four"), front.v5("five"));
    v4.send(&publish4(1, "a", 1, b"x"));
    v5.send(&publish5(1, "a", 1, &[], b"x"));
    assert_eq!(v4.rest(), b"");
    assert_eq!(v5.rest()[2], 0x88);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_3_1_1_client_beyond_the_window_is_read_no_further() {
    let front = Front::with_limits(Limits { inflight: 10, ..Limits::default() }).await;
    front.storage.hold();
    let mut client = front.v4("c");
    client.send(&(1..=25).flat_map(|id| publish4(1, "a", id, b"x")).collect::<Vec<u8>>());
    front.storage.await_stored(10);
    client.assert_silent();
    assert_eq!(front.storage.stored().len(), 10);
    front.storage.release_all();
    for id in 1..=25_u8 {
        assert_eq!(client.packet(), [0x40, 2, 0, id]);
    }
    assert_eq!(front.storage.batches(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_mqtt_5_client_beyond_the_window_is_told_so() {
    let front = Front::with_limits(Limits { inflight: 10, ..Limits::default() }).await;
    let (mut client, connack) = front.v5_with("c", 2, &[]);
    assert!(connack.windows(3).any(|property| property == [0x21, 0, 10]), "receive maximum in CONNACK");
    front.storage.hold();
    client.send(&(1..=25).flat_map(|id| publish5(1, "a", id, &[], b"x")).collect::<Vec<u8>>());
    front.storage.await_stored(10);
    front.storage.release_all();
    let rest = client.rest();
    assert!(rest.windows(4).any(|bytes| bytes[0] == 0xE0 && bytes[2] == 0x93), "{rest:x?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn large_packets_arrive_whole_and_too_large_ones_are_refused() {
    let front = Front::with_limits(Limits { packet_bytes: 300_000, ..Limits::default() }).await;
    let (mut client, connack) = front.v5_with("c", 2, &[]);
    assert!(
        connack.windows(5).any(|property| property == [0x27, 0, 4, 0x93, 0xE0]),
        "maximum packet size in CONNACK"
    );
    let large = vec![7; 299_000];
    client.send(&publish5(1, "a", 1, &[], &large));
    assert_eq!(client.packet(), [0x40, 2, 0, 1]);
    assert_eq!(front.storage.stored()[0].payload, large);
    client.try_send(&publish5(1, "a", 2, &[], &[7; 300_000]));
    assert_eq!(client.rest()[2], 0x95);
}

/// Many large packets at once need more memory than the budget: they take turns, and all arrive.
#[tokio::test(flavor = "multi_thread")]
async fn large_packets_take_turns_within_the_budget() {
    let limits = Limits { packet_bytes: 500_000, buffered_bytes: 600_000, ..Limits::default() };
    let front = Front::with_limits(limits).await;
    let clients: Vec<_> = (0..6)
        .map(|number| {
            let mut client = front.v4(&format!("c{number}"));
            std::thread::spawn(move || {
                client.send(&publish4(1, "a", 1, &[7; 400_000]));
                client.packet()
            })
        })
        .collect();
    for client in clients {
        assert_eq!(client.join().unwrap(), [0x40, 2, 0, 1]);
    }
    assert_eq!(front.storage.stored().len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_cut_anywhere_arrive_whole() {
    let front = Front::start().await;
    let mut client = front.v4("c");
    let bytes: Vec<u8> = (1..=4).flat_map(|id| publish4(1, "a/b", id, b"payload")).collect();
    for byte in bytes.chunks(1) {
        client.send(byte);
    }
    for id in 1..=4_u8 {
        assert_eq!(client.packet(), [0x40, 2, 0, id]);
    }
    assert!(front.storage.stored().iter().all(|stored| stored.payload == b"payload"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_a_bad_packet_is_stored_and_acknowledged() {
    let front = Front::start().await;
    let mut client = front.v5("c");
    client.send(&[publish5(1, "a", 1, &[], b"x"), publish5(1, "a/#", 2, &[], b"x")].concat());
    assert_eq!(client.packet(), [0x40, 2, 0, 1]);
    assert_eq!(client.packet()[2], 0x90);
    eventually("the reason is counted", || {
        front.counters.snapshot().refused == [(Reason::TopicNameInvalid, 1)]
    });
}
