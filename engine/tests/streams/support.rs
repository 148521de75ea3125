//! An engine on a journal in a directory, and the API in the same process.

use headwater_engine::storage::embedded::{EmbeddedLog, EmbeddedMeta};
use headwater_engine::storage::{MetaStore, ShardLog};
use headwater_engine::{Clock, Engine, EngineConfig, StreamName};
use headwater_journal::{Config, Journal};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A journal that takes little room.
pub(crate) fn small() -> Config {
    Config {
        segment_bytes: 1 << 20,
        pool_segments: 0,
        size_bytes_max: 256 << 20,
        reserve_bytes: 0,
        ..Config::small()
    }
}

/// A clock that stands where a test puts it.
#[derive(Clone)]
pub(crate) struct Hands(Arc<AtomicU64>);

impl Hands {
    pub(crate) fn at(ms: u64) -> Hands {
        Hands(Arc::new(AtomicU64::new(ms)))
    }

    pub(crate) fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }

    pub(crate) fn clock(&self) -> Clock {
        let hands = self.clone();
        Clock::new(move || hands.0.load(Ordering::Relaxed))
    }
}

fn of_journal(clock: &Clock) -> headwater_journal::Clock {
    let clock = clock.clone();
    headwater_journal::Clock::of(move || clock.moment())
}

/// A journal and the stores on it.
pub(crate) struct Stores {
    pub(crate) journal: Journal,
    pub(crate) log: Arc<dyn ShardLog>,
    pub(crate) meta: Arc<dyn MetaStore>,
}

impl Stores {
    pub(crate) fn open(dir: &Path, clock: &Clock) -> Stores {
        // Tasks of an engine that is gone may hold the journal for a moment longer.
        let opened = (0..1_000).find_map(|_| match Journal::open_with(dir, small(), of_journal(clock)) {
            Ok(opened) => Some(opened),
            Err(error) if format!("{error:?}").contains("ResourceBusy") => {
                std::thread::sleep(Duration::from_millis(2));
                None
            }
            Err(error) => panic!("{error}"),
        });
        let (journal, recovery) = opened.expect("nobody holds the journal any more");
        assert!(recovery.is_clean(), "{recovery:?}");
        let log = EmbeddedLog::new(journal.clone());
        let meta = EmbeddedMeta::new(&log);
        Stores { journal, log: Arc::new(log), meta: Arc::new(meta) }
    }

    /// Ends them: what is not on the disk by now never will be.
    pub(crate) fn close(self) {
        self.journal.close();
    }

    /// An engine on them as they are.
    pub(crate) fn engine(&self, config: &EngineConfig) -> Engine {
        Engine::on(Arc::clone(&self.log), Arc::clone(&self.meta), config)
    }
}

pub(crate) fn name(text: &str) -> StreamName {
    StreamName::parse(text).unwrap()
}

/// Asks the API; the answer, or the type of error and its message.
pub(crate) async fn ask(engine: &Engine, operation: &str, body: &Value) -> Result<Value, (String, String)> {
    let answer = engine.call(operation, body.to_string().as_bytes()).await;
    let found =
        if answer.body.is_empty() { Value::Null } else { serde_json::from_slice(&answer.body).unwrap() };
    if answer.status == 200 {
        return Ok(found);
    }
    let text = |member: &str| found[member].as_str().unwrap_or_default().to_owned();
    Err((text("__type"), text("message")))
}

/// Asks what must succeed.
pub(crate) async fn call(engine: &Engine, operation: &str, body: &Value) -> Value {
    match ask(engine, operation, body).await {
        Ok(answer) => answer,
        Err(error) => panic!("{operation} {body}: {error:?}"),
    }
}

/// Puts one record; `key` and a number, so that order can be checked.
pub(crate) async fn put(
    engine: &Engine,
    stream: &str,
    key: &str,
    number: u32,
) -> Result<(), (String, String)> {
    let data = base64_simd::STANDARD.encode_to_string(format!("{key} {number}"));
    let body = json!({ "StreamName": stream, "PartitionKey": key, "Data": data });
    ask(engine, "PutRecord", &body).await.map(|_| ())
}

pub(crate) async fn shards(engine: &Engine, stream: &str) -> Vec<Value> {
    let listed = call(engine, "ListShards", &json!({ "StreamName": stream })).await;
    listed["Shards"].as_array().unwrap().clone()
}

/// First keys of the open shards.
pub(crate) fn open_ranges(shards: &[Value]) -> BTreeMap<u128, u128> {
    let key =
        |shard: &Value, end: &str| shard["HashKeyRange"][end].as_str().unwrap().parse::<u128>().unwrap();
    let open = shards.iter().filter(|shard| shard["SequenceNumberRange"]["EndingSequenceNumber"].is_null());
    open.map(|shard| (key(shard, "StartingHashKey"), key(shard, "EndingHashKey"))).collect()
}

/// Every key has one open shard.
pub(crate) fn assert_cover(shards: &[Value]) {
    let mut next = Some(0);
    for (start, end) in open_ranges(shards) {
        assert_eq!(Some(start), next, "{shards:?}");
        next = end.checked_add(1);
    }
    assert_eq!(next, None, "{shards:?}");
    let ids: BTreeSet<_> = shards.iter().map(|shard| shard["ShardId"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), shards.len());
}

/// Records of one shard from its beginning: (sequence number, key, number), and the children it named at its end.
pub(crate) async fn drain(
    engine: &Engine,
    stream: &str,
    shard: &str,
) -> (Vec<(String, String, u32)>, Option<Vec<String>>) {
    let from = json!({ "StreamName": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
    let mut iterator =
        call(engine, "GetShardIterator", &from).await["ShardIterator"].as_str().unwrap().to_owned();
    let mut records = Vec::new();
    loop {
        let page = call(engine, "GetRecords", &json!({ "ShardIterator": iterator, "Limit": 7 })).await;
        for record in page["Records"].as_array().unwrap() {
            records.push(read(record));
        }
        if let Some(children) = page["ChildShards"].as_array() {
            assert!(page["NextShardIterator"].is_null());
            let ids = children.iter().map(|child| child["ShardId"].as_str().unwrap().to_owned());
            return (records, Some(ids.collect()));
        }
        if page["MillisBehindLatest"] == 0 {
            return (records, None);
        }
        iterator = page["NextShardIterator"].as_str().unwrap().to_owned();
    }
}

pub(crate) fn read(record: &Value) -> (String, String, u32) {
    let data = base64_simd::STANDARD.decode_to_vec(record["Data"].as_str().unwrap()).unwrap();
    let data = String::from_utf8(data).unwrap();
    let (key, number) = data.split_once(' ').unwrap();
    assert_eq!(record["PartitionKey"].as_str().unwrap(), key);
    (record["SequenceNumber"].as_str().unwrap().to_owned(), key.to_owned(), number.parse().unwrap())
}

/// All records by key, shards in order of their ids, which is parents before children.
pub(crate) async fn by_key(engine: &Engine, stream: &str) -> BTreeMap<String, Vec<u32>> {
    let mut found: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let mut last: BTreeMap<String, String> = BTreeMap::new();
    for shard in shards(engine, stream).await {
        let (records, children) = drain(engine, stream, shard["ShardId"].as_str().unwrap()).await;
        let ended = !shard["SequenceNumberRange"]["EndingSequenceNumber"].is_null();
        assert_eq!(ended, children.is_some_and(|children| !children.is_empty()), "{shard}");
        for (sequence, key, number) in records {
            // Sequence numbers of one key go up, also from a parent to its child.
            if let Some(before) = last.insert(key.clone(), sequence.clone()) {
                assert!(before < sequence, "{key}: {before} then {sequence}");
            }
            found.entry(key).or_default().push(number);
        }
    }
    found
}

/// Waits until every stream is ACTIVE.
pub(crate) async fn settled(engine: &Engine) {
    for _ in 0..1_000 {
        let states = engine.streams().into_iter().map(|stream| stream.state().definition.status.as_str());
        if states.collect::<BTreeSet<_>>().iter().all(|state| *state == "ACTIVE") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("streams stay in another state: {:?}", engine.streams());
}
