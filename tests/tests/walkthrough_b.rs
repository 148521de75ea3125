//! Plain JSON from clients that know nothing of us: `mosquitto_pub -q 1` and paho-mqtt (3.1.1 and 5) on three topics.
//! Every record arrives on the stream, key and shard that `headwater explain` foretold before it was sent.

use std::path::Path;
use std::time::Duration;

use system_tests::gateway::Gateway;
use system_tests::kinesis::Record;
use system_tests::process::Process;
use system_tests::{binaries, python};

/// A publish takes milliseconds, Python a second to start; the rest is for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Three routes: named levels, the spellings of AWS IoT rules, and a catch-all.
const ROUTES: &str = r##"
[streams.telemetry-temperature]
shards = 4

[[routes]]
match = "site/{site}/dev/{device}/telemetry/{kind}"
codec = "json"
stream = "telemetry-{kind}"
partition_key = "{site}-{device}"

[[routes]]
match = "plant/+/+/#"
codec = "json"
stream = "plant"
partition_key = "${topic(2)}/${topic(3)}"

[[routes]]
match = "#"
codec = "json"
stream = "everything-else"
partition_key = "${payload.client}"
"##;

/// Where a publish will go.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    stream: String,
    key: String,
    shard: String,
}

/// What `headwater explain` says about a publish.
fn foretold(gateway: &Gateway, directory: &Path, client: &str, topic: &str, payload: &str) -> Place {
    let mut explain = Process::new(&format!("explain-{client}"), binaries::headwater(), directory)
        .args(["explain", "--config"])
        .args([&gateway.config])
        .args(["--client", client, topic, payload]);
    explain.start();
    let status = explain.wait(PATIENCE);
    assert!(status.success(), "{status}\n{}", explain.tail());
    let output = explain.output();
    let said = |label: &str| {
        let line = output.lines().find_map(|line| line.trim().strip_prefix(label));
        let line = line.unwrap_or_else(|| panic!("explain says nothing about {label:?}:\n{output}"));
        let value = line.trim_start_matches([':', ' ']).split_whitespace().next();
        value.unwrap_or_else(|| panic!("{label:?} is empty:\n{output}")).trim_matches('"').to_owned()
    };
    Place { stream: said("stream"), key: said("partition key"), shard: said("shard") }
}

/// Finds the records whose JSON has `client` and checks that they lie where they should, in order.
fn assert_arrived(gateway: &Gateway, place: &Place, client: &str, count: u64) {
    let records = gateway.kinesis().read_all(&place.stream);
    let from_client = |record: &&Record| record.json()["client"] == client;
    let found: Vec<&Record> = records.iter().filter(from_client).collect();
    let numbers: Vec<u64> = found.iter().filter_map(|record| record.json()["number"].as_u64()).collect();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "{client}: every reading once and in order");
    for record in found {
        let at = Place { stream: place.stream.clone(), key: record.key.clone(), shard: record.shard.clone() };
        assert_eq!(&at, place, "{client}: explain foretold another place");
    }
}

fn run(mut process: Process) {
    process.start();
    let status = process.wait(PATIENCE);
    assert!(status.success(), "{status}\n{}", process.tail());
}

#[test]
fn mosquitto_pub_lands_where_explain_foretold() {
    let Some(mosquitto_pub) = python::installed("mosquitto_pub") else {
        return python::skip("walkthrough_b", "no mosquitto_pub; Debian has it in mosquitto-clients");
    };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut gateway = Gateway::start(directory.path(), ROUTES);
    let (topic, client) = ("plant/line-7/press/status", "press");
    let payload = |number: u64| format!(r#"{{"client":"{client}","number":{number},"ok":true}}"#);
    let place = foretold(&gateway, directory.path(), client, topic, &payload(0));
    assert_eq!((place.stream.as_str(), place.key.as_str()), ("plant", "line-7/press"));
    let (host, port) = (gateway.mqtt.ip().to_string(), gateway.mqtt.port().to_string());
    for number in 0..5 {
        let name = format!("mosquitto_pub-{number}");
        let args = ["-h", &host, "-p", &port, "-q", "1", "-i", client, "-t", topic, "-m", &payload(number)];
        run(Process::new(&name, &mosquitto_pub, directory.path()).args(args));
    }
    assert_arrived(&gateway, &place, client, 5);
    gateway.stop();
}

#[test]
fn paho_in_both_versions_lands_where_explain_foretold() {
    if python::interpreter().is_none() {
        return python::skip("walkthrough_b", "no Python with paho-mqtt; `tests/run` sets one up");
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut gateway = Gateway::start(directory.path(), ROUTES);
    let (site, elsewhere) = ("site/north/dev/42/telemetry/temperature", "anything/else");
    let clients = [
        ("3.1.1", site, "paho-3"),
        ("5", site, "paho-5"),
        ("3.1.1", elsewhere, "else-3"),
        ("5", elsewhere, "else-5"),
    ];
    for (protocol, topic, client) in clients {
        let place =
            foretold(&gateway, directory.path(), client, topic, &format!(r#"{{"client":"{client}"}}"#));
        let port = gateway.mqtt.port().to_string();
        let args = [
            "--port",
            &port,
            "--protocol",
            protocol,
            "--client-id",
            client,
            "--topic",
            topic,
            "--count",
            "20",
        ];
        run(python::client("mqtt_publisher.py", client, directory.path(), &args));
        assert_arrived(&gateway, &place, client, 20);
        let key = if topic == site { "north-42" } else { client };
        assert_eq!(place.key, key);
    }
    gateway.stop();
}

#[test]
fn a_record_elsewhere_is_noticed() {
    // The control: the same comparison fails for a record one shard further.
    let place = |shard: &str| Place { stream: "s".to_owned(), key: "k".to_owned(), shard: shard.to_owned() };
    assert_ne!(place("shardId-000000000000"), place("shardId-000000000001"));
}
