//! Checks a request against the service model, in AWS's order and words.
//!
//! In: a JSON value and the table of its operation's input. Out: nothing, or `SerializationException` for a value of another
//! JSON type, else one `ValidationException` naming up to ten violated constraints.

use crate::api::error::{ApiError, ErrorType};
use serde_json::{Map, Value};

/// A member of a structure.
pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) required: bool,
}

/// What a value must be.
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

/// Most violations one answer names.
const VIOLATIONS_MAX: usize = 10;

/// Checks `input` against `members`.
pub(crate) fn check(input: &Map<String, Value>, members: &'static [Member]) -> Result<(), ApiError> {
    for member in members {
        if let Some(value) = input.get(member.name) {
            check_type(value, member.shape)?;
        }
    }
    let mut violations = Violations::default();
    violations.structure(input, members, "");
    violations.outcome()
}

/// AWS names the Java types its service was written with.
fn check_type(value: &Value, shape: Shape) -> Result<(), ApiError> {
    let Some(word) = java_word(shape) else { return check_nested(value, shape) };
    let article = if matches!(shape, Shape::Blob { .. }) { "a" } else { "an" };
    let found = match (value, shape) {
        (Value::Null, _) => return Ok(()),
        (Value::Array(_), _) => {
            return Err(ApiError::serialization("Start of list found where not expected"));
        }
        (Value::Object(_), _) => {
            return Err(ApiError::serialization("Start of structure or map found where not expected."));
        }
        (Value::String(text), Shape::Boolean) => {
            let text = clip(text).to_uppercase();
            return Err(ApiError::serialization(format!("'{text}' can not be converted to an Boolean")));
        }
        (Value::String(text), Shape::Blob { .. }) => return check_base64(text),
        (Value::String(_), Shape::Text(_))
        | (Value::Number(_), Shape::Integer { .. } | Shape::Timestamp)
        | (Value::Bool(_), Shape::Boolean) => return Ok(()),
        (Value::String(_), _) => "java.lang.String",
        (Value::Number(_), _) => "java.math.BigDecimal",
        (Value::Bool(_), _) => "java.lang.Boolean",
    };
    Err(ApiError::serialization(format!("class {found} can not be converted to {article} {word}")))
}

fn java_word(shape: Shape) -> Option<&'static str> {
    match shape {
        Shape::Text(_) => Some("String"),
        Shape::Integer { .. } => Some("Integer"),
        Shape::Timestamp => Some("Double"),
        Shape::Boolean => Some("Boolean"),
        Shape::Blob { .. } => Some("Blob"),
        Shape::List { .. } | Shape::Map { .. } | Shape::Structure(_) => None,
    }
}

fn check_nested(value: &Value, shape: Shape) -> Result<(), ApiError> {
    match (shape, value) {
        (_, Value::Null) => Ok(()),
        (Shape::List { member, .. }, Value::Array(values)) => {
            values.iter().try_for_each(|value| check_type(value, *member))
        }
        (Shape::Map { value: text, .. }, Value::Object(values)) => {
            values.values().try_for_each(|value| check_type(value, Shape::Text(text)))
        }
        (Shape::Structure(members), Value::Object(values)) => members.iter().try_for_each(|member| {
            values.get(member.name).map_or(Ok(()), |value| check_type(value, member.shape))
        }),
        (_, Value::Array(_)) => Err(ApiError::serialization("Start of list found where not expected")),
        (Shape::List { .. }, Value::Object(_)) => {
            Err(ApiError::serialization("Start of structure or map found where not expected."))
        }
        (Shape::List { .. }, _) => Err(ApiError::serialization("Expected list or null")),
        (Shape::Map { .. }, _) => Err(ApiError::serialization("Expected map or null")),
        _ => Err(ApiError::serialization("Expected null")),
    }
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

#[derive(Default)]
pub(crate) struct Violations(Vec<String>);

impl Violations {
    /// The member at `path` is absent and must not be.
    pub(crate) fn required(&mut self, path: &str) {
        self.add("null", path, "Member must not be null");
    }

    pub(crate) fn outcome(self) -> Result<(), ApiError> {
        let count = self.0.len();
        if count == 0 {
            return Ok(());
        }
        let plural = if count > 1 { "s" } else { "" };
        let message = format!("{count} validation error{plural} detected: {}", self.0.join("; "));
        Err(ApiError::new(ErrorType::Validation, message))
    }

    fn add(&mut self, shown: &str, path: &str, constraint: &str) {
        if self.0.len() < VIOLATIONS_MAX {
            self.0.push(format!("Value {shown} at '{path}' failed to satisfy constraint: {constraint}"));
        }
    }

    fn structure(&mut self, values: &Map<String, Value>, members: &'static [Member], path: &str) {
        for member in members {
            let value = values.get(member.name).filter(|value| !value.is_null());
            // Paths of the members that are fine are never written: a large request has thousands.
            let here = || {
                if path.is_empty() {
                    lower_first(member.name)
                } else {
                    format!("{path}.{}", lower_first(member.name))
                }
            };
            match value {
                None if member.required => self.required(&here()),
                None => {}
                Some(value) => self.value(value, member.shape, &here),
            }
        }
    }

    fn value(&mut self, value: &Value, shape: Shape, path: &dyn Fn() -> String) {
        match (shape, value) {
            (Shape::Text(rules), Value::String(text)) => self.text(text, rules, path),
            (Shape::Integer { min, max }, Value::Number(number)) => {
                let number = whole(number);
                if let Some(min) = min.filter(|&min| number < min) {
                    let constraint = format!("Member must have value greater than or equal to {min}");
                    self.add(&format!("'{number}'"), &path(), &constraint);
                }
                if let Some(max) = max.filter(|&max| number > max) {
                    let constraint = format!("Member must have value less than or equal to {max}");
                    self.add(&format!("'{number}'"), &path(), &constraint);
                }
            }
            (Shape::Blob { bytes_max }, Value::String(text)) => {
                let bytes = base64_bytes(text);
                if bytes > bytes_max {
                    let shown = format!("'java.nio.HeapByteBuffer[pos=0 lim={bytes} cap={bytes}]'");
                    self.add(&shown, &path(), &too_long(bytes_max));
                }
            }
            (Shape::List { member, min, max }, Value::Array(values)) => {
                let shown = || format!("'[{}]'", values.iter().map(show).collect::<Vec<_>>().join(", "));
                self.length(values.len(), min, max, &shown, path);
                for (i, value) in (1_usize..).zip(values.iter().take(max)) {
                    let path = || format!("{}.{i}.member", path());
                    match (*member, value) {
                        (Shape::Structure(members), Value::Object(values)) => {
                            self.structure_in(values, members, &path);
                        }
                        _ => self.value(value, *member, &path),
                    }
                }
            }
            (Shape::Map { key, value: rules, min, max }, Value::Object(values)) => {
                let shown = || {
                    let shown: Vec<_> =
                        values.iter().map(|(key, value)| format!("{key}={}", show(value))).collect();
                    format!("'{{{}}}'", shown.join(", "))
                };
                self.length(values.len(), min, max, &shown, path);
                self.map(values, key, rules, &shown, path);
            }
            (Shape::Structure(members), Value::Object(values)) => self.structure(values, members, &path()),
            _ => {}
        }
    }

    /// As [`Violations::structure`], but the path is only written when something is wrong.
    fn structure_in(
        &mut self,
        values: &Map<String, Value>,
        members: &'static [Member],
        path: &dyn Fn() -> String,
    ) {
        for member in members {
            let here = || format!("{}.{}", path(), lower_first(member.name));
            match values.get(member.name).filter(|value| !value.is_null()) {
                None if member.required => self.required(&here()),
                None => {}
                Some(value) => self.value(value, member.shape, &here),
            }
        }
    }

    fn text(&mut self, text: &str, rules: &Text, path: &dyn Fn() -> String) {
        let shown = || format!("'{}'", clip(text));
        if let Some(pattern) = rules.pattern
            && !(pattern.fits)(text)
        {
            let constraint = format!("Member must satisfy regular expression pattern: {}", pattern.text);
            self.add(&shown(), &path(), &constraint);
        }
        self.length(text.chars().count(), rules.min, rules.max, &shown, path);
        if !rules.options.is_empty() && !rules.options.contains(&text) {
            let constraint = format!("Member must satisfy enum value set: [{}]", rules.options.join(", "));
            self.add(&shown(), &path(), &constraint);
        }
    }

    fn length(
        &mut self,
        length: usize,
        min: usize,
        max: usize,
        shown: &dyn Fn() -> String,
        path: &dyn Fn() -> String,
    ) {
        if length < min {
            let constraint = format!("Member must have length greater than or equal to {min}");
            self.add(&shown(), &path(), &constraint);
        }
        if length > max {
            self.add(&shown(), &path(), &too_long(max));
        }
    }

    fn map(
        &mut self,
        values: &Map<String, Value>,
        key: &Text,
        rules: &Text,
        shown: &dyn Fn() -> String,
        path: &dyn Fn() -> String,
    ) {
        let fits = |text: &str, rules: &Text| (rules.min..=rules.max).contains(&text.chars().count());
        let both = |rules: &Text| {
            let (min, max) = (rules.min, rules.max);
            format!(
                "[Member must have length less than or equal to {max}, Member must have length greater than or equal to {min}]"
            )
        };
        if !values.keys().all(|name| fits(name, key)) {
            self.add(&shown(), &path(), &format!("Map keys must satisfy constraint: {}", both(key)));
        }
        if !values.values().all(|value| value.as_str().is_none_or(|value| fits(value, rules))) {
            self.add(&shown(), &path(), &format!("Map value must satisfy constraint: {}", both(rules)));
        }
    }
}

fn too_long(max: usize) -> String {
    format!("Member must have length less than or equal to {max}")
}

/// Bytes that base64 text decodes to.
pub(crate) fn base64_bytes(text: &str) -> usize {
    let padding = text.bytes().rev().take(2).filter(|&b| b == b'=').count();
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
            format!("{:.0}", float.floor()).parse().unwrap_or_else(|_| from_float())
        }
        _ => from_float(),
    })
}

fn show(value: &Value) -> String {
    match value {
        Value::String(text) => clip(text),
        Value::Object(_) => "{}".into(),
        other => other.to_string(),
    }
}

/// Text from outside as answers repeat it: AWS repeats it whole, we stop at a length that no correct value has.
fn clip(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 2_048;
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
}
