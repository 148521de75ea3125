//! `[[routes]]`: filters, templates, and what they must have of each other.

use super::section::Section;
use super::streams::is_stream_name;
use crate::route::limits::ROUTES_MAX;
use crate::route::{Codec, Route, Target, Template, TopicFilter};

/// The stream that the default routes write to.
const DEFAULT_STREAM: &str = "telemetry";

/// Filter, codec, partition key (none: not to a stream), downlink.
///
/// Births are kept as channel tables, so they go to no stream, but subscribers want them. Commands come from
/// operators and go to devices. Whatever else comes in is stored under the client that sent it.
const DEFAULTS: [(&str, Codec, Option<&str>, bool); 8] = [
    ("headwater/{device}/birth", Codec::Headwater, None, true),
    ("headwater/{device}/time", Codec::Headwater, None, true),
    ("headwater/{device}/command/json", Codec::Command, None, true),
    ("headwater/{device}/command/#", Codec::Raw, None, true),
    ("headwater/{device}/result", Codec::Headwater, Some("{device}"), true),
    ("headwater/{device}/batch", Codec::Headwater, Some("{device}"), false),
    ("headwater/{device}/log", Codec::Headwater, Some("{device}"), false),
    ("#", Codec::Auto, Some("${clientid()}"), false),
];

pub(super) fn routes(root: &mut Section<'_, '_>) -> Vec<Route> {
    let Some(tables) = root.tables("routes") else { return defaults() };
    if tables.len() > ROUTES_MAX {
        root.wrong(
            0,
            "routes",
            format_args!("a list of {}", tables.len()),
            format_args!("at most {ROUTES_MAX}"),
        );
    }
    let mut routes: Vec<Route> = Vec::new();
    for table in tables {
        let line = table.line();
        let warn = table.warner("match");
        let Some(route) = route(table) else { continue };
        if let Some(earlier) = routes.iter().find(|earlier| earlier.filter.covers(&route.filter)) {
            let found = format!("\"{}\"", route.filter);
            warn(line, found, format!("a place before \"{}\", which takes all its topics", earlier.filter));
        }
        routes.push(route);
    }
    routes
}

fn defaults() -> Vec<Route> {
    let route = |(filter, codec, key, downlink): (&str, Codec, Option<&str>, bool)| {
        let filter = TopicFilter::parse(filter).expect("the default filters are valid, as a test checks");
        let template = |text| Template::parse(text, &filter).expect("the default templates are valid");
        let target = key.map(|key| Target { stream: template(DEFAULT_STREAM), partition_key: template(key) });
        Route { codec, target, downlink, filter }
    };
    DEFAULTS.into_iter().map(route).collect()
}

fn route(mut table: Section<'_, '_>) -> Option<Route> {
    let line = table.line();
    let some = |text: &str| Some(text.to_owned());
    let filter_text = table.optional("match", "a topic filter in quotes", some);
    let codec = table.choice("codec", "auto", &Codec::ALL);
    let stream = table.optional("stream", "a stream name or template in quotes", some);
    let key = table.optional("partition_key", "a template in quotes", some);
    let (to_stream, downlink) = destinations(&mut table);
    let Some(filter_text) = filter_text else {
        table.wrong(line, "match", "missing", "a topic filter such as \"site/{site}/dev/{device}/#\"");
        table.end();
        return None;
    };
    let filter = TopicFilter::parse(&filter_text.value)
        .map_err(|error| {
            let found = format!("\"{}\"", filter_text.value);
            table.wrong(filter_text.line, "match", found, format_args!("a topic filter ({error})"));
        })
        .ok();
    let Some(filter) = filter else {
        table.end();
        return None;
    };
    let names_device = filter.level_of(crate::route::DEVICE_LEVEL).is_some();
    if codec == Codec::Headwater && !names_device {
        let expected =
            "a filter with a level {device}, for codec \"headwater\" needs to know whose message it is";
        table.wrong(filter_text.line, "match", format_args!("\"{filter}\""), expected);
    }
    let template = |key: &str, text: &str, line: usize| match Template::parse(text, &filter) {
        Ok(template) if template.reads_payload() && codec == Codec::Headwater => {
            let expected = "a template without payload fields, for codec \"headwater\" has none";
            table.wrong(line, key, format_args!("\"{text}\""), expected);
            None
        }
        Ok(template) => Some((template, line)),
        Err(error) => {
            table.wrong(line, key, format_args!("\"{text}\""), format_args!("a template ({error})"));
            None
        }
    };
    let default_key = if names_device { "{device}" } else { "${clientid()}" };
    let (key_text, key_line) = key.as_ref().map_or((default_key, 0), |key| (key.value.as_str(), key.line));
    let key = template("partition_key", key_text, key_line);
    let stream_template = stream.as_ref().and_then(|stream| template("stream", &stream.value, stream.line));
    if let Some((template, line)) = &stream_template
        && let Some(literal) = template.literal()
        && !is_stream_name(literal)
    {
        let expected = "a stream name, 1 to 128 of a-z A-Z 0-9 _ . -";
        table.wrong(*line, "stream", format_args!("\"{literal}\""), expected);
    }
    if to_stream && stream.is_none() {
        table.wrong(line, "stream", "missing", "a stream name, or to = [\"downlink\"]");
    }
    table.end();
    let target = match (stream_template, key) {
        (Some((stream, _)), Some((partition_key, _))) if to_stream => Some(Target { stream, partition_key }),
        _ => None,
    };
    Some(Route { filter, codec, target, downlink })
}

/// `to`: whether to a stream, and whether to subscribers.
fn destinations(table: &mut Section<'_, '_>) -> (bool, bool) {
    let to = table.list("to", &["stream"]);
    for place in &to.value {
        if !["stream", "downlink"].contains(&place.as_str()) {
            table.wrong(to.line, "to", format_args!("\"{place}\""), "\"stream\", \"downlink\" or both");
        }
    }
    if to.value.is_empty() {
        table.wrong(to.line, "to", "an empty list", "\"stream\", \"downlink\" or both");
    }
    let to_has = |wanted: &str| to.value.iter().any(|place| place == wanted);
    (to_has("stream"), to_has("downlink"))
}
