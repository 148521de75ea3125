//! lifion-kinesis with leases in dynalite, polling and in enhanced fan-out, on streams that are split, merged and doubled
//! meanwhile.
//!
//! Claim: every record is seen once, inside a shard in the order of its sequence numbers. The consumer is not restarted and
//! keeps its place after each batch. Not claimed: order across shards; it waits until a child's parent is depleted, but not for
//! the other parent of a merged shard.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use system_tests::clients::node;
use system_tests::gateway::Gateway;
use system_tests::process::Process;
use system_tests::python::skip;
use system_tests::resharding::{missing_and_repeated, split_merge_and_double};
use system_tests::wait_until;

use crate::PATIENCE;

/// Between two changes of the shards, while records go on.
const PAUSE: Duration = Duration::from_secs(2);

/// Between two records.
const PACE: Duration = Duration::from_millis(50);

/// After the last record: long enough for a repeat to show itself.
const CALM: Duration = Duration::from_secs(3);

/// What the consumer printed: shard, sequence number, number.
fn seen(consumer: &Process) -> Vec<(String, String, u64)> {
    let output = consumer.output();
    let records = output.lines().filter(|line| line.starts_with('{'));
    let text =
        |record: &Value, name: &str| record[name].as_str().unwrap_or_else(|| panic!("{record}")).to_owned();
    records
        .map(|line| {
            let record: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"));
            let number = record["data"]["n"].as_u64().unwrap_or_else(|| panic!("{record}"));
            (text(&record, "shard"), text(&record, "sequence"), number)
        })
        .collect()
}

fn numbers(seen: &[(String, String, u64)]) -> Vec<u64> {
    seen.iter().map(|(_, _, number)| *number).collect()
}

/// The first pair of a shard that came in the wrong order.
fn disorder(seen: &[(String, String, u64)]) -> Option<String> {
    let mut last: BTreeMap<&str, &str> = BTreeMap::new();
    seen.iter().find_map(|(shard, sequence, _)| {
        let before = last.insert(shard, sequence)?;
        // Decimal numbers of one length compare as text.
        ((before.len(), before) >= (sequence.len(), sequence.as_str()))
            .then(|| format!("{shard}: {sequence} after {before}"))
    })
}

/// Puts numbered records at a pace until told to stop; how many.
fn put_until(gateway: &Gateway, stream: &str, stop: &std::sync::atomic::AtomicBool) -> u64 {
    let mut kinesis = gateway.kinesis();
    let mut number = 0;
    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
        let data = base64_simd::STANDARD.encode_to_string(json!({ "n": number }).to_string());
        let key = format!("key-{number}");
        kinesis.must("PutRecord", &json!({ "StreamName": stream, "PartitionKey": key, "Data": data }));
        number += 1;
        std::thread::sleep(PACE);
    }
    number
}

/// The whole story of one mode.
fn follows_a_resharded_stream(mode: &str, directory: &Path) {
    let gateway = Gateway::start(directory, "");
    let mut kinesis = gateway.kinesis();
    kinesis.must("CreateStream", &json!({ "StreamName": mode, "ShardCount": 2 }));
    let Some(mut consumer) =
        node(&format!("lifion-{mode}"), directory, "lifion.js", &[&gateway.endpoint(), mode, mode])
    else {
        return skip(
            &format!("lifion in {mode} mode"),
            "no Node.js 20 with the packages of tests/clients/js; `tests/run` sets them up",
        );
    };
    consumer.start();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let count = std::thread::scope(|scope| {
        let producer = scope.spawn(|| put_until(&gateway, mode, &stop));
        let reading = wait_until(PATIENCE, || !seen(&consumer).is_empty());
        if reading {
            split_merge_and_double(&mut kinesis, mode, || std::thread::sleep(PAUSE));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(reading, "nothing was read\n{}", consumer.tail());
        producer.join().expect("the producer ends")
    });
    let started = Instant::now();
    wait_until(PATIENCE, || missing_and_repeated(&numbers(&seen(&consumer)), count).0.is_empty());
    let took = started.elapsed();
    std::thread::sleep(CALM);
    let found = seen(&consumer);
    let (missing, repeated) = missing_and_repeated(&numbers(&found), count);
    assert_eq!((missing, repeated), (vec![], vec![]), "of {count} after {took:?}\n{}", consumer.tail());
    assert_eq!(disorder(&found), None);
    let shards: std::collections::BTreeSet<&str> = found.iter().map(|(shard, _, _)| shard.as_str()).collect();
    assert!(shards.len() > 4, "only {shards:?} had records");
    consumer.kill();

    // The control: one fewer, one twice and two exchanged are seen.
    assert_eq!(missing_and_repeated(&numbers(&found[1..]), count).0, [found[0].2]);
    let twice = [&found[..], &found[..1]].concat();
    assert_eq!(missing_and_repeated(&numbers(&twice), count).1, [found[0].2]);
    assert!(disorder(&twice).is_some());
}

#[test]
fn both_modes_follow_a_resharded_stream_without_a_gap_or_a_repeat() {
    let directories = [tempfile::tempdir().expect("a directory"), tempfile::tempdir().expect("a directory")];
    // At once: mostly they wait for leases.
    std::thread::scope(|scope| {
        scope.spawn(|| follows_a_resharded_stream("polling", directories[0].path()));
        scope.spawn(|| follows_a_resharded_stream("fan-out", directories[1].path()));
    });
}
