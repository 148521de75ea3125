//! A sink that does without the oldest when too much waits: counted, written down, and the rest arrives, over kills too.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use system_tests::chance::Chance;
use system_tests::gateway::Gateway;
use system_tests::wait_until;

use crate::world::{World, sink};

/// Records of 8 KiB that no compression makes smaller, in calls of fifty: 32 MiB, of which eight may wait.
const RECORDS: u64 = 4_000;
const PER_CALL: u64 = 50;
const SETTINGS: &str = "required = false\nmax_waiting = \"8MiB\"\nwhen_full = \"drop_oldest\"\n";

/// Kills of the gateway while its target is away.
const KILLS: u64 = 4;

/// 8 MiB through a debug build, on a loaded machine.
const DRAIN_PATIENCE: Duration = Duration::from_secs(60);

fn put(near: &Gateway, chance: &mut Chance, first: u64) {
    let records: Vec<Value> = (first..first + PER_CALL)
        .map(|number| {
            let filler: String = (0..500).map(|_| format!("{:016x}", chance.next_u64())).collect();
            let data = json!({ "number": number, "filler": filler }).to_string();
            json!({ "PartitionKey": format!("k{}", number % 100), "Data": base64_simd::STANDARD.encode_to_string(data) })
        })
        .collect();
    near.kinesis().must("PutRecords", &json!({ "StreamName": "telemetry", "Records": records }));
}

fn number_of(sink: &Value, name: &str) -> u64 {
    match &sink[name] {
        Value::Object(reasons) => reasons.values().filter_map(Value::as_u64).sum(),
        other => other.as_u64().unwrap_or_default(),
    }
}

#[test]
fn what_a_sink_does_without_is_counted_and_written_down_over_kills_and_the_rest_arrives() {
    let directory = tempfile::tempdir().unwrap();
    let mut far = Gateway::start(directory.path(), "[streams.telemetry]\nshards = 2\n");
    let mut world = World::start(far.kinesis, 121, &format!("{SETTINGS}\n[journal]\nsegment = \"4MiB\"\n"));
    let mut chance = Chance::new(121);
    world.link.set_down(true);
    for first in (0..RECORDS).step_by(usize::try_from(PER_CALL).unwrap()) {
        put(&world.near, &mut chance, first);
        if first % (RECORDS / KILLS) == RECORDS / KILLS / 2 {
            // The sink looks twice a second at how much waits.
            std::thread::sleep(chance.millis(0, 1_200));
            world.near.kill();
            world.near.restart();
        }
    }
    world.link.set_down(false);
    let mut last = Value::Null;
    let done = wait_until(DRAIN_PATIENCE, || {
        last = sink(&world.near).unwrap_or_default();
        last["stored"] == RECORDS && last["waiting"] == 0
    });
    assert!(done, "after {DRAIN_PATIENCE:?} the sink says {last:#}\n{}", world.near.tail());
    let (delivered, dropped) = (number_of(&last, "delivered"), number_of(&last, "dropped"));
    assert_eq!((delivered + dropped, &last["balances"]), (RECORDS, &true.into()), "{last:#}");
    let found = far.kinesis().read_all("telemetry");
    let arrived: BTreeSet<u64> =
        found.iter().map(|record| record.json()["number"].as_u64().unwrap()).collect();
    let letters = world.near.kinesis().read_all("dead-letter");
    let noted: u64 = letters.iter().filter_map(|letter| letter.json()["count"].as_u64()).sum();
    println!(
        "{delivered} delivered, {dropped} dropped, {noted} of them written down; {} arrived",
        arrived.len()
    );
    assert_eq!(arrived.len() as u64, delivered, "what was counted as delivered is there, and nothing else");
    assert!(dropped > RECORDS / 4 && delivered > RECORDS / 10, "{last:#}");
    assert_eq!(noted, dropped, "every loss is written down once\n{}", world.near.tail());
    far.stop();
}
