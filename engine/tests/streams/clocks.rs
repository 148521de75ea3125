//! Wall clocks that are wrong, jump and are put back, over starts and reshards.

use crate::support::{by_key, call, drain, name, put, shards, small};
use headwater_engine::{Clock, Engine, EngineConfig, Moment, Plan};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// 2027-01-15.
const NOW_MS: u64 = 1_800_000_000_000;
const HOUR_MS: u64 = 3_600_000;

/// The clocks of a machine, where a test puts them.
#[derive(Clone)]
struct Hands(Arc<Mutex<Moment>>);

impl Hands {
    fn at(wall_ms: u64, is_certain: bool) -> Hands {
        Hands(Arc::new(Mutex::new(Moment { wall_ms, uptime_ms: 1_000, is_certain })))
    }

    fn set(&self, wall_ms: u64) {
        self.0.lock().unwrap().wall_ms = wall_ms;
    }

    fn go(&self, ms: u64) {
        let mut moment = self.0.lock().unwrap();
        moment.wall_ms += ms;
        moment.uptime_ms += ms;
    }

    fn open(&self, dir: &Path) -> Engine {
        let hands = self.clone();
        let clock = Clock::of(move || *hands.0.lock().unwrap());
        let config = EngineConfig { journal: small(), clock, ..EngineConfig::new(dir) };
        for _ in 0..1_000 {
            match Engine::open(config.clone()) {
                Ok((engine, recovery)) => {
                    assert!(recovery.is_clean(), "{recovery:?}");
                    return engine;
                }
                // Tasks of an engine that is gone may hold the journal for a moment longer.
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(2)),
            }
        }
        panic!("somebody holds the journal");
    }
}

async fn arrivals(engine: &Engine, shard: &str) -> Vec<f64> {
    let from = json!({ "StreamName": "s", "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
    let iterator = call(engine, "GetShardIterator", &from).await["ShardIterator"].clone();
    let page = call(engine, "GetRecords", &json!({ "ShardIterator": iterator })).await;
    let records = page["Records"].as_array().unwrap();
    records.iter().map(|record| record["ApproximateArrivalTimestamp"].as_f64().unwrap()).collect()
}

#[tokio::test]
async fn what_was_written_in_1970_is_read_after_the_jump_to_today_and_three_hours_back() {
    let dir = tempfile::tempdir().unwrap();
    let hands = Hands::at(5_000, false);
    let engine = hands.open(dir.path());
    engine.create_stream(&name("s"), 1).await.unwrap();
    put(&engine, "s", "k", 0).await.unwrap();
    let mut numbers = vec![0];
    for (number, wall_ms) in
        (1..).zip([NOW_MS, NOW_MS - 3 * HOUR_MS, 60_000, NOW_MS, NOW_MS + 90 * 365 * 24 * HOUR_MS])
    {
        hands.set(wall_ms);
        put(&engine, "s", "k", number).await.unwrap();
        hands.go(120_000);
        numbers.push(number);
        assert_eq!(by_key(&engine, "s").await["k"], numbers, "by a clock at {wall_ms}");
    }
    let state = engine.clock_state();
    assert!(state.jumped_by_ms.is_some_and(|by_ms| by_ms > 0) && state.held_ms > 23 * HOUR_MS, "{state:?}");
    engine.close().await;
    drop(engine);
    // Over a start by a clock that is somewhere else again.
    let hands = Hands::at(9_000, false);
    let engine = hands.open(dir.path());
    assert_eq!(by_key(&engine, "s").await["k"], numbers);
    // Time that goes by makes them old all the same: a day later none is read.
    hands.set(NOW_MS + 90 * 365 * 24 * HOUR_MS + HOUR_MS);
    assert_eq!(by_key(&engine, "s").await["k"], numbers);
    hands.go(25 * HOUR_MS);
    assert_eq!(by_key(&engine, "s").await.get("k"), None);
    assert_eq!(engine.clock_state().held_ms, 0);
}

#[tokio::test]
async fn records_of_a_child_do_not_arrive_before_those_of_its_parents_although_the_clock_was_put_back() {
    let dir = tempfile::tempdir().unwrap();
    let hands = Hands::at(NOW_MS, true);
    let engine = hands.open(dir.path());
    engine.create_stream(&name("s"), 1).await.unwrap();
    for number in 0..8 {
        put(&engine, "s", &format!("k{number}"), number).await.unwrap();
    }
    let before = shards(&engine, "s").await.len();
    hands.set(NOW_MS - 3 * HOUR_MS);
    let count = u32::try_from(before).unwrap() + 1;
    engine.reshard(&name("s"), Plan::Resize { shards: count }).await.unwrap();
    engine.close().await;
    drop(engine);
    let engine = hands.open(dir.path());
    for number in 8..40 {
        put(&engine, "s", &format!("k{number}"), number).await.unwrap();
    }
    let (mut parents_ms, mut children_ms) = (0.0_f64, f64::MAX);
    let mut children = 0;
    for shard in shards(&engine, "s").await {
        let id = shard["ShardId"].as_str().unwrap();
        let ended = !shard["SequenceNumberRange"]["EndingSequenceNumber"].is_null();
        for arrival in arrivals(&engine, id).await {
            if ended {
                parents_ms = parents_ms.max(arrival);
            } else if shard["ParentShardId"] != Value::Null {
                (children_ms, children) = (children_ms.min(arrival), children + 1);
            }
        }
        drain(&engine, "s", id).await;
    }
    assert!(
        children > 0 && parents_ms > 0.0 && children_ms >= parents_ms,
        "{children_ms} after {parents_ms}"
    );
}

#[tokio::test]
async fn a_receipt_ends_when_its_time_went_by_and_not_when_the_clock_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let hands = Hands::at(NOW_MS, true);
    let engine = hands.open(dir.path());
    let queue = json!({
        "QueueName": "q",
        "StreamConfigurationList": [{
            "StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/s",
            "StartingPosition": { "Type": "TRIM_HORIZON" }
        }],
    });
    let mode = json!({ "StreamName": "s", "StreamModeDetails": { "StreamMode": "ON_DEMAND" } });
    call(&engine, "CreateStream", &mode).await;
    let arn = call(&engine, "CreateQueue", &queue).await["QueueDescription"]["QueueARN"].clone();
    put(&engine, "s", "k", 1).await.unwrap();
    let ask = json!({ "QueueARN": arn, "VisibilityTimeoutSeconds": 60, "WaitTimeSeconds": 1 });
    let count = |answer: Value| answer["QueueRecords"].as_array().unwrap().len();
    assert_eq!(count(call(&engine, "ReceiveQueueRecords", &ask).await), 1);
    for wall_ms in [NOW_MS + 365 * 24 * HOUR_MS, NOW_MS - 3 * HOUR_MS, 10_000] {
        hands.set(wall_ms);
        hands.go(10_000);
        assert_eq!(count(call(&engine, "ReceiveQueueRecords", &ask).await), 0, "by a clock at {wall_ms}");
    }
    hands.go(31_000);
    assert_eq!(count(call(&engine, "ReceiveQueueRecords", &ask).await), 1, "a minute went by");
    // Received in a life whose clock was in 2099; the next one knows better.
    engine.close().await;
    drop(engine);
    let ahead = Hands::at(4_080_000_000_000, false);
    let engine = ahead.open(dir.path());
    assert_eq!(count(call(&engine, "ReceiveQueueRecords", &ask).await), 1);
    engine.close().await;
    drop(engine);
    let hands = Hands::at(NOW_MS, true);
    let engine = hands.open(dir.path());
    hands.go(12 * HOUR_MS);
    assert_eq!(count(call(&engine, "ReceiveQueueRecords", &ask).await), 1, "nothing is hidden for longer");
}
