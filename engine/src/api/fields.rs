//! Members of a checked request.

use crate::api::check::{Member, check, whole};
use crate::api::error::ApiError;
use crate::api::{Call, Format};
use crate::limits;
use serde_json::{Map, Value};

/// A request body that satisfies its table. A member that is absent or null is `None`.
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads and checks a body.
    ///
    /// # Errors
    /// `SerializationException` or `ValidationException`, as AWS words them.
    pub(crate) fn read(call: &Call, members: &'static [Member]) -> Result<Fields, ApiError> {
        match call.format {
            Format::Json => Fields::of_json(&call.body, members),
        }
    }

    pub(crate) fn of_json(body: &[u8], members: &'static [Member]) -> Result<Fields, ApiError> {
        // A parsed value takes up to 72 bytes: without this bound 15 MB of `[0,0,…` would become a gigabyte.
        let marks =
            body.iter().filter(|b| matches!(b, b',' | b'[' | b'{')).take(limits::JSON_MARKS_MAX + 1).count();
        if marks > limits::JSON_MARKS_MAX {
            return Err(ApiError::serialization(""));
        }
        // AWS gives no message for bodies that are not JSON at all.
        let value = serde_json::from_slice(body).map_err(|_| ApiError::serialization(""))?;
        let Value::Object(map) = value else { return Err(ApiError::serialization("")) };
        check(&map, members)?;
        Ok(Fields(map))
    }

    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        match self.0.get(name) {
            Some(Value::Number(number)) => Some(whole(number)),
            _ => None,
        }
    }

    /// A count, as the limits of lists are.
    pub(crate) fn count(&self, name: &str) -> Option<usize> {
        self.integer(name).map(|value| usize::try_from(value).unwrap_or(0))
    }

    pub(crate) fn is_true(&self, name: &str) -> bool {
        self.0.get(name) == Some(&Value::Bool(true))
    }

    /// A time in UTC ms since 1970, from seconds with a fraction.
    pub(crate) fn time_ms(&self, name: &str) -> Option<u64> {
        time_ms(self.0.get(name)?)
    }

    pub(crate) fn list(&self, name: &str) -> &[Value] {
        self.0.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn map(&self, name: &str) -> Option<&Map<String, Value>> {
        self.0.get(name).and_then(Value::as_object)
    }
}

/// A timestamp value in UTC ms since 1970.
pub(crate) fn time_ms(value: &Value) -> Option<u64> {
    let ms = (value.as_f64()? * 1_000.0).round();
    // Ten digits of seconds and three of a fraction are exact in a float; what is beyond is the far past or future.
    if ms <= 0.0 { Some(0) } else { format!("{ms:.0}").parse().ok().or(Some(u64::MAX)) }
}
