//! Receivers that wait: what wakes them, how many there may be, and how queues begin and end under them.

use super::{acknowledge, make_queue, make_stream, number, put, receive};
use crate::support::{Client, PATIENCE, Server, small};
use headwater_engine::{Engine, EngineConfig, StreamName, limits};
use serde_json::json;
use std::time::{Duration, Instant};

#[test]
fn a_waiting_receiver_is_told_within_moments_of_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut client = server.client();
    let stream = make_stream(&mut client, "s");
    let queue = make_queue(&mut client, &stream, &json!({ "VisibilityTimeoutSeconds": 1 }));
    let mut waiting = server.client();
    let mut slowest = Duration::ZERO;
    for i in 0..5 {
        waiting.send(
            "ReceiveQueueRecords",
            json!({ "QueueARN": queue, "WaitTimeSeconds": 20 }).to_string().as_bytes(),
        );
        std::thread::sleep(Duration::from_millis(120));
        let start = Instant::now();
        put(&mut client, &stream, i..i + 1);
        let received = waiting.receive().json();
        slowest = slowest.max(start.elapsed());
        let records = received["QueueRecords"].as_array().unwrap();
        assert_eq!(number(&records[0]), i);
        assert_eq!(acknowledge(&mut client, &queue, records), 0);
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    // The end of an invisibility wakes as a new record does.
    put(&mut client, &stream, 9..10);
    assert_eq!(receive(&mut client, &queue, 1, &json!({})).len(), 1);
    let start = Instant::now();
    assert_eq!(receive(&mut client, &queue, 20, &json!({})).len(), 1);
    assert!((500..3_000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    // And a longer wait ends when its queue does.
    let mut waiting = server.client();
    waiting.send(
        "ReceiveQueueRecords",
        json!({ "QueueARN": queue, "VisibilityTimeoutSeconds": 600 }).to_string().as_bytes(),
    );
    waiting.receive();
    waiting.send(
        "ReceiveQueueRecords",
        json!({ "QueueARN": queue, "WaitTimeSeconds": 20 }).to_string().as_bytes(),
    );
    std::thread::sleep(Duration::from_millis(100));
    client.call("DeleteQueue", &json!({ "QueueARN": queue }));
    let answer = waiting.receive();
    assert_eq!((answer.status, &answer.json()["__type"]), (400, &json!("ResourceNotFoundException")));
    server.stop();
}

#[test]
fn a_server_that_stops_does_not_wait_for_its_receivers() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut client = server.client();
    let stream = make_stream(&mut client, "s");
    let queue = make_queue(&mut client, &stream, &json!({}));
    client.send(
        "ReceiveQueueRecords",
        json!({ "QueueARN": queue, "WaitTimeSeconds": 20 }).to_string().as_bytes(),
    );
    std::thread::sleep(Duration::from_millis(200));
    let start = Instant::now();
    server.stop();
    assert_eq!(client.receive().json(), json!({ "QueueRecords": [] }));
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[test]
fn only_so_many_receivers_wait_and_the_others_are_told_to_slow_down() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut client = server.client();
    let stream = make_stream(&mut client, "s");
    let queue = make_queue(&mut client, &stream, &json!({}));
    let asked = json!({ "QueueARN": queue, "WaitTimeSeconds": 20 }).to_string();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let engine = server.engine.clone();
    let statuses: Vec<u16> = runtime.block_on(async move {
        let waiting: Vec<_> = (0..limits::QUEUE_RECEIVERS_WAITING_MAX)
            .map(|_| {
                let (engine, asked) = (engine.clone(), asked.clone());
                tokio::spawn(async move { engine.call("ReceiveQueueRecords", asked.as_bytes()).await.status })
            })
            .collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let refused = engine.call("ReceiveQueueRecords", asked.as_bytes()).await;
        assert!(String::from_utf8_lossy(&refused.body).contains("ThrottlingException"));
        // A record for each of them: all are woken, and none gets what another has.
        let stream = engine.stream(&StreamName::parse("s").unwrap()).unwrap();
        for i in 0..waiting.len() * 10 {
            let mut batch = engine.batch();
            batch.put(&stream, &format!("k{i}"), None, b"1").unwrap();
            engine.append_within(&batch, PATIENCE).await.unwrap().await.unwrap();
            if i % 100 == 99 && waiting.iter().all(tokio::task::JoinHandle::is_finished) {
                break;
            }
        }
        let mut statuses = Vec::new();
        for receiver in waiting {
            statuses.push(receiver.await.unwrap());
        }
        statuses
    });
    assert!(statuses.iter().all(|&status| status == 200));
    server.stop();
}

#[test]
fn states_of_a_queue_last_as_long_as_they_are_set_to() {
    let dir = tempfile::tempdir().unwrap();
    let transition = Duration::from_millis(600);
    let config = EngineConfig { journal: small(), transition, ..EngineConfig::new(dir.path()) };
    let server = Server::start(Engine::open(config).unwrap().0);
    let mut client = server.client();
    let stream = make_stream(&mut client, "s");
    let summary = json!({ "StreamARN": stream });
    while client.call("DescribeStreamSummary", &summary)["StreamDescriptionSummary"]["StreamStatus"]
        != "ACTIVE"
    {
        std::thread::sleep(Duration::from_millis(50));
    }
    put(&mut client, &stream, 0..1);
    let queue = make_queue(&mut client, &stream, &json!({}));
    let described = json!({ "QueueARN": queue });
    let status = |client: &mut Client| {
        client.call("DescribeQueue", &described)["QueueDescription"]["QueueStatus"].clone()
    };
    assert_eq!(status(&mut client), "CREATING");
    let attributes = json!({ "QueueARN": queue, "QueueAttributes": { "VisibilityTimeoutSeconds": 0 } });
    assert_eq!(client.ask("UpdateQueue", &attributes).json()["__type"], "ResourceInUseException");
    // Nothing is delivered before the queue is active, and then at once.
    assert_eq!(receive(&mut client, &queue, 5, &json!({})).len(), 1);
    assert_eq!(status(&mut client), "ACTIVE");
    client.call("UpdateQueue", &attributes);
    assert_eq!(status(&mut client), "UPDATING");
    put(&mut client, &stream, 1..2);
    assert_eq!(receive(&mut client, &queue, 1, &json!({})).len(), 1, "it is delivering while it is updated");
    std::thread::sleep(transition);
    assert_eq!(status(&mut client), "ACTIVE");
    client.call("DeleteQueue", &described);
    assert_eq!(status(&mut client), "DELETING");
    let asked = json!({ "QueueARN": queue, "WaitTimeSeconds": 1 });
    assert_eq!(client.ask("ReceiveQueueRecords", &asked).json()["__type"], "ResourceNotFoundException");
    client.call("DeleteQueue", &described);
    std::thread::sleep(transition * 2);
    assert_eq!(client.ask("DescribeQueue", &described).json()["__type"], "ResourceNotFoundException");
    server.stop();
}
