//! The variables that say where credentials, region and endpoint are.
//!
//! A copy, so that a test, or a service with a configuration of its own, decides what is there. Not here: what they mean.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// Variables of a process, or what stands for them. `Debug` shows names only: values may be secrets.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, Zeroizing<String>>);

impl Environment {
    /// Those of this process that belong here: `AWS_*`, `HOME` and the proxies; read once, now.
    #[must_use]
    pub fn of_process() -> Self {
        let ours = |name: &str| {
            let upper = name.to_ascii_uppercase();
            upper.starts_with("AWS_")
                || upper == "HOME"
                || upper.ends_with("_PROXY")
                || upper == "REQUEST_METHOD"
        };
        // A value that is not UTF-8 is none that anything here could use.
        let pairs = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        pairs.filter(|(name, _)| ours(name)).collect()
    }

    /// The value of a variable, trimmed; an empty one counts as absent.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }

    /// Whether a variable says `true` in any case.
    #[must_use]
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// The same with one variable more, or with another value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.insert(name.to_owned(), Zeroizing::new(value.into()));
        self
    }

    /// The file a variable names, or the usual one below the home directory; `~/` is the home directory.
    pub(crate) fn file(&self, name: &str, usual: &str) -> Option<PathBuf> {
        match self.get(name) {
            Some(path) => Some(self.path(path)),
            None => self.get("HOME").map(|home| PathBuf::from(home).join(usual)),
        }
    }

    /// A path as people write it.
    pub(crate) fn path(&self, text: &str) -> PathBuf {
        match (text.strip_prefix("~/"), self.get("HOME")) {
            (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
            _ => PathBuf::from(text),
        }
    }
}

impl<N: Into<String>, V: Into<String>> FromIterator<(N, V)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let pairs = pairs.into_iter().map(|(name, value)| (name.into(), Zeroizing::new(value.into())));
        Environment(pairs.collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_trimmed_empty_ones_are_absent_and_none_is_shown() {
        let environment: Environment =
            [("AWS_SECRET_ACCESS_KEY", " hidden\n"), ("AWS_REGION", " "), ("HOME", "/h")]
                .into_iter()
                .collect();
        assert_eq!(environment.get("AWS_SECRET_ACCESS_KEY"), Some("hidden"));
        assert_eq!(environment.get("AWS_REGION"), None);
        assert!(!format!("{environment:?}").contains("hidden"));
        assert_eq!(environment.file("AWS_CONFIG_FILE", ".aws/config"), Some("/h/.aws/config".into()));
        let moved = environment.with("AWS_CONFIG_FILE", "~/c");
        assert_eq!(moved.file("AWS_CONFIG_FILE", ".aws/config"), Some("/h/c".into()));
    }
}
