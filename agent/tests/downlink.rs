//! Commands on their way from a broker over the agent to a device, and their results back.

mod support;

use headwater_agent::{Agent, Allow};
use headwater_telemetry::{Command, CommandId, CommandOutcome, CommandResult, Down, Order, Up, decode_body};
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::time::Duration;
use support::broker::Broker;
use support::device::Device;
use support::{PATIENCE, config, until};

fn command(id: u32) -> Command {
    Command { id: CommandId(id), order: Order::Reboot }
}

fn body(down: &Down) -> Vec<u8> {
    let mut buf = [0u8; headwater_telemetry::limits::BODY_BYTES_MAX];
    headwater_telemetry::encode_body(down, &mut buf).expect("it fits").to_vec()
}

fn topics(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| format!("headwater/{name}/command")).collect()
}

/// The next command of the agent.
async fn next_command(device: &mut Device) -> Command {
    loop {
        match device.next_within(PATIENCE).await {
            Some(Down::Command(command)) => return command,
            Some(_) => {}
            None => panic!("no command comes"),
        }
    }
}

async fn answer(device: &mut Device, id: u32) {
    device.send(&Up::CommandResult(CommandResult { id: CommandId(id), outcome: CommandOutcome::Done })).await;
}

fn results(broker: &Broker, name: &str) -> Vec<u32> {
    let topic = format!("headwater/{name}/result");
    let seen = broker.seen();
    let of_device = seen.iter().filter(|seen| seen.topic == topic);
    let id = |payload: &[u8]| match decode_body::<Up>(payload) {
        Ok(Up::CommandResult(result)) => result.id.0,
        other => panic!("no result: {other:?}"),
    };
    of_device.map(|seen| id(&seen.payload)).collect()
}

#[tokio::test]
async fn a_command_reaches_its_device_and_the_result_comes_back_once() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    let agent = Agent::start(config(dir.path(), broker.addr)).await.unwrap();
    let mut first = Device::connect(agent.link_addrs()[0], "first", 1).await;
    let mut second = Device::connect(agent.link_addrs()[0], "second", 1).await;
    until("both are asked for", || broker.subscribed() == topics(&["first", "second"])).await;

    broker.publish("headwater/second/command", &body(&Down::Command(command(7))));
    assert_eq!(next_command(&mut second).await, command(7));
    // The answer is lost on the line: the command comes again, and the device answers both.
    assert_eq!(next_command(&mut second).await, command(7));
    answer(&mut second, 7).await;
    answer(&mut second, 7).await;
    until("the result is there", || results(&broker, "second") == [7]).await;
    assert_eq!(first.next_within(Duration::from_millis(100)).await, None, "the other heard nothing");

    // A gateway that goes away is asked again when it is back.
    broker.cut();
    until("asked again", || broker.connections() == 2 && broker.subscribed().len() == 2).await;
    broker.publish("headwater/first/command", &body(&Down::Command(command(8))));
    assert_eq!(next_command(&mut first).await, command(8));
    answer(&mut first, 8).await;
    until("the result is there", || results(&broker, "first") == [8]).await;

    drop(second);
    until("one is asked for", || broker.subscribed() == topics(&["first"])).await;
    until("everything is delivered", || agent.ledger().waiting == 0).await;
    assert_eq!(results(&broker, "second"), [7]);
    agent.stop().await;
}

#[tokio::test]
async fn a_gateway_without_a_place_for_subscriptions_is_asked_again_and_gets_the_records() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    broker.fill(true);
    let agent = Agent::start(config(dir.path(), broker.addr)).await.unwrap();
    let mut device = Device::connect(agent.link_addrs()[0], "d", 1).await;
    until("it is asked for again and again", || broker.subscribes() > 4).await;
    assert_eq!(agent.counters().devices_unheard.get(), 1);
    device.send_batch(0, 5).await;
    device.acked_through(4).await;
    until("everything is delivered", || agent.ledger().waiting == 0).await;
    broker.fill(false);
    until("it is taken", || broker.subscribed() == topics(&["d"])).await;
    until("that is known", || agent.counters().devices_unheard.get() == 0).await;
    let asked = broker.subscribes();
    broker.publish("headwater/d/command", &body(&Down::Command(command(7))));
    assert_eq!(next_command(&mut device).await, command(7));
    // Longer than any pause between two tries.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(
        (broker.subscribes(), broker.connections()),
        (asked, 1),
        "what is taken is not asked for again"
    );
    agent.stop().await;
}

#[tokio::test]
async fn commands_without_use_are_dropped_and_counted_and_the_uplink_stays() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    let agent = Agent::start(config(dir.path(), broker.addr)).await.unwrap();
    let mut device = Device::connect(agent.link_addrs()[0], "d", 1).await;
    until("it is asked for", || broker.subscribed() == topics(&["d"])).await;
    broker.publish("headwater/nobody/command", &body(&Down::Command(command(1))));
    broker.publish("headwater/d/command", b"\xff\xff no message");
    broker.publish("headwater/d/command", &body(&Down::Identify));
    broker.publish("other/d/command", &body(&Down::Command(command(2))));
    broker.publish("headwater//command", &body(&Down::Command(command(3))));
    for id in 10..30 {
        broker.publish("headwater/d/command", &body(&Down::Command(command(id))));
    }
    until("all are received", || agent.counters().commands.get() == 21).await;
    // Eight may wait at the link and eight at its door; the device answers none.
    until("some are dropped", || agent.counters().commands_dropped.get() >= 1 + 20 - 17).await;
    assert_eq!(next_command(&mut device).await.id, CommandId(10), "in order");
    device.send_batch(0, 5).await;
    device.acked_through(4).await;
    until("everything is delivered", || agent.ledger().waiting == 0).await;
    assert_eq!(broker.connections(), 1);
    agent.stop().await;
}

#[tokio::test]
async fn refused_devices_are_shown_and_get_nothing() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    let mut config = config(dir.path(), broker.addr);
    config.allow = Allow::listed(["good-*"]).unwrap();
    config.http = Some("127.0.0.1:0".to_owned());
    let agent = Agent::start(config).await.unwrap();
    let mut bad = Device::connect(agent.link_addrs()[0], "bad", 1).await;
    let mut good = Device::connect(agent.link_addrs()[0], "good-1", 4).await;
    good.send_batch(0, 5).await;
    good.acked_through(4).await;
    until("the other is refused", || agent.counters().hellos_refused.get() == 1).await;
    assert_eq!(bad.next_within(Duration::from_millis(50)).await, None);
    let address = agent.http_addr().unwrap();
    let shown = tokio::task::spawn_blocking(move || {
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        stream.write_all(b"GET /devices HTTP/1.1\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    });
    let shown = shown.await.unwrap();
    let body = shown.split("\r\n\r\n").nth(1).unwrap();
    let links: serde_json::Value = serde_json::from_str(body).unwrap();
    let by_name = |name: &str| links.as_array().unwrap().iter().find(|link| link["device"] == name).unwrap();
    assert_eq!(by_name("bad")["state"], "refused");
    assert_eq!(by_name("bad")["reason"], "not in devices.allow");
    let known = by_name("good-1");
    assert_eq!((&known["state"], &known["boot"]), (&"known".into(), &4.into()));
    assert_eq!(known["channels"], serde_json::json!([{"name": "t", "unit": "C"}]));
    assert!(broker.subscribed() == topics(&["good-1"]));
    agent.stop().await;
}
