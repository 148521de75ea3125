//! Records that the target never takes, as the real service has them: too large for it, of a content that it refuses, or failing for ever.
//!
//! In: a PutRecords and what an address refuses. Out: the same without those records, and an answer that speaks of all of them.
//! Invariant: which record is poison, and how it is refused, follows from the record alone, so it is the same over restarts and retries.

use crate::identity::Names;
use headwater_aws::kpl;
use serde_json::{Value, json};

/// One entry in so many is poison, of one device in so many.
const ENTRIES: u32 = 17;
const DEVICES: u32 = 3;

/// How a record is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Poison {
    /// The whole call is refused with 400 for what is in it.
    Call,
    /// The record is refused by name, the others of the call are taken.
    Record,
    /// The record fails, as a shard with troubles of its own lets it fail.
    Failing,
}

impl Poison {
    /// Whether and how a record of synthetic publishers is refused, alone or with what is packed with it.
    pub(crate) fn of(data: &[u8]) -> Option<Self> {
        match kpl::deaggregate(data) {
            Some(inner) if kpl::is_aggregate(data) => {
                inner.iter().filter_map(|record| Self::of_one(record.data)).min()
            }
            _ => Self::of_one(data),
        }
    }

    fn of_one(data: &[u8]) -> Option<Self> {
        let mut names = Names::default();
        let id = names.identify(data)?;
        let number: u32 = names.name(id)?.strip_prefix('d')?.parse().ok()?;
        if !number.is_multiple_of(DEVICES) || !(id.boot.wrapping_mul(7) + id.seq).is_multiple_of(ENTRIES) {
            return None;
        }
        Some(match (number / DEVICES + id.seq / ENTRIES) % 3 {
            0 => Self::Call,
            1 => Self::Record,
            _ => Self::Failing,
        })
    }
}

/// What an address makes of a PutRecords.
pub(super) enum Refusal {
    /// This is the answer, nothing is done.
    All(Vec<u8>),
    /// This goes to the target; [`Poisoned::answer`] completes what comes back.
    Some(Vec<u8>, Poisoned),
}

/// The places of a call that were taken out, with what is said of each.
pub(super) struct Poisoned {
    places: Vec<(usize, Value)>,
}

/// Takes the poison out of a body of PutRecords; none where there is none, or what is sent is something else. Once `is_calm`, what fails
/// is refused by name: a record that fails is set aside only while others are taken, and nothing new comes then.
pub(super) fn refuse(body: &[u8], is_calm: bool) -> Option<Refusal> {
    let mut call: Value = serde_json::from_slice(body).ok()?;
    let records = call.get_mut("Records")?.as_array_mut()?;
    let mut places = Vec::new();
    for (place, record) in records.iter().enumerate() {
        let data = record.get("Data")?.as_str()?;
        let data = base64_simd::STANDARD.decode_to_vec(data).ok()?;
        match Poison::of(&data) {
            None => {}
            Some(Poison::Call) => return Some(Refusal::All(refused_call())),
            Some(Poison::Failing) if !is_calm => places.push((place, failed("InternalFailure"))),
            Some(Poison::Record | Poison::Failing) => places.push((place, failed("ValidationException"))),
        }
    }
    if places.is_empty() {
        return None;
    }
    let is_out = |place: usize| places.iter().any(|(out, _)| *out == place);
    let mut place = 0;
    records.retain(|_| (!is_out(place), place += 1).0);
    let is_empty = records.is_empty();
    let poisoned = Poisoned { places };
    Some(match is_empty {
        true => Refusal::All(answer(b"200 OK", &poisoned.complete(json!({ "Records": [] })))),
        false => Refusal::Some(call.to_string().into_bytes(), poisoned),
    })
}

impl Poisoned {
    /// The answer to the whole call, from the one to what was left of it; as it is where it is no such answer.
    pub(super) fn answer(&self, whole: Vec<u8>) -> Vec<u8> {
        let head = super::head_bytes(&whole).unwrap_or(0);
        let rest = serde_json::from_slice(&whole[head..]).ok();
        match rest.filter(|rest: &Value| rest.get("Records").is_some()) {
            Some(rest) => answer(b"200 OK", &self.complete(rest)),
            None => whole,
        }
    }

    fn complete(&self, mut rest: Value) -> Value {
        if let Some(records) = rest.get_mut("Records").and_then(Value::as_array_mut) {
            // In their order: whoever is put in stands where it stood.
            for (place, failed) in &self.places {
                records.insert((*place).min(records.len()), failed.clone());
            }
        }
        rest
    }
}

fn failed(code: &str) -> Value {
    json!({ "ErrorCode": code, "ErrorMessage": "this record is never taken" })
}

fn refused_call() -> Vec<u8> {
    let body = json!({ "__type": "ValidationException", "message": "a record of this call is never taken" });
    answer(b"400 Bad Request", &body)
}

fn answer(status: &[u8], body: &Value) -> Vec<u8> {
    let body = body.to_string();
    let head = format!(
        "\r\ncontent-type: application/x-amz-json-1.1\r\nx-amzn-requestid: 00000000-0000-0000-0000-000000000000\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    [b"HTTP/1.1 ", status, head.as_bytes(), body.as_bytes()].concat()
}

/// The request with another body.
pub(super) fn with_body(request: &[u8], body: &[u8]) -> Vec<u8> {
    let head = &request[..super::head_bytes(request).unwrap_or(0)];
    let head = String::from_utf8_lossy(head);
    let mut changed = String::new();
    for line in head.trim_end().lines() {
        if !line.to_ascii_lowercase().starts_with("content-length:") {
            changed.push_str(line);
            changed.push_str("\r\n");
        }
    }
    changed.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    [changed.as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(device: u32, seq: u32) -> Value {
        let data = format!(r#"{{"kind":"reading","device":"d{device:02}","boot":1,"seq":{seq},"raw":4}}"#);
        json!({ "Data": base64_simd::STANDARD.encode_to_string(data.as_bytes()), "PartitionKey": "k" })
    }

    #[test]
    fn poison_is_taken_out_and_the_answer_speaks_of_every_record() {
        // Place 10 of device 3 is refused by name, that of device 6 fails.
        let (clean, poison) = (entry(3, 11), [entry(3, 10), entry(6, 10)]);
        let body = json!({ "Records": [&poison[0], &clean, &poison[1]] }).to_string();
        let Some(Refusal::Some(left, poisoned)) = refuse(body.as_bytes(), false) else {
            panic!("it has poison")
        };
        assert_eq!(serde_json::from_slice::<Value>(&left).unwrap(), json!({ "Records": [clean] }));
        let stored = json!({ "Records": [{ "ShardId": "shardId-000000000000", "SequenceNumber": "1" }] });
        let whole = poisoned.answer(answer(b"200 OK", &stored));
        let body: Value =
            serde_json::from_slice(&whole[super::super::head_bytes(&whole).unwrap()..]).unwrap();
        let said: Vec<_> = (0..3).map(|place| body["Records"][place]["ErrorCode"].as_str()).collect();
        assert_eq!(said, [Some("ValidationException"), None, Some("InternalFailure")]);
        // Device 9 in the first boot at place 10 refuses the whole call.
        let body = json!({ "Records": [clean, entry(9, 10)] }).to_string();
        assert!(
            matches!(refuse(body.as_bytes(), false), Some(Refusal::All(answer)) if answer.starts_with(b"HTTP/1.1 400"))
        );
    }
}
