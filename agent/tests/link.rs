//! Devices on a TCP link of a real agent with a real spool.

mod support;

use headwater_agent::Agent;
use headwater_telemetry::{Down, Log, LogLevel, Up, Uptime};
use std::time::Duration;
use support::broker::Broker;
use support::device::{Device, batch, frame};
use support::{config, until};

/// Long enough for an ack that should not come to come.
const A_WHILE: Duration = Duration::from_millis(150);

#[tokio::test]
async fn a_device_is_acked_only_after_the_sync() {
    // The journal waits 900 ms for more before it syncs, and syncs what lies there once a second: at most four times in
    // any second. Six batches, each sent after the ack of the one before, need six syncs. Without waiting for them the
    // acks would be there in milliseconds.
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    let mut config = config(dir.path(), broker.addr);
    config.spool.linger = Duration::from_millis(900);
    let agent = Agent::start(config).await.unwrap();
    let mut device = Device::connect(agent.link_addrs()[0], "d", 1).await;
    let started = tokio::time::Instant::now();
    for round in 0..6 {
        device.send_batch(round * 5, 5).await;
        device.acked_through(round * 5 + 4).await;
    }
    assert!(started.elapsed() >= Duration::from_secs(1), "six acks after {:?}", started.elapsed());
    agent.stop().await;
}

#[tokio::test]
async fn repeats_are_acked_and_not_spooled_even_after_a_restart() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    let agent = Agent::start(config(dir.path(), broker.addr)).await.unwrap();
    let mut device = Device::connect(agent.link_addrs()[0], "d", 1).await;
    for first in [0, 5] {
        device.send_batch(first, 5).await;
        device.acked_through(first + 4).await;
    }
    device.send_batch(5, 5).await;
    device.acked_through(9).await;
    assert_eq!((agent.counters().batches_spooled.get(), agent.counters().batches_repeated.get()), (2, 1));
    agent.stop().await;

    let agent = Agent::start(config(dir.path(), broker.addr)).await.unwrap();
    let mut device = Device::connect(agent.link_addrs()[0], "d", 1).await;
    device.send_batch(5, 5).await;
    device.acked_through(9).await;
    device.send_batch(10, 5).await;
    device.acked_through(14).await;
    assert_eq!((agent.counters().batches_spooled.get(), agent.counters().batches_repeated.get()), (1, 1));
    assert_eq!(agent.counters().births_spooled.get(), 0, "the same hello is no news");
    agent.stop().await;
}

#[tokio::test]
async fn damaged_frames_are_skipped_and_nothing_after_a_hole_is_acked() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    let agent = Agent::start(config(dir.path(), broker.addr)).await.unwrap();
    let mut device = Device::connect(agent.link_addrs()[0], "d", 1).await;
    device.send_batch(0, 5).await;
    device.acked_through(4).await;
    let mut damaged = frame(&Up::Batch(batch("d", 1, 5, 5)));
    damaged[7] ^= 1;
    device.send_bytes(&damaged).await;
    device.send_batch(10, 5).await;
    assert_eq!(device.next_within(A_WHILE).await, None, "acking 14 would make the device drop 5 to 9");
    device.send_batch(5, 5).await;
    device.acked_through(9).await;
    device.send_batch(10, 5).await;
    device.acked_through(14).await;
    let counters = agent.counters();
    assert_eq!((counters.frames_bad.get(), counters.batches_refused.get(), counters.holes.get()), (1, 1, 0));
    agent.stop().await;
}

#[tokio::test]
async fn a_full_spool_stops_reading_and_goes_on_when_there_is_room() {
    // The broker does not answer, so nothing can be trimmed; then it does.
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    broker.hold();
    let mut config = config(dir.path(), broker.addr);
    config.spool.size_bytes_max = 512 << 10;
    config.spool.segment_bytes = 64 << 10;
    let agent = Agent::start(config).await.unwrap();
    let mut device = Device::connect(agent.link_addrs()[0], "d", 1).await;
    let (mut sent, mut acked) = (0, 0);
    loop {
        if acked == sent {
            device.send_batch(sent, 20).await;
            sent += 20;
        }
        // The journal may be full for a moment and find room by itself; it is full for good when nothing comes. A machine
        // that is busy elsewhere is slow and not full.
        match device.next_within(Duration::from_secs(2)).await {
            Some(Down::Ack { through, .. }) => acked = through.0 + 1,
            Some(other) => panic!("{other:?}"),
            None if agent.counters().spool_full.get() == 1 => break,
            None => {}
        }
        assert!(sent < 1_000_000, "the spool never becomes full");
    }
    assert_eq!(agent.counters().spool_full.get(), 1);
    assert_eq!(device.next_within(A_WHILE).await, None, "the batch that did not fit is not acked");
    assert_eq!(agent.counters().batches_spooled.get() * 20, u64::from(acked));
    assert!(acked < sent);
    broker.release();
    device.acked_through(sent - 1).await;
    until("everything is delivered", || agent.ledger().waiting == 0).await;
    assert!(agent.ledger().balances(), "{:?}", agent.ledger());
    assert_eq!(agent.counters().spool_full.get(), 0);
    agent.stop().await;
}

#[tokio::test]
async fn many_devices_share_a_sync_and_all_are_acked() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    let agent = Agent::start(config(dir.path(), broker.addr)).await.unwrap();
    let addr = agent.link_addrs()[0];
    let devices = (0..30).map(|index| async move {
        let mut device = Device::connect(addr, &format!("d{index}"), 1).await;
        for round in 0..10 {
            device.send_batch(round * 5, 5).await;
            device.acked_through(round * 5 + 4).await;
        }
    });
    let mut running = tokio::task::JoinSet::new();
    devices.for_each(|device| {
        running.spawn(device);
    });
    while let Some(done) = running.join_next().await {
        done.unwrap();
    }
    assert_eq!(agent.counters().batches_spooled.get(), 300);
    until("everything is delivered", || agent.ledger().waiting == 0).await;
    assert!(agent.ledger().balances());
    agent.stop().await;
    let batches = broker.seen().iter().filter(|seen| seen.topic.ends_with("/batch")).count();
    assert_eq!(batches, 300);
}

#[tokio::test]
async fn births_and_log_lines_travel_in_their_order() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    let agent = Agent::start(config(dir.path(), broker.addr)).await.unwrap();
    until("connected", || agent.counters().uplink_connected.get() == 1).await;
    let mut device = Device::connect(agent.link_addrs()[0], "d", 1).await;
    device
        .send(&Up::Log(Log::new(headwater_telemetry::BootId(1), Uptime(1), LogLevel::Warn, "low battery")))
        .await;
    device.send_batch(0, 5).await;
    device.acked_through(4).await;
    until("everything is delivered", || agent.ledger().waiting == 0 && agent.counters().delivered.get() == 3)
        .await;
    let topics: Vec<(String, bool)> =
        broker.seen().into_iter().map(|seen| (seen.topic, seen.retain)).collect();
    let expected = [("headwater/d/birth", true), ("headwater/d/log", false), ("headwater/d/batch", false)];
    assert_eq!(topics, expected.map(|(topic, retain)| (topic.to_owned(), retain)));
    agent.stop().await;
}

#[tokio::test]
async fn a_silent_link_is_closed() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    let mut config = config(dir.path(), broker.addr);
    for link in &mut config.links {
        if let headwater_agent::LinkConfig::Tcp { idle, .. } = link {
            *idle = Duration::from_millis(100);
        }
    }
    let agent = Agent::start(config).await.unwrap();
    let mut device = Device::connect(agent.link_addrs()[0], "d", 1).await;
    assert_eq!(device.next().await, None);
    agent.stop().await;
}
