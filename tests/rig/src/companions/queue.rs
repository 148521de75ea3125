//! A queue over a stream of its own, which is received from and acknowledged.
//!
//! Promises: a record that was acknowledged to the queue never comes back; one that was not does, until the end.

use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use system_tests::flood::id_of;
use system_tests::kinesis::Kinesis;

use super::keyed::Keyed;
use super::worker::Worker;
use super::{Companion, ask, must};
use crate::machine::Gateway;

/// Its stream.
const STREAM: &str = "orders";

/// Records in one call, as many as a receive gives at most.
const RECORDS_PER_CALL: u64 = 10;

/// Of ten received so many are acknowledged; the others come again.
const ACKNOWLEDGED: usize = 8;

/// How long a record that was received is not shown again, in seconds.
const INVISIBLE_S: u64 = 1;

/// How long everything that is left may take to come, in the end.
const DRAIN_PATIENCE: Duration = Duration::from_secs(60);

/// Puts, receives and acknowledges.
pub(super) struct Queue(Worker<State>);

struct State {
    queue: Option<String>,
    put: Keyed,
    /// Acknowledged by the queue.
    done: BTreeSet<String>,
    /// Whose acknowledgement was under way when power went.
    unknown: BTreeSet<String>,
    /// Records that came back although they were done.
    wrong: Vec<String>,
}

impl Queue {
    pub(super) fn new(name: &str) -> Self {
        let put = Keyed::new(&format!("{name}-queue"), STREAM);
        let (done, unknown) = Default::default();
        Self(Worker::Idle(State { queue: None, put, done, unknown, wrong: Vec::new() }))
    }
}

impl State {
    /// Receives once and acknowledges most of what came. How many came.
    fn receive(&mut self, kinesis: &mut Kinesis, all: bool) -> io::Result<usize> {
        let queue = self.queue.as_deref().unwrap_or_default();
        let wanted = json!({ "QueueARN": queue, "WaitTimeSeconds": u8::from(all) });
        let Some(mut body) = ask(kinesis, "ReceiveQueueRecords", &wanted)? else { return Ok(0) };
        let Value::Array(records) = body["QueueRecords"].take() else { return Ok(0) };
        let mut ids: Vec<String> = records.iter().map(id).collect();
        self.wrong.extend(ids.iter().filter(|id| self.done.contains(*id)).cloned());
        let handles: Vec<Value> =
            records.iter().map(|record| json!({ "ReceiptHandle": record["ReceiptHandle"] })).collect();
        let count = if all { handles.len() } else { handles.len().min(ACKNOWLEDGED) };
        if count > 0 {
            ids.truncate(count);
            self.unknown.extend(ids.iter().cloned());
            let entries = json!({ "QueueARN": queue, "Entries": handles[..count] });
            let answer = ask(kinesis, "AcknowledgeQueueRecords", &entries)?;
            // Where an entry failed (its record is with a later receive), it does not matter here which: all of them stay unknown.
            if answer.is_some_and(|answer| answer["Failed"].as_array().is_some_and(Vec::is_empty)) {
                self.unknown.retain(|id| !ids.contains(id));
                self.done.extend(ids);
            }
        }
        Ok(records.len())
    }

    /// Everything that was put must have been given out, but for acknowledgements nobody was told of.
    fn owed(&self) -> usize {
        self.put.acked.iter().filter(|id| !self.done.contains(*id) && !self.unknown.contains(*id)).count()
    }
}

fn id(record: &Value) -> String {
    let data = record["Data"].as_str().unwrap_or_default();
    id_of(&base64_simd::STANDARD.decode_to_vec(data).unwrap_or_default())
}

impl Companion for Queue {
    fn check(&mut self, gateway: &Gateway) -> Result<(), String> {
        let kinesis = &mut gateway.kinesis();
        let state = self.0.state();
        let Some(queue) = &state.queue else {
            let mode = json!({ "StreamMode": "ON_DEMAND" });
            must(kinesis, "CreateStream", &json!({ "StreamName": STREAM, "StreamModeDetails": mode }))?;
            let found = super::summary(kinesis, STREAM)?;
            let streams =
                json!([{ "StreamARN": found["StreamARN"], "StartingPosition": { "Type": "TRIM_HORIZON" } }]);
            let attributes = json!({ "VisibilityTimeoutSeconds": INVISIBLE_S, "DeadLetterConfiguration": { "TargetType": "NONE" } });
            let wanted = json!({ "QueueName": "work", "StreamConfigurationList": streams, "QueueAttributes": attributes });
            let made = must(kinesis, "CreateQueue", &wanted)?;
            state.queue = made["QueueDescription"]["QueueARN"].as_str().map(str::to_owned);
            return Ok(());
        };
        must(kinesis, "DescribeQueue", &json!({ "QueueARN": queue }))?;
        if state.wrong.is_empty() {
            Ok(())
        } else {
            Err(format!("acknowledged and came back: {:?}", state.wrong))
        }
    }

    fn begin(&mut self, gateway: &Gateway) -> Result<(), String> {
        let mut kinesis = Kinesis::new(gateway.kinesis);
        self.0.begin(move |state| {
            state.put.put(&mut kinesis, RECORDS_PER_CALL)?;
            state.receive(&mut kinesis, false).map(drop)
        });
        Ok(())
    }

    fn finish(&mut self) {
        self.0.finish();
    }

    fn end(&mut self, gateway: &Gateway) -> Result<String, String> {
        let (kinesis, started) = (&mut gateway.kinesis(), Instant::now());
        let state = self.0.state();
        while state.queue.is_some() && state.owed() > 0 && started.elapsed() < DRAIN_PATIENCE {
            state.receive(kinesis, true).map_err(|error| format!("receiving: {error}"))?;
        }
        let (put, owed, done) = (state.put.acked.len(), state.owed(), state.done.len());
        if owed > 0 || !state.wrong.is_empty() {
            let wrong = &state.wrong;
            return Err(format!(
                "of {put} put {owed} never came from the queue; acknowledged and came back: {wrong:?}"
            ));
        }
        Ok(format!("queue: {put} put, {done} acknowledged, none came back, 0 missing"))
    }
}
