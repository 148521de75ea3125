//! Members of a checked request.

use crate::api::check::{Member, check, whole};
use crate::api::error::ApiError;
use crate::api::strict::Strict;
use crate::api::{Call, Format, cbor};
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
        let map = unchecked(call, members)?;
        check(&map, members)?;
        Ok(Fields(map))
    }

    /// A member as it came.
    #[cfg(test)]
    pub(super) fn raw(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
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

/// The members of a body, not checked yet.
pub(super) fn unchecked(call: &Call, members: &'static [Member]) -> Result<Map<String, Value>, ApiError> {
    match call.format {
        Format::Json => of_json(&call.body),
        Format::Cbor => cbor::object(&call.body, members),
    }
}

/// A body in JSON: one object, no member of it or of what is in it twice.
fn of_json(body: &[u8]) -> Result<Map<String, Value>, ApiError> {
    // A parsed value takes up to 72 bytes: without this bound 15 MB of `[0,0,…` would become a gigabyte.
    let marks =
        body.iter().filter(|b| matches!(b, b',' | b'[' | b'{')).take(limits::JSON_MARKS_MAX + 1).count();
    if marks > limits::JSON_MARKS_MAX {
        return Err(ApiError::serialization(""));
    }
    match serde_json::from_slice(body) {
        Ok(Strict(Value::Object(map))) => Ok(map),
        // It is JSON, but not what a request can be.
        Err(error) if error.is_data() => Err(ApiError::serialization(error.to_string())),
        // AWS gives no message for bodies that are not JSON at all. What is nested too deeply, or has numbers or surrogates
        // that mean nothing, counts as that.
        Ok(_) | Err(_) => Err(ApiError::serialization("")),
    }
}

/// A timestamp value in UTC ms since 1970.
pub(crate) fn time_ms(value: &Value) -> Option<u64> {
    let ms = (value.as_f64()? * 1_000.0).round();
    // Ten digits of seconds and three of a fraction are exact in a float; what is beyond is the far past or future.
    if ms <= 0.0 { Some(0) } else { format!("{ms:.0}").parse().ok().or(Some(u64::MAX)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ErrorType, model};

    fn refusal(body: &[u8]) -> String {
        let error = Fields::read(&Call::json(body.to_vec().into()), model::LIST_STREAMS).err().unwrap();
        assert_eq!(error.error, ErrorType::Serialization, "{error}");
        error.message
    }

    #[test]
    fn a_member_that_is_there_twice_means_nothing() {
        assert!(refusal(br#"{"Limit":1,"Limit":1}"#).starts_with("member `Limit` appears twice"));
        assert!(refusal(br#"{"Other":[{"a":1,"\u0061":2}]}"#).starts_with("member `a` appears twice"));
        let long = format!(r#"{{"{0}":1,"{0}":1}}"#, "x".repeat(10_000));
        assert!(refusal(long.as_bytes()).len() < 200);
    }

    #[test]
    fn what_is_no_json_is_refused_without_a_word() {
        let deep = [&br#"{"x":"#[..], &[b'['; 200], &[b']'; 200], b"}"].concat();
        let wide = [&br#"{"x":["#[..], &b"0,".repeat(limits::JSON_MARKS_MAX + 1), b"0]}"].concat();
        for body in [
            &b""[..],
            b"{",
            b"[]",
            b"null",
            b"\xef\xbb\xbf{}",
            b"{} {}",
            b"{\"Limit\":1e400}",
            b"{\"Limit\":NaN}",
            b"{\"NextToken\":\"\\ud800\"}",
            b"{\"NextToken\":\"\\udc00\\ud800\"}",
            b"{\"NextToken\":\"\xff\"}",
            b"{\"NextToken\":\"\n\"}",
            b"{\"x\":\"\\x\"}",
            &deep,
            &wide,
        ] {
            assert_eq!(refusal(body), "", "{:?}", String::from_utf8_lossy(&body[..body.len().min(40)]));
        }
    }

    #[test]
    fn large_numbers_are_read_and_do_not_wrap() {
        for (text, number) in
            [("1e300", i64::MAX), ("-1e300", i64::MIN), ("123456789012345678901234567890", i64::MAX)]
        {
            let body = format!(r#"{{"RetentionPeriodHours":{text}}}"#);
            let fields =
                Fields::read(&Call::json(body.into_bytes().into()), model::INCREASE_STREAM_RETENTION_PERIOD);
            assert_eq!(fields.ok().unwrap().integer("RetentionPeriodHours"), Some(number));
        }
    }
}
