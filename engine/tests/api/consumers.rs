//! Consumers over time: their states, restarts, and the limit they share with queues.

use crate::support::{Ahead, Answer, Client, Server, small};
use headwater_engine::{Engine, EngineConfig};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/s";

/// A server whose states last ten seconds.
fn server(dir: &Path, ahead: &Ahead) -> Server {
    let transition = Duration::from_secs(10);
    let config =
        EngineConfig { journal: small(), clock: ahead.clock(), transition, ..EngineConfig::new(dir) };
    Server::start(Engine::open(config).unwrap().0)
}

fn register(client: &mut Client, name: &str) -> Answer {
    client.ask("RegisterStreamConsumer", &json!({ "StreamARN": ARN, "ConsumerName": name }))
}

fn kind(answer: &Answer) -> String {
    answer.json()["__type"].as_str().unwrap_or("none").to_owned()
}

/// Names and states of all consumers.
fn listed(client: &mut Client) -> Vec<(String, String)> {
    let listed = client.call("ListStreamConsumers", &json!({ "StreamARN": ARN }));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let consumers = listed["Consumers"].as_array().unwrap().iter();
    consumers.map(|c| (text(&c["ConsumerName"]), text(&c["ConsumerStatus"]))).collect()
}

#[test]
fn a_consumer_is_creating_active_deleting_and_gone_also_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let ahead = Ahead::default();
    let first = server(dir.path(), &ahead);
    let mut client = first.client();
    client.call("CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    ahead.advance(11_000);
    std::thread::sleep(Duration::from_millis(10));
    let made = register(&mut client, "a").json()["Consumer"].clone();
    assert_eq!(made["ConsumerStatus"], "CREATING");
    let subscribe = json!({
        "ConsumerARN": made["ConsumerARN"], "ShardId": "0", "StartingPosition": { "Type": "LATEST" },
    });
    let refused = client.ask("SubscribeToShard", &subscribe);
    assert_eq!(kind(&refused), "ResourceInUseException");
    assert!(refused.json()["message"].as_str().unwrap().ends_with("is not in ACTIVE status."));
    first.stop();
    let second = server(dir.path(), &ahead);
    let mut client = second.client();
    assert_eq!(listed(&mut client), [("a".into(), "CREATING".into())]);
    ahead.advance(10_000);
    assert_eq!(listed(&mut client), [("a".into(), "ACTIVE".into())]);
    client.call("DeregisterStreamConsumer", &json!({ "ConsumerARN": made["ConsumerARN"] }));
    assert_eq!(listed(&mut client), [("a".into(), "DELETING".into())]);
    assert_eq!(kind(&register(&mut client, "a")), "ResourceInUseException");
    assert_eq!(kind(&client.ask("SubscribeToShard", &subscribe)), "ResourceInUseException");
    // Once more does no harm.
    client.call("DeregisterStreamConsumer", &json!({ "ConsumerARN": made["ConsumerARN"] }));
    ahead.advance(10_000);
    assert_eq!(listed(&mut client), []);
    let again = register(&mut client, "a");
    assert_ne!(again.json()["Consumer"]["ConsumerARN"], made["ConsumerARN"]);
    client.call("DeregisterStreamConsumer", &json!({ "StreamARN": ARN, "ConsumerName": "a" }));
    second.stop();
    let third = server(dir.path(), &ahead);
    assert_eq!(listed(&mut third.client()), [], "a start finishes what was deregistered");
    third.stop();
}

#[test]
fn five_consumers_may_be_creating_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let ahead = Ahead::default();
    let server = server(dir.path(), &ahead);
    let mut client = server.client();
    client.call("CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    ahead.advance(11_000);
    for i in 0..5 {
        assert_eq!(register(&mut client, &format!("c-{i}")).status, 200);
    }
    assert_eq!(kind(&register(&mut client, "c-5")), "LimitExceededException");
    ahead.advance(10_000);
    assert_eq!(register(&mut client, "c-5").status, 200);
    server.stop();
}

#[test]
fn queues_and_consumers_share_the_limit_of_their_stream_and_a_commitment_raises_it() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut client = server.client();
    let mode = json!({ "StreamName": "s", "StreamModeDetails": { "StreamMode": "ON_DEMAND" } });
    client.call("CreateStream", &mode);
    for i in 0..18 {
        assert_eq!(register(&mut client, &format!("c-{i}")).status, 200);
    }
    let queue = |client: &mut Client, name: &str| {
        client.ask(
            "CreateQueue",
            &json!({ "QueueName": name, "StreamConfigurationList": [{ "StreamARN": ARN }] }),
        )
    };
    for name in ["q-1", "q-2"] {
        let made = queue(&mut client, name);
        assert_eq!(made.status, 200, "{}", String::from_utf8_lossy(&made.body));
    }
    assert_eq!(kind(&register(&mut client, "one-more")), "LimitExceededException");
    assert_eq!(kind(&queue(&mut client, "one-more")), "LimitExceededException");
    let commitment = json!({ "MinimumThroughputBillingCommitment": { "Status": "ENABLED" } });
    client.call("UpdateAccountSettings", &commitment);
    for i in 18..48 {
        assert_eq!(register(&mut client, &format!("c-{i}")).status, 200, "{i}");
    }
    assert_eq!(kind(&register(&mut client, "one-more")), "LimitExceededException");
    let summary = client.call("DescribeStreamSummary", &json!({ "StreamName": "s" }));
    let summary = &summary["StreamDescriptionSummary"];
    assert_eq!((&summary["ConsumerCount"], &summary["QueueCount"]), (&json!(48), &json!(2)));
    server.stop();
}
