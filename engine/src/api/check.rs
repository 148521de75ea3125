//! Checks a request against the service model, in AWS's order and words.
//!
//! In: a value and the table of its operation's input. Out: nothing, or `SerializationException` for a value of another
//! type (types), else one `ValidationException` naming up to ten violated constraints (violations).

mod types;
mod violations;

pub(crate) use types::{Found, mismatch};
pub(crate) use violations::{Path, Violations};

use crate::api::error::ApiError;
use serde_json::{Map, Value};

/// A member of a structure.
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) required: bool,
}

/// What a value must be: the types that the model's inputs have. It has no unions, and no numbers but integers and times.
#[derive(Clone, Copy)]
pub(crate) enum Shape {
    Text(&'static Text),
    Integer { min: Option<i64>, max: Option<i64> },
    Boolean,
    Timestamp,
    Blob { bytes_max: usize },
    List { member: &'static Shape, min: usize, max: usize },
    Map { key: &'static Text, value: &'static Text, min: usize, max: usize },
    Structure(&'static [Member]),
}

/// What a string must be.
pub(crate) struct Text {
    pub(crate) min: usize,
    pub(crate) max: usize,
    pub(crate) pattern: Option<Pattern>,
    /// The allowed values; empty: any.
    pub(crate) options: &'static [&'static str],
}

/// A pattern: how AWS writes it, and what it means.
#[derive(Clone, Copy)]
pub(crate) struct Pattern {
    pub(crate) text: &'static str,
    pub(crate) fits: fn(&str) -> bool,
}

/// Checks `input` against `members`. Members that the model does not know are ignored.
pub(crate) fn check(input: &Map<String, Value>, members: &'static [Member]) -> Result<(), ApiError> {
    types::check(input, members)?;
    let mut violations = Violations::default();
    violations.structure(input, members, Path::Root);
    violations.outcome()
}

/// Bytes that base64 text decodes to.
pub(crate) fn base64_bytes(text: &[u8]) -> usize {
    let padding = text.iter().rev().take(2).filter(|&&b| b == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

/// A number as an integer, its fraction dropped as AWS drops it.
pub(crate) fn whole(number: &serde_json::Number) -> i64 {
    let from_float = || {
        let float = number.as_f64().unwrap_or(0.0);
        if float >= 0.0 { i64::MAX } else { i64::MIN }
    };
    number.as_i64().unwrap_or_else(|| match number.as_f64() {
        // `as` would do, but within these bounds the text form is exact as well.
        Some(float) if float.abs() < 1e15 => {
            format!("{:.0}", float.trunc()).parse().unwrap_or_else(|_| from_float())
        }
        _ => from_float(),
    })
}

/// Text from outside as answers repeat it: AWS repeats it whole, we stop at a length that no correct value has.
fn clip(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 2_048;
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
