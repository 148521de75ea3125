//! A real agent against a broker whose answers the test decides: what arrives, in which order, how often.

mod support;

use headwater_agent::Agent;
use headwater_telemetry::{Up, decode_body};
use rumqttc::v5::mqttbytes::v5::PubAckReason;
use support::broker::{Broker, Seen};
use support::device::Device;
use support::{config, until};

/// First places of the batches of a device, in the order the broker acked them.
fn acked_firsts(seen: &[Seen], device: &str) -> Vec<u32> {
    let is_acked = |seen: &&Seen| {
        seen.topic == format!("headwater/{device}/batch") && seen.reason == Some(PubAckReason::Success)
    };
    seen.iter().filter(is_acked).map(|seen| first_of(&seen.payload)).collect()
}

fn first_of(payload: &[u8]) -> u32 {
    match decode_body::<Up>(payload) {
        Ok(Up::Batch(batch)) => batch.first.0,
        other => panic!("no batch: {other:?}"),
    }
}

/// Every batch is there, and a batch that comes again comes with everything after it: order is kept.
fn assert_in_order(firsts: &[u32], count: u32) {
    let mut seen = std::collections::BTreeSet::new();
    for window in firsts.windows(2) {
        assert!(window[1] <= window[0] + 5, "{} follows {}: one was overtaken", window[1], window[0]);
    }
    seen.extend(firsts.iter().copied());
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), (0..count).map(|index| index * 5).collect::<Vec<_>>());
}

async fn send_batches(agent: &Agent, name: &str, rounds: std::ops::Range<u32>) {
    let mut device = Device::connect(agent.link_addrs()[0], name, 1).await;
    for round in rounds {
        device.send_batch(round * 5, 5).await;
        device.acked_through(round * 5 + 4).await;
    }
}

#[tokio::test]
async fn nothing_is_lost_and_order_is_kept_when_the_broker_goes_away_with_records_in_flight() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    let agent = Agent::start(config(dir.path(), broker.addr)).await.unwrap();
    for round in 0..5 {
        broker.hold();
        send_batches(&agent, "d", round * 20..round * 20 + 20).await;
        until("records are in flight", || broker.in_flight() > 5).await;
        if round == 2 {
            broker.refuse(true);
        }
        broker.cut();
        broker.release();
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        broker.refuse(false);
    }
    until("everything is delivered", || agent.ledger().waiting == 0).await;
    assert_in_order(&acked_firsts(&broker.seen(), "d"), 100);
    assert!(agent.ledger().balances(), "{:?}", agent.ledger());
    assert!(broker.connections() >= 6);
    agent.stop().await;
}

#[tokio::test]
async fn births_come_first_at_every_connection_and_are_retained() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    let agent = Agent::start(config(dir.path(), broker.addr)).await.unwrap();
    send_batches(&agent, "a", 0..2).await;
    send_batches(&agent, "b", 0..2).await;
    until("everything is delivered", || agent.ledger().waiting == 0).await;
    broker.cut();
    until("connected again", || broker.connections() == 2).await;
    send_batches(&agent, "a", 2..3).await;
    until("everything is delivered", || agent.ledger().waiting == 0).await;
    let second: Vec<Seen> = broker.seen().into_iter().filter(|seen| seen.connection == 2).collect();
    let topics: Vec<&str> = second.iter().map(|seen| seen.topic.as_str()).collect();
    assert_eq!(topics, ["headwater/a/birth", "headwater/b/birth", "headwater/a/batch"]);
    assert!(second[0].retain && second[1].retain && !second[2].retain);
    agent.stop().await;
}

#[tokio::test]
async fn the_window_and_the_receive_maximum_of_the_gateway_hold() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    broker.set_receive_max(7);
    broker.hold();
    let agent = Agent::start(config(dir.path(), broker.addr)).await.unwrap();
    send_batches(&agent, "d", 0..40).await;
    until("the window is full", || broker.in_flight_peak() == 7).await;
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(broker.in_flight_peak(), 7);
    broker.release();
    until("everything is delivered", || agent.ledger().waiting == 0).await;
    assert_in_order(&acked_firsts(&broker.seen(), "d"), 40);
    agent.stop().await;
}

#[tokio::test]
async fn a_full_gateway_is_tried_again_and_nothing_overtakes() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    // Like a gateway whose disk is full for a while: from the first refusal on everything on the connection is refused.
    let (mut refusals, mut is_refusing) = (3, false);
    broker.judge(move |topic, payload| {
        if topic.ends_with("/batch") && first_of(payload) == 25 {
            is_refusing = refusals > 0;
            refusals -= i32::from(is_refusing);
        }
        let is_birth = topic.ends_with("/birth");
        if is_refusing && !is_birth { PubAckReason::QuotaExceeded } else { PubAckReason::Success }
    });
    let agent = Agent::start(config(dir.path(), broker.addr)).await.unwrap();
    send_batches(&agent, "d", 0..20).await;
    until("everything is delivered", || agent.ledger().waiting == 0).await;
    assert!(agent.counters().uplink_retries.get() >= 2);
    assert_eq!(agent.ledger().rejected, 0);
    assert_in_order(&acked_firsts(&broker.seen(), "d"), 20);
    agent.stop().await;
}

#[tokio::test]
async fn a_record_that_is_never_taken_is_set_aside_and_the_rest_goes_on() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    broker.judge(|topic, payload| match topic.ends_with("/batch") && first_of(payload) == 10 {
        true => PubAckReason::PayloadFormatInvalid,
        false => PubAckReason::Success,
    });
    let agent = Agent::start(config(dir.path(), broker.addr)).await.unwrap();
    send_batches(&agent, "d", 0..5).await;
    until("everything is delivered", || agent.ledger().waiting == 0).await;
    assert_eq!(agent.ledger().rejected, 1);
    assert!(agent.ledger().balances(), "{:?}", agent.ledger());
    assert_eq!(acked_firsts(&broker.seen(), "d"), [0, 5, 15, 20]);
    let (aside, more) = agent.set_aside(0).unwrap();
    assert_eq!((aside.len(), more), (1, None));
    assert_eq!((aside[0].topic.as_str(), aside[0].reason, first_of(&aside[0].body)), ("d/batch", 0x99, 10));
    agent.stop().await;
    // It is still there after a restart, and not tried again.
    let agent = Agent::start(config(dir.path(), broker.addr)).await.unwrap();
    assert_eq!(agent.set_aside(0).unwrap().0, aside);
    assert_eq!(agent.ledger().waiting, 0);
    agent.stop().await;
    let mut found = Vec::new();
    headwater_agent::each_set_aside(&config(dir.path(), broker.addr), |record| found.push(record)).unwrap();
    assert_eq!(found, aside);
}

#[tokio::test]
async fn a_restart_goes_on_at_the_checkpoint() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    let agent = Agent::start(config(dir.path(), broker.addr)).await.unwrap();
    send_batches(&agent, "d", 0..10).await;
    until("everything is delivered", || agent.ledger().waiting == 0).await;
    broker.refuse(true);
    broker.cut();
    send_batches(&agent, "d", 10..20).await;
    assert_eq!(agent.ledger().waiting, 10);
    agent.stop().await;
    broker.refuse(false);
    let agent = Agent::start(config(dir.path(), broker.addr)).await.unwrap();
    assert_eq!(agent.counters().spool_before.get(), 10);
    until("everything is delivered", || agent.ledger().waiting == 0).await;
    let firsts = acked_firsts(&broker.seen(), "d");
    assert_eq!(firsts, (0..20).map(|index| index * 5).collect::<Vec<_>>(), "each once");
    assert!(agent.ledger().balances());
    agent.stop().await;
}

#[tokio::test]
async fn credentials_are_sent() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    let mut config = config(dir.path(), broker.addr);
    config.uplink.credentials = Some(("barn".to_owned(), "secret".to_owned()));
    let agent = Agent::start(config).await.unwrap();
    until("connected", || agent.counters().uplink_connected.get() == 1).await;
    assert_eq!(broker.login(), Some(("barn".to_owned(), "secret".to_owned())));
    agent.stop().await;
}
