//! AWS's rate limits and the metrics, on a clock that stands where a test puts it.

use crate::support::small;
use base64_simd::STANDARD;
use headwater_engine::{Clock, Engine, EngineConfig, LimitProfile, Reading};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use tokio::runtime::Runtime;

/// An engine in the process and its time.
struct World {
    engine: Engine,
    now_ms: Arc<AtomicU64>,
    runtime: Runtime,
    _dir: tempfile::TempDir,
}

impl World {
    fn new(limits: LimitProfile) -> World {
        World::on(small(), limits)
    }

    fn on(journal: headwater_journal::Config, limits: LimitProfile) -> World {
        let dir = tempfile::tempdir().unwrap();
        let now_ms = Arc::new(AtomicU64::new(1_700_000_000_000));
        let time = Arc::clone(&now_ms);
        let clock = Clock::new(move || time.load(Relaxed));
        let config = EngineConfig { journal, clock, limits, ..EngineConfig::new(dir.path()) };
        let (engine, _) = Engine::open(config).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let world = World { engine, now_ms, runtime, _dir: dir };
        world.call("CreateStream", &json!({ "StreamName": "s", "ShardCount": 2 }));
        world
    }

    fn advance(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Relaxed);
    }

    fn ask(&self, operation: &str, body: &Value) -> (u16, Value) {
        let answer = self.runtime.block_on(self.engine.call(operation, body.to_string().as_bytes()));
        let body =
            if answer.body.is_empty() { Value::Null } else { serde_json::from_slice(&answer.body).unwrap() };
        (answer.status, body)
    }

    fn call(&self, operation: &str, body: &Value) -> Value {
        let (status, body) = self.ask(operation, body);
        // An answer can have megabytes.
        assert_eq!(status, 200, "{operation}: {:.500}", body.to_string());
        body
    }

    fn refused(&self, operation: &str, body: &Value) -> (String, String) {
        let (status, body) = self.ask(operation, body);
        assert_eq!(status, 400, "{operation}: {body}");
        let text = |member: &str| body[member].as_str().unwrap_or_default().to_owned();
        (text("__type"), text("message"))
    }

    fn iterator(&self) -> Value {
        let asked = json!({ "StreamName": "s", "ShardId": SHARD, "ShardIteratorType": "TRIM_HORIZON" });
        self.call("GetShardIterator", &asked)["ShardIterator"].clone()
    }

    fn metric(&self, name: &str) -> Vec<(Option<String>, Reading)> {
        let metrics = self.engine.metrics();
        let metric = metrics.into_iter().find(|metric| metric.name == name).unwrap();
        metric.samples.into_iter().map(|sample| (sample.shard, sample.value)).collect()
    }

    /// The value of a metric of the stream.
    fn value(&self, name: &str) -> u64 {
        match self.metric(name)[..] {
            [(None, Reading::Single(value))] => value,
            ref other => panic!("{name}: {other:?}"),
        }
    }
}

const SHARD: &str = "shardId-000000000000";
const LOW: &str = "0";
const HIGH: &str = "340282366920938463463374607431768211455";
const SHARD_BUSY: &str =
    "Rate exceeded for shard shardId-000000000000 in stream s under account 000000000000.";
const STREAM_BUSY: &str = "Rate exceeded for stream s under account 000000000000.";

fn records(hashes: &[&str], bytes: usize) -> Value {
    let data = STANDARD.encode_to_string(vec![b'x'; bytes]);
    let record = |hash| json!({ "PartitionKey": "k", "ExplicitHashKey": hash, "Data": data });
    json!({ "StreamName": "s", "Records": hashes.iter().map(record).collect::<Vec<_>>() })
}

#[test]
fn records_beyond_the_rate_of_their_shard_fail_one_by_one_and_the_others_are_put() {
    let world = World::new(LimitProfile::Aws);
    for _ in 0..2 {
        assert_eq!(world.call("PutRecords", &records(&[LOW; 500], 3))["FailedRecordCount"], 0);
    }
    // The low shard has had its thousand; the high one has not. Outcomes keep the order of the records.
    let answer = world.call("PutRecords", &records(&[LOW, HIGH, HIGH, LOW, HIGH], 3));
    assert_eq!(answer["FailedRecordCount"], 2);
    let outcomes = answer["Records"].as_array().unwrap();
    for (place, outcome) in outcomes.iter().enumerate() {
        if [0, 3].contains(&place) {
            assert_eq!(outcome["ErrorCode"], "ProvisionedThroughputExceededException");
            assert_eq!(outcome["ErrorMessage"], SHARD_BUSY);
            assert!(outcome.get("SequenceNumber").is_none());
        } else {
            assert_eq!(outcome["ShardId"], "shardId-000000000001");
        }
    }
    let one = json!({ "StreamName": "s", "PartitionKey": "k", "ExplicitHashKey": LOW, "Data": "aGk=" });
    let expected = ("ProvisionedThroughputExceededException".to_owned(), SHARD_BUSY.to_owned());
    assert_eq!(world.refused("PutRecord", &one), expected);
    world.advance(1);
    world.call("PutRecord", &one);
    assert_eq!(world.refused("PutRecord", &one), expected);

    assert_eq!(world.value("put_records_total_records"), 1_005);
    assert_eq!(world.value("put_records_successful_records"), 1_003);
    assert_eq!(world.value("put_records_throttled_records"), 2);
    assert_eq!(world.value("put_records_failed_records"), 0);
    assert_eq!(world.value("put_records_bytes"), 1_003 * 4);
    assert_eq!(world.value("put_record_success"), 1);
    assert_eq!(world.value("write_provisioned_throughput_exceeded"), 4);
    assert_eq!(world.value("incoming_records"), 1_004);
    assert_eq!(world.value("incoming_bytes"), 1_003 * 4 + 3);
}

#[test]
fn a_mebibyte_a_second_is_the_most_a_shard_takes() {
    let world = World::new(LimitProfile::Aws);
    let answer = world.call("PutRecords", &records(&[LOW; 20], 100_000));
    assert_eq!(answer["FailedRecordCount"], 10);
    world.advance(500);
    assert_eq!(world.call("PutRecords", &records(&[LOW; 20], 100_000))["FailedRecordCount"], 15);
}

#[test]
fn after_an_answer_of_ten_mebibytes_a_shard_is_silent_for_five_seconds() {
    // One read does not go past the end of a segment.
    let journal = headwater_journal::Config { segment_bytes: 32 << 20, ..small() };
    let world = World::on(journal, LimitProfile::Aws);
    for _ in 0..12 {
        assert_eq!(world.call("PutRecords", &records(&[LOW], 1_000_000))["FailedRecordCount"], 0);
        world.advance(1_000);
    }
    let iterator = world.iterator();
    let page = world.call("GetRecords", &json!({ "ShardIterator": iterator }));
    assert_eq!(page["Records"].as_array().unwrap().len(), 10);
    let read = json!({ "ShardIterator": page["NextShardIterator"] });
    for ms in [0, 2_000, 2_700] {
        world.advance(ms);
        let expected = ("ProvisionedThroughputExceededException".to_owned(), SHARD_BUSY.to_owned());
        assert_eq!(world.refused("GetRecords", &read), expected);
    }
    world.advance(100);
    assert_eq!(world.call("GetRecords", &read)["Records"].as_array().unwrap().len(), 2);
    assert_eq!(world.value("read_provisioned_throughput_exceeded"), 3);
    assert_eq!(world.value("get_records_success"), 2);
    assert_eq!(world.value("get_records_records"), 12);
    assert_eq!(
        world.metric("get_records_latency_milliseconds"),
        [(None, Reading::Observed { sum: 0, count: 5 })]
    );
}

#[test]
fn reads_and_iterators_of_a_shard_are_five_a_second() {
    let world = World::new(LimitProfile::Aws);
    let iterator = world.iterator();
    let read = json!({ "ShardIterator": iterator });
    (0..5).for_each(|_| drop(world.call("GetRecords", &read)));
    assert_eq!(world.refused("GetRecords", &read).1, SHARD_BUSY);
    (0..4).for_each(|_| drop(world.iterator()));
    let asked = json!({ "StreamName": "s", "ShardId": SHARD, "ShardIteratorType": "LATEST" });
    assert_eq!(world.refused("GetShardIterator", &asked).1, SHARD_BUSY);
    let other =
        json!({ "StreamName": "s", "ShardId": "shardId-000000000001", "ShardIteratorType": "LATEST" });
    world.call("GetShardIterator", &other);
    world.advance(200);
    world.call("GetRecords", &read);
    world.call("GetShardIterator", &asked);
}

#[test]
fn control_calls_have_the_rates_of_their_operation_in_aws_order() {
    let world = World::new(LimitProfile::Aws);
    let named = json!({ "StreamName": "s" });
    (0..10).for_each(|_| drop(world.call("DescribeStream", &named)));
    let expected = ("LimitExceededException".to_owned(), STREAM_BUSY.to_owned());
    assert_eq!(world.refused("DescribeStream", &named), expected);
    // What fails its checks or names nothing is told so first, and costs nothing.
    assert_eq!(world.refused("DescribeStream", &json!({ "StreamName": "" })).0, "ValidationException");
    assert_eq!(world.refused("DescribeStream", &json!({ "StreamName": "t" })).0, "ResourceNotFoundException");
    world.advance(100);
    world.call("DescribeStream", &named);
    // Another operation has a rate of its own; calls that name no stream are told the account.
    world.call("DescribeStreamSummary", &named);
    (0..5).for_each(|_| drop(world.call("ListStreams", &json!({}))));
    let message = "Rate exceeded for account 000000000000.";
    assert_eq!(world.refused("ListStreams", &json!({})).1, message);
    assert_eq!(
        world.refused("CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 })).0,
        "ResourceInUseException"
    );
    world.advance(1_000);
    for name in ["a", "b", "c", "d", "e"] {
        world.call("CreateStream", &json!({ "StreamName": name, "ShardCount": 1 }));
    }
    assert_eq!(
        world.refused("CreateStream", &json!({ "StreamName": "f", "ShardCount": 1 })).0,
        "LimitExceededException"
    );
}

#[test]
fn without_limits_nothing_is_refused_and_the_host_is_never() {
    let world = World::new(LimitProfile::None);
    for _ in 0..4 {
        assert_eq!(world.call("PutRecords", &records(&[LOW; 500], 3))["FailedRecordCount"], 0);
    }
    (0..30).for_each(|_| drop(world.call("DescribeStream", &json!({ "StreamName": "s" }))));
    let world = World::new(LimitProfile::Aws);
    let stream = world.engine.streams().remove(0);
    let mut batch = world.engine.batch();
    (0..5_000).for_each(|_| batch.put(&stream, "k", None, b"x").unwrap());
    world.runtime.block_on(world.engine.append(&batch).unwrap()).unwrap();
    assert_eq!(world.value("incoming_records"), 5_000);
}

#[test]
fn metrics_of_shards_are_shown_once_they_are_enabled() {
    let world = World::new(LimitProfile::None);
    world.call("PutRecords", &records(&[LOW, LOW, HIGH], 9));
    assert!(world.metric("shard_incoming_bytes").is_empty());
    let some = json!({ "StreamName": "s", "ShardLevelMetrics": ["OutgoingBytes", "IncomingBytes"] });
    let answer = world.call("EnableEnhancedMonitoring", &some);
    assert_eq!(answer["CurrentShardLevelMetrics"], json!([]));
    assert_eq!(answer["DesiredShardLevelMetrics"], json!(["IncomingBytes", "OutgoingBytes"]));
    assert_eq!(answer["StreamARN"], "arn:aws:kinesis:us-east-1:000000000000:stream/s");
    let shard = |n: u8| Some(format!("shardId-{n:012}"));
    let bytes = [(shard(0), Reading::Single(20)), (shard(1), Reading::Single(10))];
    assert_eq!(world.metric("shard_incoming_bytes"), bytes);
    assert!(world.metric("shard_incoming_records").is_empty());
    let described = &world.call("DescribeStream", &json!({ "StreamName": "s" }))["StreamDescription"];
    assert_eq!(
        described["EnhancedMonitoring"],
        json!([{ "ShardLevelMetrics": ["IncomingBytes", "OutgoingBytes"] }])
    );

    let all = json!({ "StreamName": "s", "ShardLevelMetrics": ["ALL"] });
    assert_eq!(
        world.call("EnableEnhancedMonitoring", &all)["DesiredShardLevelMetrics"].as_array().unwrap().len(),
        7
    );
    let answer = world.call("DisableEnhancedMonitoring", &some);
    assert_eq!(answer["CurrentShardLevelMetrics"].as_array().unwrap().len(), 7);
    assert_eq!(answer["DesiredShardLevelMetrics"].as_array().unwrap().len(), 5);
    assert_eq!(world.call("DisableEnhancedMonitoring", &all)["DesiredShardLevelMetrics"], json!([]));
    let wrong = json!({ "StreamName": "s", "ShardLevelMetrics": ["Bytes"] });
    assert_eq!(world.refused("EnableEnhancedMonitoring", &wrong).0, "ValidationException");
    let none = json!({ "StreamName": "t", "ShardLevelMetrics": ["ALL"] });
    assert_eq!(world.refused("DisableEnhancedMonitoring", &none).0, "ResourceNotFoundException");
}

#[test]
fn readers_behind_are_seen_until_they_have_caught_up() {
    let world = World::new(LimitProfile::None);
    world.call("PutRecords", &records(&[LOW; 3], 9));
    world.advance(4_000);
    let iterator = world.iterator();
    let page = world.call("GetRecords", &json!({ "ShardIterator": iterator, "Limit": 1 }));
    assert_eq!(world.value("get_records_iterator_age_milliseconds"), 4_000);
    world.advance(180_000);
    assert_eq!(world.value("get_records_iterator_age_milliseconds"), 0);
    world.call("GetRecords", &json!({ "ShardIterator": page["NextShardIterator"] }));
    assert_eq!(world.value("get_records_iterator_age_milliseconds"), 0);
    assert_eq!(world.value("get_records_bytes"), 30);
}
