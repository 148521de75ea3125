//! Constraints of the model that values of the right types violate.
//!
//! The order within a member is AWS's: pattern, least and greatest length, enum; then what is inside. Members are taken in
//! the model's order.

use super::{Member, Shape, Text, base64_bytes, clip, whole};
use crate::api::error::{ApiError, ErrorType};
use serde_json::{Map, Value};
use std::fmt;

/// Most violations one answer names.
const VIOLATIONS_MAX: usize = 10;

/// Where a value is. Written only when something is wrong with it: a large request has thousands that are fine.
#[derive(Clone, Copy)]
pub(crate) enum Path<'a> {
    Root,
    Member(&'a Path<'a>, &'static str),
    /// From 1.
    Item(&'a Path<'a>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Member(parent, name) => {
                let dot = if matches!(parent, Path::Root) { "" } else { "." };
                let (first, rest) = name.split_at(1);
                write!(f, "{parent}{dot}{}{rest}", first.to_ascii_lowercase())
            }
            Path::Item(parent, number) => write!(f, "{parent}.{number}.member"),
        }
    }
}

/// What was found wrong so far.
#[derive(Default)]
pub(crate) struct Violations(Vec<String>);

impl Violations {
    pub(crate) fn outcome(self) -> Result<(), ApiError> {
        let count = self.0.len();
        if count == 0 {
            return Ok(());
        }
        let plural = if count > 1 { "s" } else { "" };
        let message = format!("{count} validation error{plural} detected: {}", self.0.join("; "));
        Err(ApiError::new(ErrorType::Validation, message))
    }

    fn add(&mut self, shown: impl FnOnce() -> String, path: Path<'_>, constraint: impl FnOnce() -> String) {
        if self.0.len() < VIOLATIONS_MAX {
            let (shown, constraint) = (shown(), constraint());
            self.0.push(format!("Value {shown} at '{path}' failed to satisfy constraint: {constraint}"));
        }
    }

    /// The member at `path` is absent and must not be.
    pub(crate) fn required(&mut self, path: Path<'_>) {
        self.add(|| "null".into(), path, || "Member must not be null".into());
    }

    pub(super) fn structure(
        &mut self,
        values: &Map<String, Value>,
        members: &'static [Member],
        path: Path<'_>,
    ) {
        for member in members {
            let here = Path::Member(&path, member.name);
            match values.get(member.name).filter(|value| !value.is_null()) {
                None if member.required => self.required(here),
                None => {}
                Some(value) => self.value(value, member.shape, here),
            }
        }
    }

    fn value(&mut self, value: &Value, shape: Shape, path: Path<'_>) {
        match (shape, value) {
            (Shape::Text(rules), Value::String(text)) => self.text(text, rules, path),
            (Shape::Integer { min, max }, Value::Number(number)) => {
                self.integer(whole(number), min, max, path);
            }
            (Shape::Blob { bytes_max }, Value::String(text)) => {
                let bytes = base64_bytes(text.as_bytes());
                if bytes > bytes_max {
                    let shown = || format!("'java.nio.HeapByteBuffer[pos=0 lim={bytes} cap={bytes}]'");
                    self.add(shown, path, || at_most(bytes_max));
                }
            }
            (Shape::List { member, min, max }, Value::Array(values)) => {
                self.list(values, *member, min, max, path);
            }
            (Shape::Map { key, value: rules, min, max }, Value::Object(values)) => {
                let shown = || show_map(values);
                self.length(values.len(), min, max, &shown, path);
                if !values.keys().all(|name| fits(name, key)) {
                    self.add(shown, path, || format!("Map keys must satisfy constraint: {}", all_of(key)));
                }
                if !values.values().all(|value| value.as_str().is_none_or(|value| fits(value, rules))) {
                    self.add(shown, path, || format!("Map value must satisfy constraint: {}", all_of(rules)));
                }
            }
            (Shape::Structure(members), Value::Object(values)) => self.structure(values, members, path),
            _ => {}
        }
    }

    fn integer(&mut self, number: i64, min: Option<i64>, max: Option<i64>, path: Path<'_>) {
        let shown = || format!("'{number}'");
        if let Some(min) = min.filter(|&min| number < min) {
            self.add(shown, path, || format!("Member must have value greater than or equal to {min}"));
        }
        if let Some(max) = max.filter(|&max| number > max) {
            self.add(shown, path, || format!("Member must have value less than or equal to {max}"));
        }
    }

    fn list(&mut self, values: &[Value], member: Shape, min: usize, max: usize, path: Path<'_>) {
        let shown = || show_list(values);
        self.length(values.len(), min, max, &shown, path);
        if let Shape::Text(rules) = member {
            // AWS names what is wrong inside a list of texts once, at the list.
            if !values.iter().filter_map(Value::as_str).all(|text| fits(text, rules)) {
                self.add(shown, path, || format!("Member must satisfy constraint: {}", all_of(rules)));
            }
            return;
        }
        for (number, value) in (1..).zip(values.iter().take(max)) {
            self.value(value, member, Path::Item(&path, number));
        }
    }

    fn text(&mut self, text: &str, rules: &Text, path: Path<'_>) {
        let shown = || format!("'{}'", clip(text));
        if let Some(pattern) = rules.pattern
            && !(pattern.fits)(text)
        {
            self.add(shown, path, || {
                format!("Member must satisfy regular expression pattern: {}", pattern.text)
            });
        }
        self.length(text.chars().count(), rules.min, rules.max, &shown, path);
        if !rules.options.is_empty() && !rules.options.contains(&text) {
            self.add(shown, path, || one_of(rules));
        }
    }

    fn length(&mut self, length: usize, min: usize, max: usize, shown: &dyn Fn() -> String, path: Path<'_>) {
        if length < min {
            self.add(shown, path, || at_least(min));
        }
        if length > max {
            self.add(shown, path, || at_most(max));
        }
    }
}

fn fits(text: &str, rules: &Text) -> bool {
    (rules.min..=rules.max).contains(&text.chars().count())
        && rules.pattern.is_none_or(|pattern| (pattern.fits)(text))
        && (rules.options.is_empty() || rules.options.contains(&text))
}

/// All constraints on texts in a list or a map, of which at least one is violated.
fn all_of(rules: &Text) -> String {
    let mut all = Vec::new();
    if rules.max < usize::MAX {
        all.extend([at_most(rules.max), at_least(rules.min)]);
    }
    if let Some(pattern) = rules.pattern {
        all.push(format!("Member must satisfy regular expression pattern: {}", pattern.text));
    }
    if !rules.options.is_empty() {
        all.push(one_of(rules));
    }
    format!("[{}]", all.join(", "))
}

fn at_most(max: usize) -> String {
    format!("Member must have length less than or equal to {max}")
}

fn at_least(min: usize) -> String {
    format!("Member must have length greater than or equal to {min}")
}

fn one_of(rules: &Text) -> String {
    format!("Member must satisfy enum value set: [{}]", rules.options.join(", "))
}

fn show(value: &Value) -> String {
    match value {
        Value::String(text) => clip(text),
        Value::Object(_) => "{}".into(),
        other => other.to_string(),
    }
}

fn show_list(values: &[Value]) -> String {
    format!("'[{}]'", values.iter().map(show).collect::<Vec<_>>().join(", "))
}

fn show_map(values: &Map<String, Value>) -> String {
    let shown: Vec<_> = values.iter().map(|(key, value)| format!("{key}={}", show(value))).collect();
    format!("'{{{}}}'", shown.join(", "))
}
