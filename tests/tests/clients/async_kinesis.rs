//! async-kinesis with KPL aggregation: its producer and its consumer on a stream that is split, merged and doubled meanwhile.
//!
//! Claim: every message is seen once. The consumer keeps its place in memory and is not restarted, so at least once is exactly
//! once here. Not claimed: order across shards; it waits for a child's parent, but not for the other parent of a merged shard,
//! and its producer gives every aggregate a random key.

use std::time::Duration;

use serde_json::{Value, json};
use system_tests::clients::async_kinesis;
use system_tests::gateway::Gateway;
use system_tests::process::Process;
use system_tests::python::skip;
use system_tests::resharding::{missing_and_repeated, split_merge_and_double};
use system_tests::wait_until;

use crate::PATIENCE;

/// Messages of the producer, one every 20 ms: 16 seconds.
const MESSAGES: u64 = 800;

/// Between two changes of the shards, while messages go on.
const PAUSE: Duration = Duration::from_secs(3);

/// After the last message: long enough for a repeat to show itself.
const CALM: Duration = Duration::from_secs(3);

fn seen(consumer: &Process) -> Vec<u64> {
    let output = consumer.output();
    let said = output.lines().filter_map(|line| line.strip_prefix("got "));
    said.map(|line| {
        let message: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("{output}"));
        message["n"].as_u64().unwrap_or_else(|| panic!("{message}"))
    })
    .collect()
}

#[test]
fn a_stream_that_is_resharded_is_consumed_without_a_gap_or_a_repeat() {
    let directory = tempfile::tempdir().expect("a directory");
    let gateway = Gateway::start(directory.path(), "");
    let (endpoint, count) = (gateway.endpoint(), MESSAGES.to_string());
    let program =
        |name: &str, script: &str, args: &[&str]| async_kinesis(name, directory.path(), script, args);
    let Some(mut consumer) = program("async-consumer", "consumer.py", &[&endpoint, "kpl"]) else {
        return skip("async_kinesis", "no Python with async-kinesis; `tests/run` sets one up");
    };
    let mut producer =
        program("async-producer", "producer.py", &[&endpoint, "kpl", &count]).expect("as above");
    let mut kinesis = gateway.kinesis();
    kinesis.must("CreateStream", &json!({ "StreamName": "kpl", "ShardCount": 2 }));
    consumer.start();
    producer.start();
    assert!(wait_until(PATIENCE, || !seen(&consumer).is_empty()), "{}", consumer.tail());
    split_merge_and_double(&mut kinesis, "kpl", || std::thread::sleep(PAUSE));
    assert!(producer.runs(), "the producer ended before the last change\n{}", producer.tail());
    let status = producer.wait(PATIENCE);
    assert!(status.success(), "{status}\n{}", producer.tail());
    // Of each change it hears within seconds, so what is not there by then does not come.
    wait_until(PATIENCE, || missing_and_repeated(&seen(&consumer), MESSAGES).0.is_empty());
    std::thread::sleep(CALM);
    let found = seen(&consumer);
    assert_eq!(missing_and_repeated(&found, MESSAGES), (vec![], vec![]), "{}", consumer.tail());
    assert!(kinesis.read_all("kpl").len() < found.len(), "nothing was aggregated");
    consumer.kill();

    // The control: one fewer and one twice are seen.
    assert_eq!(missing_and_repeated(&found[1..], MESSAGES).0, [found[0]]);
    assert_eq!(missing_and_repeated(&[&found[..], &found[..1]].concat(), MESSAGES).1, [found[0]]);
}
