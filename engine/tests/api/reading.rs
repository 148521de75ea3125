//! Where iterators begin and how far behind the end answers say they are, at every position and with a clock set by hand.

use crate::support::small;
use headwater_engine::{Clock, Engine, EngineConfig};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;

const START_MS: u64 = 1_790_000_000_000;
const DAY_MS: u64 = 86_400_000;

/// An engine whose clock stands until it is moved.
struct Still {
    _dir: TempDir,
    engine: Engine,
    now_ms: Arc<AtomicU64>,
}

impl Still {
    async fn with_stream() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now_ms = Arc::new(AtomicU64::new(START_MS));
        let shown = Arc::clone(&now_ms);
        let clock = Clock::new(move || shown.load(Ordering::Relaxed));
        let config = EngineConfig { journal: small(), clock, ..EngineConfig::new(dir.path()) };
        let still = Still { _dir: dir, engine: Engine::open(config).unwrap().0, now_ms };
        still.call("CreateStream", json!({ "StreamName": "s", "ShardCount": 1 })).await;
        still
    }

    fn pass(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Ordering::Relaxed);
    }

    async fn ask(&self, operation: &str, body: Value) -> Value {
        let answer = self.engine.call(operation, body.to_string().as_bytes()).await;
        if answer.body.is_empty() { json!({}) } else { serde_json::from_slice(&answer.body).unwrap() }
    }

    async fn call(&self, operation: &str, body: Value) -> Value {
        let answer = self.ask(operation, body).await;
        assert!(answer.get("__type").is_none(), "{operation}: {answer}");
        answer
    }

    async fn put(&self, text: &str) -> String {
        let data = base64_simd::STANDARD.encode_to_string(text);
        let body = json!({ "StreamName": "s", "Data": data, "PartitionKey": "k", "ExplicitHashKey": "0" });
        self.call("PutRecord", body).await["SequenceNumber"].as_str().unwrap().to_owned()
    }

    async fn iterator(&self, shard: u32, kind: &str, more: Value) -> Value {
        let mut body = json!({ "StreamName": "s", "ShardId": format!("shardId-{shard:012}"), "ShardIteratorType": kind });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
        self.call("GetShardIterator", body).await["ShardIterator"].clone()
    }

    async fn read(&self, iterator: &Value, limit: usize) -> Page {
        let answer = self.call("GetRecords", json!({ "ShardIterator": iterator, "Limit": limit })).await;
        let text = |record: &Value| {
            let data = base64_simd::STANDARD.decode_to_vec(record["Data"].as_str().unwrap()).unwrap();
            String::from_utf8(data).unwrap()
        };
        Page {
            texts: answer["Records"].as_array().unwrap().iter().map(text).collect(),
            behind_ms: answer["MillisBehindLatest"].as_u64().unwrap(),
            next: answer.get("NextShardIterator").cloned(),
            children: answer["ChildShards"].clone(),
        }
    }
}

struct Page {
    texts: Vec<String>,
    behind_ms: u64,
    next: Option<Value>,
    children: Value,
}

#[tokio::test]
async fn the_lag_is_the_age_of_the_last_record_given_at_every_position() {
    let still = Still::with_stream().await;
    let empty = still.iterator(0, "TRIM_HORIZON", json!({})).await;
    assert_eq!(still.read(&empty, 1).await.behind_ms, 0, "an empty shard has no end to be behind of");
    for i in 0..4 {
        still.put(&i.to_string()).await;
        still.pass(1_000);
    }
    // Records of 0, 1, 2 and 3 s; it is 4 s now.
    let mut at = still.iterator(0, "TRIM_HORIZON", json!({})).await;
    for (text, behind_ms) in [("0", 4_000), ("1", 3_000), ("2", 2_000), ("3", 0)] {
        let page = still.read(&at, 1).await;
        assert_eq!((page.texts, page.behind_ms), (vec![text.to_owned()], behind_ms));
        at = page.next.unwrap();
    }
    let page = still.read(&at, 1).await;
    assert_eq!((page.texts.len(), page.behind_ms), (0, 0));
    // A new one behind the tip, read by somebody who is late.
    still.put("4").await;
    still.put("5").await;
    still.pass(250);
    let page = still.read(&page.next.unwrap(), 1).await;
    assert_eq!((page.texts, page.behind_ms), (vec!["4".to_owned()], 250));
    // What just arrived is not the end.
    still.put("6").await;
    let latest = still.iterator(0, "LATEST", json!({})).await;
    assert_eq!(still.read(&latest, 1).await.behind_ms, 0);
    let at = json!({ "Timestamp": START_MS / 1_000 + 4 });
    let at = still.iterator(0, "AT_TIMESTAMP", at).await;
    assert_eq!(still.read(&at, 2).await.behind_ms, 250);
    still.engine.close().await;
}

#[tokio::test]
async fn records_expire_one_by_one_for_every_reader() {
    let still = Still::with_stream().await;
    let mut numbers = Vec::new();
    for i in 0..4 {
        numbers.push(still.put(&i.to_string()).await);
        still.pass(1_000);
    }
    // The first two are a day and more old, the third a day to the millisecond.
    still.pass(DAY_MS - 2_000);
    let horizon = still.iterator(0, "TRIM_HORIZON", json!({})).await;
    assert_eq!(still.read(&horizon, 10).await.texts, ["2", "3"]);
    for kind in ["AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"] {
        let at = still.iterator(0, kind, json!({ "StartingSequenceNumber": numbers[0] })).await;
        let page = still.read(&at, 1).await;
        assert_eq!((page.texts, page.behind_ms), (vec!["2".to_owned()], DAY_MS), "{kind}");
    }
    let at = still.iterator(0, "AT_TIMESTAMP", json!({ "Timestamp": START_MS / 1_000 })).await;
    assert_eq!(still.read(&at, 10).await.texts, ["2", "3"]);
    still.pass(1);
    assert_eq!(still.read(&horizon, 10).await.texts, ["3"], "an iterator from before does not bring it back");
    // Longer retention from now on brings back nothing that had expired.
    let longer = json!({ "StreamName": "s", "RetentionPeriodHours": 48 });
    still.call("IncreaseStreamRetentionPeriod", longer).await;
    let horizon = still.iterator(0, "TRIM_HORIZON", json!({})).await;
    assert_eq!(still.read(&horizon, 10).await.texts, ["3"]);
    still.pass(2 * DAY_MS);
    let horizon = still.iterator(0, "TRIM_HORIZON", json!({})).await;
    let page = still.read(&horizon, 10).await;
    assert_eq!((page.texts.len(), page.behind_ms), (0, 0), "all of them expired: nothing to be behind of");
    still.engine.close().await;
}

#[tokio::test]
async fn a_closed_shard_is_read_to_its_end_from_every_position_and_names_its_children() {
    let still = Still::with_stream().await;
    for i in 0..3 {
        still.put(&i.to_string()).await;
        still.pass(1_000);
    }
    let waiting = still.iterator(0, "LATEST", json!({})).await;
    let half = (1_u128 << 127).to_string();
    let split =
        json!({ "StreamName": "s", "ShardToSplit": "shardId-000000000000", "NewStartingHashKey": half });
    still.call("SplitShard", split).await;
    still.pass(5_000);
    let shards = still.call("ListShards", json!({ "StreamName": "s" })).await;
    let end = shards["Shards"][0]["SequenceNumberRange"]["EndingSequenceNumber"].clone();
    let mut at = still.iterator(0, "TRIM_HORIZON", json!({})).await;
    for (text, behind_ms) in [("0", 8_000), ("1", 7_000)] {
        let page = still.read(&at, 1).await;
        assert_eq!((page.texts, page.behind_ms), (vec![text.to_owned()], behind_ms));
        assert!(page.children.is_null(), "the end is not reached");
        at = page.next.unwrap();
    }
    let last = still.read(&at, 1).await;
    assert_eq!((last.texts, last.behind_ms, last.next), (vec!["2".to_owned()], 0, None));
    let expected = json!([
        { "ShardId": "shardId-000000000001", "ParentShards": ["shardId-000000000000"],
          "HashKeyRange": { "StartingHashKey": "0", "EndingHashKey": ((1_u128 << 127) - 1).to_string() } },
        { "ShardId": "shardId-000000000002", "ParentShards": ["shardId-000000000000"],
          "HashKeyRange": { "StartingHashKey": half, "EndingHashKey": u128::MAX.to_string() } },
    ]);
    assert_eq!(last.children, expected);
    let latest = still.iterator(0, "LATEST", json!({})).await;
    let at_end = still.iterator(0, "AT_SEQUENCE_NUMBER", json!({ "StartingSequenceNumber": end })).await;
    let after_end =
        still.iterator(0, "AFTER_SEQUENCE_NUMBER", json!({ "StartingSequenceNumber": end })).await;
    let later = still.iterator(0, "AT_TIMESTAMP", json!({ "Timestamp": START_MS / 1_000 + 7 })).await;
    for (name, at) in [
        ("from before the split", &waiting),
        ("LATEST", &latest),
        ("AT the end", &at_end),
        ("AFTER the end", &after_end),
        ("AT_TIMESTAMP after the end", &later),
    ] {
        let page = still.read(at, 10).await;
        assert_eq!((page.texts.len(), page.behind_ms, &page.next), (0, 0, &None), "{name}");
        assert_eq!(page.children, expected, "{name}");
    }
    // Its number is not one of its child's.
    let ask = json!({ "StreamName": "s", "ShardId": "shardId-000000000001", "ShardIteratorType": "AT_SEQUENCE_NUMBER", "StartingSequenceNumber": end });
    assert_eq!(still.ask("GetShardIterator", ask).await["__type"], "InvalidArgumentException");
    // After the merge both parents are named, and retention has emptied the first shard.
    let merge = json!({ "StreamName": "s", "ShardToMerge": "shardId-000000000001", "AdjacentShardToMerge": "shardId-000000000002" });
    still.put("3").await;
    still.call("MergeShards", merge).await;
    let at = still.iterator(1, "TRIM_HORIZON", json!({})).await;
    let page = still.read(&at, 10).await;
    assert_eq!((page.texts, page.next), (vec!["3".to_owned()], None));
    assert_eq!(page.children[0]["ParentShards"], json!(["shardId-000000000001", "shardId-000000000002"]));
    assert_eq!(page.children[0]["HashKeyRange"]["EndingHashKey"], u128::MAX.to_string());
    still.engine.close().await;
}

#[tokio::test]
async fn an_answer_holds_ten_mebibytes_to_the_byte_and_ten_thousand_records() {
    let still = Still::with_stream().await;
    // Ten records of a mebibyte with their keys, each appended for itself.
    for _ in 0..10 {
        still.put(&"x".repeat((1 << 20) - 1)).await;
    }
    still.put("").await;
    let at = still.iterator(0, "TRIM_HORIZON", json!({})).await;
    let page = still.read(&at, 10_000).await;
    assert_eq!(page.texts.len(), 10, "all of 10 MiB, and not the key of the next one");
    assert_eq!(still.read(&page.next.unwrap(), 10_000).await.texts, [""]);
    let records: Vec<_> = (0..500).map(|_| json!({ "Data": "", "PartitionKey": "k" })).collect();
    for _ in 0..21 {
        still.call("PutRecords", json!({ "StreamName": "s", "Records": records })).await;
    }
    let latest = still.iterator(0, "TRIM_HORIZON", json!({})).await;
    let page = still.read(&latest, 10_000).await;
    let page = still.read(&page.next.unwrap(), 10_000).await;
    assert_eq!(page.texts.len(), 10_000);
    assert_eq!(still.read(&page.next.unwrap(), 10_000).await.texts.len(), 501);
    still.engine.close().await;
}
