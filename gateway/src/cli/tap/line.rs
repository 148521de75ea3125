//! A record as a line.
//!
//! In: a record, or one of an aggregate. Out: one line; nothing in it moves the cursor or ends the line.

use super::super::status::words::plain;
use headwater_aws::{Record, Timestamp};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What a line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    Json,
    Hex,
    Decoded,
}

/// What a line is about.
pub(super) struct Of<'a> {
    pub(super) stream: &'a str,
    /// The shard, with its stream where there are several.
    pub(super) place: &'a str,
    pub(super) record: &'a Record,
    /// Which of an aggregate.
    pub(super) part: Option<usize>,
    pub(super) key: &'a str,
    pub(super) data: &'a [u8],
}

/// The line.
pub(super) fn line(format: Format, of: &Of<'_>) -> String {
    let time = of.record.arrived.map_or_else(|| "-".to_owned(), iso);
    let number = match of.part {
        Some(part) => format!("{}:{part}", of.record.sequence_number),
        None => of.record.sequence_number.clone(),
    };
    let data = match format {
        Format::Json => return object(of, &time),
        Format::Hex => hex(of.data),
        Format::Decoded => match decode(of.data) {
            Data::Json(text) => plain(&text),
            Data::Text(text) => plain(text),
            Data::Bytes => format!("hex:{}", hex(of.data)),
        },
    };
    format!("{time} {} {number} {} {data}", of.place, plain(of.key))
}

/// JSON is written through as it is, but for its spaces: reading numbers and writing them again changes large ones.
fn object(of: &Of<'_>, time: &str) -> String {
    let shard = of.place.rsplit('/').next().unwrap_or(of.place);
    let mut head = json!({
        "time": time, "stream": of.stream, "shard": shard, "sequence_number": of.record.sequence_number,
        "partition_key": of.key,
    });
    if let Some(part) = of.part {
        head["part"] = json!(part);
    }
    let (name, data) = match decode(of.data) {
        Data::Json(text) => ("data", text),
        Data::Text(text) => ("text", Value::from(text).to_string()),
        Data::Bytes => ("base64", Value::from(base64_simd::STANDARD.encode_to_string(of.data)).to_string()),
    };
    let head = head.to_string();
    quiet(&format!("{},\"{name}\":{data}}}", head.strip_suffix('}').unwrap_or(&head)))
}

/// The same JSON without a character that a terminal could act on: only strings can have one, and there it has another way to be written.
fn quiet(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for char in json.chars() {
        match char.is_control() {
            true => write!(out, "\\u{:04x}", u32::from(char)).expect("a String takes everything"),
            false => out.push(char),
        }
    }
    out
}

/// What data is.
enum Data<'a> {
    /// JSON, on one line.
    Json(String),
    Text(&'a str),
    Bytes,
}

fn decode(data: &[u8]) -> Data<'_> {
    match std::str::from_utf8(data) {
        Ok(text) if serde_json::from_str::<IgnoredAny>(text).is_ok() => Data::Json(on_one_line(text)),
        Ok(text) if !text.contains(|char: char| char.is_control() && !char.is_ascii_whitespace()) => {
            Data::Text(text)
        }
        Ok(_) | Err(_) => Data::Bytes,
    }
}

/// JSON without the spaces between its words.
fn on_one_line(json: &str) -> String {
    let (mut out, mut in_text, mut is_escaped) = (String::with_capacity(json.len()), false, false);
    for char in json.chars() {
        if in_text {
            in_text = is_escaped || char != '"';
            is_escaped = !is_escaped && char == '\\';
        } else if char.is_ascii_whitespace() {
            continue;
        } else {
            in_text = char == '"';
        }
        out.push(char);
    }
    out
}

fn hex(data: &[u8]) -> String {
    data.iter().fold(String::with_capacity(data.len() * 2), |mut out, byte| {
        write!(out, "{byte:02x}").expect("a String takes everything");
        out
    })
}

/// `2026-11-21T08:30:00.123Z`.
fn iso(time: Timestamp) -> String {
    let basic = time.basic();
    match (basic.get(..4), basic.get(4..6), basic.get(6..11), basic.get(11..13), basic.get(13..15)) {
        (Some(year), Some(month), Some(to_hour), Some(minute), Some(second)) => {
            format!("{year}-{month}-{to_hour}:{minute}:{second}.{:03}Z", time.ms() % 1_000)
        }
        _ => basic,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(format: Format, data: &[u8], part: Option<usize>) -> String {
        let record = Record {
            sequence_number: "49".to_owned(),
            partition_key: "outer".to_owned(),
            data: data.to_vec(),
            arrived: Timestamp::parse_basic("20261121T083007Z").map(|time| Timestamp::from_ms(time.ms() + 5)),
        };
        let of = Of { stream: "s", place: "s/shardId-000000000001", record: &record, part, key: "k\n", data };
        line(format, &of)
    }

    #[test]
    fn a_record_is_one_line_whatever_is_in_it() {
        let json = b"{\n \"a\" : 12345678901234567890123, \"b\": \"x \\\" y\" }\n";
        let head = "2026-11-21T08:30:07.005Z s/shardId-000000000001 49";
        assert_eq!(
            shown(Format::Decoded, json, None),
            format!("{head} k\\n {{\"a\":12345678901234567890123,\"b\":\"x \\\" y\"}}")
        );
        assert_eq!(shown(Format::Decoded, b"21.5\tC\nx", Some(2)), format!("{head}:2 k\\n 21.5\\tC\\nx"));
        assert_eq!(shown(Format::Decoded, b"\x1b[2J", None), format!("{head} k\\n hex:1b5b324a"));
        assert_eq!(shown(Format::Hex, b"\x00\xff", None), format!("{head} k\\n 00ff"));
    }

    #[test]
    fn as_json_every_line_is_an_object_with_the_data_as_it_was() {
        let read = |data: &[u8]| serde_json::from_str::<Value>(&shown(Format::Json, data, None)).unwrap();
        let object = read(b"{\"a\": [1, 2]}");
        assert_eq!(object["data"], json!({"a": [1, 2]}));
        assert_eq!(object["shard"], "shardId-000000000001");
        assert_eq!(
            (&object["partition_key"], &object["time"]),
            (&json!("k\n"), &json!("2026-11-21T08:30:07.005Z"))
        );
        assert_eq!(read(b"two\nlines")["text"], "two\nlines");
        assert_eq!(read(b"\xff\x00")["base64"], "/wA=");
        assert!(shown(Format::Json, b"1e999", Some(1)).ends_with("\"data\":1e999}"));
        // 0x9b begins a command of a terminal as ESC [ does.
        for data in ["{\"a\": \"\u{9b}2J\"}", "\u{9b}2J"] {
            assert!(!shown(Format::Json, data.as_bytes(), None).contains('\u{9b}'), "{data}");
            assert!(!shown(Format::Decoded, data.as_bytes(), None).contains('\u{9b}'), "{data}");
        }
        assert_eq!(read("{\"a\": \"\u{9b}2J\"}".as_bytes())["data"]["a"], "\u{9b}2J");
    }
}
