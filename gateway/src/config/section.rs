//! One table of a TOML document, read key by key.
//!
//! In: keys with their defaults and what they may be. Out: checked values; problems and warnings go to the [`Reader`].

use super::problem::closest;
use super::reader::{Known, Placed, Reader};
use super::units::{bytes_text, duration_text, parse_bytes, parse_duration};
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One table, read key by key. Call [`Section::end`] when every key was asked for.
pub(super) struct Section<'r, 's> {
    reader: &'r Reader<'s>,
    path: String,
    /// Line of the table, 0 when it is absent.
    line: usize,
    table: Option<&'r DeTable<'s>>,
    asked: Vec<&'static str>,
}

impl<'r, 's> Section<'r, 's> {
    /// The table that holds all others.
    pub(super) fn root(reader: &'r Reader<'s>, table: &'r Spanned<DeTable<'s>>) -> Self {
        Section { reader, path: String::new(), line: 0, table: Some(table.get_ref()), asked: Vec::new() }
    }

    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// Reports that `key` of this table is wrong.
    pub(super) fn wrong(&self, line: usize, key: &str, found: impl Display, expected: impl Display) {
        self.reader.report(line, &self.join(key), found.to_string(), expected.to_string(), None);
    }

    /// Reports that the name of this table is wrong.
    pub(super) fn wrong_name(&self, found: impl Display, expected: impl Display) {
        self.reader.report(self.line, &self.path, format!("named {found}"), expected.to_string(), None);
    }

    /// Says that `key` of this table is allowed but probably not meant.
    pub(super) fn warn(&self, line: usize, key: &str, found: impl Display, expected: impl Display) {
        self.warner(key)(line, found.to_string(), expected.to_string());
    }

    /// [`Section::warn`] for when this section was read to its end.
    pub(super) fn warner(&self, key: &str) -> impl Fn(usize, String, String) + use<'r, 's> {
        let (reader, key) = (self.reader, self.join(key));
        move |line, found, expected| {
            reader.warn(line, &key, found, expected);
        }
    }

    /// Text that no message may show; `None` when absent.
    pub(super) fn secret(&mut self, key: &'static str) -> Option<String> {
        self.ask(key, String::new());
        let (value, line) = self.find(key)?;
        let text = value.as_str().filter(|text| !text.is_empty());
        if text.is_none() {
            self.wrong(line, key, "not shown", "text in quotes that is not empty");
        }
        text.map(str::to_owned)
    }

    /// Text, or `None` when the key is absent. For keys without a default.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<Placed<T>> {
        self.ask(key, String::new());
        let (value, line) = self.find(key)?;
        match value.as_str().and_then(parse) {
            Some(value) => Some(Placed { value, line }),
            None => {
                self.wrong(line, key, shown(value), expected);
                None
            }
        }
    }

    /// Text that `parse` must accept.
    pub(super) fn parsed<T>(
        &mut self,
        key: &'static str,
        default: &str,
        expected: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Placed<T> {
        self.ask(key, format!("\"{default}\""));
        let fallback = || parse(default).expect("the default is valid");
        let Some((value, line)) = self.find(key) else { return Placed { value: fallback(), line: 0 } };
        match value.as_str().and_then(&parse) {
            Some(value) => Placed { value, line },
            None => {
                self.wrong(line, key, shown(value), expected);
                Placed { value: fallback(), line }
            }
        }
    }

    /// One of the named choices.
    pub(super) fn choice<T: Copy>(&mut self, key: &'static str, default: &str, choices: &[(&str, T)]) -> T {
        self.ask(key, format!("\"{default}\""));
        let pick = |text: &str| choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        let fallback = pick(default).expect("the default is one of the choices");
        let Some((value, line)) = self.find(key) else { return fallback };
        if let Some(chosen) = value.as_str().and_then(pick) {
            return chosen;
        }
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let suggestion = value.as_str().and_then(|found| closest(found, names.iter().copied()));
        let expected = format!("one of {}", quoted(&names));
        self.reader.report(line, &self.join(key), shown(value), expected, suggestion);
        fallback
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        self.ask(key, default.to_string());
        let Some((value, line)) = self.find(key) else { return default };
        value.as_bool().unwrap_or_else(|| {
            self.wrong(line, key, shown(value), "true or false");
            default
        })
    }

    /// A whole number inside `range`.
    pub(super) fn count(&mut self, key: &'static str, default: u64, range: RangeInclusive<u64>) -> u64 {
        self.ask(key, default.to_string());
        let Some((value, line)) = self.find(key) else { return default };
        let number = value.as_integer().and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok());
        match number.filter(|number| range.contains(number)) {
            Some(number) => number,
            None => {
                let expected = format!("a whole number from {} to {}", range.start(), range.end());
                self.wrong(line, key, shown(value), expected);
                default
            }
        }
    }

    /// A duration with its unit, inside `range`.
    pub(super) fn duration(
        &mut self,
        key: &'static str,
        default: Duration,
        range: RangeInclusive<Duration>,
    ) -> Duration {
        let expected = format!(
            "a duration with its unit from \"{}\" to \"{}\", such as \"{}\"",
            duration_text(*range.start()),
            duration_text(*range.end()),
            duration_text(default)
        );
        let parse = |text: &str| parse_duration(text).filter(|duration| range.contains(duration));
        self.parsed(key, &duration_text(default), &expected, parse).value
    }

    /// A size with its unit, inside `range`.
    pub(super) fn bytes(&mut self, key: &'static str, default: u64, range: RangeInclusive<u64>) -> u64 {
        let expected = format!(
            "a size with its unit from \"{}\" to \"{}\", such as \"{}\"",
            bytes_text(*range.start()),
            bytes_text(*range.end()),
            bytes_text(default)
        );
        let parse = |text: &str| parse_bytes(text).filter(|bytes| range.contains(bytes));
        self.parsed(key, &bytes_text(default), &expected, parse).value
    }

    /// A list of texts, or `default`.
    pub(super) fn list(&mut self, key: &'static str, default: &[&str]) -> Placed<Vec<String>> {
        self.ask(key, format!("[{}]", quoted(default)));
        let fallback = || default.iter().map(|&item| item.to_owned()).collect();
        let Some((value, line)) = self.find(key) else { return Placed { value: fallback(), line: 0 } };
        let items: Option<Vec<String>> = value
            .as_array()
            .and_then(|items| items.iter().map(|item| item.get_ref().as_str().map(str::to_owned)).collect());
        match items {
            Some(value) => Placed { value, line },
            None => {
                self.wrong(line, key, shown(value), "a list of texts, such as [\"stream\"]");
                Placed { value: fallback(), line }
            }
        }
    }

    /// A table inside this one; every key of it takes its default when it is absent.
    pub(super) fn table(&mut self, key: &'static str) -> Section<'r, 's> {
        self.asked.push(key);
        let path = self.join(key);
        let Some((value, line)) = self.find(key) else { return self.child(path, 0, None) };
        if value.as_table().is_none() {
            self.wrong(line, key, shown(value), format!("a table, [{path}]"));
        }
        self.child(path, line, value.as_table())
    }

    /// The tables of an array `[[key]]`; `None` when the key is absent.
    pub(super) fn tables(&mut self, key: &'static str) -> Option<Vec<Section<'r, 's>>> {
        self.asked.push(key);
        let path = self.join(key);
        let (value, line) = self.find(key)?;
        let tables: Option<Vec<Section<'r, 's>>> = value.as_array().and_then(|items| {
            let section = |(n, item): (usize, &'r Spanned<DeValue<'s>>)| {
                let line = self.reader.line(item.span().start);
                item.get_ref().as_table().map(|table| self.child(format!("{path}[{n}]"), line, Some(table)))
            };
            items.iter().enumerate().map(section).collect()
        });
        if tables.is_none() {
            self.wrong(line, key, shown(value), format!("tables, [[{path}]]"));
        }
        tables
    }

    /// Every table inside this one under the name it was given.
    pub(super) fn named(self) -> Vec<(String, Section<'r, 's>)> {
        let mut named = Vec::new();
        for (key, value) in self.table.into_iter().flatten() {
            let name = key.get_ref().to_string();
            let line = self.reader.line(key.span().start);
            match value.get_ref().as_table() {
                Some(table) => named.push((name.clone(), self.child(self.join(&name), line, Some(table)))),
                None => {
                    let expected = format!("a table, [{}]", self.join(&name));
                    self.wrong(line, &name, shown(value.get_ref()), expected);
                }
            }
        }
        named
    }

    /// Reports every key that was not asked for.
    pub(super) fn end(self) {
        for (key, _) in self.table.into_iter().flatten() {
            let name: &str = key.get_ref();
            if self.asked.contains(&name) {
                continue;
            }
            let mut known = self.asked.clone();
            known.sort_unstable();
            let suggestion = closest(name, known.iter().copied());
            let line = self.reader.line(key.span().start);
            let expected = format!("one of {}", known.join(", "));
            self.reader.report(line, &self.join(name), "an unknown key".to_owned(), expected, suggestion);
        }
    }

    fn child(&self, path: String, line: usize, table: Option<&'r DeTable<'s>>) -> Section<'r, 's> {
        Section { reader: self.reader, path, line, table, asked: Vec::new() }
    }

    fn find(&self, key: &str) -> Option<(&'r DeValue<'s>, usize)> {
        let (found, value) = self.table?.iter().find(|(found, _)| found.get_ref() == key)?;
        let span: Range<usize> = found.span();
        Some((value.get_ref(), self.reader.line(span.start)))
    }

    fn ask(&mut self, key: &'static str, default: String) {
        self.asked.push(key);
        self.reader.know(Known { path: self.join(key), default });
    }

    fn join(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// A value as it may be shown in a message.
fn shown(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("\"{text}\""),
        DeValue::Integer(number) => number.to_string(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Boolean(flag) => flag.to_string(),
        DeValue::Datetime(_) => "a date".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}

fn quoted(names: &[&str]) -> String {
    names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
}
