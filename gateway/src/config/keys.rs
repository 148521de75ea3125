//! Every key there is, with its default and when a change of it counts.

use super::{SAMPLE, Takes, read, takes};
use std::collections::BTreeSet;

/// A key of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// As in `mqtt.listen`; `<name>` stands for a name of the operator's own.
    pub path: String,
    /// As it would be written; empty where there is none.
    pub default: String,
    /// When a change counts.
    pub takes: Takes,
}

/// Every key, in the order of the sample.
#[must_use]
pub fn keys() -> Vec<Key> {
    let known = read("sample", &switched_on()).map(|(_, known)| known);
    let known = known.expect("the sample is valid with all that it has switched off, as a test checks");
    let mut seen = BTreeSet::new();
    let key = |known: super::reader::Known| Key {
        path: general(&known.path),
        takes: takes(&known.path),
        default: known.default,
    };
    known.into_iter().map(key).filter(|key| seen.insert(key.path.clone())).collect()
}

/// The path without places in lists and names of the sample.
fn general(path: &str) -> String {
    let mut parts: Vec<&str> =
        path.split('.').map(|part| part.split_once('[').map_or(part, |(name, _)| name)).collect();
    if let ["streams" | "sinks", name, ..] = &mut parts[..] {
        *name = "<name>";
    }
    parts.join(".")
}

/// The sample with everything in it switched on.
pub(super) fn switched_on() -> String {
    let mut text = String::new();
    for line in SAMPLE.lines() {
        let setting = line
            .strip_prefix('#')
            .filter(|rest| rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()));
        text.push_str(setting.unwrap_or(line));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A key says so itself, in the comment above it, or its section does in its first line.
    #[test]
    fn the_sample_says_of_every_key_whether_it_needs_a_restart() {
        let (mut section, mut said, mut above) = (String::new(), String::new(), String::new());
        let mut checked = 0;
        for line in SAMPLE.lines() {
            let line = match line.strip_prefix('#') {
                Some(rest) if rest.starts_with(|c: char| c == '[' || c.is_ascii_lowercase()) => rest,
                _ => line,
            };
            if let Some(comment) = line.strip_prefix("# ") {
                above.push_str(comment);
            } else if line.starts_with('[') {
                section = line.trim_matches(['[', ']']).to_owned();
                said.clone_from(&std::mem::take(&mut above));
            } else if line == "#" {
                said.push_str(&std::mem::take(&mut above));
            } else if let Some((key, _)) = line.split_once(" = ") {
                let path = format!("{section}.{key}");
                let says = above.contains("eeds a restart") || said.contains("needs a restart");
                if section != "mqtt" || key == "listen" {
                    assert!(
                        says || takes(&path) != Takes::Restart,
                        "{path} needs a restart, and does not say so"
                    );
                }
                assert!(
                    takes(&path) != Takes::Reload || !above.contains("eeds a restart"),
                    "{path} needs none"
                );
                (above, checked) = (String::new(), checked + 1);
            }
        }
        assert!(checked > 90, "{checked}");
    }

    #[test]
    fn every_key_is_listed_once() {
        let keys = keys();
        let find = |path: &str| {
            keys.iter().find(|key| key.path == path).map(|key| (key.default.as_str(), key.takes))
        };
        assert_eq!(find("mqtt.inflight"), Some(("1024", Takes::Reload)));
        assert_eq!(find("sinks.<name>.drain.order"), Some(("\"oldest\"", Takes::Reload)));
        assert_eq!(find("mqtt.users.password"), Some(("", Takes::Reload)));
        assert_eq!(find("journal.max"), Some(("\"8GiB\"", Takes::Restart)));
        assert_eq!(keys.iter().filter(|key| key.path == "routes.match").count(), 1);
    }
}
