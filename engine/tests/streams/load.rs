//! Reshards while records are put and followed: every acknowledged record is read exactly once, in the order of its key.

use crate::support::{Hands, Stores, ask, assert_cover, call, name, read, shards};
use headwater_engine::storage::AppendError;
use headwater_engine::{Clock, Engine, EngineConfig};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const KEYS: u32 = 12;

/// How many records of each key were acknowledged.
type Written = BTreeMap<String, u32>;

/// Puts through the API, several keys a call, the next call after the answer.
async fn write_by_api(engine: Engine, writer: u32, stop: Arc<AtomicBool>) -> Written {
    let keys: Vec<String> = (0..KEYS).map(|key| format!("api-{writer}-{key}")).collect();
    let mut written = Written::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let record = |key: &String| {
            let data = base64_simd::STANDARD.encode_to_string(format!("{key} {number}"));
            json!({ "PartitionKey": key, "Data": data })
        };
        let records: Vec<_> = keys.iter().map(record).collect();
        let answer = call(&engine, "PutRecords", &json!({ "StreamName": "s", "Records": records })).await;
        assert_eq!(answer["FailedRecordCount"], 0, "a reshard is waited for, not told: {answer}");
        keys.iter().for_each(|key| *written.entry(key.clone()).or_default() += 1);
        number += 1;
    }
    written
}

/// Appends batches as a host does: the next one before the last is durable, and a refused one again as it is.
async fn write_as_host(engine: Engine, writer: u32, stop: Arc<AtomicBool>) -> Written {
    let stream = engine.stream(&name("s")).unwrap();
    let mut written = Written::new();
    let (mut commits, mut number) = (Vec::new(), 0);
    let mut batch = engine.batch();
    while !stop.load(Ordering::Relaxed) {
        batch.clear();
        for key in 0..KEYS {
            let key = format!("host-{writer}-{key}");
            batch.put(&stream, &key, None, format!("{key} {number}").as_bytes()).unwrap();
            *written.entry(key).or_default() += 1;
        }
        number += 1;
        // Between being made and being taken shards end and begin.
        tokio::task::yield_now().await;
        loop {
            match engine.append(&batch) {
                Ok(commit) => break commits.push(commit),
                Err(AppendError::Busy) => tokio::time::sleep(Duration::from_millis(1)).await,
                Err(error) => panic!("{error}"),
            }
        }
        if commits.len() > 16 {
            for mut commit in commits.drain(..) {
                (&mut commit).await.unwrap();
                assert_eq!(commit.placed().count(), KEYS as usize);
            }
        }
    }
    for commit in commits {
        commit.await.unwrap();
    }
    written
}

/// Reads from the first shards on, and their children after all their parents, until everything is read.
async fn follow(engine: Engine, stop: Arc<AtomicBool>) -> BTreeMap<String, Vec<u32>> {
    let mut found: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let (mut at, mut ended) = (BTreeMap::new(), BTreeSet::new());
    for shard in ["shardId-000000000000", "shardId-000000000001"] {
        at.insert(shard.to_owned(), begin(&engine, shard).await);
    }
    let mut waiting: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    loop {
        let last_round = stop.load(Ordering::Relaxed);
        let mut behind = false;
        for (shard, iterator) in at.clone() {
            let page = call(&engine, "GetRecords", &json!({ "ShardIterator": iterator, "Limit": 500 })).await;
            for record in page["Records"].as_array().unwrap() {
                let (_, key, number) = read(record);
                found.entry(key).or_default().push(number);
            }
            behind |= page["MillisBehindLatest"] != 0;
            if let Some(next) = page["NextShardIterator"].as_str() {
                at.insert(shard, next.to_owned());
                continue;
            }
            behind = true;
            at.remove(&shard);
            ended.insert(shard);
            for child in page["ChildShards"].as_array().unwrap() {
                let parents = child["ParentShards"].as_array().unwrap().iter();
                let parents = parents.map(|parent| parent.as_str().unwrap().to_owned());
                waiting.insert(child["ShardId"].as_str().unwrap().to_owned(), parents.collect());
            }
            for (child, parents) in waiting.clone() {
                if parents.is_subset(&ended) {
                    waiting.remove(&child);
                    at.insert(child.clone(), begin(&engine, &child).await);
                }
            }
        }
        if last_round && !behind {
            assert!(waiting.is_empty(), "children of which a parent never ended: {waiting:?}");
            return found;
        }
        tokio::task::yield_now().await;
    }
}

async fn begin(engine: &Engine, shard: &str) -> String {
    let from = json!({ "StreamName": "s", "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
    call(engine, "GetShardIterator", &from).await["ShardIterator"].as_str().unwrap().to_owned()
}

fn random(state: &mut u64, below: usize) -> usize {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    usize::try_from(*state >> 33).unwrap() % below.max(1)
}

/// Open shards by their first keys: (id, first key, last key).
async fn open_shards(engine: &Engine) -> Vec<(String, u128, u128)> {
    let key = |shard: &Value, end: &str| shard["HashKeyRange"][end].as_str().unwrap().parse().unwrap();
    let all = shards(engine, "s").await;
    assert_cover(&all);
    let open = all.iter().filter(|shard| shard["SequenceNumberRange"]["EndingSequenceNumber"].is_null());
    let id = |shard: &Value| shard["ShardId"].as_str().unwrap().to_owned();
    let mut open: Vec<_> =
        open.map(|shard| (id(shard), key(shard, "StartingHashKey"), key(shard, "EndingHashKey"))).collect();
    open.sort_by_key(|&(_, start, _)| start);
    open
}

async fn reshard(engine: &Engine, state: &mut u64) {
    let open = open_shards(engine).await;
    let one = random(state, open.len());
    let (operation, body) = match random(state, 3) {
        0 if open.len() < 12 => {
            let (shard, start, end) = &open[one];
            let at = start + (end - start) / 3;
            (
                "SplitShard",
                json!({ "StreamName": "s", "ShardToSplit": shard, "NewStartingHashKey": at.to_string() }),
            )
        }
        1 if one + 1 < open.len() => {
            let (shard, adjacent) = (&open[one].0, &open[one + 1].0);
            let body = json!({ "StreamName": "s", "ShardToMerge": shard, "AdjacentShardToMerge": adjacent });
            ("MergeShards", body)
        }
        _ => {
            let target = 1 + random(state, 8);
            let body =
                json!({ "StreamName": "s", "TargetShardCount": target, "ScalingType": "UNIFORM_SCALING" });
            ("UpdateShardCount", body)
        }
    };
    ask(engine, operation, &body).await.unwrap_or_else(|error| panic!("{operation} {body}: {error:?}"));
}

fn run(seed: u64, reshards: usize) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let stores = Stores::open(dir.path(), &Clock::system());
    runtime.block_on(async {
        let engine = stores.engine(&EngineConfig::new(dir.path()));
        call(&engine, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 2 })).await;
        let (stop, over) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let mut writers = Vec::new();
        for writer in 0..2 {
            writers.push(tokio::spawn(write_by_api(engine.clone(), writer, Arc::clone(&stop))));
            writers.push(tokio::spawn(write_as_host(engine.clone(), writer, Arc::clone(&stop))));
        }
        let readers: Vec<_> =
            (0..2).map(|_| tokio::spawn(follow(engine.clone(), Arc::clone(&over)))).collect();
        let mut state = seed;
        for _ in 0..reshards {
            reshard(&engine, &mut state).await;
            tokio::time::sleep(Duration::from_millis(random(&mut state, 12) as u64)).await;
        }
        stop.store(true, Ordering::Relaxed);
        let mut written = Written::new();
        for writer in writers {
            written.extend(writer.await.unwrap());
        }
        over.store(true, Ordering::Relaxed);
        let expected: BTreeMap<String, Vec<u32>> =
            written.into_iter().map(|(key, count)| (key, (0..count).collect())).collect();
        assert!(expected.values().all(|numbers| numbers.len() > 5), "records went on between reshards");
        for reader in readers {
            let found = reader.await.unwrap();
            for (key, numbers) in &expected {
                assert_eq!(found.get(key), Some(numbers), "seed {seed}, {key}");
            }
            assert_eq!(found.len(), expected.len());
        }
    });
    stores.close();
}

#[test]
fn records_put_while_shards_change_are_read_once_and_in_order() {
    for seed in [1, 2, 3] {
        run(seed, 40);
    }
}

#[test]
fn a_batch_made_before_a_reshard_goes_to_the_shards_there_are_after_it() {
    let dir = tempfile::tempdir().unwrap();
    let hands = Hands::at(1_800_000_000_000);
    let stores = Stores::open(dir.path(), &hands.clock());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let engine = stores.engine(&EngineConfig { clock: hands.clock(), ..EngineConfig::new(dir.path()) });
        let stream = engine.create_stream(&name("s"), 1).await.unwrap();
        let other = engine.create_stream(&name("other"), 1).await.unwrap();
        let mut batch = engine.batch();
        let top = headwater_engine::HashKey(u128::MAX);
        for number in 0..9_u8 {
            batch.put(&stream, &format!("k{number}"), (number % 2 == 0).then_some(top), &[number]).unwrap();
            batch.put(&other, "k", None, &[number]).unwrap();
        }
        batch.mark(b"g/mark", b"1");
        let count = json!({ "StreamName": "s", "TargetShardCount": 2, "ScalingType": "UNIFORM_SCALING" });
        call(&engine, "UpdateShardCount", &count).await;
        let mut commit = engine.append(&batch).unwrap();
        (&mut commit).await.unwrap();
        let placed: Vec<_> = commit.placed().collect();
        assert_eq!(placed.len(), 18);
        for (i, (shard, sequence)) in (0..).zip(&placed) {
            let (number, first) = (i / 2, i % 2 == 0);
            let expected = match (first, number % 2) {
                (true, 0) => 2,
                (true, _) => engine.shard_for(&stream, &format!("k{number}")).0,
                (false, _) => 0,
            };
            assert_eq!((shard.0, sequence.generation), (expected, u32::from(first)), "record {i}");
        }
        assert_eq!(engine.meta_get(b"g/mark").unwrap().value, b"1", "its marks went with it");
        // Of a stream that is gone nothing is taken, not even what belongs to others.
        engine.delete_stream(&name("other")).await.unwrap();
        assert!(matches!(engine.append(&batch), Err(AppendError::Sealed(_))));
        engine.close().await;
    });
}
