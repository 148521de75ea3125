//! One reading of a TOML document: its text, its problems with their lines, every key that was asked for.
//!
//! In: the text of a file. Out: checked values with defaults filled in, problems, and the list of all keys.
//! Invariant: a key nobody asked for is a problem; a wrong value is a problem and its default goes on, so that one
//! run reports everything wrong.
//! Not here: tables and values (`section`), which keys there are and what they mean (`sections`).

use super::problem::{ConfigError, Problem};
use std::cell::RefCell;
use toml::Spanned;
use toml::de::DeTable;

/// One key that the configuration knows, with its default as it would be written; empty for keys without one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) path: String,
    pub(crate) default: String,
}

/// What one reading of a document collects.
pub(super) struct Reader<'s> {
    file: &'s str,
    source: &'s str,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    known: RefCell<Vec<Known>>,
}

impl<'s> Reader<'s> {
    pub(super) fn new(file: &'s str, source: &'s str) -> Self {
        Reader {
            file,
            source,
            problems: RefCell::default(),
            warnings: RefCell::default(),
            known: RefCell::default(),
        }
    }

    /// Parses the document; syntax errors end the reading, since what follows one is guesswork.
    pub(super) fn parse(&self) -> Result<Spanned<DeTable<'s>>, ConfigError> {
        let (table, errors) = DeTable::parse_recoverable(self.source);
        if errors.is_empty() {
            return Ok(table);
        }
        for error in errors {
            let line = error.span().map_or(0, |span| self.line(span.start));
            self.report(line, "syntax", String::new(), format!("error, {}", error.message()), None);
        }
        Err(ConfigError { problems: self.problems.take() })
    }

    /// Problems and warnings, in the order of the file, and every key asked for.
    pub(super) fn finish(self) -> (Vec<Problem>, Vec<Problem>, Vec<Known>) {
        let sorted = |list: RefCell<Vec<Problem>>| {
            let mut list = list.into_inner();
            list.sort_by_key(|problem| problem.line);
            list
        };
        (sorted(self.problems), sorted(self.warnings), self.known.into_inner())
    }

    pub(super) fn line(&self, offset: usize) -> usize {
        self.source.as_bytes()[..offset.min(self.source.len())].iter().filter(|b| **b == b'\n').count() + 1
    }

    pub(super) fn report(
        &self,
        line: usize,
        key: &str,
        found: String,
        expected: String,
        suggestion: Option<String>,
    ) {
        self.problems.borrow_mut().push(self.problem(line, key, found, expected, suggestion));
    }

    pub(super) fn warn(&self, line: usize, key: &str, found: String, expected: String) {
        self.warnings.borrow_mut().push(self.problem(line, key, found, expected, None));
    }

    pub(super) fn know(&self, key: Known) {
        self.known.borrow_mut().push(key);
    }

    fn problem(
        &self,
        line: usize,
        key: &str,
        found: String,
        expected: String,
        suggestion: Option<String>,
    ) -> Problem {
        Problem { file: self.file.to_owned(), line, key: key.to_owned(), found, expected, suggestion }
    }
}

/// A value and the line it stands on; line 0 when it is a default.
#[derive(Debug, Clone)]
pub(super) struct Placed<T> {
    pub(super) value: T,
    pub(super) line: usize,
}
