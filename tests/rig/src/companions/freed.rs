//! Streams are made, filled with more than a segment, and deleted: segments are freed.
//!
//! Promises: a stream that was answered to be deleted does not come back, one that was answered to be there is, with all its records.

use std::io;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use system_tests::chance::Chance;
use system_tests::kinesis::Kinesis;

use super::worker::Worker;
use super::{Companion, ask, must};
use crate::machine::Gateway;

/// Names begin with this.
const PREFIX: &str = "doomed-";

/// Records of a call: with [`RECORD_BYTES`] about a megabyte.
const RECORDS_PER_CALL: u64 = 16;

/// Bytes of one, by chance, so that no compression makes them fewer.
const RECORD_BYTES: u64 = 64 << 10;

/// Calls that fill a stream: more than a segment of 4 MiB.
const CALLS: u64 = 6;

/// How long filling may take while power stays on; a full disk makes room first.
const FILL_PATIENCE: Duration = Duration::from_secs(30);

/// Milliseconds from the full stream to its deletion, in which power may go.
const PAUSE_MS: (u64, u64) = (0, 100);

/// Makes and deletes streams.
pub(super) struct Freed(Worker<State>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Its making was under way.
    Asked,
    /// It is there.
    Made,
    /// Its deletion was under way.
    Doomed,
    /// It is deleted.
    Gone,
}

struct State {
    chance: Chance,
    /// Number of the stream in work, its fate, and records that were acknowledged.
    number: u64,
    fate: Fate,
    acked: usize,
    deleted: u64,
    /// Least segments that were live, and most.
    segments: Option<(u64, u64)>,
    /// Bytes that were copied to free segments, before starts.
    copied_bytes: u64,
}

impl Freed {
    pub(super) fn new(chance: Chance) -> Self {
        let (number, fate, acked, deleted, copied_bytes) = (0, Fate::Gone, 0, 0, 0);
        Self(Worker::Idle(State { chance, number, fate, acked, deleted, segments: None, copied_bytes }))
    }
}

impl State {
    fn name(&self) -> String {
        format!("{PREFIX}{}", self.number)
    }

    /// The next thing: make, fill, or delete.
    fn step(&mut self, kinesis: &mut Kinesis) -> io::Result<()> {
        match self.fate {
            Fate::Gone => {
                self.number += 1;
                (self.fate, self.acked) = (Fate::Asked, 0);
                let wanted = json!({ "StreamName": self.name(), "ShardCount": 1 });
                if ask(kinesis, "CreateStream", &wanted)?.is_some() {
                    self.fate = Fate::Made;
                }
            }
            // It was refused: there is none.
            Fate::Asked => self.fate = Fate::Gone,
            Fate::Made if self.is_full() => {
                std::thread::sleep(self.chance.millis(PAUSE_MS.0, PAUSE_MS.1));
                self.fate = Fate::Doomed;
                self.delete(kinesis)?;
            }
            Fate::Made => self.fill(kinesis)?,
            Fate::Doomed => self.delete(kinesis)?,
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.fate == Fate::Made && self.acked as u64 >= CALLS * RECORDS_PER_CALL
    }

    fn delete(&mut self, kinesis: &mut Kinesis) -> io::Result<()> {
        if ask(kinesis, "DeleteStream", &json!({ "StreamName": self.name() }))?.is_some() {
            self.fate = Fate::Gone;
            self.deleted += 1;
        }
        Ok(())
    }

    fn fill(&mut self, kinesis: &mut Kinesis) -> io::Result<()> {
        let records: Vec<Value> = (0..RECORDS_PER_CALL)
            .map(|_| {
                let bytes: Vec<u8> =
                    (0..RECORD_BYTES / 8).flat_map(|_| self.chance.next_u64().to_le_bytes()).collect();
                json!({ "PartitionKey": "k", "Data": base64_simd::STANDARD.encode_to_string(bytes) })
            })
            .collect();
        let answer = ask(kinesis, "PutRecords", &json!({ "StreamName": self.name(), "Records": records }))?;
        let outcomes = answer.as_ref().and_then(|answer| answer["Records"].as_array());
        let stored = |outcome: &&Value| outcome["SequenceNumber"].is_string();
        self.acked += outcomes.map_or(0, |outcomes| outcomes.iter().filter(stored).count());
        Ok(())
    }

    /// What is there after a start.
    fn found(&mut self, names: &[String], count: impl FnOnce(&str) -> usize) -> Result<(), String> {
        let name = self.name();
        if let Some(other) = names.iter().find(|other| **other != name) {
            return Err(format!("{other} is there again although it was deleted"));
        }
        match (self.fate, names.is_empty()) {
            (Fate::Made, true) => Err(format!("{name} was made and is gone")),
            (Fate::Gone, false) => Err(format!("{name} is there again although it was deleted")),
            (Fate::Asked | Fate::Doomed | Fate::Gone, true) => {
                self.fate = Fate::Gone;
                Ok(())
            }
            (Fate::Asked | Fate::Made | Fate::Doomed, false) => {
                self.fate = Fate::Made;
                let count = count(&name);
                if count < self.acked {
                    return Err(format!("{name} has {count} records, {} were acknowledged", self.acked));
                }
                Ok(())
            }
        }
    }
}

impl Companion for Freed {
    fn check(&mut self, gateway: &Gateway) -> Result<(), String> {
        let kinesis = &mut gateway.kinesis();
        let listed = must(kinesis, "ListStreams", &json!({}))?;
        let names = listed["StreamNames"].as_array().ok_or("ListStreams without StreamNames")?;
        let names: Vec<String> = names.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        let doomed: Vec<String> = names.into_iter().filter(|name| name.starts_with(PREFIX)).collect();
        let live = gateway.metric("headwater_journal_segments_live")?;
        let state = self.0.state();
        let (least, most) = state.segments.unwrap_or((live, live));
        state.segments = Some((least.min(live), most.max(live)));
        state.found(&doomed, |name| kinesis.read_all(name).len())?;
        // Now, and not under load: so the segments hold little else, and what power interrupts is the deletion.
        let started = Instant::now();
        while !state.is_full() {
            state.step(kinesis).map_err(|error| format!("{}: {error}", state.name()))?;
            if started.elapsed() > FILL_PATIENCE {
                return Err(format!("{} has {} records after {FILL_PATIENCE:?}", state.name(), state.acked));
            }
        }
        state.copied_bytes += gateway.metric("headwater_journal_bytes_copied_total")?;
        Ok(())
    }

    fn begin(&mut self, gateway: &Gateway) -> Result<(), String> {
        let mut kinesis = Kinesis::new(gateway.kinesis);
        self.0.begin(move |state| state.step(&mut kinesis));
        Ok(())
    }

    fn finish(&mut self) {
        self.0.finish();
    }

    fn end(&mut self, _gateway: &Gateway) -> Result<String, String> {
        let state = self.0.state();
        let (least, most) = state.segments.unwrap_or_default();
        let (deleted, copied) = (state.deleted, state.copied_bytes);
        Ok(format!(
            "{deleted} streams of 6 MiB deleted, {least} to {most} segments live at starts, {copied} bytes copied to free some"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_that_comes_back_or_goes_or_loses_records_is_seen() {
        let state = |fate| {
            let Worker::Idle(state) = Freed::new(Chance::new(1)).0 else { unreachable!() };
            State { number: 3, fate, acked: 5, ..state }
        };
        let there = ["doomed-3".to_owned()];
        assert!(state(Fate::Made).found(&there, |_| 5).is_ok());
        assert!(state(Fate::Made).found(&there, |_| 4).is_err());
        assert!(state(Fate::Made).found(&[], |_| 0).is_err());
        assert!(state(Fate::Gone).found(&there, |_| 5).is_err());
        assert!(
            state(Fate::Doomed).found(&[], |_| 0).is_ok() && state(Fate::Doomed).found(&there, |_| 5).is_ok()
        );
        assert!(state(Fate::Gone).found(&["doomed-2".to_owned()], |_| 0).is_err());
    }
}
