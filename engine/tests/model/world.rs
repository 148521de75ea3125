//! One engine and its model, driven by chance.

use crate::naive::{Naive, Record, Shard, Stream};
use crate::reading::Listed;
use headwater_engine::{Clock, Engine, EngineConfig, HashKey};
use headwater_relay::Seeded;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Most shards a stream is given: enough for every kind of neighbourhood.
const SHARDS_MAX: usize = 12;

/// When every world begins, UTC ms since 1970: far from the machine's time, which must not matter.
const BEGINNING_MS: u64 = 1_600_000_000_000;

pub(crate) struct World {
    /// None only between closing and opening again: the old one holds the lock of its directory.
    engine: Option<Engine>,
    pub(crate) naive: Naive,
    pub(crate) chance: Seeded,
    now_ms: Arc<AtomicU64>,
    dir: tempfile::TempDir,
}

fn open(dir: &std::path::Path, now_ms: &Arc<AtomicU64>) -> Engine {
    let journal = headwater_journal::Config {
        segment_bytes: 1 << 20,
        pool_segments: 1,
        size_bytes_max: 64 << 20,
        reserve_bytes: 0,
        ..headwater_journal::Config::small()
    };
    let now = Arc::clone(now_ms);
    let clock = Clock::new(move || now.load(Ordering::Relaxed));
    let (engine, recovery) = Engine::open(EngineConfig { journal, clock, ..EngineConfig::new(dir) }).unwrap();
    assert!(recovery.is_clean(), "{recovery:?}");
    engine
}

pub(crate) fn shard_of(value: &Value) -> Listed {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let key = |name: &str| value["HashKeyRange"][name].as_str().unwrap().parse().unwrap();
    let parents = ["ParentShardId", "AdjacentParentShardId"].iter().filter_map(|name| value[*name].as_str());
    (
        text(&value["ShardId"]),
        key("StartingHashKey"),
        key("EndingHashKey"),
        parents.map(str::to_owned).collect(),
        value["SequenceNumberRange"]["EndingSequenceNumber"].is_string(),
    )
}

pub(crate) fn expected_shard(shard: &Shard) -> Listed {
    (shard.id.clone(), shard.start, shard.end, shard.parents.clone(), shard.closed_ms.is_some())
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let now_ms = Arc::new(AtomicU64::new(BEGINNING_MS));
        let engine = open(dir.path(), &now_ms);
        World { engine: Some(engine), naive: Naive::default(), chance: Seeded::new(seed), now_ms, dir }
    }

    pub(crate) async fn close(self) {
        self.engine().close().await;
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("a world has an engine")
    }

    /// Makes the model wrong.
    pub(crate) fn forget_one(&mut self) {
        let shards = self.naive.streams.values_mut().flat_map(|stream| &mut stream.shards);
        let shard = shards.into_iter().find(|shard| shard.records.len() > 3).expect("a shard has records");
        shard.records.pop();
    }

    pub(crate) fn now(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    pub(crate) fn pick(&mut self, count: usize) -> usize {
        usize::try_from(self.chance.up_to(count as u64 - 1)).unwrap()
    }

    fn hash(&mut self) -> u128 {
        u128::from(self.chance.next_u64()) << 64 | u128::from(self.chance.next_u64())
    }

    pub(crate) fn a_stream(&mut self) -> Option<String> {
        let names: Vec<_> = self.naive.streams.keys().cloned().collect();
        (!names.is_empty()).then(|| names[self.pick(names.len())].clone())
    }

    /// Calls an operation that the model says succeeds.
    pub(crate) async fn call(&self, operation: &str, body: Value) -> Value {
        let answer = self.engine().call(operation, body.to_string().as_bytes()).await;
        let text = String::from_utf8_lossy(&answer.body);
        assert_eq!(answer.status, 200, "{operation} {body}: {text}");
        if answer.body.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() }
    }

    /// Calls an operation that the model says is refused in this way.
    async fn refused(&self, error: &str, operation: &str, body: Value) {
        let answer = self.engine().call(operation, body.to_string().as_bytes()).await;
        let found: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        assert_eq!(
            (answer.status, found["__type"].as_str()),
            (400, Some(error)),
            "{operation} {body}: {found}"
        );
    }

    pub(crate) async fn step(&mut self) {
        match self.chance.up_to(99) {
            0..=4 => self.create().await,
            5 => self.delete().await,
            6..=44 => self.put().await,
            45..=54 => self.put_many().await,
            55..=74 => self.read_one().await,
            75..=79 => self.split().await,
            80..=84 => self.merge().await,
            85..=86 => self.resize().await,
            87..=89 => self.list().await,
            90..=91 => self.tag().await,
            92 => self.retain().await,
            93..=97 => {
                let most = if self.chance.once_in(10) { 20 * 3_600_000 } else { 60_000 };
                let ms = self.chance.up_to(most);
                self.now_ms.fetch_add(ms, Ordering::Relaxed);
            }
            _ => {
                self.engine().close().await;
                self.engine = None;
                self.engine = Some(open(self.dir.path(), &self.now_ms));
            }
        }
    }

    async fn create(&mut self) {
        let name = format!("stream-{}", self.chance.up_to(3));
        let shards = u32::try_from(self.chance.up_to(4) + 1).unwrap();
        let body = json!({ "StreamName": name, "ShardCount": shards });
        if self.naive.streams.contains_key(&name) {
            return self.refused("ResourceInUseException", "CreateStream", body).await;
        }
        self.call("CreateStream", body).await;
        self.naive.streams.insert(name, Stream::new(shards, self.now()));
    }

    async fn delete(&mut self) {
        let name = format!("stream-{}", self.chance.up_to(3));
        let body = json!({ "StreamName": name });
        match self.naive.streams.remove(&name) {
            Some(_) => drop(self.call("DeleteStream", body).await),
            None => self.refused("ResourceNotFoundException", "DeleteStream", body).await,
        }
    }

    /// A record as a request has it, and the hash key it goes by.
    fn record(&mut self) -> (Value, Record, u128) {
        let key = format!("device-{}", self.chance.up_to(20));
        let bytes = self.pick(120);
        let data: Vec<u8> = (0..bytes).map(|_| u8::try_from(self.chance.up_to(255)).unwrap()).collect();
        let mut entry = json!({ "PartitionKey": key, "Data": base64_simd::STANDARD.encode_to_string(&data) });
        let mut hash = HashKey::of(key.as_bytes()).0;
        if self.chance.once_in(3) {
            hash = if self.chance.once_in(8) { u128::MAX } else { self.hash() };
            entry["ExplicitHashKey"] = hash.to_string().into();
        }
        (entry, Record { number: String::new(), key, data, time_ms: self.now() }, hash)
    }

    fn put_in(&mut self, name: &str, answer: &Value, mut record: Record, hash: u128) {
        let shard = self.naive.streams.get_mut(name).unwrap().taker(hash);
        record.number = answer["SequenceNumber"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        assert_eq!(answer["ShardId"], shard.id, "{hash}");
        if let Some(last) = shard.records.last() {
            assert!(last.number < record.number && last.number.len() == record.number.len());
        }
        shard.records.push(record);
    }

    async fn put(&mut self) {
        let (mut body, record, hash) = self.record();
        let Some(name) = self.a_stream() else {
            body["StreamName"] = "stream-0".into();
            return self.refused("ResourceNotFoundException", "PutRecord", body).await;
        };
        body["StreamName"] = name.as_str().into();
        let answer = self.call("PutRecord", body).await;
        self.put_in(&name, &answer, record, hash);
    }

    async fn put_many(&mut self) {
        let Some(name) = self.a_stream() else { return };
        let count = 1 + self.pick(40);
        let records: Vec<_> = (0..count).map(|_| self.record()).collect();
        let entries: Vec<_> = records.iter().map(|(entry, ..)| entry.clone()).collect();
        let answer = self.call("PutRecords", json!({ "StreamName": name, "Records": entries })).await;
        assert_eq!(answer["FailedRecordCount"], 0);
        for (at, (_, record, hash)) in records.into_iter().enumerate() {
            self.put_in(&name, &answer["Records"][at], record, hash);
        }
    }

    async fn split(&mut self) {
        let Some(name) = self.a_stream() else { return };
        let (hash, now_ms) = (self.hash(), self.now());
        let open = self.naive.streams[&name].open_shards();
        let shard = open[self.pick(open.len())];
        let Shard { id, start, end, .. } = self.naive.streams[&name].shards[shard].clone();
        if open.len() >= SHARDS_MAX {
            return;
        }
        let at = if end > start { start + hash % (end - start) + 1 } else { start };
        let body = json!({ "StreamName": name, "ShardToSplit": id, "NewStartingHashKey": at.to_string() });
        if at == start {
            return self.refused("InvalidArgumentException", "SplitShard", body).await;
        }
        self.call("SplitShard", body).await;
        self.naive.streams.get_mut(&name).unwrap().split(shard, at, now_ms);
    }

    async fn merge(&mut self) {
        let Some(name) = self.a_stream() else { return };
        let open = self.naive.streams[&name].open_shards();
        if open.len() < 2 {
            return;
        }
        let (at, now_ms) = (self.pick(open.len() - 1), self.now());
        let id = |at: usize| self.naive.streams[&name].shards[open[at]].id.clone();
        let body = |one: usize, two: usize| json!({ "StreamName": name, "ShardToMerge": id(one), "AdjacentShardToMerge": id(two) });
        if open.len() > 2 && self.chance.clone().once_in(4) {
            let far = if at == 0 { 2 } else { at - 1 };
            let other = if at == 0 { 0 } else { at + 1 };
            return self.refused("InvalidArgumentException", "MergeShards", body(far, other)).await;
        }
        self.call("MergeShards", body(at, at + 1)).await;
        self.naive.streams.get_mut(&name).unwrap().merge(open[at], open[at + 1], now_ms);
    }

    /// How a stream comes to its new number of shards is the engine's affair; that they are even and descend from those
    /// that were there is not.
    async fn resize(&mut self) {
        let Some(name) = self.a_stream() else { return };
        let (now_ms, open) = (self.now(), self.naive.streams[&name].open_shards().len());
        let target = open.div_ceil(2) + self.pick(2 * open - open.div_ceil(2) + 1);
        let target = target.clamp(1, SHARDS_MAX.min(2 * open)).max(open.div_ceil(2));
        let body =
            json!({ "StreamName": name, "TargetShardCount": target, "ScalingType": "UNIFORM_SCALING" });
        let answer = self.engine().call("UpdateShardCount", body.to_string().as_bytes()).await;
        assert_eq!(answer.status, 200, "{body}: {}", String::from_utf8_lossy(&answer.body));
        let known: Vec<_> = self.naive.streams[&name].shards.iter().map(|shard| shard.id.clone()).collect();
        let listed = self.list_shards(&name, json!({ "Type": "FROM_TRIM_HORIZON" })).await;
        let stream = self.naive.streams.get_mut(&name).unwrap();
        for (id, start, end, parents, closed) in listed {
            if let Some(at) = known.iter().position(|known| *known == id) {
                let shard = &mut stream.shards[at];
                assert_eq!((shard.start, shard.end), (start, end), "{id}");
                if closed && shard.closed_ms.is_none() {
                    shard.closed_ms = Some(now_ms);
                }
                continue;
            }
            assert!((1..=2).contains(&parents.len()), "{id} has parents {parents:?}");
            let closed_ms = closed.then_some(now_ms);
            stream.shards.push(Shard {
                id,
                start,
                end,
                parents,
                opened_ms: now_ms,
                closed_ms,
                records: vec![],
            });
        }
        let even = Stream::new(u32::try_from(target).unwrap(), now_ms);
        let starts = |stream: &Stream| -> Vec<u128> {
            stream.open_shards().iter().map(|&at| stream.shards[at].start).collect()
        };
        let (found, even) = (starts(stream), starts(&even));
        assert_eq!(found.len(), even.len(), "{name} to {target}");
        // A boundary that is there already is kept when it differs by rounding only.
        let near = |(found, even): (&u128, &u128)| found.abs_diff(*even) <= target as u128;
        assert!(found.iter().zip(&even).all(near), "{name} to {target}: {found:?}, even would be {even:?}");
    }

    async fn tag(&mut self) {
        let Some(name) = self.a_stream() else { return };
        let key = format!("tag-{}", self.chance.up_to(5));
        if self.chance.once_in(3) {
            self.call("RemoveTagsFromStream", json!({ "StreamName": name, "TagKeys": [key] })).await;
            self.naive.streams.get_mut(&name).unwrap().tags.remove(&key);
        } else {
            let value = self.chance.up_to(1_000).to_string();
            self.call("AddTagsToStream", json!({ "StreamName": name, "Tags": { (key.as_str()): value } }))
                .await;
            self.naive.streams.get_mut(&name).unwrap().tags.insert(key, value);
        }
    }

    async fn retain(&mut self) {
        let Some(name) = self.a_stream() else { return };
        let (hours, now_ms) = (24 + self.chance.up_to(72), self.now());
        let stream = self.naive.streams.get_mut(&name).unwrap();
        let operation = match hours.cmp(&stream.retention_hours) {
            std::cmp::Ordering::Less => "DecreaseStreamRetentionPeriod",
            _ => "IncreaseStreamRetentionPeriod",
        };
        stream.horizon_ms = stream.horizon(now_ms);
        stream.retention_hours = hours;
        self.call(operation, json!({ "StreamName": name, "RetentionPeriodHours": hours })).await;
    }
}
