//! Whether values have the types of the model. AWS's words name the Java types its service was written with.

use super::{Member, Shape, clip};
use crate::api::error::ApiError;
use serde_json::{Map, Value};

/// What a value is that is no list and no structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Text,
    Number,
    Boolean,
    /// Only CBOR has them; JSON writes them as text.
    Bytes,
    List,
    Structure,
}

pub(super) fn check(input: &Map<String, Value>, members: &'static [Member]) -> Result<(), ApiError> {
    members
        .iter()
        .try_for_each(|member| input.get(member.name).map_or(Ok(()), |value| check_type(value, member.shape)))
}

fn check_type(value: &Value, shape: Shape) -> Result<(), ApiError> {
    match (shape, value) {
        (_, Value::Null)
        | (Shape::Text(_), Value::String(_))
        | (Shape::Integer { .. } | Shape::Timestamp, Value::Number(_))
        | (Shape::Boolean, Value::Bool(_)) => Ok(()),
        (Shape::Blob { .. }, Value::String(text)) => check_base64(text),
        (Shape::Boolean, Value::String(text)) => Err(ApiError::serialization(format!(
            "'{}' can not be converted to an Boolean",
            clip(text).to_uppercase()
        ))),
        (Shape::List { member, .. }, Value::Array(values)) => {
            values.iter().try_for_each(|value| check_type(value, *member))
        }
        (Shape::Map { value: text, .. }, Value::Object(values)) => {
            values.values().try_for_each(|value| check_type(value, Shape::Text(text)))
        }
        (Shape::Structure(members), Value::Object(values)) => check(values, members),
        (_, Value::String(_)) => Err(mismatch(Found::Text, shape)),
        (_, Value::Number(_)) => Err(mismatch(Found::Number, shape)),
        (_, Value::Bool(_)) => Err(mismatch(Found::Boolean, shape)),
        (_, Value::Array(_)) => Err(mismatch(Found::List, shape)),
        (_, Value::Object(_)) => Err(mismatch(Found::Structure, shape)),
    }
}

/// The error for a value of another type than the model has there.
pub(crate) fn mismatch(found: Found, shape: Shape) -> ApiError {
    let class = match found {
        Found::List => return ApiError::serialization("Start of list found where not expected"),
        Found::Structure => {
            return ApiError::serialization("Start of structure or map found where not expected.");
        }
        Found::Text => "java.lang.String",
        Found::Number => "java.math.BigDecimal",
        Found::Boolean => "java.lang.Boolean",
        Found::Bytes => "java.nio.HeapByteBuffer",
    };
    let target = match shape {
        Shape::Text(_) => "an String",
        Shape::Integer { .. } => "an Integer",
        Shape::Timestamp => "an Double",
        Shape::Boolean => "an Boolean",
        Shape::Blob { .. } => "a Blob",
        Shape::List { .. } => return ApiError::serialization("Expected list or null"),
        Shape::Map { .. } => return ApiError::serialization("Expected map or null"),
        Shape::Structure(_) => return ApiError::serialization("Expected null"),
    };
    ApiError::serialization(format!("class {class} can not be converted to {target}"))
}

fn check_base64(text: &str) -> Result<(), ApiError> {
    let refuse = |why: String| {
        Err(ApiError::serialization(format!("'{}' can not be converted to a Blob: {why}", clip(text))))
    };
    if !text.len().is_multiple_of(4) {
        let length = text.len();
        return refuse(format!(
            "Base64 encoded length is expected a multiple of 4 bytes but found: {length}"
        ));
    }
    let body = text.trim_end_matches('=');
    if let Some(wrong) = body.chars().find(|c| !c.is_ascii_alphanumeric() && *c != '+' && *c != '/') {
        return refuse(format!("Invalid Base64 character: '{wrong}'"));
    }
    if base64_simd::STANDARD.check(text.as_bytes()).is_err() {
        return refuse("Invalid last non-pad Base64 character dectected".into());
    }
    Ok(())
}
