//! States that pass, lifetimes of shards, limits on resizes: all by a clock that the test moves.

use crate::support::{
    Hands, Stores, ask, assert_cover, call, drain, name, open_ranges, put, settled, shards,
};
use headwater_engine::{Engine, EngineConfig, LimitProfile};
use serde_json::{Value, json};
use std::future::Future;
use std::path::Path;
use std::time::Duration;

const START_MS: u64 = 1_800_000_000_000;
const HOUR_MS: u64 = 3_600_000;
const TRANSITION: Duration = Duration::from_millis(40);

struct World {
    dir: tempfile::TempDir,
    hands: Hands,
}

impl World {
    fn run<F: Future<Output = ()>>(test: impl FnOnce(World) -> F) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        runtime.block_on(test(World { dir: tempfile::tempdir().unwrap(), hands: Hands::at(START_MS) }));
    }

    fn open(&self, change: impl FnOnce(&mut EngineConfig)) -> (Stores, Engine) {
        let dir: &Path = self.dir.path();
        let mut config = EngineConfig { clock: self.hands.clock(), ..EngineConfig::new(dir) };
        change(&mut config);
        let stores = Stores::open(dir, &config.clock);
        let engine = stores.engine(&config);
        (stores, engine)
    }

    fn slow(&self) -> (Stores, Engine) {
        self.open(|config| config.transition = TRANSITION)
    }
}

async fn status(engine: &Engine, stream: &str) -> String {
    let answer = call(engine, "DescribeStreamSummary", &json!({ "StreamName": stream })).await;
    answer["StreamDescriptionSummary"]["StreamStatus"].as_str().unwrap().to_owned()
}

/// The type of error, of what must be refused.
async fn refused(engine: &Engine, operation: &str, body: &Value, contains: &str) -> String {
    let (error, message) = ask(engine, operation, body).await.expect_err(operation);
    assert!(message.contains(contains), "{operation} {body}: {message}");
    error
}

fn split(shard: u32, at: u128) -> Value {
    let shard = format!("shardId-{shard:012}");
    json!({ "StreamName": "s", "ShardToSplit": shard, "NewStartingHashKey": at.to_string() })
}

fn resize(target: u32) -> Value {
    json!({ "StreamName": "s", "TargetShardCount": target, "ScalingType": "UNIFORM_SCALING" })
}

fn create(stream: &str) -> Value {
    json!({ "StreamName": stream, "ShardCount": 1 })
}

#[test]
fn states_are_shown_for_the_time_that_is_set() {
    World::run(async |world| {
        let (stores, engine) = world.slow();
        call(&engine, "CreateStream", &create("s")).await;
        assert_eq!(status(&engine, "s").await, "CREATING");
        assert_eq!(put(&engine, "s", "k", 0).await.unwrap_err().0, "ResourceNotFoundException");
        let again = refused(&engine, "CreateStream", &create("s"), "already exists").await;
        assert_eq!(again, "ResourceInUseException");
        let half = split(0, 1 << 127);
        let early = refused(&engine, "SplitShard", &half, "not ACTIVE, instead in state CREATING").await;
        assert_eq!(early, "ResourceInUseException");
        tokio::time::sleep(2 * TRANSITION).await;
        assert_eq!(status(&engine, "s").await, "CREATING", "it is the engine's clock that counts");
        world.hands.advance(40);
        assert_eq!(status(&engine, "s").await, "ACTIVE", "and not when a timer fires");
        put(&engine, "s", "k", 0).await.unwrap();
        call(&engine, "SplitShard", &half).await;
        assert_eq!(status(&engine, "s").await, "UPDATING");
        put(&engine, "s", "k", 1).await.unwrap();
        assert_eq!(drain(&engine, "s", "shardId-000000000000").await.0.len(), 1, "reads go on");
        for (operation, body) in [
            ("SplitShard", split(1, 9)),
            ("UpdateShardCount", resize(4)),
            ("IncreaseStreamRetentionPeriod", json!({ "StreamName": "s", "RetentionPeriodHours": 48 })),
            ("DeleteStream", json!({ "StreamName": "s" })),
        ] {
            let early = refused(&engine, operation, &body, "not ACTIVE, instead in state UPDATING").await;
            assert_eq!(early, "ResourceInUseException", "{operation}");
        }
        world.hands.advance(40);
        settled(&engine).await;
        call(&engine, "DeleteStream", &json!({ "StreamName": "s" })).await;
        assert_eq!(status(&engine, "s").await, "DELETING");
        assert_eq!(put(&engine, "s", "k", 0).await.unwrap_err().0, "ResourceNotFoundException");
        assert_eq!(ask(&engine, "CreateStream", &create("s")).await.unwrap_err().0, "ResourceInUseException");
        world.hands.advance(40);
        // Whoever wants the name need not wait for the timer.
        call(&engine, "CreateStream", &create("s")).await;
        engine.close().await;
        stores.close();
    });
}

#[test]
fn states_end_by_the_clock_also_after_a_restart() {
    World::run(async |world| {
        let (stores, engine) = world.slow();
        for stream in ["s", "t", "gone"] {
            call(&engine, "CreateStream", &create(stream)).await;
        }
        world.hands.advance(40);
        settled(&engine).await;
        call(&engine, "SplitShard", &split(0, 1 << 127)).await;
        call(&engine, "DeleteStream", &json!({ "StreamName": "gone" })).await;
        drop(engine);
        stores.close();
        let (stores, engine) = world.slow();
        tokio::time::sleep(TRANSITION).await;
        assert_eq!(status(&engine, "s").await, "UPDATING");
        assert_eq!(status(&engine, "gone").await, "DELETING");
        world.hands.advance(40);
        settled(&engine).await;
        assert_eq!(status(&engine, "s").await, "ACTIVE");
        assert!(engine.stream(&name("gone")).is_none());
        assert_cover(&shards(&engine, "s").await);
        engine.close().await;
        stores.close();
    });
}

#[test]
fn no_more_than_five_streams_are_created_at_once() {
    World::run(async |world| {
        let (stores, engine) = world.slow();
        for i in 0..5 {
            call(&engine, "CreateStream", &create(&format!("s{i}"))).await;
        }
        let sixth = refused(&engine, "CreateStream", &create("s5"), "CREATING").await;
        assert_eq!(sixth, "LimitExceededException");
        world.hands.advance(40);
        settled(&engine).await;
        call(&engine, "CreateStream", &create("s5")).await;
        engine.close().await;
        stores.close();
    });
}

#[test]
fn filters_of_shards_go_by_their_lifetimes() {
    World::run(async |world| {
        let (stores, engine) = world.open(|_| {});
        call(&engine, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 2 })).await;
        world.hands.advance(HOUR_MS);
        call(&engine, "SplitShard", &split(0, 1 << 126)).await; // 0 -> 2, 3 after one hour
        world.hands.advance(HOUR_MS);
        let body = json!({
            "StreamName": "s", "ShardToMerge": "shardId-000000000003", "AdjacentShardToMerge": "shardId-000000000001",
        });
        call(&engine, "MergeShards", &body).await; // 3, 1 -> 4 after two
        world.hands.advance(HOUR_MS);
        let at = |hours: u64| json!((START_MS + hours * HOUR_MS + HOUR_MS / 2) / 1_000);
        for (filter, expected) in [
            (json!({ "Type": "FROM_TRIM_HORIZON" }), "0 1 2 3 4"),
            (json!({ "Type": "AT_TRIM_HORIZON" }), "0 1"),
            (json!({ "Type": "AT_LATEST" }), "2 4"),
            (json!({ "Type": "AT_TIMESTAMP", "Timestamp": at(0) }), "0 1"),
            (json!({ "Type": "AT_TIMESTAMP", "Timestamp": at(1) }), "1 2 3"),
            (json!({ "Type": "AT_TIMESTAMP", "Timestamp": at(2) }), "2 4"),
            (json!({ "Type": "FROM_TIMESTAMP", "Timestamp": at(0) }), "0 1 2 3 4"),
            (json!({ "Type": "FROM_TIMESTAMP", "Timestamp": at(1) }), "1 2 3 4"),
            (json!({ "Type": "FROM_TIMESTAMP", "Timestamp": at(2) }), "2 4"),
            (json!({ "Type": "AFTER_SHARD_ID", "ShardId": "shardId-000000000001" }), "2 3 4"),
        ] {
            let body = json!({ "StreamName": "s", "ShardFilter": filter, "MaxResults": 2 });
            let mut page = call(&engine, "ListShards", &body).await;
            let mut listed = Vec::new();
            loop {
                listed
                    .extend(page["Shards"].as_array().unwrap().iter().map(|shard| shard["ShardId"].clone()));
                let Some(token) = page["NextToken"].as_str() else { break };
                page = call(&engine, "ListShards", &json!({ "NextToken": token, "MaxResults": 2 })).await;
            }
            let number =
                |id: &Value| id.as_str().unwrap()["shardId-".len()..].parse::<u32>().unwrap().to_string();
            assert_eq!(listed.iter().map(number).collect::<Vec<_>>().join(" "), expected, "{body}");
        }
        engine.close().await;
        stores.close();
    });
}

#[test]
fn closed_shards_go_when_their_retention_has_passed_and_ids_stay_used() {
    World::run(async |world| {
        let (stores, engine) = world.open(|_| {});
        call(&engine, "CreateStream", &create("s")).await;
        put(&engine, "s", "k", 0).await.unwrap();
        call(&engine, "SplitShard", &split(0, 1 << 127)).await;
        world.hands.advance(23 * HOUR_MS);
        call(&engine, "SplitShard", &split(1, 1 << 120)).await;
        let iterator = json!({
            "StreamName": "s", "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON",
        });
        assert_eq!(drain(&engine, "s", "shardId-000000000000").await.0.len(), 1, "closed, and readable");
        world.hands.advance(2 * HOUR_MS);
        // Listed no more at once, whoever clears it away later.
        let ids = |shards: &[Value]| {
            shards.iter().map(|s| s["ShardId"].as_str().unwrap()[18..].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(ids(&shards(&engine, "s").await), ["01", "02", "03", "04"]);
        let described = call(&engine, "DescribeStream", &json!({ "StreamName": "s" })).await;
        assert_eq!(described["StreamDescription"]["Shards"].as_array().unwrap().len(), 4);
        drop(engine);
        stores.close();
        let (stores, engine) = world.open(|_| {});
        for _ in 0..1_000 {
            if engine.stream(&name("s")).unwrap().state().shards.all().len() == 4 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(engine.stream(&name("s")).unwrap().state().shards.all().len(), 4);
        let gone = refused(&engine, "GetShardIterator", &iterator, "does not exist").await;
        assert_eq!(gone, "ResourceNotFoundException");
        assert_eq!(stores.meta.list(b"s/l/").len(), 1);
        let left = shards(&engine, "s").await;
        assert_cover(&left);
        assert_eq!(left[1]["ParentShardId"], "shardId-000000000000", "where it came from is still said");
        call(&engine, "SplitShard", &split(2, u128::MAX - 9)).await;
        assert_eq!(ids(&shards(&engine, "s").await), ["01", "02", "03", "04", "05", "06"]);
        engine.close().await;
        stores.close();
    });
}

#[test]
fn resizes_are_limited_as_by_aws_when_limits_are_on() {
    World::run(async |world| {
        let aws = |config: &mut EngineConfig| config.limits = LimitProfile::Aws;
        let (stores, engine) = world.open(aws);
        call(&engine, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 4 })).await;
        let counts = "Current open shard count: 4, Target shard count: 9";
        let up = refused(&engine, "UpdateShardCount", &resize(9), counts).await;
        let down = refused(&engine, "UpdateShardCount", &resize(1), "below half").await;
        assert_eq!((&*up, &*down), ("LimitExceededException", "LimitExceededException"));
        for target in [8, 4, 2, 4, 5] {
            world.hands.advance(60_000);
            let answer = call(&engine, "UpdateShardCount", &resize(target)).await;
            assert_eq!(answer["TargetShardCount"], target);
        }
        drop(engine);
        stores.close();
        // The count outlives a restart.
        let (stores, engine) = world.open(aws);
        for target in [4, 5, 4, 5, 4] {
            world.hands.advance(60_000);
            call(&engine, "UpdateShardCount", &resize(target)).await;
        }
        world.hands.advance(60_000);
        let eleventh = refused(&engine, "UpdateShardCount", &resize(5), "more than 10 times").await;
        assert_eq!(eleventh, "LimitExceededException");
        world.hands.advance(24 * HOUR_MS - 10 * 60_000);
        call(&engine, "UpdateShardCount", &resize(5)).await;
        drop(engine);
        stores.close();
        let (stores, engine) = world.open(|_| {});
        call(&engine, "UpdateShardCount", &resize(100)).await;
        assert_eq!(open_ranges(&shards(&engine, "s").await).len(), 100);
        call(&engine, "UpdateShardCount", &resize(1)).await;
        engine.close().await;
        stores.close();
    });
}

#[test]
fn ten_thousand_shards_are_made_kept_and_routed_to() {
    World::run(async |world| {
        let (stores, engine) = world.open(|_| {});
        call(&engine, "CreateStream", &json!({ "StreamName": "s", "ShardCount": 5_000 })).await;
        put(&engine, "s", "k", 0).await.unwrap();
        let began = std::time::Instant::now();
        call(&engine, "UpdateShardCount", &resize(10_000)).await;
        assert!(began.elapsed() < Duration::from_secs(9), "writers would give up: {:?}", began.elapsed());
        put(&engine, "s", "k", 1).await.unwrap();
        let full = refused(&engine, "SplitShard", &split(5_000, 1 << 100), "").await;
        assert_eq!(full, "LimitExceededException");
        drop(engine);
        stores.close();
        let (stores, engine) = world.open(|_| {});
        let map = engine.stream(&name("s")).unwrap().state().shards.clone();
        assert_eq!((map.all().len(), map.open_count()), (15_000, 10_000));
        assert_eq!(stores.meta.list(b"s/l/").len(), 19, "15,000 shards in values of 800");
        put(&engine, "s", "k", 2).await.unwrap();
        let shard = engine.shard_for(&engine.stream(&name("s")).unwrap(), "k");
        assert_eq!(drain(&engine, "s", &shard.to_string()).await.0.len(), 2);
        call(&engine, "DeleteStream", &json!({ "StreamName": "s" })).await;
        assert!(stores.meta.list(b"s/l/").is_empty());
        engine.close().await;
        stores.close();
    });
}
