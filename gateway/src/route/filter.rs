//! Topic filters with named levels: `site/{site}/dev/{device}/telemetry/#`.
//!
//! In: filter text once, then topics. Out: whether a topic matches, and which level a name stands for.
//! Invariant: a filter matches exactly the topics that MQTT 5, 4.7 says, a named level being a `+`.
//! A name stands for a level number, so a match captures nothing and allocates nothing.

use super::limits::LEVELS_MAX;
use std::fmt;

/// A parsed topic filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicFilter {
    text: String,
    levels: Vec<Level>,
    /// The filter ends in `#`.
    open: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Exact(String),
    Any,
    Named(String),
}

/// Why a text is not a topic filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The filter is empty.
    #[error("the filter is empty")]
    Empty,
    /// `#` stands elsewhere than alone in the last level.
    #[error("\"#\" may only stand alone in the last level")]
    OpenInside,
    /// A level mixes `+` or braces with other text.
    #[error(
        "level \"{0}\" mixes a wildcard with other text; a level is text, \"+\", \"{{name}}\" or a last \"#\""
    )]
    Mixed(String),
    /// A name is not made of ASCII letters, digits and `_`.
    #[error("level name \"{0}\" must be made of a-z, 0-9 and \"_\", and start with a letter")]
    Name(String),
    /// A name that means something else in templates.
    #[error("level name \"{0}\" is taken: it means something else in templates")]
    Reserved(String),
    /// A name stands twice.
    #[error("level name \"{0}\" stands twice")]
    Twice(String),
    /// More levels than [`LEVELS_MAX`].
    #[error("{0} levels, the limit is {LEVELS_MAX}")]
    TooDeep(usize),
}

/// Names that templates give a meaning of their own.
const RESERVED: [&str; 4] = ["topic", "clientid", "payload", "timestamp"];

impl TopicFilter {
    /// Parses a filter.
    ///
    /// # Errors
    /// Says which level is wrong and why.
    pub fn parse(text: &str) -> Result<TopicFilter, FilterError> {
        if text.is_empty() {
            return Err(FilterError::Empty);
        }
        let mut parts: Vec<&str> = text.split('/').collect();
        if parts.len() > LEVELS_MAX {
            return Err(FilterError::TooDeep(parts.len()));
        }
        let open = parts.last() == Some(&"#");
        if open {
            parts.pop();
        }
        let mut levels = Vec::with_capacity(parts.len());
        for part in parts {
            let level = parse_level(part)?;
            if matches!(&level, Level::Named(name) if levels.contains(&Level::Named(name.clone()))) {
                return Err(FilterError::Twice(part.trim_matches(['{', '}']).to_owned()));
            }
            levels.push(level);
        }
        Ok(TopicFilter { text: text.to_owned(), levels, open })
    }

    /// Whether `topic` matches.
    pub fn matches(&self, topic: &str) -> bool {
        // MQTT 5, 4.7.2: a filter that starts with a wildcard does not match topics that start with `$`.
        if topic.starts_with('$') && !matches!(self.levels.first(), Some(Level::Exact(_))) {
            return false;
        }
        let mut parts = topic.split('/');
        for level in &self.levels {
            let Some(part) = parts.next() else { return false };
            if matches!(level, Level::Exact(text) if text != part) {
                return false;
            }
        }
        // `a/#` matches `a` too (4.7.1.2): nothing may be left unless the filter is open.
        self.open || parts.next().is_none()
    }

    /// The level, counted from 0, that `name` stands for.
    pub fn level_of(&self, name: &str) -> Option<usize> {
        self.levels.iter().position(|level| matches!(level, Level::Named(found) if found == name))
    }

    /// The names in the filter, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.levels.iter().filter_map(|level| match level {
            Level::Named(name) => Some(name.as_str()),
            Level::Exact(_) | Level::Any => None,
        })
    }

    /// Levels that a matching topic is sure to have.
    pub fn levels_min(&self) -> usize {
        self.levels.len()
    }

    /// Whether every topic that `other` matches is matched by this filter too, so that `other` behind it is never
    /// reached.
    pub fn covers(&self, other: &TopicFilter) -> bool {
        let wild_first = |filter: &TopicFilter| !matches!(filter.levels.first(), Some(Level::Exact(_)));
        if wild_first(self)
            && matches!(other.levels.first(), Some(Level::Exact(text)) if text.starts_with('$'))
        {
            return false;
        }
        if self.levels.len() > other.levels.len() || (other.open && !self.open) {
            return false;
        }
        let same_depth = self.levels.len() == other.levels.len();
        (self.open || same_depth)
            && self.levels.iter().zip(&other.levels).all(|(mine, theirs)| match (mine, theirs) {
                (Level::Any | Level::Named(_), _) => true,
                (Level::Exact(mine), Level::Exact(theirs)) => mine == theirs,
                (Level::Exact(_), Level::Any | Level::Named(_)) => false,
            })
    }

    /// The filter as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for TopicFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn parse_level(part: &str) -> Result<Level, FilterError> {
    match part {
        "+" => return Ok(Level::Any),
        _ if part.contains('#') => return Err(FilterError::OpenInside),
        _ if !part.contains(['+', '{', '}']) => return Ok(Level::Exact(part.to_owned())),
        _ => {}
    }
    let inner = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
    let Some(name) = inner.filter(|name| !name.contains(['{', '}', '+'])) else {
        return Err(FilterError::Mixed(part.to_owned()));
    };
    if !is_name(name) {
        return Err(FilterError::Name(name.to_owned()));
    }
    if RESERVED.contains(&name) {
        return Err(FilterError::Reserved(name.to_owned()));
    }
    Ok(Level::Named(name.to_owned()))
}

/// Whether `text` may name a level: a letter, then letters, digits and `_`.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::testing::Random;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text).unwrap()
    }

    #[test]
    fn filters_match_what_the_standard_says() {
        // MQTT 5, 4.7.1.2, 4.7.1.3 and 4.7.2, their examples.
        for (text, topic, expected) in [
            ("sport/tennis/player1/#", "sport/tennis/player1", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/ranking", true),
            ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true),
            ("sport/#", "sport", true),
            ("#", "sport/tennis", true),
            ("#", "/", true),
            ("sport/tennis/+", "sport/tennis/player1", true),
            ("sport/tennis/+", "sport/tennis/player1/ranking", false),
            ("sport/+", "sport", false),
            ("sport/+", "sport/", true),
            ("+/+", "/finance", true),
            ("/+", "/finance", true),
            ("+", "/finance", false),
            ("#", "$SYS/uptime", false),
            ("+/uptime", "$SYS/uptime", false),
            ("$SYS/#", "$SYS/uptime", true),
            ("site/{site}/dev/{device}/telemetry/{kind}", "site/a/dev/b/telemetry/t", true),
            ("site/{site}/dev/{device}/telemetry/{kind}", "site/a/dev/b/telemetry", false),
            ("Site", "site", false),
        ] {
            assert_eq!(filter(text).matches(topic), expected, "{text} against {topic}");
        }
    }

    #[test]
    fn names_stand_for_their_level() {
        let filter = filter("site/{site}/dev/{device}/#");
        assert_eq!(filter.level_of("site"), Some(1));
        assert_eq!(filter.level_of("device"), Some(3));
        assert_eq!(filter.level_of("kind"), None);
        assert_eq!(filter.names().collect::<Vec<_>>(), ["site", "device"]);
    }

    #[test]
    fn wrong_filters_are_refused_with_the_level() {
        for (text, expected) in [
            ("", "the filter is empty"),
            ("a/#/b", "\"#\" may only stand alone in the last level"),
            ("a#", "\"#\" may only stand alone in the last level"),
            (
                "a/b+",
                "level \"b+\" mixes a wildcard with other text; a level is text, \"+\", \"{name}\" or a last \"#\"",
            ),
            (
                "a/x{b}",
                "level \"x{b}\" mixes a wildcard with other text; a level is text, \"+\", \"{name}\" or a last \"#\"",
            ),
            ("{}", "level name \"\" must be made of a-z, 0-9 and \"_\", and start with a letter"),
            ("{a}/{a}", "level name \"a\" stands twice"),
            ("{topic}", "level name \"topic\" is taken: it means something else in templates"),
        ] {
            assert_eq!(TopicFilter::parse(text).unwrap_err().to_string(), expected, "{text}");
        }
        assert_eq!(TopicFilter::parse(&["a"; 33].join("/")), Err(FilterError::TooDeep(33)));
    }

    /// The rule written down as naively as can be, by recursion over the levels.
    fn model(filter: &[&str], topic: &[&str]) -> bool {
        match (filter, topic) {
            (["#"], _) => true,
            ([], []) => true,
            ([first, filter @ ..], [part, topic @ ..]) => {
                (*first == "+" || first.starts_with('{') || first == part) && model(filter, topic)
            }
            _ => false,
        }
    }

    #[test]
    fn random_filters_agree_with_the_naive_rule() {
        let mut random = Random::new(7);
        let (mut hits, mut covered) = (0, 0);
        for _ in 0..20_000 {
            let topic: Vec<&str> = (0..1 + random.below(4)).map(|_| random.pick(&["a", "b", ""])).collect();
            let make = |random: &mut Random| {
                let mut parts: Vec<&str> =
                    (0..random.below(4)).map(|_| random.pick(&["a", "b", "", "+"])).collect();
                if parts.is_empty() || random.below(3) == 0 {
                    parts.push("#");
                }
                parts
            };
            let (one, two) = (make(&mut random), make(&mut random));
            let (f1, f2) = (filter_or_skip(&one), filter_or_skip(&two));
            let (Some(f1), Some(f2)) = (f1, f2) else { continue };
            let text = topic.join("/");
            if text.is_empty() {
                continue;
            }
            assert_eq!(f1.matches(&text), model(&one, &topic), "{one:?} against {text}");
            hits += usize::from(f1.matches(&text));
            if f1.covers(&f2) && f2.matches(&text) {
                assert!(f1.matches(&text), "{one:?} covers {two:?} but not {text}");
                covered += 1;
            }
        }
        assert!(hits > 1_000 && covered > 100, "the test reached something: {hits} {covered}");
    }

    fn filter_or_skip(parts: &[&str]) -> Option<TopicFilter> {
        TopicFilter::parse(&parts.join("/")).ok()
    }
}
