//! Why there are no credentials: which source was asked, and what it said.

use std::fmt;

/// What kind of refusal it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceErrorKind {
    /// The source is not there or not configured; the next one is asked.
    Absent,
    /// It is configured in a way that cannot work.
    Settings,
    /// It did not answer.
    Unreachable,
    /// It answered that it will not.
    Refused,
    /// It answered something else than credentials.
    Malformed,
}

/// One source's refusal. Never holds a secret, nor an answer as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceError {
    /// Which source.
    pub source: String,
    /// What kind.
    pub kind: SourceErrorKind,
    /// In words.
    pub reason: String,
}

impl SourceError {
    pub(crate) fn new(source: impl Into<String>, kind: SourceErrorKind, reason: impl Into<String>) -> Self {
        SourceError { source: source.into(), kind, reason: reason.into() }
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.source, self.reason)
    }
}

impl std::error::Error for SourceError {}

/// No source gave credentials: each that was asked with its reason, in the order of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialsError {
    /// At least one.
    pub asked: Vec<SourceError>,
}

impl CredentialsError {
    /// Whether nothing but a change of the configuration can help.
    #[must_use]
    pub fn is_final(&self) -> bool {
        let passing = [SourceErrorKind::Unreachable, SourceErrorKind::Malformed];
        !self.asked.iter().any(|error| passing.contains(&error.kind))
    }
}

impl From<SourceError> for CredentialsError {
    fn from(error: SourceError) -> Self {
        CredentialsError { asked: vec![error] }
    }
}

impl fmt::Display for CredentialsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no credentials")?;
        for (at, error) in self.asked.iter().enumerate() {
            write!(f, "{} {error}", if at == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}

impl std::error::Error for CredentialsError {}
