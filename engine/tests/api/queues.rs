//! Queues through the API: who gets which record, and what a crash changes about it.

mod crash;
mod sealed;
mod waiting;

use crate::support::{Ahead, Client, Server, open};
use headwater_engine::{Plan, Step, StreamName};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

fn make_stream(client: &mut Client, name: &str) -> String {
    let mode = json!({ "StreamMode": "ON_DEMAND" });
    client.call("CreateStream", &json!({ "StreamName": name, "StreamModeDetails": mode }));
    format!("arn:aws:kinesis:us-east-1:000000000000:stream/{name}")
}

/// A queue over everything the stream has; its ARN.
fn make_queue(client: &mut Client, stream: &str, attributes: &Value) -> String {
    let configuration = json!([{ "StreamARN": stream, "StartingPosition": { "Type": "TRIM_HORIZON" } }]);
    let asked = json!({
        "QueueName": "q", "StreamConfigurationList": configuration, "QueueAttributes": attributes,
    });
    client.call("CreateQueue", &asked)["QueueDescription"]["QueueARN"].as_str().unwrap().to_owned()
}

fn put(client: &mut Client, stream: &str, numbers: std::ops::Range<usize>) {
    for chunk in numbers.collect::<Vec<_>>().chunks(500) {
        let record = |i: &usize| {
            let data = base64_simd::STANDARD.encode_to_string(i.to_string());
            json!({ "Data": data, "PartitionKey": format!("k{i}") })
        };
        let records: Vec<Value> = chunk.iter().map(record).collect();
        let answer = client.call("PutRecords", &json!({ "StreamARN": stream, "Records": records }));
        assert_eq!(answer["FailedRecordCount"], 0);
    }
}

fn receive(client: &mut Client, queue: &str, wait: u32, more: &Value) -> Vec<Value> {
    let mut asked = json!({ "QueueARN": queue, "WaitTimeSeconds": wait });
    asked.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let answer = client.call("ReceiveQueueRecords", &asked);
    answer["QueueRecords"].as_array().unwrap().clone()
}

fn number(record: &Value) -> usize {
    let data = base64_simd::STANDARD.decode_to_vec(record["Data"].as_str().unwrap()).unwrap();
    String::from_utf8(data).unwrap().parse().unwrap()
}

fn handles(records: &[Value]) -> Value {
    records.iter().map(|record| json!({ "ReceiptHandle": record["ReceiptHandle"] })).collect()
}

/// Acknowledges; the numbers of entries that failed.
fn acknowledge(client: &mut Client, queue: &str, records: &[Value]) -> usize {
    let asked = json!({ "QueueARN": queue, "Entries": handles(records) });
    client.call("AcknowledgeQueueRecords", &asked)["Failed"].as_array().unwrap().len()
}

#[test]
fn a_record_is_received_counted_and_acknowledged_across_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut client = server.client();
    let stream = make_stream(&mut client, "s");
    let queue = make_queue(&mut client, &stream, &json!({ "VisibilityTimeoutSeconds": 0 }));
    put(&mut client, &stream, 0..12);
    let first = receive(&mut client, &queue, 1, &json!({ "Limit": 4 }));
    assert_eq!(first.len(), 4);
    assert_eq!(acknowledge(&mut client, &queue, &first[..2]), 0);
    server.stop();
    let server = Server::open(dir.path());
    let mut client = server.client();
    let mut counts = BTreeMap::new();
    for _ in 0..2 {
        for record in receive(&mut client, &queue, 1, &json!({ "VisibilityTimeoutSeconds": 600 })) {
            assert!(counts.insert(number(&record), record["ReceiveCount"].as_u64().unwrap()).is_none());
        }
    }
    let known: BTreeSet<_> = first.iter().map(number).collect();
    let acknowledged: BTreeSet<_> = first[..2].iter().map(number).collect();
    assert_eq!(counts.len(), 10);
    for (number, count) in counts {
        assert!(!acknowledged.contains(&number));
        assert_eq!(count, if known.contains(&number) { 2 } else { 1 }, "{number}");
    }
    // Invisible for ten minutes: also after another start.
    server.stop();
    let server = Server::open(dir.path());
    assert!(receive(&mut server.client(), &queue, 1, &json!({})).is_empty());
    server.stop();
}

#[test]
fn eight_receivers_get_each_record_once() {
    const RECORDS: usize = 4_000;
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut client = server.client();
    let stream = make_stream(&mut client, "s");
    let queue = make_queue(&mut client, &stream, &json!({ "VisibilityTimeoutSeconds": 600 }));
    let left = Arc::new(AtomicUsize::new(RECORDS));
    let received = Arc::new(Mutex::new(BTreeMap::<usize, u32>::new()));
    let receivers: Vec<_> = (0..8)
        .map(|_| {
            let (mut client, queue) = (server.client(), queue.clone());
            let (left, received) = (Arc::clone(&left), Arc::clone(&received));
            std::thread::spawn(move || {
                while left.load(Ordering::Relaxed) > 0 {
                    let records = receive(&mut client, &queue, 1, &json!({}));
                    if records.is_empty() {
                        continue;
                    }
                    let mut received = received.lock().unwrap();
                    records.iter().for_each(|record| *received.entry(number(record)).or_default() += 1);
                    drop(received);
                    assert_eq!(acknowledge(&mut client, &queue, &records), 0);
                    left.fetch_sub(records.len(), Ordering::Relaxed);
                }
            })
        })
        .collect();
    // While they receive.
    for start in (0..RECORDS).step_by(100) {
        put(&mut client, &stream, start..start + 100);
    }
    receivers.into_iter().for_each(|receiver| receiver.join().unwrap());
    let received = received.lock().unwrap();
    assert_eq!(received.len(), RECORDS, "none is lost");
    assert!(received.values().all(|&count| count == 1), "none is given twice");
    assert!(receive(&mut client, &queue, 1, &json!({})).is_empty());
    server.stop();
}

#[test]
fn records_past_the_retention_are_passed_by_wherever_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let ahead = Ahead::default();
    let server = Server::start(open(dir.path(), ahead.clock()));
    let mut client = server.client();
    let stream = make_stream(&mut client, "s");
    let queue = make_queue(&mut client, &stream, &json!({ "VisibilityTimeoutSeconds": 0 }));
    put(&mut client, &stream, 0..20);
    let received = receive(&mut client, &queue, 1, &json!({ "Limit": 5 }));
    assert_eq!(received.len(), 5);
    ahead.advance(25 * 3_600_000);
    put(&mut client, &stream, 20..22);
    let mut found = BTreeSet::new();
    while found.len() < 2 {
        found.extend(
            receive(&mut client, &queue, 1, &json!({ "VisibilityTimeoutSeconds": 600 })).iter().map(number),
        );
    }
    assert_eq!(found, BTreeSet::from([20, 21]));
    let late = json!({ "ReceiptHandle": received[0]["ReceiptHandle"], "VisibilityTimeoutSeconds": 9 });
    let answer =
        client.call("UpdateQueueRecordsVisibility", &json!({ "QueueARN": queue, "Entries": [late] }));
    assert_eq!(answer["Failed"][0]["ErrorCode"], "ResourceNotFoundException");
    assert!(server.engine.queue_counters().records_expired >= 5, "{:?}", server.engine.queue_counters());
    server.stop();
}

#[test]
fn children_of_a_split_follow_their_parent() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut client = server.client();
    let stream = make_stream(&mut client, "s");
    let queue = make_queue(&mut client, &stream, &json!({ "VisibilityTimeoutSeconds": 600 }));
    put(&mut client, &stream, 0..40);
    // The API splits no shards of on-demand streams, and only those have queues.
    let name = StreamName::parse("s").unwrap();
    let state = server.engine.stream(&name).unwrap().state();
    let plan = Plan::Steps(vec![Step::halve(state.shards.open().next().unwrap()).unwrap()]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(server.engine.reshard(&name, plan)).unwrap();
    put(&mut client, &stream, 40..80);
    let mut found = Vec::new();
    while found.len() < 80 {
        let records = receive(&mut client, &queue, 2, &json!({}));
        assert!(!records.is_empty(), "{} of 80", found.len());
        found.extend(records.iter().map(number));
    }
    found.sort_unstable();
    assert_eq!(found, (0..80).collect::<Vec<_>>());
    server.stop();
}

#[test]
fn a_deleted_queue_and_a_deleted_stream_leave_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut client = server.client();
    let stream = make_stream(&mut client, "s");
    let queue = make_queue(&mut client, &stream, &json!({}));
    put(&mut client, &stream, 0..100);
    receive(&mut client, &queue, 1, &json!({}));
    let stored = |server: &Server| server.engine.meta_list(b"s/q/").len();
    assert!(stored(&server) > 5);
    client.call("DeleteQueue", &json!({ "QueueARN": queue }));
    assert_eq!(stored(&server), 1, "but the number of the next queue");
    let queue = make_queue(&mut client, &stream, &json!({}));
    receive(&mut client, &queue, 1, &json!({}));
    // The host may delete a stream with its queues.
    let name = headwater_engine::StreamName::parse("s").unwrap();
    let engine = server.engine.clone();
    let deleted = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(engine.delete_stream(&name))
    });
    deleted.join().unwrap().unwrap();
    assert_eq!(stored(&server), 1);
    assert_eq!(client.call("ListQueues", &json!({}))["QueueSummaries"], json!([]));
    server.stop();
}
