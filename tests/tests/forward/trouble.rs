//! What a person sees when a target cannot be reached, and that nobody else notices it.

use std::time::Duration;

use serde_json::{Value, json};
use system_tests::gateway::Gateway;
use system_tests::wait_until;

use crate::world::{World, metric};

/// A look at a target that cannot be reached is tried again after two seconds; the rest is for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn put(world: &World, from: u64) {
    let records: Vec<Value> = (from..from + 10)
        .map(|number| {
            let data = base64_simd::STANDARD.encode_to_string(json!({ "number": number }).to_string());
            json!({ "PartitionKey": format!("k{number}"), "Data": data })
        })
        .collect();
    world.near.kinesis().must("PutRecords", &json!({ "StreamName": "telemetry", "Records": records }));
}

/// Waits until the sink shows what `check` wants.
fn shows(world: &World, what: &str, check: impl Fn(&Value) -> bool) -> Value {
    let mut last = None;
    let shown = wait_until(PATIENCE, || {
        last = world.sink();
        last.as_ref().is_some_and(&check)
    });
    assert!(shown, "the sink does not show {what}: {last:#?}\n{}", world.near.tail());
    last.expect("it was looked at")
}

fn trouble(sink: &Value) -> &str {
    sink["trouble"].as_str().unwrap_or_default()
}

#[test]
fn a_target_that_cannot_be_reached_is_named_with_its_trouble_and_hinders_nobody() {
    let directory = tempfile::tempdir().unwrap();
    // A target without the stream.
    let mut far = Gateway::start(directory.path(), "");
    let world = World::start(far.kinesis, 71, "target = \"of-{stream}\"\n");
    put(&world, 0);
    let missing = |sink: &Value| {
        trouble(sink).contains("of-telemetry") && trouble(sink).contains("ResourceNotFoundException")
    };
    let sink = shows(&world, "that a stream is missing", |sink| missing(sink) && sink["waiting"] == 10);
    assert_eq!(sink["connected"], false, "{sink:#}");
    // Looked for again and again, said once.
    std::thread::sleep(Duration::from_secs(5));
    let said = world.near.tail().matches("target does not take records").count();
    assert_eq!(said, 1, "{}", world.near.tail());

    // No link to it. Whoever puts is answered as before.
    world.link.set_down(true);
    let address = world.link.address().to_string();
    let down = |sink: &Value| trouble(sink).contains(&address) && !missing(sink);
    let sink = shows(&world, "whom it cannot reach", down);
    println!("{}", trouble(&sink));
    put(&world, 10);
    shows(&world, "that all wait", |sink| sink["waiting"] == 20 && sink["connected"] == false);
    assert_eq!(metric(&world.near, "connected", None), 0);

    // The process is gone: the connection through the proxy ends at once. Then it is back, has the stream, and the trouble is over.
    far.kill();
    world.link.set_down(false);
    far.restart();
    far.kinesis().must("CreateStream", &json!({ "StreamName": "of-telemetry", "ShardCount": 2 }));
    let sink = shows(&world, "that all are delivered", |sink| sink["delivered"] == 20);
    assert_eq!((&sink["connected"], sink["trouble"].is_null()), (&true.into(), true), "{sink:#}");
    assert_eq!(far.kinesis().read_all("of-telemetry").len(), 20);
    far.stop();
}

#[test]
fn a_trouble_is_over_when_the_target_answers_also_when_nothing_waits() {
    let directory = tempfile::tempdir().unwrap();
    let far = Gateway::start(directory.path(), "[streams.telemetry]\nshards = 1\n");
    let mut world = World::start(far.kinesis, 72, "");
    // Started again without a link, so that its first look fails.
    world.link.set_down(true);
    world.near.kill();
    world.near.restart();
    shows(&world, "the trouble", |sink| !trouble(sink).is_empty());
    world.link.set_down(false);
    shows(&world, "that it is over", |sink| sink["trouble"].is_null() && sink["connected"] == true);
    assert_eq!(world.sink().unwrap()["delivered"], 0);
}
