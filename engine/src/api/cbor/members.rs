//! The general way from CBOR to the values that checks and operations read.
//!
//! In: a body and the table of its operation's input, which says what a byte string or a number is there. Out: the values a
//! JSON body of the same meaning gives: data in base64, times in seconds. Members that the model does not know are passed
//! over and take no memory.

use super::{Head, Kind, Length, Reader};
use crate::api::check::{Found, Member, Shape, mismatch};
use crate::api::error::ApiError;
use crate::limits;
use serde_json::{Map, Number, Value};

/// Reads a body that is one map and nothing after it.
///
/// # Errors
/// `SerializationException`: without a message when it is not CBOR, as for what is not JSON; else saying what is wrong.
pub(in crate::api) fn object(
    body: &[u8],
    members: &'static [Member],
) -> Result<Map<String, Value>, ApiError> {
    let mut general = General { reader: Reader::new(body), items: 0 };
    let Some(Head::Map(length)) = general.reader.head() else { return Err(broken()) };
    let map = general.structure(length, members)?;
    if general.reader.is_at_end() { Ok(map) } else { Err(broken()) }
}

fn broken() -> ApiError {
    ApiError::serialization("")
}

fn twice(name: &str) -> ApiError {
    let name: String = name.chars().take(64).collect();
    ApiError::serialization(format!("member `{name}` appears twice"))
}

struct General<'a> {
    reader: Reader<'a>,
    /// Values kept so far.
    items: usize,
}

impl General<'_> {
    fn structure(
        &mut self,
        mut left: Length,
        members: &'static [Member],
    ) -> Result<Map<String, Value>, ApiError> {
        let mut map = Map::new();
        while self.reader.more(&mut left).ok_or_else(broken)? {
            let name = self.name()?;
            let Some(member) = members.iter().find(|member| member.name == name) else {
                self.reader.skip().ok_or_else(broken)?;
                continue;
            };
            let value = self.value(member.shape)?;
            if map.insert(name, value).is_some() {
                return Err(twice(member.name));
            }
        }
        Ok(map)
    }

    fn map(&mut self, mut left: Length, value: Shape) -> Result<Map<String, Value>, ApiError> {
        let mut map = Map::new();
        while self.reader.more(&mut left).ok_or_else(broken)? {
            let name = self.name()?;
            let value = self.value(value)?;
            if map.contains_key(&name) {
                return Err(twice(&name));
            }
            map.insert(name, value);
        }
        Ok(map)
    }

    fn list(&mut self, mut left: Length, member: Shape) -> Result<Value, ApiError> {
        let mut values = Vec::new();
        while self.reader.more(&mut left).ok_or_else(broken)? {
            values.push(self.value(member)?);
        }
        Ok(Value::Array(values))
    }

    fn name(&mut self) -> Result<String, ApiError> {
        match self.reader.head().ok_or_else(broken)? {
            Head::Text(length) => self.text(length),
            _ => Err(ApiError::serialization("the name of a member is not text")),
        }
    }

    fn value(&mut self, shape: Shape) -> Result<Value, ApiError> {
        self.items += 1;
        // The depth of what is kept is that of the model; its number is up to the client.
        if self.items > limits::CBOR_ITEMS_MAX {
            return Err(ApiError::serialization("the request has too many values"));
        }
        let head = self.reader.head().ok_or_else(broken)?;
        match (head, shape) {
            (Head::Null, _) => Ok(Value::Null),
            (Head::Boolean(value), Shape::Boolean) => Ok(Value::Bool(value)),
            (Head::Text(length), Shape::Text(_)) => self.text(length).map(Value::String),
            (Head::Bytes(length), Shape::Blob { .. }) => self.blob(length),
            (Head::Array(length), Shape::List { member, .. }) => self.list(length, *member),
            (Head::Map(length), Shape::Structure(members)) => {
                self.structure(length, members).map(Value::Object)
            }
            (Head::Map(length), Shape::Map { value, .. }) => {
                self.map(length, Shape::Text(value)).map(Value::Object)
            }
            (Head::Tag(1), Shape::Timestamp) => {
                let head = self.reader.head().ok_or_else(broken)?;
                time(head).ok_or_else(|| found(head, shape))
            }
            (Head::Unsigned(_) | Head::Negative(_) | Head::Float(_), Shape::Timestamp) => {
                time(head).ok_or_else(|| found(head, shape))
            }
            (Head::Unsigned(_) | Head::Negative(_) | Head::Float(_), Shape::Integer { .. }) => {
                number(head).ok_or_else(|| found(head, shape))
            }
            _ => Err(found(head, shape)),
        }
    }

    fn text(&mut self, length: Length) -> Result<String, ApiError> {
        let bytes = self.reader.string(length, Kind::Text).ok_or_else(broken)?;
        String::from_utf8(bytes.into_owned()).map_err(|_| broken())
    }

    fn blob(&mut self, length: Length) -> Result<Value, ApiError> {
        let bytes = self.reader.string(length, Kind::Bytes).ok_or_else(broken)?;
        Ok(Value::String(base64_simd::STANDARD.encode_to_string(&bytes)))
    }
}

/// The error for an item that the model does not have there.
fn found(head: Head, shape: Shape) -> ApiError {
    let found = match head {
        Head::Text(_) => Found::Text,
        Head::Bytes(_) => Found::Bytes,
        Head::Array(_) => Found::List,
        Head::Map(_) => Found::Structure,
        Head::Boolean(_) => Found::Boolean,
        Head::Unsigned(_) | Head::Negative(_) | Head::Float(_) => Found::Number,
        Head::Tag(tag) => return ApiError::serialization(format!("tag {tag} found where not expected")),
        Head::Null | Head::Break => return broken(),
    };
    mismatch(found, shape)
}

/// A finite number.
fn number(head: Head) -> Option<Value> {
    match head {
        Head::Unsigned(value) => Some(value.into()),
        Head::Negative(value) => match i64::try_from(value) {
            Ok(value) => Some((-1 - value).into()),
            Err(_) => Number::from_f64(-1.0 - value as f64).map(Value::Number),
        },
        Head::Float(value) => Number::from_f64(value).map(Value::Number),
        _ => None,
    }
}

/// A time as JSON has it, in seconds with a fraction.
fn time(head: Head) -> Option<Value> {
    const SECONDS_BELOW: f64 = 1e11;
    let seconds = match head {
        Head::Unsigned(ms) => ms as f64 / 1_000.0,
        Head::Negative(value) => (-1.0 - value as f64) / 1_000.0,
        Head::Float(value) if value.abs() < SECONDS_BELOW => value,
        Head::Float(value) => value / 1_000.0,
        _ => return None,
    };
    Number::from_f64(seconds).map(Value::Number)
}
