//! A person at a dashboard asks a device behind an agent: JSON in, JSON back, by any MQTT client.

use super::{PATIENCE, boots, config, machine};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{Client, Connection, Event, MqttOptions};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use system_tests::agent::Agent;
use system_tests::gateway::Gateway;
use system_tests::wait_until;

/// The next publish on `topic` that is `wanted`, and how often it was retained.
fn next(connection: &mut Connection, topic: &str, wanted: impl Fn(&Value) -> bool) -> Option<(Value, bool)> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let Ok(Ok(event)) = connection.recv_timeout(Duration::from_millis(200)) else { continue };
        let Event::Incoming(Packet::Publish(publish)) = event else { continue };
        if publish.topic != topic.as_bytes() {
            continue;
        }
        let body: Value = serde_json::from_slice(&publish.payload).expect("JSON, as the topic says");
        if wanted(&body) {
            return Some((body, publish.retain));
        }
    }
    None
}

#[test]
fn a_dashboard_knows_the_channels_and_has_its_command_done_behind_an_agent() {
    let Some(emulator) = machine::emulator() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut gateway = Gateway::start(directory.path(), "");
    let mut agent = Agent::start(directory.path(), gateway.mqtt);
    let (program, config) = (machine::program(""), config("barn-2", None));
    let mut device =
        machine::Machine::provisioned(&emulator, directory.path(), &program, agent.link, &config, None);
    device.start();
    assert!(wait_until(PATIENCE, || boots(&gateway, 5).is_some()), "nothing arrives\n{}", gateway.tail());

    let mut options = MqttOptions::new("dashboard", gateway.mqtt.ip().to_string(), gateway.mqtt.port());
    options.set_keep_alive(Duration::from_secs(5));
    let (client, mut connection) = Client::new(options, 10);
    client.subscribe("headwater/barn-2/birth/json", QoS::AtMostOnce).expect("room for one");
    client.subscribe("headwater/barn-2/result/json", QoS::AtMostOnce).expect("room for two");
    // Long after the device said it.
    let (birth, retained) =
        next(&mut connection, "headwater/barn-2/birth/json", |_| true).expect("a retained birth");
    assert!(retained, "it was said before we came");
    let units: Vec<(&str, &str)> = birth["channels"]
        .as_array()
        .expect("channels")
        .iter()
        .filter_map(|channel| Some((channel["name"].as_str()?, channel["unit"].as_str()?)))
        .collect();
    assert!(units.contains(&("temperature", "°C")), "{birth}");

    let ask = |body: Value| {
        let topic = "headwater/barn-2/command/json";
        client.publish(topic, QoS::AtLeastOnce, false, body.to_string()).expect("room for it");
    };
    // The same number twice, as somebody does who did not hear the answer.
    for _ in 0..2 {
        ask(json!({"id": 77, "order": "reboot"}));
        let answered = next(&mut connection, "headwater/barn-2/result/json", |body| body["id"] == 77);
        let (result, _) = answered.unwrap_or_else(|| panic!("no result\n{}", gateway.tail()));
        assert_eq!(result["outcome"], "done", "{result}");
    }
    let again = wait_until(PATIENCE, || boots(&gateway, 100).is_some_and(|boots| boots.len() == 2));
    assert!(again, "boots in the shard: {:?}\n{}", boots(&gateway, 0), gateway.tail());
    let birth = next(&mut connection, "headwater/barn-2/birth/json", |birth| birth["reset"] == "requested");
    assert!(birth.is_some(), "the new birth does not say why");
    device.kill();
    agent.stop();
    gateway.stop();
}
