//! A backlog and fresh records behind it, at a sink that sends the newest first: who arrives when.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};
use system_tests::gateway::Gateway;
use system_tests::kinesis::Record;
use system_tests::wait_until;

/// The stream, on both sides, of one shard.
pub(crate) const STREAM: &str = "late";

/// A link on which the backlog takes seconds, so that there is somebody to overtake.
pub(crate) const DRAIN: &str = "drain = { order = \"newest\", rate = \"300KiB\" }";

/// Records of the backlog, of a few keys; more than the least that fresh records go ahead of.
const BACKLOG: u64 = 5_000;
const KEYS: u64 = 20;

/// Bytes of a record.
const BYTES: usize = 200;

/// Fresh records, and the pause between them.
const FRESH: u64 = 20;
const PAUSE: Duration = Duration::from_millis(50);

/// A record is fresh if it is read within 30 seconds of its arrival.
pub(crate) const FRESH_FOR: Duration = Duration::from_secs(31);

/// The backlog takes six seconds at its rate.
const DRAIN_PATIENCE: Duration = Duration::from_secs(60);

fn record(kind: &str, number: u64) -> Value {
    let mut data = format!("{{\"late\":\"{kind}\",\"number\":{number}}}");
    data.push_str(&" ".repeat(BYTES - data.len()));
    let data = base64_simd::STANDARD.encode_to_string(data);
    json!({ "PartitionKey": format!("k{}", number % KEYS), "Data": data })
}

/// Puts everything that has to wait.
pub(crate) fn put_backlog(near: &Gateway) {
    let mut kinesis = near.kinesis();
    let numbers: Vec<u64> = (0..BACKLOG).collect();
    for numbers in numbers.chunks(500) {
        let records: Vec<Value> = numbers.iter().map(|number| record("old", *number)).collect();
        kinesis.must("PutRecords", &json!({ "StreamName": STREAM, "Records": records }));
    }
}

/// Puts what comes when the way is back.
pub(crate) fn put_fresh(near: &Gateway) {
    let mut kinesis = near.kinesis();
    for number in BACKLOG..BACKLOG + FRESH {
        kinesis.must("PutRecords", &json!({ "StreamName": STREAM, "Records": [record("fresh", number)] }));
        std::thread::sleep(PAUSE);
    }
}

/// What breaks the promise: `far` in the order of arrival.
fn breaches(far: &[Record]) -> Vec<String> {
    let mut arrived: BTreeMap<u64, usize> = BTreeMap::new();
    let (mut rows, mut breaches) = (BTreeMap::<(String, bool), u64>::new(), Vec::new());
    for (place, record) in far.iter().enumerate() {
        let number = record.json()["number"].as_u64().expect("every record has one");
        if arrived.contains_key(&number) {
            continue;
        }
        arrived.insert(number, place);
        // Order holds among fresh records and among old ones, and not between them.
        let row = (record.key.clone(), number >= BACKLOG);
        if let Some(before) = rows.insert(row, number)
            && before > number
        {
            breaches.push(format!("{number} arrived after {before} of the same key"));
        }
    }
    let missing = (0..BACKLOG + FRESH).filter(|number| !arrived.contains_key(number));
    breaches.extend(missing.map(|number| format!("{number} is missing")));
    let last_fresh = (BACKLOG..BACKLOG + FRESH).filter_map(|number| arrived.get(&number)).max();
    let behind =
        arrived.iter().filter(|(number, place)| **number < BACKLOG && Some(*place) > last_fresh).count();
    println!("{behind} of {BACKLOG} old records arrived after the last of {FRESH} fresh ones");
    if (behind as u64) < BACKLOG / 4 {
        breaches.push(format!("only {behind} of {BACKLOG} old records arrived after the last fresh one"));
    }
    breaches
}

/// Waits until everything is there and looks at the order in which it came.
pub(crate) fn assert_fresh_first(near: &Gateway, far: &Gateway) {
    let mut found = Vec::new();
    let all = BACKLOG + FRESH;
    let done = wait_until(DRAIN_PATIENCE, || {
        found = far.kinesis().read_all(STREAM);
        found.len() as u64 >= all
    });
    assert!(done, "{} of {all} arrived\n{}", found.len(), near.tail());
    let wrong = breaches(&found);
    assert!(wrong.is_empty(), "{}: {:#?}", wrong.len(), &wrong[..wrong.len().min(10)]);
    // The same check sees one that is missing, two that are out of order, and fresh ones that came last.
    let others = found.iter().filter(|record| record.json()["number"] != 7);
    assert!(!breaches(&others.cloned().collect::<Vec<_>>()).is_empty(), "a missing record must be seen");
    let mut turned = found.clone();
    turned.reverse();
    assert!(!breaches(&turned).is_empty(), "another order must be seen");
    found.sort_by_key(|record| record.json()["number"].as_u64());
    assert_eq!(breaches(&found).len(), 1, "fresh records that came last must be seen");
}
