//! To a second Headwater, which is resharded, killed and started meanwhile.

use serde_json::json;
use system_tests::gateway::Gateway;
use system_tests::python;
use system_tests::target::read_once;
use system_tests::target_http::Fault;

use crate::check::assert_forwarded;
use crate::world::{Harm, LINK, World};

/// A gateway that is a target, with a stream of three shards.
fn far(directory: &std::path::Path) -> Gateway {
    Gateway::start(directory, "[streams.telemetry]\nshards = 3\n")
}

#[test]
fn nothing_is_missing_at_a_second_headwater_behind_a_bad_link() {
    if python::interpreter().is_none() {
        return python::skip("forward to headwater", "no Python with boto3; `tests/run` sets one up");
    }
    let directory = tempfile::tempdir().unwrap();
    let mut far = far(directory.path());
    let address = far.kinesis;
    let mut world = World::start(address, 51, "");
    let mut harms = LINK.to_vec();
    harms.extend([Harm::Call(Fault::LoseAnswer), Harm::Kill]);
    let acked = world.suffer(&harms, |round| {
        // The target itself dies too, in the middle of whatever it was doing.
        if round % 8 == 6 {
            far.kill();
            far.restart();
        }
    });
    let kinds = world.way.kinds();
    assert_forwarded(&mut world.near, acked, || read_once(address, "telemetry", directory.path()));
    // In what it takes best: CBOR, from the first record on.
    assert_eq!(kinds.keys().collect::<Vec<_>>(), ["application/x-amz-cbor-1.1"], "{kinds:?}");
    far.stop();
}

#[test]
fn nothing_is_missing_at_a_second_headwater_that_breaks_calls_and_changes_its_shards() {
    if python::interpreter().is_none() {
        return python::skip("forward to headwater", "no Python with boto3; `tests/run` sets one up");
    }
    let directory = tempfile::tempdir().unwrap();
    let mut far = far(directory.path());
    let (address, mut kinesis) = (far.kinesis, far.kinesis());
    // The way refuses records one by one in JSON only.
    let mut world = World::start(address, 52, "format = \"json\"\n");
    let [error, close, lose, silence, throttle] = Fault::ALL.map(Harm::Call);
    // Silence last: for seconds after it calls are still waiting for their answers, and others meet nothing.
    let harms = [throttle, error, lose, close, Harm::Kill, silence, Harm::Kill];
    let mut shards = [5, 2, 4].into_iter();
    let acked = world.suffer(&harms, |round| {
        if let Some(count) = (round % 3 == 1).then(|| shards.next()).flatten() {
            let change =
                json!({ "StreamName": "telemetry", "TargetShardCount": count, "ScalingType": "UNIFORM_SCALING" });
            kinesis.must("UpdateShardCount", &change);
        }
    });
    let struck = world.way.struck();
    assert!(Fault::ALL.iter().all(|fault| struck.contains_key(fault)), "each fault met calls: {struck:?}");
    let seen = assert_forwarded(&mut world.near, acked, || read_once(address, "telemetry", directory.path()));
    assert!(
        seen.iter().any(|seen| seen.is_repeat),
        "what was stored without an answer comes again: without `once.py` it would count twice"
    );
    far.stop();
}
