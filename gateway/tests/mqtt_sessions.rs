//! Connections and sessions over real sockets: who gets in, who has to leave, and what stays.

mod mqtt_support;

use headwater::mqtt::{Limits, TopicFilter, User, Users};
use mqtt_support::{Client, Front, connect, connect_with, eventually, publish4, publish5, string};
use std::sync::Arc;
use std::time::{Duration, Instant};

const NORMAL_DISCONNECT: &[u8] = &[0xE0, 0];

fn will(topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut rest = Vec::new();
    string(&mut rest, topic.as_bytes());
    string(&mut rest, payload);
    rest
}

/// The same for MQTT 5, with a will delay.
fn will5(delay_s: u8, topic: &str) -> Vec<u8> {
    [&[5, 0x18, 0, 0, 0, delay_s][..], &will(topic, b"gone")].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_connection_takes_over() {
    let front = Front::start().await;
    let (mut old4, mut old5) = (front.v4("four"), front.v5("five"));
    let (_new4, _new5) = (front.v4("four"), front.v5("five"));
    assert_eq!(old4.rest(), b"");
    assert_eq!(old5.rest()[2], 0x8E);
    eventually("both are counted", || front.counters.snapshot().takeovers == 2);
    front.assert_alive();
}

#[tokio::test(flavor = "multi_thread")]
async fn many_connections_of_one_client_leave_exactly_one() {
    let front = Front::start().await;
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let addr = front.addr;
            std::thread::spawn(move || {
                let mut client = Client::open(addr);
                client.send(&connect(4, "same", 2, 60, &[]));
                let connack = client.packet_within(Duration::from_secs(8));
                (client, connack)
            })
        })
        .collect();
    let clients: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    assert!(clients.iter().any(|(_, connack)| connack.as_deref() == Some(&[0x20, 2, 0, 0])));
    let counters = &front.counters;
    eventually("one is left", || {
        let snapshot = counters.snapshot();
        snapshot.clients_connected - snapshot.clients_disconnected == 1
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn connects_are_answered_by_the_book() {
    let front = Front::start().await;
    assert_eq!(front.answer(&connect(4, "", 0, 60, &[])), [0x20, 2, 0, 2]);
    assert_eq!(front.answer(&connect(3, "c", 2, 60, &[])), [0x20, 2, 0, 1]);
    assert_eq!(front.answer(&connect(5, "c", 2, 60, b"\x15\0\x01x")), [0x20, 3, 0, 0x8C, 0]);
    assert_eq!(front.answer(&connect(5, "c", 3, 60, &[])), [0x20, 3, 0, 0x81, 0]);
    // Anything else first is not MQTT and gets no answer.
    assert_eq!(front.answer(b"GET / HTTP/1.1\r\n\r\n"), b"");
    assert_eq!(front.answer(&publish4(0, "a", 0, b"x")), b"");
    // A second CONNECT is an error.
    let mut client = front.v5("c");
    client.send(&connect(5, "c", 2, 60, &[]));
    assert_eq!(client.rest()[2], 0x82);
    // An identifier is given to those who have none.
    let (_client, connack) = front.v5_with("", 2, &[]);
    assert!(connack.windows(10).any(|bytes| bytes == b"headwater-"), "{connack:x?}");
    let _client = front.v4("");
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_ended() {
    let limits = Limits {
        connect_timeout: Duration::from_millis(200),
        packet_timeout: Duration::from_millis(300),
        ..Limits::default()
    };
    let front = Front::with_limits(limits).await;
    let began = Instant::now();
    assert_eq!(front.answer(&[]), b"", "no CONNECT");
    assert_eq!(front.answer(&[0x10]), b"", "half a CONNECT");
    assert!(began.elapsed() < Duration::from_secs(3));
    // Keep alive 1 s: over after 1.5 s.
    let mut client = Client::open(front.addr);
    client.send(&connect(5, "c", 2, 1, &[]));
    client.packet();
    let began = Instant::now();
    assert_eq!(client.rest()[2], 0x8D);
    assert!(began.elapsed() >= Duration::from_millis(1400));
    // A packet that does not end.
    let mut client = front.v5("slow");
    client.send(&publish5(1, "a", 1, &[], b"payload")[..5]);
    assert_eq!(client.rest()[2], 0x82);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_on_connections_hold_and_leaving_makes_room() {
    let front = Front::with_limits(Limits { connections: 3, ..Limits::default() }).await;
    let mut clients: Vec<_> = (0..3).map(|number| front.v4(&format!("c{number}"))).collect();
    for _ in 0..5 {
        assert_eq!(front.answer(&[]), b"");
    }
    clients.pop();
    eventually("there is room again", || {
        let mut client = Client::open(front.addr);
        client.try_send(&connect(4, "new", 2, 60, &[]));
        // Who finds no room is told so, in a CONNACK too.
        client.packet_within(Duration::from_secs(10)).is_some_and(|answer| answer == [0x20, 2, 0, 0])
    });
    let front = Front::with_limits(Limits { connects_per_second_per_ip: 5, ..Limits::default() }).await;
    let refused = (0..20).filter(|_| front.answer(&[0, 0]).is_empty()).count();
    assert_eq!(refused, 20);
    assert!(
        front.counters.snapshot().refused.iter().any(|(reason, count)| reason.byte() == 0x9F && *count >= 5)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_refused_at_the_door_is_told_why_in_the_words_of_its_version() {
    let (three, five) = (connect(4, "c", 2, 60, &[]), connect(5, "c", 2, 60, &[]));
    for (limits, reason) in [
        (Limits { connections: 1, ..Limits::default() }, 0x89),
        (Limits { connections_per_ip: 1, ..Limits::default() }, 0x97),
    ] {
        let front = Front::with_limits(limits).await;
        let _inside = front.v4("inside");
        assert_eq!(front.answer(&three), [0x20, 2, 0, 3]);
        assert_eq!(front.answer(&five), [0x20, 3, 0, reason, 0]);
        // What is no CONNECT gets no answer, and silence ends.
        assert_eq!(front.answer(b"GET / HTTP/1.1\r\n\r\n"), b"");
        assert_eq!(front.answer(&[]), b"");
    }
    for limits in [
        Limits { connects_per_second: 1, ..Limits::default() },
        Limits { connects_per_second_per_ip: 1, ..Limits::default() },
    ] {
        let front = Front::with_limits(limits).await;
        // One of them in a second goes on to be judged by what it says, which is wrong too.
        let wrong = connect(5, "c", 2, 60, b"\x15\0\x01x");
        let answers: Vec<_> = (0..20).map(|_| front.answer(&wrong)).collect();
        assert!(answers.contains(&vec![0x20, 3, 0, 0x9F, 0]), "{answers:x?}");
        assert!(answers.iter().all(|answer| [0x9F, 0x8C].contains(&answer[3])), "{answers:x?}");
        let refused = front.counters.snapshot();
        let at_the_door = refused.connections_accepted - refused.connections_admitted;
        assert!(refused.refused.iter().any(|(reason, count)| reason.byte() == 0x9F && *count == at_the_door));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn users_get_in_with_their_password_and_reach_their_topics() {
    let filter = |text| TopicFilter::parse(text).unwrap();
    let users = Users::new(vec![User {
        name: "pump".into(),
        password: b"secret".to_vec(),
        publish: vec![filter("pumps/#")],
        subscribe: vec![filter("commands/pump")],
    }]);
    let front = Front::with(Limits::default(), Arc::new(users)).await;
    let credentials = |name: &[u8], password: &[u8]| {
        let mut rest = Vec::new();
        string(&mut rest, name);
        string(&mut rest, password);
        rest
    };
    let wrong = credentials(b"pump", b"wrong");
    assert_eq!(front.answer(&connect_with(4, "c", 0xC2, 60, &[], &wrong)), [0x20, 2, 0, 4]);
    assert_eq!(front.answer(&connect_with(5, "c", 0xC2, 60, &[], &wrong)), [0x20, 3, 0, 0x86, 0]);
    assert_eq!(front.answer(&connect(4, "c", 2, 60, &[])), [0x20, 2, 0, 4]);
    let right = credentials(b"pump", b"secret");
    let with_will = [will("fans/1", b"x"), right.clone()].concat();
    assert_eq!(front.answer(&connect_with(4, "c", 0xC6, 60, &[], &with_will)), [0x20, 2, 0, 5]);
    let mut v5 = Client::open(front.addr);
    v5.send(&connect_with(5, "five", 0xC2, 60, &[], &right));
    assert_eq!(v5.packet()[3], 0);
    v5.send(&publish5(1, "fans/1", 1, &[], b"x"));
    assert_eq!(v5.packet(), [0x40, 3, 0, 1, 0x87]);
    v5.send(&publish5(1, "pumps/1", 2, &[], b"x"));
    assert_eq!(v5.packet(), [0x40, 2, 0, 2]);
    assert_eq!(v5.subscribe5("#", 0), 0x87);
    assert_eq!(v5.subscribe5("commands/pump", 0), 0);
    let mut v4 = Client::open(front.addr);
    v4.send(&connect_with(4, "four", 0xC2, 60, &[], &right));
    v4.packet();
    v4.send(&publish4(1, "fans/1", 1, b"x"));
    assert_eq!(v4.rest(), b"", "3.1.1 has no words for it");
    assert_eq!(front.storage.topics(), ["pumps/1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn wills_are_published_when_a_client_is_lost_and_not_when_it_leaves() {
    let front = Front::start().await;
    let mut client = Client::open(front.addr);
    client.send(&connect_with(4, "polite", 6, 60, &[], &will("wills/polite", b"x")));
    client.packet();
    client.send(NORMAL_DISCONNECT);
    assert_eq!(client.rest(), b"");
    let mut client = Client::open(front.addr);
    client.send(&connect_with(4, "lost", 6, 60, &[], &will("wills/lost", b"x")));
    client.packet();
    drop(client);
    let stored = front.storage.await_stored(1);
    assert_eq!((stored[0].topic.as_str(), stored[0].client.as_str()), ("wills/lost", "lost"));
    // MQTT 5: a leave that keeps the will, and a takeover.
    let mut client = Client::open(front.addr);
    client.send(&connect_with(5, "five", 6, 60, &[], &will5(0, "wills/five")));
    client.packet();
    client.send(&[0xE0, 1, 4]);
    front.storage.await_stored(2);
    let mut client = Client::open(front.addr);
    client.send(&connect_with(5, "taken", 6, 60, &[], &will5(0, "wills/taken")));
    client.packet();
    let _again = front.v5("taken");
    front.storage.await_stored(3);
    assert_eq!(front.storage.topics(), ["wills/lost", "wills/five", "wills/taken"]);
    assert_eq!(front.counters.snapshot().wills, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delayed_will_waits_for_the_client_to_come_back() {
    let front = Front::start().await;
    let expiry = b"\x11\0\0\0\x3c";
    for id in ["returns", "stays-away"] {
        let mut client = Client::open(front.addr);
        client.send(&connect_with(5, id, 4, 60, expiry, &will5(1, &format!("wills/{id}"))));
        client.packet();
    }
    eventually("both sessions are kept", || front.counters.snapshot().sessions_kept == 2);
    let (_client, connack) = front.v5_with("returns", 0, expiry);
    assert_eq!(connack[2], 1, "session present");
    front.storage.await_stored(1);
    std::thread::sleep(Duration::from_millis(1200));
    assert_eq!(front.storage.topics(), ["wills/stays-away"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_resumed_expired_and_discarded() {
    let front = Front::start().await;
    let expiry = b"\x11\0\0\0\x01";
    let (client, connack) = front.v5_with("c", 0, expiry);
    assert_eq!(connack[2], 0);
    drop(client);
    eventually("kept", || front.counters.snapshot().sessions_kept == 1);
    let (client, connack) = front.v5_with("c", 0, expiry);
    assert_eq!(connack[2], 1);
    drop(client);
    eventually("kept", || front.counters.snapshot().sessions_kept == 2);
    eventually("expired", || front.counters.snapshot().sessions_released == 2);
    let (client, connack) = front.v5_with("c", 0, expiry);
    assert_eq!(connack[2], 0);
    drop(client);
    eventually("kept", || front.counters.snapshot().sessions_kept == 3);
    let (_client, connack) = front.v5_with("c", 2, expiry);
    assert_eq!(connack[2], 0, "clean start discards");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_beyond_the_limit_are_not_kept() {
    let front = Front::with_limits(Limits { sessions_kept: 1, ..Limits::default() }).await;
    for id in ["a", "b"] {
        drop(front.v5_with(id, 0, b"\x11\0\0\0\x3c").0);
    }
    eventually("one is refused", || front.counters.snapshot().sessions_over_limit == 1);
    front.assert_alive();
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_waits_for_commits_and_says_goodbye() {
    let front = Front::start().await;
    let (mut idle4, mut idle5, mut waiting) = (front.v4("four"), front.v5("five"), front.v5("waiting"));
    front.storage.hold();
    waiting.send(&publish5(1, "a", 1, &[], b"x"));
    front.storage.await_stored(1);
    let (addr, storage) = (front.addr, front.storage.clone());
    let stopping = front.stop();
    assert_eq!(idle5.rest()[2], 0x8B);
    assert_eq!(idle4.rest(), b"");
    assert!(std::net::TcpStream::connect(addr).is_err(), "nobody is accepted any more");
    assert!(!stopping.is_finished());
    storage.release_all();
    assert_eq!(waiting.packet(), [0x40, 2, 0, 1]);
    assert_eq!(waiting.rest()[2], 0x8B);
    let snapshot = tokio::time::timeout(Duration::from_secs(5), stopping).await.unwrap().unwrap();
    assert_eq!((snapshot.acks, snapshot.connections_accepted, snapshot.connections_closed), (1, 3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_gives_up_on_commits_that_do_not_come() {
    let front =
        Front::with_limits(Limits { drain_timeout: Duration::from_millis(200), ..Limits::default() }).await;
    front.storage.hold();
    let mut client = front.v4("c");
    client.send(&publish4(1, "a", 1, b"x"));
    front.storage.await_stored(1);
    let began = Instant::now();
    front.stop().await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(3));
}
