//! A sink that forwards a stream of its own to another gateway, whose power stays on.
//!
//! Promise: a cursor never passes what the target has not. It is never moved back and what lies before it is never sent again, so whatever
//! it has passed too early, after whichever cut, is missing at the target in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use system_tests::flood::id_of;
use system_tests::kinesis::{Kinesis, Record, get};
use system_tests::wait_until;

use super::Companion;
use super::keyed::Keyed;
use super::worker::Worker;
use crate::ledger::Ledger;
use crate::machine::Gateway;

/// The stream, here and there.
const STREAM: &str = "carried";

/// Records in one call, and how long a producer rests: a debug build forwards as many.
const RECORDS_PER_CALL: u64 = 20;
const REST: Duration = Duration::from_millis(10);

/// How long everything that waits may take to be delivered, in the end.
const DRAIN_PATIENCE: Duration = Duration::from_secs(60);

/// The gateway that is forwarded to.
pub(crate) struct Target(Gateway);

impl Target {
    /// Starts one, with all that belongs to it below `home`.
    pub(crate) fn start(home: &Path) -> Result<Self, String> {
        std::fs::create_dir(home).map_err(|error| format!("{}: {error}", home.display()))?;
        let more = format!("[streams.{STREAM}]\nshards = 2\n");
        let mut gateway = Gateway::new(home, &home.join("state"), "segment = \"4MiB\"", &more)?;
        gateway.program.spawn(None)?;
        gateway.healthy(|| false)?;
        Ok(Self(gateway))
    }

    /// What the gateway that forwards is told.
    pub(crate) fn config(&self) -> String {
        format!(
            "[streams.{STREAM}]\nshards = 2\n\n[sinks.far]\nstreams = [\"{STREAM}\"]\nendpoint = \"http://{}\"\nregion = \"us-east-1\"\n\
             credentials = \"unchecked\"\ntimeout = \"5s\"\nlimits = \"none\"\nretry = {{ base = \"20ms\", max = \"500ms\" }}\n",
            self.0.kinesis
        )
    }
}

/// Puts into the stream that is forwarded.
pub(super) struct Sink {
    target: Target,
    put: Worker<Keyed>,
    ledger: Ledger,
}

impl Sink {
    pub(super) fn new(target: Target, name: &str) -> Self {
        let put = Worker::Idle(Keyed::new(&format!("{name}-sink"), STREAM));
        Self { target, put, ledger: Ledger::default() }
    }

    /// Waits until nothing waits any more.
    fn drained(&self, gateway: &Gateway) -> Result<(), String> {
        let mut last = Value::Null;
        let done = wait_until(DRAIN_PATIENCE, || {
            let health = get(gateway.http, "/health").ok();
            let health = health.and_then(|(_, body)| serde_json::from_str::<Value>(&body).ok());
            last = health.map_or(Value::Null, |mut health| health["sinks"][0].take());
            last["waiting"] == 0
        });
        if done { Ok(()) } else { Err(format!("after {DRAIN_PATIENCE:?} the sink says {last:#}")) }
    }
}

/// What a reader of the target misses of `near`, and keys whose first arrivals are out of order. The first few.
fn breaches(near: &[Record], far: &[Record]) -> Vec<String> {
    let mut arrived = BTreeSet::new();
    let mut last: BTreeMap<&str, String> = BTreeMap::new();
    let mut breaches = Vec::new();
    for record in far {
        let id = id_of(&record.data);
        if arrived.insert(id.clone())
            && let Some(before) = last.insert(&record.key, id.clone())
            && before > id
        {
            breaches.push(format!("{id} arrived after {before}"));
        }
    }
    let missing = near.iter().map(|record| id_of(&record.data)).filter(|id| !arrived.contains(id));
    breaches.extend(missing.map(|id| format!("{id} is before the cursor and not at the target")));
    breaches.truncate(5);
    breaches
}

impl Companion for Sink {
    fn check(&mut self, gateway: &Gateway) -> Result<(), String> {
        self.ledger.acked(std::mem::take(&mut self.put.state().acked));
        let report = self.ledger.check(&gateway.kinesis().read_all(STREAM));
        if report.clean() { Ok(()) } else { Err(format!("{STREAM}: {report:?}")) }
    }

    fn begin(&mut self, gateway: &Gateway) -> Result<(), String> {
        let mut kinesis = Kinesis::new(gateway.kinesis);
        self.put.begin(move |put| {
            std::thread::sleep(REST);
            put.put(&mut kinesis, RECORDS_PER_CALL)
        });
        Ok(())
    }

    fn finish(&mut self) {
        self.put.finish();
    }

    fn end(&mut self, gateway: &Gateway) -> Result<String, String> {
        self.drained(gateway)?;
        let near = gateway.kinesis().read_all(STREAM);
        let far = self.target.0.kinesis().read_all(STREAM);
        let breaches = breaches(&near, &far);
        if !breaches.is_empty() {
            return Err(format!("{} records here, {} at the target: {breaches:?}", near.len(), far.len()));
        }
        let repeats = far.len() - near.len();
        Ok(format!(
            "sink: {} acknowledged, 0 missing at the target, {repeats} there again",
            self.ledger.count()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_or_out_of_order_at_the_target_is_seen_and_repeats_are_not() {
        let record = |id: &str| {
            let (shard, sequence, key) = ("s".to_owned(), "1".to_owned(), "k".to_owned());
            Record { shard, sequence, key, data: format!("{id} ..").into_bytes() }
        };
        let near = [record("a-1"), record("a-2"), record("a-3")];
        let [one, two, three] = near.clone();
        let far = [one.clone(), two.clone(), one.clone(), two.clone(), three.clone()];
        assert_eq!(breaches(&near, &far), Vec::<String>::new());
        assert_eq!(breaches(&near, &far[..4]), ["a-3 is before the cursor and not at the target"]);
        assert_eq!(breaches(&near, &[one, three, two]), ["a-2 arrived after a-3"]);
    }
}
