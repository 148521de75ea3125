//! A producer of a few records at a time, of few keys, that remembers what was acknowledged: for streams whose readers are slow.

use std::io;

use serde_json::{Value, json};
use system_tests::kinesis::Kinesis;

use super::ask;
use crate::ledger::record_of;

/// Keys of one producer.
const KEYS: u64 = 10;

/// What it has put, and what was acknowledged.
pub(super) struct Keyed {
    name: String,
    stream: &'static str,
    next: u64,
    /// Ids that were acknowledged since they were taken.
    pub(super) acked: Vec<String>,
}

impl Keyed {
    /// Ids begin with this name.
    pub(super) fn new(name: &str, stream: &'static str) -> Self {
        Self { name: name.to_owned(), stream, next: 0, acked: Vec::new() }
    }

    /// One call with so many records. What was refused is not put again.
    pub(super) fn put(&mut self, kinesis: &mut Kinesis, count: u64) -> io::Result<()> {
        let numbers = self.next..self.next + count;
        self.next = numbers.end;
        let id = |number: u64| format!("{}-k{}-{number:09}", self.name, number % KEYS);
        let records: Vec<Value> = numbers
            .clone()
            .map(|number| {
                let data = base64_simd::STANDARD.encode_to_string(record_of(&id(number)));
                json!({ "PartitionKey": format!("k{}", number % KEYS), "Data": data })
            })
            .collect();
        let answer = ask(kinesis, "PutRecords", &json!({ "StreamName": self.stream, "Records": records }))?;
        let outcomes = answer.map(|mut body| body["Records"].take());
        let outcomes = outcomes.as_ref().and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let stored = numbers.zip(outcomes).filter(|(_, outcome)| outcome["SequenceNumber"].is_string());
        self.acked.extend(stored.map(|(number, _)| id(number)));
        Ok(())
    }
}
