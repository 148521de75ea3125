//! The uplink with servers that are silent, refuse, or say what nobody understands.

#![allow(clippy::unwrap_used, reason = "a panic is the report")]

mod peer;

use headwater_device::LinkDown;
use headwater_device::mqtt::limits::{ANSWER_TIMEOUT_MS, KEEP_ALIVE_SECS};
use headwater_device::mqtt::{Buffers, run, serve};
use headwater_telemetry::{Command, CommandId, Down, Order};
use peer::{Dialer, LOGIN, Peer, Said, Uptimes, Watch, Wire, board};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

#[tokio::test(start_paused = true)]
async fn bodies_that_nobody_knows_are_passed_over_and_acknowledged() {
    let watch = Watch::default();
    let board = board(&watch).await;
    let (clock, mut buffers) = (Uptimes::start(), Buffers::new());
    let (near, far) = tokio::io::duplex(64);
    let (mut wire, mut peer) = (Wire::new(near), Peer(far));
    let script = async {
        peer.heard().await;
        peer.connack().await;
        for _ in 0..3 {
            peer.heard().await;
        }
        // A message of a newer gateway, text, nothing at all, another topic; then one that is known.
        for (id, body) in [(10, &b"\xfe\x01\x02"[..]), (11, b"{\"order\":\"reboot\"}"), (12, b"")] {
            peer.publish("headwater/pump-7/command", Some(id), body).await;
            assert_eq!(peer.heard().await, Said::PubAck(id));
        }
        peer.publish("elsewhere", Some(13), b"\x03").await;
        assert_eq!(peer.heard().await, Said::PubAck(13));
        peer.down(&Down::Command(Command { id: CommandId(1), order: Order::Identify }), Some(14)).await;
        assert_eq!(peer.heard().await, Said::PubAck(14));
        assert_eq!(watch.blinks.get(), 1);
    };
    tokio::select! {
        down = serve(&board, &clock, &mut wire, LOGIN, &mut buffers) => panic!("{down}"),
        () = script => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_quiet_device_keeps_its_connection_and_leaves_a_server_that_is_silent() {
    let watch = Watch::default();
    let board = board(&watch).await;
    let (clock, mut buffers, start) = (Uptimes::start(), Buffers::new(), Instant::now());
    let (near, far) = tokio::io::duplex(64);
    let (mut wire, mut peer) = (Wire::new(near), Peer(far));
    let script = async {
        peer.heard().await;
        peer.connack().await;
        for _ in 0..3 {
            if let Said::Publish(_, Some(id), ..) = peer.heard().await {
                peer.puback(id, 0).await;
            }
        }
        peer.say(&[0x90, 4, 0, 1, 0, 1]).await;
        for _ in 0..3 {
            let before = Instant::now();
            assert_eq!(peer.heard().await, Said::Ping);
            assert!(before.elapsed() < Duration::from_secs(KEEP_ALIVE_SECS.into()));
            peer.say(&[0xd0, 0]).await;
        }
        assert_eq!(peer.heard().await, Said::Ping);
        Instant::now()
    };
    let (down, asked) = tokio::join!(serve(&board, &clock, &mut wire, LOGIN, &mut buffers), script);
    assert_eq!(down, LinkDown::Silent);
    assert!(asked.elapsed().as_millis() <= u128::from(ANSWER_TIMEOUT_MS) + 10);
    assert!(start.elapsed() < Duration::from_secs(240));
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_refused_says_why_and_comes_back_less_and_less_often() {
    let watch = Watch::default();
    let board = board(&watch).await;
    let (accepted, mut streams) = mpsc::unbounded_channel();
    let (clock, mut buffers) = (Uptimes::start(), Buffers::new());
    let (mut dial, mut downs) = (Dialer(accepted), Vec::new());
    let refusing = async {
        for _ in 0..12 {
            let mut peer = Peer(streams.recv().await.unwrap());
            peer.heard().await;
            // Bad user name or password.
            peer.say(&[0x20, 3, 0, 0x86, 0]).await;
            assert_eq!(peer.hear().await, None, "it leaves");
        }
    };
    let told = |down| downs.push((down, Instant::now()));
    tokio::select! {
        never = run(&board, &clock, &mut dial, LOGIN, &mut buffers, told) => match never {},
        () = refusing => {}
    }
    assert!(downs.iter().all(|&(down, _)| down == LinkDown::Refused(0x86)), "{downs:?}");
    let waits: Vec<_> = downs.windows(2).map(|pair| pair[1].1 - pair[0].1).collect();
    assert!(waits[0] <= Duration::from_secs(1), "{waits:?}");
    assert!(waits[6..].iter().any(|wait| *wait > Duration::from_secs(20)), "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(90)), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn what_no_server_may_send_ends_the_connection() {
    let connack: &[u8] = &[0x20, 3, 0, 0, 0];
    for wrong in [
        // A packet of 256 MB, lengths without end, QoS 2, a client's packet, a CONNACK without a reason, an empty PUBACK,
        // a SUBACK whose properties are longer than itself.
        &[0x30, 0xff, 0xff, 0xff, 0x7f][..],
        &[0x30, 0xff, 0xff, 0xff, 0xff, 0xff],
        &[0x34, 5, 0, 1, b't', 0, 1],
        &[0x10, 2, 0, 0],
        &[0x20, 1, 0],
        &[0x40, 0],
        &[0x90, 4, 0, 1, 100, 1],
    ] {
        for opening in [&[][..], connack] {
            let watch = Watch::default();
            let board = board(&watch).await;
            let (clock, mut buffers) = (Uptimes::start(), Buffers::new());
            let (near, far) = tokio::io::duplex(1_024);
            let (mut wire, mut peer) = (Wire::new(near), Peer(far));
            peer.say(opening).await;
            peer.say(wrong).await;
            let start = Instant::now();
            let down = serve(&board, &clock, &mut wire, LOGIN, &mut buffers).await;
            assert_eq!(down, LinkDown::Closed, "{wrong:02x?} after {opening:02x?}");
            assert!(start.elapsed() < Duration::from_secs(1), "at once: {wrong:02x?} after {opening:02x?}");
        }
    }
}
