//! The service model (2013-12-02): the input of every operation, as tables to check requests against, and the errors each
//! operation declares.
//!
//! Tables, not behaviour: what a member means is in the operation of the same name. The files of this folder are generated
//! from the model that botocore carries (`engine/model/generate.py`, which also lists what differs on purpose); by hand
//! are only the words they are written in, below. Not here: the checks themselves (check).

mod channels;
mod consumers;
mod errors;
mod operations;
mod queues;
mod records;
mod resources;
mod shapes;
mod shards;
mod streams;

pub(crate) use consumers::*;
pub(crate) use queues::*;
pub(crate) use records::*;
pub(crate) use resources::*;
pub(crate) use shards::*;
pub(crate) use streams::*;

use super::check::{Member, Pattern, Shape, Text};
use crate::hash::is_decimal;
use crate::names::is_name;

/// An operation as the model has it.
pub(crate) struct Declared {
    pub(crate) name: &'static str,
    pub(crate) input: &'static [Member],
    /// Names of the errors that are its own.
    pub(crate) errors: &'static [&'static str],
}

/// All operations of the model, by name.
pub(crate) const OPERATIONS: &[Declared] = operations::OPERATIONS;

/// Errors that any operation may answer without declaring them (API reference, "Common Errors"; the last three are what the
/// service's front answers before an operation runs).
pub(crate) const COMMON_ERRORS: &[&str] = &[
    "AccessDeniedException",
    "ExpiredTokenException",
    "IncompleteSignatureException",
    "InternalFailureException",
    "InvalidSignatureException",
    "MissingAuthenticationTokenException",
    "ServiceUnavailableException",
    "ThrottlingException",
    "UnknownOperationException",
    "UnrecognizedClientException",
    "UnsupportedOperationException",
    "ValidationException",
    "RequestEntityTooLargeException",
    "RequestTimeoutException",
    "SerializationException",
];

/// Whether the model lets `operation` answer `error`.
pub(crate) fn may_answer(operation: &str, error: &str) -> bool {
    let declared = OPERATIONS.iter().find(|declared| declared.name == operation);
    COMMON_ERRORS.contains(&error) || declared.is_some_and(|declared| declared.errors.contains(&error))
}

const fn required(name: &'static str, shape: Shape) -> Member {
    Member { name, shape, required: true }
}

const fn optional(name: &'static str, shape: Shape) -> Member {
    Member { name, shape, required: false }
}

const fn text(min: usize, max: usize) -> Text {
    Text { min, max, pattern: None, options: &[] }
}

const fn pattern(min: usize, max: usize, text: &'static str, fits: fn(&str) -> bool) -> Text {
    Text { min, max, pattern: Some(Pattern { text, fits }), options: &[] }
}

/// A text whose pattern is left to a regular expression, which is built when the first request needs it.
macro_rules! expression {
    ($min:expr, $max:expr, $text:literal) => {
        super::pattern($min, $max, $text, |text| {
            static EXPRESSION: std::sync::LazyLock<regex_lite::Regex> =
                std::sync::LazyLock::new(|| super::whole($text));
            EXPRESSION.is_match(text)
        })
    };
}
use expression;

/// A pattern of the model has to fit the whole text.
fn whole(pattern: &str) -> regex_lite::Regex {
    regex_lite::Regex::new(&format!("^(?:{pattern})$")).expect("a test builds every pattern of the model")
}

const fn options(options: &'static [&'static str]) -> Text {
    Text { min: 0, max: usize::MAX, pattern: None, options }
}

const fn integer(min: i64, max: i64) -> Shape {
    Shape::Integer { min: Some(min), max: Some(max) }
}

const fn at_least(min: i64) -> Shape {
    Shape::Integer { min: Some(min), max: None }
}

const fn any_integer() -> Shape {
    Shape::Integer { min: None, max: None }
}

fn is_hash_key(text: &str) -> bool {
    is_decimal(text, 39)
}

fn is_sequence_number(text: &str) -> bool {
    is_decimal(text, 129)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits;

    /// Every text of every input.
    fn texts(shape: Shape, visit: &mut dyn FnMut(&'static Text)) {
        match shape {
            Shape::Text(text) => visit(text),
            Shape::List { member, .. } => texts(*member, visit),
            Shape::Map { key, value, .. } => {
                visit(key);
                visit(value);
            }
            Shape::Structure(members) => members.iter().for_each(|member| texts(member.shape, visit)),
            Shape::Integer { .. } | Shape::Boolean | Shape::Timestamp | Shape::Blob { .. } => {}
        }
    }

    fn patterns() -> std::collections::BTreeMap<&'static str, Pattern> {
        let mut patterns = std::collections::BTreeMap::new();
        for operation in OPERATIONS {
            texts(Shape::Structure(operation.input), &mut |text| {
                patterns.extend(text.pattern.map(|pattern| (pattern.text, pattern)));
            });
        }
        patterns
    }

    #[test]
    fn every_pattern_accepts_what_fits_it_and_refuses_a_break() {
        let fitting = [
            "a",
            "0a_",
            "a-z_A.9",
            "a/b.-_#",
            "0",
            "123456789012",
            "abcdefghij0123456789-abc",
            "arn:aws:s3:::bucket",
            "arn:aws-cn:iam::123456789012:role/service-role/x",
            "arn:aws:glue:eu-west-1:123456789012:schema/registry/schema",
            "arn:aws:s3tables:eu-west-1:123456789012:bucket/tables",
            "arn:aws:kinesis:eu-west-1:123456789012:stream/s",
            "arn:aws:kinesis:eu-west-1:123456789012:channel/c",
            "arn:aws:kinesis:eu-west-1:123456789012:queue/q",
            "arn:aws:kinesis:eu-west-1:123456789012:stream/s/consumer/c:1700000000",
        ];
        let patterns = patterns();
        assert_eq!(patterns.len(), 20, "{:?}", patterns.keys());
        for (text, pattern) in patterns {
            assert!(fitting.iter().any(|example| (pattern.fits)(example)), "nothing fits {text}");
            assert!(!(pattern.fits)("arn:aws:kinesis::1:stream/ *:*"), "{text} takes anything");
        }
    }

    #[test]
    fn matchers_mean_what_their_patterns_say() {
        let mut texts: Vec<String> =
            ["", "0", "00", "01", "10", "-1", "a", "A_.-9", "a b", "ä", "a\n", "\n", "٣", "9\n"]
                .map(String::from)
                .into();
        texts.extend([38, 39, 40, 128, 129, 130].map(|digits| "1".repeat(digits)));
        for (pattern, meaning) in patterns() {
            let expression = whole(pattern);
            for text in &texts {
                assert_eq!((meaning.fits)(text), expression.is_match(text), "{text:?} and {pattern}");
            }
        }
    }

    #[test]
    fn limits_are_those_of_the_model() {
        assert_eq!(shapes::STREAM_NAME.max, limits::STREAM_NAME_CHARS_MAX);
        assert_eq!(shapes::PARTITION_KEY.max, limits::PARTITION_KEY_CHARS_MAX);
        assert_eq!(shapes::TAG_KEY.max, limits::TAG_KEY_CHARS_MAX);
        assert_eq!(shapes::TAG_VALUE.max, limits::TAG_VALUE_CHARS_MAX);
        let find = |table: &'static [Member], name| table.iter().find(|member| member.name == name).unwrap();
        let Shape::List { max, .. } = find(PUT_RECORDS, "Records").shape else { panic!("a list") };
        assert_eq!(max, limits::PUT_RECORDS_MAX);
        let Shape::Blob { bytes_max } = find(PUT_RECORD, "Data").shape else { panic!("a blob") };
        assert_eq!(bytes_max, limits::RECORD_BYTES_CEILING);
        let Shape::Integer { max, .. } = find(GET_RECORDS, "Limit").shape else { panic!("an integer") };
        assert_eq!(max, i64::try_from(limits::GET_RECORDS_MAX).ok());
    }

    #[test]
    fn operations_are_sorted_and_know_their_errors() {
        assert_eq!(OPERATIONS.len(), 57);
        assert!(OPERATIONS.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(may_answer("GetRecords", "ExpiredIteratorException"));
        assert!(!may_answer("PutRecord", "ExpiredIteratorException"));
        assert!(may_answer("PutRecord", "SerializationException"));
        assert!(!may_answer("PutRecord", "Nonsense"));
    }
}
