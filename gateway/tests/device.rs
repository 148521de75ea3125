//! A device that speaks MQTT itself, with the very code of the boards, and people who ask it for something.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod tls_support;

use headwater::{Gateway, config};
use headwater_device::Device;
use headwater_device::mqtt::{self, Buffers};
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::Packet;
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use serde_json::{Value, json};
use std::path::Path;
use tls_support::{Dialer, PATIENCE, Sensor, Uptimes, device};

async fn gateway(state: &Path) -> Gateway {
    let text = format!(
        "[gateway]\nstate = {state:?}\n[mqtt]\nlisten = \"127.0.0.1:0\"\n[kinesis]\nlisten = \"127.0.0.1:0\"\n\
         [http]\nlisten = \"127.0.0.1:0\"\n[journal]\nsegment = \"4MiB\"\nmax = \"64MiB\"\nreserve = \"0B\"\n"
    );
    Gateway::start(&config::parse("test", &text).unwrap().config).await.unwrap()
}

/// A person at a terminal: subscribed to everything JSON.
async fn person(gateway: &Gateway) -> (AsyncClient, EventLoop) {
    let address = gateway.mqtt_addr();
    let options = MqttOptions::new("person", address.ip().to_string(), address.port());
    let (client, mut events) = AsyncClient::new(options, 16);
    client.subscribe("headwater/+/+/json", QoS::AtLeastOnce).await.unwrap();
    while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}
    (client, events)
}

/// The next message on `topic`.
async fn heard(events: &mut EventLoop, topic: &str) -> Value {
    loop {
        if let Event::Incoming(Packet::Publish(publish)) = events.poll().await.unwrap()
            && publish.topic == topic
        {
            return serde_json::from_slice(&publish.payload).unwrap();
        }
    }
}

/// Runs a device beside `people`, until they have what they came for.
async fn beside<T>(gateway: &Gateway, people: impl Future<Output = T>) -> T {
    let (clock, mut sensor) = (Uptimes::start(), Sensor::default());
    let device: Device<_, ()> = device("pump-7", &sensor).await;
    let mut buffers = Buffers::new();
    let mut dial = Dialer(gateway.mqtt_addr());
    let login = mqtt::Gateway::default();
    tokio::select! {
        stopped = device.run(&clock, &mut sensor) => panic!("the device stopped: {stopped:?}"),
        _ = mqtt::run(&device, &clock, &mut dial, login, &mut buffers, |down| panic!("{down}")) => unreachable!(),
        done = tokio::time::timeout(PATIENCE, people) => done.expect("in time"),
    }
}

async fn records(gateway: &Gateway) -> Vec<Value> {
    use base64_simd::STANDARD;
    let call = |operation: &'static str, body: Value| async move {
        let answer = gateway.engine().call(operation, body.to_string().as_bytes()).await;
        serde_json::from_slice::<Value>(&answer.body).unwrap()
    };
    let iterator = json!({"StreamName": "telemetry", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"});
    let iterator = call("GetShardIterator", iterator).await["ShardIterator"].clone();
    let answer = call("GetRecords", json!({ "ShardIterator": iterator })).await;
    let data = |record: &Value| STANDARD.decode_to_vec(record["Data"].as_str().unwrap()).unwrap();
    answer["Records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| serde_json::from_slice(&data(record)).unwrap())
        .collect()
}

#[tokio::test]
async fn a_command_in_json_reaches_the_device_once_and_its_result_comes_back() {
    let state = tempfile::tempdir().unwrap();
    let gateway = gateway(state.path()).await;
    let (client, mut events) = person(&gateway).await;
    beside(&gateway, async {
        let birth = heard(&mut events, "headwater/pump-7/birth/json").await;
        assert_eq!((&birth["device"], &birth["channels"][0]["name"]), (&json!("pump-7"), &json!("count")));
        let command = |payload: &'static str| {
            client.publish("headwater/pump-7/command/json", QoS::AtLeastOnce, false, payload)
        };
        for (asked, expected) in [
            (r#"{"id":7,"order":"period","period_ms":30}"#, "done"),
            (r#"{"id":8,"order":"period","period_ms":1}"#, "refused"),
            // The same number is the same command, whatever it says: its first result comes again.
            (r#"{"id":7,"order":"period","period_ms":1}"#, "done"),
            (r#"{"id":9,"order":"identify"}"#, "done"),
        ] {
            command(asked).await.unwrap();
            let result = heard(&mut events, "headwater/pump-7/result/json").await;
            assert_eq!(
                (&result["device"], &result["outcome"]),
                (&json!("pump-7"), &json!(expected)),
                "{asked}"
            );
        }
        command("{\"order\":\"dance\"}").await.unwrap();
        let refusal = heard(&mut events, "headwater/pump-7/result/json").await;
        assert!(refusal["error"].as_str().unwrap().contains("unknown variant `dance`"), "{refusal}");
    })
    .await;
    let results: Vec<Value> =
        records(&gateway).await.into_iter().filter(|record| record["kind"] == "command_result").collect();
    assert_eq!(results.len(), 4, "results are records too");
    let ledger = gateway.stop().await;
    assert_eq!(ledger.routes.dead_lettered, 1, "the command that was none");
}

#[tokio::test]
async fn a_device_that_asks_is_told_the_time_and_its_first_readings_have_it_too() {
    let state = tempfile::tempdir().unwrap();
    let gateway = gateway(state.path()).await;
    let begun_ms = std::time::SystemTime::now();
    beside(&gateway, tls_support::until(|| (gateway.ledger().routes.readings >= 8).then_some(()))).await;
    // What is counted is on its way to the disk, and shown when it is there.
    let mut readings: Vec<Value> = Vec::new();
    while readings.len() < 8 && begun_ms.elapsed().unwrap() < PATIENCE {
        let all = records(&gateway).await.into_iter();
        readings = all.filter(|record| record["kind"] == "reading").collect();
    }
    assert!(readings.len() >= 8);
    for reading in &readings {
        assert_eq!(reading["time_quality"], "synced", "{reading}");
    }
    assert!(begun_ms.elapsed().unwrap() < PATIENCE);
    gateway.stop().await;
}

#[tokio::test]
async fn who_the_devices_are_is_said_again_after_a_restart() {
    let state = tempfile::tempdir().unwrap();
    let gateway_1 = gateway(state.path()).await;
    beside(&gateway_1, tls_support::until(|| (gateway_1.ledger().routes.readings >= 4).then_some(()))).await;
    gateway_1.stop().await;

    let gateway_2 = gateway(state.path()).await;
    let (_client, mut events) = person(&gateway_2).await;
    let birth =
        tokio::time::timeout(PATIENCE, heard(&mut events, "headwater/pump-7/birth/json")).await.unwrap();
    assert_eq!(birth["channels"][0]["name"], "count");
    gateway_2.stop().await;
}
