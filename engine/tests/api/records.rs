//! What is put, read and forgotten.

use crate::support::{Ahead, Server, open};
use serde_json::json;

const HOUR_MS: u64 = 3_600_000;

#[test]
fn records_are_not_read_after_their_retention() {
    // Two records 20 hours apart: after 30 hours the first is gone, and a longer retention does not bring it back, as AWS
    // documents, but keeps the second for longer.
    let (dir, ahead) = (tempfile::tempdir().unwrap(), Ahead::default());
    let server = Server::start(open(dir.path(), ahead.clock()));
    let mut client = server.client();
    client.call("CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let put = json!({ "StreamName": "s", "Data": "", "PartitionKey": "k" });
    client.call("PutRecord", &put);
    ahead.advance(20 * HOUR_MS);
    let second = client.call("PutRecord", &put)["SequenceNumber"].clone();
    ahead.advance(10 * HOUR_MS);
    let numbers = |client: &mut crate::support::Client| {
        let iterator = client.iterator("s", "TRIM_HORIZON");
        client.drain(iterator).into_iter().map(|(number, _)| number).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&mut client), [second.as_str().unwrap()]);
    let longer = json!({ "StreamName": "s", "RetentionPeriodHours": 48 });
    client.call("IncreaseStreamRetentionPeriod", &longer);
    assert_eq!(numbers(&mut client), [second.as_str().unwrap()]);
    ahead.advance(30 * HOUR_MS);
    assert_eq!(numbers(&mut client), [second.as_str().unwrap()]);
    let shorter = json!({ "StreamName": "s", "RetentionPeriodHours": 24 });
    client.call("DecreaseStreamRetentionPeriod", &shorter);
    assert!(numbers(&mut client).is_empty());
    client.call("IncreaseStreamRetentionPeriod", &longer);
    assert!(numbers(&mut client).is_empty());
    server.stop();
}

#[test]
fn iterators_and_paging_tokens_expire() {
    let (dir, ahead) = (tempfile::tempdir().unwrap(), Ahead::default());
    let server = Server::start(open(dir.path(), ahead.clock()));
    let mut client = server.client();
    client.call("CreateStream", &json!({ "StreamName": "s", "ShardCount": 3 }));
    let iterator = client.iterator("s", "LATEST");
    let token =
        client.call("ListShards", &json!({ "StreamName": "s", "MaxResults": 1 }))["NextToken"].clone();
    ahead.advance(299_000);
    client.call("GetRecords", &json!({ "ShardIterator": iterator }));
    ahead.advance(2_000);
    let answer = client.ask("GetRecords", &json!({ "ShardIterator": iterator }));
    assert_eq!((answer.status, &answer.json()["__type"]), (400, &json!("ExpiredIteratorException")));
    let answer = client.ask("ListShards", &json!({ "NextToken": token }));
    assert_eq!((answer.status, &answer.json()["__type"]), (400, &json!("ExpiredNextTokenException")));
    server.stop();
}

#[test]
fn a_large_backlog_is_read_in_bounded_pages() {
    // 12 MB in records of 100 kB: no page is above 10 MiB, none is lost, order holds.
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut client = server.client();
    client.call("CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let mut put = Vec::new();
    for batch in 0..12_u8 {
        let record = |i: u8| {
            let data = vec![batch ^ i; 100_000];
            json!({ "Data": base64_simd::STANDARD.encode_to_string(&data), "PartitionKey": "k" })
        };
        let records: Vec<_> = (0..10).map(record).collect();
        let answer = client.call("PutRecords", &json!({ "StreamName": "s", "Records": records }));
        assert_eq!(answer["FailedRecordCount"], 0);
        put.extend(
            answer["Records"]
                .as_array()
                .unwrap()
                .iter()
                .map(|r| r["SequenceNumber"].as_str().unwrap().to_owned()),
        );
    }
    let iterator = client.iterator("s", "TRIM_HORIZON");
    let answer = client.ask("GetRecords", &json!({ "ShardIterator": iterator }));
    assert!(answer.body.len() < 15 << 20 && answer.body.len() > 9 << 20, "{}", answer.body.len());
    let read = client.drain(iterator);
    assert_eq!(read.iter().map(|(number, _)| number.clone()).collect::<Vec<_>>(), put);
    assert!(read.iter().all(|(_, data)| data.len() == 100_000 && data.iter().all(|&b| b == data[0])));
    server.stop();
}

#[test]
fn counters_tell_what_happened() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut client = server.client();
    client.call("CreateStream", &json!({ "StreamName": "s", "ShardCount": 2 }));
    client.call("PutRecord", &json!({ "StreamName": "s", "Data": "aGVsbG8=", "PartitionKey": "key" }));
    assert_eq!(
        client.ask("PutRecord", &json!({ "StreamName": "none", "Data": "", "PartitionKey": "k" })).status,
        400
    );
    assert_eq!(client.ask("Nonsense", &json!({})).status, 400);
    let counters = server.engine.counters();
    let of = |name| counters.operations.iter().find(|o| o.operation == name).unwrap();
    assert_eq!((of("PutRecord").calls, of("PutRecord").client_errors), (2, 1));
    assert_eq!((of("other").calls, of("other").client_errors), (1, 1));
    assert_eq!((counters.records_put, counters.bytes_put), (1, 8));
    assert_eq!((counters.streams, counters.open_shards), (1, 2));
    assert!(counters.journal.unwrap().records >= 1);
    server.stop();
}
