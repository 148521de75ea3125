//! `[stream_defaults]`, `[streams.<name>]` and `[dead_letter]`.

use super::section::Section;
use super::sections::{DAY, HOUR, narrow};
use super::types::Stream;
use crate::route::limits::STREAM_NAME_CHARS_MAX;
use std::collections::BTreeMap;

pub(super) fn stream_defaults(mut table: Section<'_, '_>) -> (Stream, bool) {
    let create = table.flag("create", true);
    let stream = stream(&mut table, Stream { shards: 1, retention_hours: 24 });
    table.end();
    (stream, create)
}

pub(super) fn streams(table: Section<'_, '_>, defaults: Stream) -> BTreeMap<String, Stream> {
    let mut streams = BTreeMap::new();
    for (name, mut stream_table) in table.named() {
        if !is_stream_name(&name) {
            stream_table.wrong_name(format_args!("\"{name}\""), STREAM_NAME_EXPECTED);
        }
        let shape = stream(&mut stream_table, defaults);
        stream_table.end();
        streams.insert(name, shape);
    }
    streams
}

fn stream(table: &mut Section<'_, '_>, defaults: Stream) -> Stream {
    let shards = narrow(table.count("shards", defaults.shards.into(), 1..=10_000));
    let default = HOUR * defaults.retention_hours;
    let retention = table.duration("retention", default, DAY..=365 * DAY);
    if !retention.as_secs().is_multiple_of(HOUR.as_secs()) {
        table.wrong(table.line(), "retention", format_args!("{} s", retention.as_secs()), "whole hours");
    }
    Stream { shards, retention_hours: narrow(retention.as_secs() / HOUR.as_secs()) }
}

const STREAM_NAME_EXPECTED: &str = "a stream name, 1 to 128 of a-z A-Z 0-9 _ . -";

/// Whether the Kinesis API allows `text` as the name of a stream.
pub(super) fn is_stream_name(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'));
    plain && (1..=STREAM_NAME_CHARS_MAX).contains(&text.len())
}

pub(super) fn dead_letter(mut table: Section<'_, '_>) -> String {
    let name = |text: &str| is_stream_name(text).then(|| text.to_owned());
    let stream = table.parsed("stream", "dead-letter", STREAM_NAME_EXPECTED, name).value;
    table.end();
    stream
}
