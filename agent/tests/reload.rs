//! An agent that takes up another configuration: links, spool and order stay.

mod support;

use headwater_agent::{Agent, Allow, LinkConfig};
use headwater_telemetry::{Down, Up};
use rumqttc::v5::mqttbytes::v5::PubAckReason;
use std::time::Duration;
use support::broker::Broker;
use support::device::{Device, hello};
use support::{config, until};

/// Long enough for an ack that should not come to come.
const A_WHILE: Duration = Duration::from_millis(150);

#[tokio::test]
async fn devices_are_taken_by_the_list_of_now_and_those_that_stay_notice_nothing() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    let mut config = config(dir.path(), broker.addr);
    let agent = Agent::start(config.clone()).await.unwrap();
    let mut stays = Device::connect(agent.link_addrs()[0], "barn-1", 1).await;
    let mut leaves = Device::connect(agent.link_addrs()[0], "yard-1", 1).await;
    for device in [&mut stays, &mut leaves] {
        device.send_batch(0, 5).await;
        device.acked_through(4).await;
    }
    config.allow = Allow::listed(["barn-*"]).unwrap();
    assert_eq!(agent.reload(&config).changed, ["devices"]);
    tokio::time::sleep(A_WHILE).await;
    leaves.send_batch(5, 5).await;
    assert_eq!(leaves.next_within(A_WHILE).await, None, "it keeps what it has");
    stays.send_batch(5, 5).await;
    stays.acked_through(9).await;

    config.allow = Allow::default();
    assert_eq!(agent.reload(&config).changed, ["devices"]);
    tokio::time::sleep(A_WHILE).await;
    leaves.send_batch(5, 5).await;
    assert_eq!(leaves.next().await, Some(Down::Identify), "it is asked again who it is");
    leaves.send(&Up::Hello(hello("yard-1", 1, "°C"))).await;
    leaves.send_batch(5, 5).await;
    leaves.acked_through(9).await;
    let counters = agent.counters();
    assert_eq!((counters.links_opened.get(), counters.links_closed.get()), (2, 0), "no link ended");
    until("everything is up", || acked(&broker).len() == 4).await;
    agent.stop().await;
}

/// Places of the batches that a broker acknowledged.
fn acked(broker: &Broker) -> Vec<u32> {
    let is_acked = |topic: &str, reason: Option<PubAckReason>| {
        topic.ends_with("/batch") && reason == Some(PubAckReason::Success)
    };
    let first = |payload: &[u8]| match headwater_telemetry::decode_body::<Up>(payload) {
        Ok(Up::Batch(batch)) => batch.first.0,
        other => panic!("no batch: {other:?}"),
    };
    broker
        .seen()
        .iter()
        .filter(|seen| is_acked(&seen.topic, seen.reason))
        .map(|seen| first(&seen.payload))
        .collect()
}

#[tokio::test]
async fn records_go_on_in_order_by_the_new_settings_whatever_was_on_its_way() {
    let (dir, first, second) = (tempfile::tempdir().unwrap(), Broker::start().await, Broker::start().await);
    let mut config = config(dir.path(), first.addr);
    let agent = Agent::start(config.clone()).await.unwrap();
    let mut device = Device::connect(agent.link_addrs()[0], "d", 1).await;
    for round in 0..20 {
        if round == 10 {
            until("the first half is up", || acked(&first).len() == 10).await;
            first.hold();
        }
        device.send_batch(round * 5, 5).await;
        device.acked_through(round * 5 + 4).await;
    }
    until("records are in flight", || first.in_flight() > 5).await;
    (config.uplink.host, config.uplink.port) = (second.addr.ip().to_string(), second.addr.port());
    config.uplink.credentials = Some(("barn".to_owned(), "new".to_owned()));
    assert_eq!(agent.reload(&config).changed, ["uplink"]);
    until("the rest is up", || acked(&second).len() == 10).await;
    assert_eq!(second.login(), Some(("barn".to_owned(), "new".to_owned())));
    let all: Vec<u32> = acked(&first).into_iter().chain(acked(&second)).collect();
    assert_eq!(all, (0..20).map(|round| round * 5).collect::<Vec<_>>());
    device.send_batch(100, 5).await;
    device.acked_through(104).await;
    until("what comes now goes there too", || acked(&second).len() == 11).await;
    agent.stop().await;
}

#[tokio::test]
async fn settings_that_were_wrong_are_tried_at_once_when_they_are_put_right() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    let mut config = config(dir.path(), broker.addr);
    (config.uplink.port, config.uplink.retry.base_ms, config.uplink.retry.max_ms) = (1, 3_600_000, 3_600_000);
    let agent = Agent::start(config.clone()).await.unwrap();
    until("it could not connect", || agent.counters().uplink_failures.get() > 0).await;
    config.uplink.port = broker.addr.port();
    agent.reload(&config);
    until("it is connected, and did not wait an hour", || agent.counters().uplink_connected.get() == 1).await;
    agent.stop().await;
}

#[tokio::test]
async fn what_needs_a_restart_is_named_and_stays() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    let mut config = config(dir.path(), broker.addr);
    let agent = Agent::start(config.clone()).await.unwrap();
    assert_eq!(agent.reload(&config), Default::default(), "the same is no change");
    config.links.push(LinkConfig::Serial { path: "/dev/ttyUSB9".into(), baud: 115_200 });
    config.spool.linger = Duration::from_millis(7);
    let reloaded = agent.reload(&config);
    assert_eq!((reloaded.changed.len(), reloaded.needs_restart), (0, vec!["links", "spool"]));
    let mut device = Device::connect(agent.link_addrs()[0], "d", 1).await;
    device.send_batch(0, 5).await;
    device.acked_through(4).await;
    agent.stop().await;
}
