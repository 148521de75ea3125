//! A queue as it is stored and named.
//!
//! In: stored bytes, ARNs. Out: [`QueueDefinition`], [`QueueArn`]. Not here: changing definitions (control), what the
//! queue knows of records (core).

use crate::clock::is_over;
use crate::names::{StreamArn, StreamName, StreamNumber};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Prefix of all definitions of queues.
pub(crate) const DEFINITIONS: &[u8] = b"s/q/d/";
/// Key of the number the next queue gets, four bytes little-endian.
pub(crate) const NEXT_NUMBER: &[u8] = b"s/q/next";

/// A queue as it is stored: JSON under the metadata key `s/q/d/{number}`. Members are only ever added, with defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct QueueDefinition {
    /// The engine's number of the queue, 1 upwards, never given twice.
    pub(crate) number: u32,
    /// Its name, one of its kind in the account.
    pub(crate) name: String,
    /// The stream's number: one of the same name that was made later is another.
    pub(crate) stream: u32,
    /// The stream's name.
    pub(crate) stream_name: String,
    /// When the stream was created, UTC ms since 1970.
    pub(crate) stream_created_ms: u64,
    /// When the queue was created, UTC ms since 1970.
    pub(crate) created_ms: u64,
    /// Where delivery begins.
    pub(crate) start: Start,
    /// How long a received record is invisible unless the receive says otherwise.
    pub(crate) visibility_seconds: u32,
    /// Receives after which a record becomes a dead letter; none: never.
    pub(crate) receives_max: Option<u32>,
    /// Its tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tags: BTreeMap<String, String>,
    /// It is being removed; a start finishes what a crash interrupted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) deleting: bool,
    /// Until when it counts as being created, UTC ms since 1970.
    #[serde(default)]
    pub(crate) creating_until_ms: u64,
    /// Until when it counts as being updated, UTC ms since 1970.
    #[serde(default)]
    pub(crate) updating_until_ms: u64,
}

/// Where the delivery of a queue begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum Start {
    /// Records that arrive after the queue was created.
    Latest,
    /// Everything the stream still has.
    TrimHorizon,
    /// Records that arrive at this UTC time (ms since 1970) or later.
    AtTimestamp(u64),
}

impl Start {
    /// The word of the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Start::Latest => "LATEST",
            Start::TrimHorizon => "TRIM_HORIZON",
            Start::AtTimestamp(_) => "AT_TIMESTAMP",
        }
    }

    /// Records that arrived before this UTC time (ms) are not the queue's.
    pub(crate) fn not_before_ms(self) -> u64 {
        match self {
            Start::AtTimestamp(time_ms) => time_ms,
            Start::Latest | Start::TrimHorizon => 0,
        }
    }
}

/// State of a queue as the API names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueueStatus {
    Creating,
    Active,
    Updating,
    Deleting,
}

impl QueueStatus {
    /// The word of the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            QueueStatus::Creating => "CREATING",
            QueueStatus::Active => "ACTIVE",
            QueueStatus::Updating => "UPDATING",
            QueueStatus::Deleting => "DELETING",
        }
    }
}

impl QueueDefinition {
    /// The metadata key of queue `number`.
    pub(crate) fn key(number: u32) -> Vec<u8> {
        [DEFINITIONS, format!("{number:08x}").as_bytes()].concat()
    }

    /// The definition as it is stored.
    pub(crate) fn encode(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a definition has only string keys")
    }

    /// Its state at this time.
    pub(crate) fn status(&self, now_ms: u64) -> QueueStatus {
        match self {
            QueueDefinition { deleting: true, .. } => QueueStatus::Deleting,
            definition if !is_over(definition.creating_until_ms, now_ms) => QueueStatus::Creating,
            definition if !is_over(definition.updating_until_ms, now_ms) => QueueStatus::Updating,
            _ => QueueStatus::Active,
        }
    }

    /// The stream's number.
    pub(crate) fn stream(&self) -> StreamNumber {
        StreamNumber(self.stream)
    }

    /// The stream's ARN.
    pub(crate) fn stream_arn(&self, region: &str, account: &str) -> String {
        let name = StreamName::parse(&self.stream_name);
        name.map(|name| StreamArn::new(region, account, name).to_string()).unwrap_or_default()
    }
}

/// The Amazon Resource Name of a queue: `arn:aws:kinesis:{region}:{account}:queue/{id}`. The id is made of the queue's
/// number and the time of its creation: AWS generates it too and does not derive it from the name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueueArn(pub(crate) String);

impl QueueArn {
    pub(crate) fn new(region: &str, account: &str, definition: &QueueDefinition) -> Self {
        let (number, created_ms) = (definition.number, definition.created_ms);
        QueueArn(format!("arn:aws:kinesis:{region}:{account}:queue/{created_ms:012x}-{number:08x}"))
    }

    /// The number of the queue an ARN may be of; the rest is compared with the queue's own.
    pub(crate) fn number(text: &str) -> Option<u32> {
        let (_, number) = text.rsplit_once('-')?;
        u32::from_str_radix(number, 16).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_definitions_read_as_version_1_wrote_them() {
        // If this fails, the code is wrong: such bytes are on disks.
        let definition = QueueDefinition {
            number: 3,
            name: "orders".into(),
            stream: 7,
            stream_name: "telemetry".into(),
            stream_created_ms: 1_600_000_000_000,
            created_ms: 1_700_000_000_000,
            start: Start::AtTimestamp(5),
            visibility_seconds: 30,
            receives_max: Some(6),
            tags: BTreeMap::new(),
            deleting: false,
            creating_until_ms: 0,
            updating_until_ms: 0,
        };
        let stored = r#"{"number":3,"name":"orders","stream":7,"stream_name":"telemetry","stream_created_ms":1600000000000,"created_ms":1700000000000,"start":{"AT_TIMESTAMP":5},"visibility_seconds":30,"receives_max":6,"creating_until_ms":0,"updating_until_ms":0}"#;
        assert_eq!(definition.encode(), stored.as_bytes());
        assert_eq!(serde_json::from_str::<QueueDefinition>(stored).unwrap(), definition);
        let arn = QueueArn::new("us-east-1", "000000000000", &definition);
        assert_eq!(arn.0, "arn:aws:kinesis:us-east-1:000000000000:queue/018bcfe56800-00000003");
        assert_eq!(QueueArn::number(&arn.0), Some(3));
        assert_eq!(QueueArn::number("arn:aws:kinesis:us-east-1:000000000000:queue/x"), None);
    }

    #[test]
    fn a_queue_is_created_updated_and_active_in_turn() {
        let stored = r#"{"number":1,"name":"q","stream":1,"stream_name":"s","stream_created_ms":0,"created_ms":0,"start":"LATEST","visibility_seconds":30,"receives_max":null}"#;
        let mut definition: QueueDefinition = serde_json::from_str(stored).unwrap();
        (definition.creating_until_ms, definition.updating_until_ms) = (10, 20);
        let status = |now_ms| definition.status(now_ms).as_str();
        assert_eq!([9, 10, 19, 20].map(status), ["CREATING", "UPDATING", "UPDATING", "ACTIVE"]);
        definition.deleting = true;
        assert_eq!(definition.status(0), QueueStatus::Deleting);
    }
}
