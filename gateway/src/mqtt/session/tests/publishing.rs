//! What a client publishes: windows, verdicts, acknowledgements, QoS 2.

use super::*;

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
fn topic_aliases_are_resolved_and_bounded() {
    let mut client = session(V5);
    let bytes = b"\x30\x07\0\x01a\x03\x23\0\x01\x30\x06\0\0\x03\x23\0\x01\x30\x07\0\x01b\x03\x23\0\x01\x30\x06\0\0\x03\x23\0\x01";
    let batch = client.feed(bytes).unwrap();
    assert_eq!(batch.publishes.iter().map(Pending::topic).collect::<Vec<_>>(), ["a", "a", "b", "b"]);
    drop(batch);
    assert!(matches!(client.feed(b"\x30\x06\0\0\x03\x23\0\x02"), Err(End::Close(Reason::ProtocolError, _))));
    assert!(matches!(
        client.feed(b"\x30\x07\0\x01a\x03\x23\0\x11"),
        Err(End::Close(Reason::TopicAliasInvalid, _))
    ));
}

#[test]
fn text_that_is_not_utf8_is_refused_without_storing_it() {
    let mut client = session(V5);
    let out = client.commit(b"\x32\x09\0\x01a\0\x01\x02\x01\x01\xff", &[]);
    assert_eq!(out, b"\x40\x03\0\x01\x99");
}
