//! Which stream a call is about.

use crate::wire::Field;
use std::sync::Arc;

/// A stream, by its name or by its ARN (for one of another account).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StreamRef(Arc<str>);

impl StreamRef {
    /// By name, or by ARN where the text begins with `arn:`.
    #[must_use]
    pub fn name(name: &str) -> Self {
        StreamRef(name.into())
    }

    /// The name or the ARN.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The member of a request it stands in, and its text.
    pub(super) fn member(&self) -> (&'static str, &str) {
        if self.0.starts_with("arn:") { ("StreamARN", &self.0) } else { ("StreamName", &self.0) }
    }

    pub(super) fn field(&self) -> (&'static str, Field<'_>) {
        let (member, text) = self.member();
        (member, Field::Text(text))
    }
}
