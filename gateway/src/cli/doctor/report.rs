//! Findings, and what they come to.

use crate::cli::status::words::plain;
use crate::cli::{Exit, say};
use std::fmt;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Ok,
    Warn,
    Fail,
}

/// What was looked at, what was found, what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) level: Level,
    pub(super) about: String,
    pub(super) found: String,
    pub(super) remedy: Option<String>,
}

impl Finding {
    pub(super) fn ok(about: impl Into<String>, found: impl Into<String>) -> Self {
        Finding { level: Level::Ok, about: about.into(), found: found.into(), remedy: None }
    }

    pub(super) fn warn(
        about: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Finding { level: Level::Warn, remedy: Some(remedy.into()), ..Finding::ok(about, found) }
    }

    pub(super) fn fail(
        about: impl Into<String>,
        found: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Finding { level: Level::Fail, remedy: Some(remedy.into()), ..Finding::ok(about, found) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "OK",
            Level::Warn => "WARN",
            Level::Fail => "FAIL",
        };
        write!(f, "{level:<5}{}: {}", plain(&self.about), plain(&self.found))?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n     do: {}", plain(remedy)),
            None => Ok(()),
        }
    }
}

/// Findings are shown as they come: some take seconds.
#[derive(Debug, Default)]
pub(super) struct Report {
    counts: [u32; 3],
}

impl Report {
    pub(super) fn add(&mut self, finding: Finding) {
        self.counts[finding.level as usize] += 1;
        say(finding);
    }

    pub(super) fn all(&mut self, findings: impl IntoIterator<Item = Finding>) {
        findings.into_iter().for_each(|finding| self.add(finding));
    }

    pub(super) fn end(self) -> Exit {
        let [ok, warnings, failures] = self.counts;
        say(format_args!("{ok} ok, {warnings} to look at, {failures} to mend"));
        if failures == 0 { Exit::Ok } else { Exit::Failure }
    }
}
