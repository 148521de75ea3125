//! A whole gateway in this process: clients publish over MQTT, readers read over the Kinesis API, the status page tells.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod gateway_support;

use gateway_support::ask;
use headwater::{Gateway, StartError, config};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Packet, QoS};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// Far longer than anything here takes; it ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(30);

fn settings(state: &Path, more: &str) -> config::Config {
    let text = format!(
        "[gateway]\nname = \"test\"\nstate = {state:?}\n[mqtt]\nlisten = \"127.0.0.1:0\"\n{more}\n\
         [kinesis]\nlisten = \"127.0.0.1:0\"\n[http]\nlisten = \"127.0.0.1:0\"\n\
         [journal]\nsegment = \"4MiB\"\nmax = \"64MiB\"\nreserve = \"0B\"\n"
    );
    config::parse("test", &text).unwrap().config
}

fn client(addr: SocketAddr, id: &str) -> (AsyncClient, EventLoop) {
    let mut options = MqttOptions::new(id, addr.ip().to_string(), addr.port());
    options.set_keep_alive(Duration::from_secs(30));
    AsyncClient::new(options, 100)
}

/// Publishes with QoS 1 and waits for every acknowledgement.
async fn publish(addr: SocketAddr, id: &str, topic: &str, payloads: &[&str]) {
    let (client, mut events) = client(addr, id);
    for payload in payloads {
        client.publish(topic, QoS::AtLeastOnce, false, *payload).await.unwrap();
    }
    let mut acked = 0;
    while acked < payloads.len() {
        if let Event::Incoming(Packet::PubAck(_)) = events.poll().await.unwrap() {
            acked += 1;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_publishes_are_counted_shown_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    let work = async {
        let gateway = Gateway::start(&settings(dir.path(), "")).await.unwrap();
        publish(gateway.mqtt_addr(), "c1", "site/a", &["1", "2", "3"]).await;

        let health = ask(gateway.http_addr(), "GET /health").await;
        assert!(health.starts_with("HTTP/1.1 200"), "{health}");
        let health: serde_json::Value =
            serde_json::from_str(health.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert_eq!((&health["state"], &health["ledger"]["stored"]), (&"ok".into(), &3.into()));

        let metrics = ask(gateway.http_addr(), "GET /metrics").await;
        for line in [
            "headwater_routes_received_total 3\n",
            "headwater_routes_stored_total 3\n",
            "headwater_mqtt_acks_total 3\n",
            "headwater_engine_records_put_total 3\n",
            "headwater_journal_state{state=\"open\"} 1\n",
            "# TYPE headwater_journal_flushes_total counter\n",
            "process_resident_memory_bytes ",
        ] {
            assert!(metrics.contains(line), "{line} in {metrics}");
        }
        assert!(ask(gateway.http_addr(), "GET /").await.contains("href=\"/metrics\""));
        assert!(ask(gateway.http_addr(), "GET /x").await.starts_with("HTTP/1.1 404"));
        assert!(ask(gateway.http_addr(), "POST /health").await.starts_with("HTTP/1.1 405"));

        let ledger = gateway.stop().await;
        assert_eq!((ledger.routes.received, ledger.routes.stored, ledger.mqtt.acks), (3, 3, 3));

        let gateway = Gateway::start(&settings(dir.path(), "")).await.unwrap();
        let streams: Vec<String> = gateway.engine().streams().iter().map(|s| s.name().to_string()).collect();
        assert_eq!(streams, ["dead-letter", "telemetry"]);
        gateway.stop().await;
    };
    tokio::time::timeout(PATIENCE, work).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_reach_devices_and_no_stream() {
    let dir = tempfile::tempdir().unwrap();
    let work = async {
        let gateway = Gateway::start(&settings(dir.path(), "")).await.unwrap();
        let (device, mut events) = client(gateway.mqtt_addr(), "pump");
        device.subscribe("headwater/pump/command/#", QoS::AtLeastOnce).await.unwrap();
        while !matches!(events.poll().await.unwrap(), Event::Incoming(Packet::SubAck(_))) {}
        publish(gateway.mqtt_addr(), "operator", "headwater/pump/command", &["blink"]).await;
        let received = loop {
            if let Event::Incoming(Packet::Publish(publish)) = events.poll().await.unwrap() {
                break publish;
            }
        };
        assert_eq!(
            (received.topic.as_str(), &received.payload[..]),
            ("headwater/pump/command", &b"blink"[..])
        );
        let ledger = gateway.stop().await;
        assert_eq!((ledger.routes.downlink_only, ledger.routes.records), (1, 0));
    };
    tokio::time::timeout(PATIENCE, work).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn users_need_their_password_and_stay_in_their_topics() {
    let dir = tempfile::tempdir().unwrap();
    let users = "[[mqtt.users]]\nname = \"a\"\npassword = \"right\"\npublish = [\"site/a/#\"]\n";
    let work = async {
        let gateway = Gateway::start(&settings(dir.path(), users)).await.unwrap();
        for (password, allowed) in [("wrong", false), ("right", true)] {
            let mut options = MqttOptions::new("c", "127.0.0.1", gateway.mqtt_addr().port());
            options.set_credentials("a", password);
            let (_client, mut events) = AsyncClient::new(options, 10);
            assert_eq!(events.poll().await.is_ok(), allowed, "{password}");
        }
        let (_client, mut events) = client(gateway.mqtt_addr(), "nobody");
        assert!(events.poll().await.is_err());
        gateway.stop().await;
    };
    tokio::time::timeout(PATIENCE, work).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_or_directory_is_named_and_nothing_runs() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let gateway = Gateway::start(&settings(dir.path(), "")).await.unwrap();
    let error = Gateway::start(&settings(dir.path(), "")).await.unwrap_err();
    assert!(matches!(error, StartError::Open { .. }), "{error}");
    assert!(error.to_string().contains(dir.path().to_str().unwrap()), "{error}");

    let mut taken = settings(other.path(), "");
    taken.kinesis.listen = gateway.kinesis_addr();
    let error = Gateway::start(&taken).await.unwrap_err();
    assert!(matches!(error, StartError::Listen { key: "kinesis.listen", .. }), "{error}");
    assert!(!other.path().join("journal").exists(), "the directory was not touched");
    gateway.stop().await;
}

#[tokio::test]
async fn a_state_directory_that_the_gateway_makes_is_its_users_alone() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("var/state");
    let gateway = Gateway::start(&settings(&state, "")).await.unwrap();
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&state).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o700, "who reads it reads every record");
    gateway.stop().await;
}
