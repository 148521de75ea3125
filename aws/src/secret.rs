//! Text that nobody else may see.
//!
//! Invariant: neither `Debug` nor anything else here shows it; its memory is zeroed when it goes.
//! Not here: what an allocator, a socket or TLS keeps of it. That is out of reach of this crate.

use serde::{Deserialize, Deserializer};
use std::fmt;
use zeroize::Zeroizing;

/// A key, token or password. Zeroed on drop; `Debug` shows nothing of it, not even its length.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Keeps `text`, which is moved and not copied.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Secret(Zeroizing::new(text.into()))
    }

    /// The text itself, for a signature or a header; never for a message.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Secret::new(text)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Secret::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_show_itself() {
        let secret = Secret::new("wJalrXUtnFEMI");
        let shown = format!("{secret:?} {:#?}", Some(&secret));
        assert!(!shown.contains("wJal") && !shown.contains("13"), "{shown}");
        assert_eq!(secret.expose(), "wJalrXUtnFEMI");
    }
}
