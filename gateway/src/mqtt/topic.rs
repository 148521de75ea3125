//! Topic names and topic filters: what is well-formed, and what matches what.
//!
//! In: strings off the wire. Out: whether they may be used, and [`TopicFilter`], which needs no further checks.
//! Source: MQTT 3.1.1 and 5, section 4.7.

use super::limits::{TOPIC_BYTES_MAX, TOPIC_LEVELS_MAX};

/// Whether `topic` may stand in a PUBLISH: not empty, no wildcards, no NUL, within our limits.
#[must_use]
pub fn valid_topic(topic: &str) -> bool {
    let bytes = topic.as_bytes();
    if bytes.is_empty() || bytes.len() > TOPIC_BYTES_MAX {
        return false;
    }
    let mut levels = 1;
    for &byte in bytes {
        match byte {
            b'+' | b'#' | 0 => return false,
            b'/' => levels += 1,
            _ => {}
        }
    }
    levels <= TOPIC_LEVELS_MAX
}

/// Whether `topic` matches the well-formed `filter` (without `$share`).
#[must_use]
pub fn matches(topic: &str, filter: &str) -> bool {
    // MQTT 4.7.2: wildcards at the start do not match topics that begin with `$`.
    if topic.starts_with('$') && (filter.starts_with('#') || filter.starts_with('+')) {
        return false;
    }
    let mut topic = topic.split('/');
    for level in filter.split('/') {
        if level == "#" {
            return true;
        }
        match topic.next() {
            Some(name) if level == "+" || level == name => {}
            _ => return false,
        }
    }
    topic.next().is_none()
}

/// A well-formed subscription: a filter, perhaps shared by a group of clients.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TopicFilter {
    text: Box<str>,
    /// Where the filter proper starts: after `$share/{group}/`.
    start: usize,
}

/// Why a filter cannot be subscribed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Empty, or longer or deeper than the limits.
    #[error("a filter has 1 to {TOPIC_BYTES_MAX} bytes and at most {TOPIC_LEVELS_MAX} levels")]
    Size,
    /// `+` or `#` that is not a level of its own, or `#` before the end.
    #[error("`+` and `#` stand alone in their level, and `#` only at the end")]
    Wildcard,
    /// `$share` without a group or without a filter.
    #[error("a shared subscription is written $share/group/filter")]
    Share,
}

impl TopicFilter {
    /// Checks `text`.
    ///
    /// # Errors
    /// When it is not a filter of MQTT 5 section 4.7, or beyond our limits.
    pub fn parse(text: &str) -> Result<TopicFilter, FilterError> {
        if text.is_empty() || text.len() > TOPIC_BYTES_MAX || text.contains('\0') {
            return Err(FilterError::Size);
        }
        let mut start = 0;
        if text == "$share" || text.starts_with("$share/") {
            let group = text.get(7..).and_then(|rest| rest.split_once('/')).ok_or(FilterError::Share)?;
            if group.0.is_empty() || group.0.contains(['+', '#']) || group.1.is_empty() {
                return Err(FilterError::Share);
            }
            start = 7 + group.0.len() + 1;
        }
        let filter = &text[start..];
        let levels = filter.split('/').count();
        if levels > TOPIC_LEVELS_MAX {
            return Err(FilterError::Size);
        }
        for (at, level) in filter.split('/').enumerate() {
            let alone = level.len() == 1;
            if level.contains('#') && (!alone || at + 1 != levels) || level.contains('+') && !alone {
                return Err(FilterError::Wildcard);
            }
        }
        Ok(TopicFilter { text: text.into(), start })
    }

    /// As the client wrote it, `$share` included.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The filter proper, without `$share/{group}/`.
    #[must_use]
    pub fn filter(&self) -> &str {
        &self.text[self.start..]
    }

    /// The group of a shared subscription.
    #[must_use]
    pub fn group(&self) -> Option<&str> {
        (self.start > 0).then(|| &self.text[7..self.start - 1])
    }

    /// Whether `topic` matches.
    #[must_use]
    pub fn matches(&self, topic: &str) -> bool {
        matches(topic, self.filter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_of_the_standard_are_taken_and_others_refused() {
        for good in [
            "#",
            "+",
            "/",
            "a/#",
            "+/+",
            "/+",
            "a/+/b",
            "$SYS/#",
            "$share/g/a/#",
            "émission/t",
            "a//b",
            "$shared/x",
        ] {
            assert!(TopicFilter::parse(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "a/#/b",
            "a+",
            "#a",
            "a#",
            "+a/b",
            "##",
            "++",
            "$share",
            "$share/",
            "$share/g",
            "$share/g/",
            "$share//a",
            "$share/+/a",
            "$share/g/a#",
            "a\0b",
        ] {
            assert!(TopicFilter::parse(bad).is_err(), "{bad:?}");
        }
        assert!(TopicFilter::parse(&"a/".repeat(40)).is_err());
        assert!(TopicFilter::parse(&"a".repeat(TOPIC_BYTES_MAX + 1)).is_err());
    }

    #[test]
    fn matching_follows_section_4_7() {
        for (topic, filter, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/+", true),
            ("a", "a/#", true),
            ("a/b/c", "a/#", true),
            ("a/b/c", "a/+", false),
            ("/a", "+/+", true),
            ("/a", "/+", true),
            ("/a", "+", false),
            ("$SYS/x", "#", false),
            ("$SYS/x", "+/x", false),
            ("$SYS/x", "$SYS/#", true),
            ("émission/t", "émission/+", true),
            ("A", "a", false),
        ] {
            assert_eq!(matches(topic, filter), expected, "{topic} {filter}");
        }
    }

    #[test]
    fn a_shared_filter_knows_its_group() {
        let shared = TopicFilter::parse("$share/team/a/+").unwrap();
        assert_eq!((shared.group(), shared.filter()), (Some("team"), "a/+"));
        assert!(shared.matches("a/b"));
        assert_eq!(TopicFilter::parse("a/+").unwrap().group(), None);
    }
}
