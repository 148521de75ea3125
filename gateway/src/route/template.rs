//! Templates for stream names and partition keys: `telemetry-{kind}`, `${topic(2)}`, `${payload.site}`.
//!
//! | written | also | stands for |
//! |---|---|---|
//! | `{name}` | `${name}` | the level of the route's filter with that name |
//! | `${topic()}` | `{topic}` | the whole topic |
//! | `${topic(2)}` | `{topic(2)}` | the second level of the topic, counted from 1 as AWS IoT does |
//! | `${clientid()}` | `{clientid}` | the MQTT client identifier |
//! | `${newuuid()}` | `{newuuid()}` | a new random UUID for every publish |
//! | `${timestamp()}` | `{timestamp}` | UTC in milliseconds since 1970 |
//! | `${payload.a.b}` | `{payload.a.b}` | text, number or boolean at that place of a JSON payload |
//!
//! In: template text once, then one [`Scope`] per publish. Out: text, borrowed from the scope where it can be.
//! Invariant: a name that the filter does not have is found when the template is parsed, never later.

use super::filter::{TopicFilter, is_name};
use super::json::field;
use super::limits::LEVELS_MAX;
use std::borrow::Cow;
use std::fmt::Write as _;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// A level of the topic, counted from 0.
    Level(usize),
    Topic,
    ClientId,
    NewUuid,
    Timestamp,
    Payload(Vec<String>),
}

/// What a template may draw from.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    /// The topic of the publish.
    pub topic: &'a str,
    /// The client that published.
    pub client_id: &'a str,
    /// The payload, for `${payload.…}`.
    pub payload: &'a [u8],
    /// UTC now, milliseconds since 1970.
    pub now_ms: u64,
    /// Draws a random number, for `${newuuid()}`.
    pub random: &'a dyn Fn() -> u128,
}

/// Why a text is not a template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The template is empty.
    #[error("the template is empty")]
    Empty,
    /// A brace without its partner.
    #[error("a brace without its partner in \"{0}\"")]
    Unbalanced(String),
    /// The filter has no level of this name.
    #[error("the filter has no level named \"{name}\"{}", known(.names))]
    Unknown {
        /// The name in the template.
        name: String,
        /// The names in the filter.
        names: Vec<String>,
    },
    /// A function that does not exist.
    #[error("\"{0}\" is none of topic(), topic(n), clientid(), newuuid(), timestamp(), payload.field")]
    Function(String),
    /// `topic(n)` beyond what a topic can have.
    #[error("\"{0}\" must be topic(1) to topic({LEVELS_MAX})")]
    TopicLevel(String),
}

fn known(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(", only {}", names.join(", ")) }
}

/// Why a template gives nothing for a publish.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// The topic has fewer levels than the template asks for.
    #[error("the topic has no level {0}")]
    NoLevel(usize),
    /// The payload is not JSON or has no text, number or boolean there.
    #[error("the payload has no field {0}")]
    NoField(String),
}

impl Template {
    /// Parses a template whose names are levels of `filter`.
    ///
    /// # Errors
    /// Says which part of the template is wrong.
    pub fn parse(text: &str, filter: &TopicFilter) -> Result<Template, TemplateError> {
        if text.is_empty() {
            return Err(TemplateError::Empty);
        }
        let mut segments = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            let close = from.find('}').filter(|_| from.starts_with('{'));
            let close = close.ok_or_else(|| TemplateError::Unbalanced(text.to_owned()))?;
            let literal = before.strip_suffix('$').unwrap_or(before);
            if !literal.is_empty() {
                segments.push(Segment::Literal(literal.to_owned()));
            }
            segments.push(parse_expression(from[1..close].trim(), filter)?);
            rest = &from[close + 1..];
        }
        if !rest.is_empty() {
            segments.push(Segment::Literal(rest.to_owned()));
        }
        Ok(Template { text: text.to_owned(), segments })
    }

    /// The text, when it is the same for every publish.
    pub fn literal(&self) -> Option<&str> {
        match self.segments.as_slice() {
            [Segment::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// Whether the template looks into the payload.
    pub fn reads_payload(&self) -> bool {
        self.segments.iter().any(|segment| matches!(segment, Segment::Payload(_)))
    }

    /// The text for one publish. A template of one part that stands in the scope is borrowed from it.
    ///
    /// # Errors
    /// The topic or the payload lacks what the template asks for.
    pub fn render<'a>(&'a self, scope: &Scope<'a>) -> Result<Cow<'a, str>, RenderError> {
        match self.segments.as_slice() {
            [Segment::Literal(text)] => Ok(Cow::Borrowed(text)),
            [Segment::Topic] => Ok(Cow::Borrowed(scope.topic)),
            [Segment::ClientId] => Ok(Cow::Borrowed(scope.client_id)),
            [Segment::Level(level)] => scope.level(*level).map(Cow::Borrowed),
            segments => {
                let mut out = String::new();
                for segment in segments {
                    segment.append_to(&mut out, scope)?;
                }
                Ok(Cow::Owned(out))
            }
        }
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Segment {
    fn append_to(&self, out: &mut String, scope: &Scope<'_>) -> Result<(), RenderError> {
        match self {
            Segment::Literal(text) => out.push_str(text),
            Segment::Level(level) => out.push_str(scope.level(*level)?),
            Segment::Topic => out.push_str(scope.topic),
            Segment::ClientId => out.push_str(scope.client_id),
            Segment::NewUuid => write_uuid(out, (scope.random)()),
            Segment::Timestamp => write!(out, "{}", scope.now_ms).expect("a String takes everything"),
            Segment::Payload(path) => match field(scope.payload, path) {
                Some(text) => out.push_str(&text),
                None => return Err(RenderError::NoField(path.join("."))),
            },
        }
        Ok(())
    }
}

impl<'a> Scope<'a> {
    fn level(&self, level: usize) -> Result<&'a str, RenderError> {
        self.topic.split('/').nth(level).ok_or(RenderError::NoLevel(level + 1))
    }
}

fn parse_expression(expression: &str, filter: &TopicFilter) -> Result<Segment, TemplateError> {
    if let Some(path) = expression.strip_prefix("payload.") {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(TemplateError::Function(expression.to_owned()));
        }
        return Ok(Segment::Payload(path));
    }
    match expression {
        "topic()" | "topic" => return Ok(Segment::Topic),
        "clientid()" | "clientid" => return Ok(Segment::ClientId),
        "timestamp()" | "timestamp" => return Ok(Segment::Timestamp),
        "newuuid()" => return Ok(Segment::NewUuid),
        _ => {}
    }
    if let Some(level) = expression.strip_prefix("topic(").and_then(|rest| rest.strip_suffix(')')) {
        let level = level.trim().parse().ok().filter(|level| (1..=LEVELS_MAX).contains(level));
        let level: usize = level.ok_or_else(|| TemplateError::TopicLevel(expression.to_owned()))?;
        return Ok(Segment::Level(level - 1));
    }
    if let Some(level) = filter.level_of(expression) {
        return Ok(Segment::Level(level));
    }
    if is_name(expression) {
        let names = filter.names().map(str::to_owned).collect();
        return Err(TemplateError::Unknown { name: expression.to_owned(), names });
    }
    Err(TemplateError::Function(expression.to_owned()))
}

/// RFC 9562, 5.4: version 4, variant 0b10.
fn write_uuid(out: &mut String, random: u128) {
    let bits = (random & !(0xf << 76) & !(0b11 << 62)) | (4 << 76) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    let (a, b, c, d, e) = (&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]);
    write!(out, "{a}-{b}-{c}-{d}-{e}").expect("a String takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::testing::Random;

    fn scope() -> Scope<'static> {
        Scope {
            topic: "site/north/dev/pump-7/telemetry/flow",
            client_id: "client-3",
            payload: br#"{"site":"n","meta":{"rack":12,"ok":true},"list":[1]}"#,
            now_ms: 1_700_000_000_123,
            random: &|| 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
        }
    }

    fn render(template: &str) -> Result<String, String> {
        let filter = TopicFilter::parse("site/{site}/dev/{device}/telemetry/{kind}").unwrap();
        let template = Template::parse(template, &filter).map_err(|error| error.to_string())?;
        template.render(&scope()).map(Cow::into_owned).map_err(|error| error.to_string())
    }

    #[test]
    fn every_spelling_gives_its_part() {
        for (template, expected) in [
            ("telemetry", "telemetry"),
            ("telemetry-{kind}", "telemetry-flow"),
            ("{device}", "pump-7"),
            ("${device}", "pump-7"),
            ("{site}/{device}!", "north/pump-7!"),
            ("${topic()}", "site/north/dev/pump-7/telemetry/flow"),
            ("{topic}", "site/north/dev/pump-7/telemetry/flow"),
            ("${topic(2)}", "north"),
            ("x-${topic(4)}-y", "x-pump-7-y"),
            ("${clientid()}", "client-3"),
            ("{clientid}", "client-3"),
            ("${timestamp()}", "1700000000123"),
            ("${payload.site}", "n"),
            ("{payload.meta.rack}", "12"),
            ("${payload.meta.ok}", "true"),
            ("${newuuid()}", "01234567-89ab-4def-8123-456789abcdef"),
            ("cost$5", "cost$5"),
        ] {
            assert_eq!(render(template).as_deref(), Ok(expected), "{template}");
        }
    }

    #[test]
    fn what_a_publish_lacks_is_said() {
        assert_eq!(render("${topic(9)}").unwrap_err(), "the topic has no level 9");
        for path in ["nope", "meta", "list", "site.deeper"] {
            let expected = format!("the payload has no field {path}");
            assert_eq!(render(&format!("${{payload.{path}}}")).unwrap_err(), expected);
        }
    }

    #[test]
    fn wrong_templates_are_refused_when_parsed() {
        for (template, expected) in [
            ("", "the template is empty"),
            ("a{device", "a brace without its partner in \"a{device\""),
            ("a}b", "a brace without its partner in \"a}b\""),
            ("{dvice}", "the filter has no level named \"dvice\", only site, device, kind"),
            (
                "${rand()}",
                "\"rand()\" is none of topic(), topic(n), clientid(), newuuid(), timestamp(), payload.field",
            ),
            ("${topic(0)}", "\"topic(0)\" must be topic(1) to topic(32)"),
            (
                "{payload.}",
                "\"payload.\" is none of topic(), topic(n), clientid(), newuuid(), timestamp(), payload.field",
            ),
        ] {
            assert_eq!(render(template).unwrap_err(), expected, "{template}");
        }
    }

    #[test]
    fn single_parts_are_borrowed() {
        let filter = TopicFilter::parse("site/{site}/#").unwrap();
        for text in ["telemetry", "{site}", "${topic()}", "${clientid()}"] {
            let template = Template::parse(text, &filter).unwrap();
            assert!(matches!(template.render(&scope()), Ok(Cow::Borrowed(_))), "{text}");
        }
    }

    #[test]
    fn random_text_never_panics_and_literals_stay() {
        let filter = TopicFilter::parse("{a}/{b}").unwrap();
        let mut random = Random::new(3);
        let mut parsed = 0;
        for _ in 0..20_000 {
            let parts = ["{", "}", "$", "a", "topic(", "1", ")", "payload.", "é", "-"];
            let text: String = (0..random.below(6)).map(|_| random.pick(&parts)).collect();
            let Ok(template) = Template::parse(&text, &filter) else { continue };
            parsed += 1;
            let out = template.render(&Scope { topic: "x/y", ..scope() });
            if !text.contains('{') {
                assert_eq!(out.as_deref(), Ok(text.as_str()));
            }
        }
        assert!(parsed > 1_000);
    }
}
