//! The Kinesis beginners' course, with an endpoint and dummy credentials added and nothing else changed:
//! create a stream, a boto3 producer, two consumers in two processes, then the AWS CLI.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use system_tests::gateway::Gateway;
use system_tests::process::Process;
use system_tests::{python, wait_until};

/// Readings before the consumers start, and as many again while they follow.
const READINGS: usize = 40;

/// boto3 alone takes a second to start; the rest is for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a consumer printed, line by line.
fn printed(consumer: &Process) -> Vec<Value> {
    let output = consumer.output();
    output.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{output}"))).collect()
}

/// The numbers of the readings in the order in which one consumer saw them, per sensor.
fn numbers_per_sensor(records: &[Value]) -> BTreeMap<String, Vec<u64>> {
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for record in records {
        let reading: Value = serde_json::from_str(record["data"].as_str().unwrap()).unwrap();
        assert_eq!(record["key"], reading["sensor"], "the partition key came back");
        numbers
            .entry(record["key"].as_str().unwrap().to_owned())
            .or_default()
            .push(reading["number"].as_u64().unwrap());
    }
    numbers
}

/// Sequence numbers rise strictly inside a shard, compared as integers of any length.
fn assert_sequences_rise(records: &[Value]) {
    let mut last: BTreeMap<&str, &str> = BTreeMap::new();
    for record in records {
        let (shard, sequence) = (record["shard"].as_str().unwrap(), record["sequence"].as_str().unwrap());
        if let Some(before) = last.insert(shard, sequence) {
            assert!(
                (before.len(), before) < (sequence.len(), sequence),
                "{shard}: {sequence} after {before}"
            );
        }
    }
}

fn produce(gateway: &Gateway, directory: &Path, name: &str, more: &[&str]) -> String {
    let (endpoint, count) = (gateway.endpoint(), READINGS.to_string());
    let args = ["--endpoint", &endpoint, "--stream", "course", "--count", &count];
    let mut producer = python::client("kinesis_producer.py", name, directory, &[&args, more].concat());
    producer.start();
    let status = producer.wait(PATIENCE);
    assert!(status.success(), "{status}\n{}", producer.tail());
    producer.output()
}

#[test]
fn two_consumers_each_read_every_record_in_order_and_follow_live() {
    if python::interpreter().is_none() {
        return python::skip("walkthrough_a", "no Python with boto3; `tests/run` sets one up");
    }
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(directory.path(), "");

    let before = produce(&gateway, directory.path(), "producer", &["--create"]);
    assert!(
        before.lines().all(|line| line.contains(" shardId-00000000000")),
        "each line names its shard:\n{before}"
    );

    let endpoint = gateway.endpoint();
    let whole = (2 * READINGS).to_string();
    let mut consumers = ["consumer-1", "consumer-2"].map(|name| {
        let args = ["--endpoint", &endpoint, "--stream", "course", "--count", &whole];
        python::client("kinesis_consumer.py", name, directory.path(), &args)
    });
    consumers.iter_mut().for_each(Process::start);
    let caught_up =
        wait_until(PATIENCE, || consumers.iter().all(|consumer| printed(consumer).len() == READINGS));
    assert!(caught_up, "{}\n{}", consumers[0].tail(), consumers[1].tail());

    let first = READINGS.to_string();
    produce(&gateway, directory.path(), "producer-live", &["--first", &first]);
    for consumer in &mut consumers {
        let status = consumer.wait(PATIENCE);
        assert!(status.success(), "{status}\n{}", consumer.tail());
        let records = printed(consumer);
        assert_eq!(records.len(), 2 * READINGS);
        assert_sequences_rise(&records);
        for (sensor, numbers) in numbers_per_sensor(&records) {
            let sent: Vec<u64> =
                (0..2 * READINGS as u64).filter(|n| format!("sensor-{}", n % 5) == sensor).collect();
            assert_eq!(numbers, sent, "{sensor}: every reading once, in the order sent");
        }
    }
}

/// One AWS CLI call; its answer as JSON, `null` when it prints nothing.
fn aws(gateway: &Gateway, directory: &Path, args: &[&str]) -> Value {
    let cli = python::aws().expect("asked before");
    let name = format!("aws-{}", args[0]);
    let process = Process::new(&name, cli, directory)
        .args(["--endpoint-url", &gateway.endpoint(), "kinesis"])
        .args(args);
    let mut process = python::with_dummy_credentials(process).env("AWS_DEFAULT_OUTPUT", "json");
    process.start();
    let status = process.wait(PATIENCE);
    let output = process.output();
    assert!(status.success(), "aws kinesis {args:?}: {status}\n{output}");
    if output.trim().is_empty() {
        Value::Null
    } else {
        serde_json::from_str(&output).unwrap_or_else(|_| panic!("{output}"))
    }
}

#[test]
fn the_aws_cli_creates_puts_describes_and_reads() {
    if python::aws().is_none() {
        return python::skip("walkthrough_a", "no AWS CLI; `tests/run` sets one up");
    }
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::start(directory.path(), "");
    let aws = |args: &[&str]| aws(&gateway, directory.path(), args);

    aws(&["create-stream", "--stream-name", "cli", "--shard-count", "2"]);
    // "aGVhZHdhdGVy" and not "headwater": the second CLI takes base64 here, the first takes text and encodes it itself.
    let put = aws(&["put-record", "--stream-name", "cli", "--partition-key", "k", "--data", "aGVhZHdhdGVy"]);
    let description = aws(&["describe-stream", "--stream-name", "cli"]);
    let description = &description["StreamDescription"];
    assert_eq!(description["StreamStatus"], "ACTIVE");
    assert_eq!(description["Shards"].as_array().map(Vec::len), Some(2), "{description}");
    assert_eq!(description["StreamARN"], "arn:aws:kinesis:us-east-1:000000000000:stream/cli");

    let shard = put["ShardId"].as_str().expect("put-record names the shard");
    let at = [
        "get-shard-iterator",
        "--stream-name",
        "cli",
        "--shard-id",
        shard,
        "--shard-iterator-type",
        "TRIM_HORIZON",
    ];
    let iterator = aws(&at)["ShardIterator"].as_str().expect("an iterator").to_owned();
    let records = aws(&["get-records", "--shard-iterator", &iterator]);
    let record = &records["Records"][0];
    assert_eq!(record["SequenceNumber"], put["SequenceNumber"], "{records}");
    assert_eq!(record["PartitionKey"], "k");
    let data = base64_simd::STANDARD.decode_to_vec(record["Data"].as_str().unwrap()).unwrap();
    assert!(data == b"headwater" || data == b"aGVhZHdhdGVy", "{records}");
    assert_eq!(records["MillisBehindLatest"], 0);
}

#[test]
fn the_check_sees_a_swapped_pair() {
    let record = |number: u64, sequence: &str| {
        let data = serde_json::json!({ "sensor": "s", "number": number }).to_string();
        serde_json::json!({ "shard": "shard", "sequence": sequence, "key": "s", "data": data })
    };
    let swapped = [record(1, "100"), record(0, "99")];
    assert_eq!(numbers_per_sensor(&swapped)["s"], [1, 0]);
    assert!(std::panic::catch_unwind(|| assert_sequences_rise(&swapped)).is_err());
    assert_sequences_rise(&[record(0, "99"), record(1, "100")]);
}
