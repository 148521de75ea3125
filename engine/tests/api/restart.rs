//! What a restart finds.

use crate::support::{Server, open};
use headwater_engine::{Clock, StreamName};
use serde_json::json;
use std::collections::BTreeSet;

#[test]
fn streams_records_and_numbers_go_on_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut put = Vec::new();
    let mut kept = None;
    for round in 0..3 {
        let server = Server::open(dir.path());
        let mut client = server.client();
        if round == 0 {
            client.call("CreateStream", &json!({ "StreamName": "s", "ShardCount": 1, "Tags": { "a": "b" } }));
            client.call(
                "IncreaseStreamRetentionPeriod",
                &json!({ "StreamName": "s", "RetentionPeriodHours": 100 }),
            );
        } else {
            assert_eq!(
                client.ask("CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 })).status,
                400
            );
        }
        let summary = client.call("DescribeStreamSummary", &json!({ "StreamName": "s" }));
        let summary = &summary["StreamDescriptionSummary"];
        assert_eq!(
            (&summary["RetentionPeriodHours"], &summary["StreamStatus"]),
            (&json!(100), &json!("ACTIVE"))
        );
        assert_eq!(client.call("ListTagsForStream", &json!({ "StreamName": "s" }))["Tags"][0]["Value"], "b");
        for i in 0..5 {
            let data = base64_simd::STANDARD.encode_to_string([round, i]);
            let answer =
                client.call("PutRecord", &json!({ "StreamName": "s", "Data": data, "PartitionKey": "k" }));
            put.push((answer["SequenceNumber"].as_str().unwrap().to_owned(), vec![round, i]));
        }
        let iterator = client.iterator("s", "TRIM_HORIZON");
        assert_eq!(client.drain(iterator), put);
        // An iterator handed out before the restart still reads on.
        if let Some(iterator) = kept.replace(client.iterator("s", "LATEST")) {
            assert_eq!(client.drain(iterator), put[put.len() - 5..]);
        }
        server.stop();
    }
    let numbers: BTreeSet<_> = put.iter().map(|(number, _)| number).collect();
    assert!(numbers.len() == put.len() && put.is_sorted());
}

#[test]
fn a_stream_made_again_does_not_show_what_the_deleted_one_held() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut client = server.client();
    client.call("CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    client.call("PutRecord", &json!({ "StreamName": "s", "Data": "b2xk", "PartitionKey": "k" }));
    client.call("DeleteStream", &json!({ "StreamName": "s" }));
    server.stop();
    let server = Server::open(dir.path());
    let mut client = server.client();
    assert_eq!(client.call("ListStreams", &json!({}))["StreamNames"], json!([]));
    client.call("CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let iterator = client.iterator("s", "TRIM_HORIZON");
    assert_eq!(client.drain(iterator), []);
    server.stop();
}

#[test]
fn records_and_marks_of_one_batch_are_both_there_or_neither() {
    let dir = tempfile::tempdir().unwrap();
    let name = StreamName::parse("s").unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = open(dir.path(), Clock::system());
        let stream = engine.ensure_stream(&name, 4).await.unwrap();
        assert_eq!(engine.ensure_stream(&name, 9).await.unwrap(), stream);
        let mut batch = engine.batch();
        for i in 0..100_u8 {
            batch.put(&stream, &format!("device-{}", i % 7), None, &[i]).unwrap();
        }
        batch.mark(b"g/seen/device-1", b"41");
        let mut commit = engine.append(&batch).unwrap();
        assert_eq!(commit.placed().count(), 0, "nothing is placed before it is durable");
        (&mut commit).await.unwrap();
        let placed: Vec<_> = commit.placed().collect();
        assert_eq!(placed.len(), 100);
        for (i, (shard, _)) in placed.iter().enumerate() {
            assert_eq!(*shard, engine.shard_for(&stream, &format!("device-{}", i % 7)));
        }
        engine.barrier().await.unwrap();
        engine.close().await;
        assert!(engine.append(&batch).is_err(), "a closed engine takes nothing");
    });
    runtime.block_on(async {
        let engine = open(dir.path(), Clock::system());
        assert_eq!(engine.meta_get(b"g/seen/device-1").unwrap().value, b"41");
        assert_eq!(engine.meta_list(b"g/").len(), 1);
        assert_eq!(engine.stream(&name).unwrap().state().shards.open_count(), 4);
        engine.close().await;
    });
}
