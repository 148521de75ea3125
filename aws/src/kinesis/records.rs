//! What became of each record of a call.

use super::call::Reply;
use super::error::{About, CallError, Class};
use super::shards::ShardId;
use crate::text::bounded;
use serde::Deserialize;

/// The outcomes of one PutRecords, in the order of its records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PutAnswer {
    /// One for each record.
    pub outcomes: Vec<RecordOutcome>,
}

impl PutAnswer {
    /// How many were not stored.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.outcomes.iter().filter(|outcome| matches!(outcome, RecordOutcome::Failed { .. })).count()
    }
}

/// What became of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordOutcome {
    /// It is stored, durably.
    Stored {
        /// In which shard.
        shard: ShardId,
        /// Its place there.
        sequence_number: String,
    },
    /// It is not stored.
    Failed {
        /// What to do about it.
        class: Class,
        /// The target's code.
        code: String,
        /// The target's words.
        message: String,
    },
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Written<'a> {
    #[serde(borrow)]
    records: Vec<Entry<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    sequence_number: Option<&'a str>,
    shard_id: Option<&'a str>,
    error_code: Option<&'a str>,
    error_message: Option<String>,
}

/// An answer that does not speak of every record is none: nothing is known of any of them.
pub(super) fn read_outcomes(reply: &Reply, count: usize, about: About<'_>) -> Result<PutAnswer, CallError> {
    let written: Written<'_> = reply.read(about)?;
    if written.records.len() != count {
        let found = written.records.len();
        return Err(about.malformed(&format!("the answer speaks of {found} records, {count} were sent")));
    }
    let outcomes = written.records.into_iter().map(|entry| match entry {
        Entry { error_code: Some(code), error_message, .. } => Some(RecordOutcome::Failed {
            class: of_record(code),
            code: bounded(code),
            message: bounded(&error_message.unwrap_or_default()),
        }),
        Entry { sequence_number: Some(number), shard_id: Some(shard), .. } => {
            let shard = ShardId::parse(shard)?;
            Some(RecordOutcome::Stored { shard, sequence_number: number.to_owned() })
        }
        _ => None,
    });
    let outcomes: Option<Vec<RecordOutcome>> = outcomes.collect();
    let outcomes = outcomes
        .ok_or_else(|| about.malformed("the answer says of a record neither where it is nor why not"))?;
    Ok(PutAnswer { outcomes })
}

/// A code nobody knows is worth another try: the service lists two and promises no more.
fn of_record(code: &str) -> Class {
    Class::of(code, 500)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinesis::Thing;
    use crate::wire::Format;

    const ABOUT: About<'_> = About { operation: "PutRecords", subject: "s", endpoint: "e" };

    fn read(json: &str, count: usize) -> Result<PutAnswer, CallError> {
        read_outcomes(&Reply { body: json.as_bytes().to_vec(), format: Format::Json }, count, ABOUT)
    }

    #[test]
    fn every_record_has_an_outcome_of_its_own() {
        let answer = read(
            r#"{"FailedRecordCount":3,"Records":[{"SequenceNumber":"49","ShardId":"shardId-000000000003"},
            {"ErrorCode":"ProvisionedThroughputExceededException","ErrorMessage":"Rate \"x\""},
            {"ErrorCode":"InternalFailure","SequenceNumber":null,"ShardId":null},{"ErrorCode":"KMSDisabledException"}]}"#,
            4,
        )
        .unwrap();
        assert_eq!(answer.failed(), 3);
        assert!(matches!(&answer.outcomes[0], RecordOutcome::Stored { shard, .. } if shard.number() == 3));
        let classes: Vec<Class> = answer.outcomes[1..]
            .iter()
            .map(|outcome| match outcome {
                RecordOutcome::Failed { class, .. } => *class,
                RecordOutcome::Stored { .. } => panic!("it failed"),
            })
            .collect();
        assert_eq!(classes, [Class::Throttled, Class::Retry, Class::Final(Thing::EncryptionKey)]);
    }

    #[test]
    fn an_answer_that_does_not_speak_of_every_record_may_have_done_all_of_them() {
        for json in [
            r#"{"Records":[]}"#,
            "{}",
            "",
            "<html>",
            r#"{"Records":[{}]}"#,
            r#"{"Records":[{"SequenceNumber":"1","ShardId":"elsewhere"}]}"#,
        ] {
            let error = read(json, 1).unwrap_err();
            assert!(error.may_be_done && error.class == Class::Retry, "{json}: {error}");
        }
    }
}
