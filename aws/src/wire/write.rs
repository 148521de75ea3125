//! Writing requests: a handful of named fields, in either format.

use super::Format;
use crate::timestamp::Timestamp;
use std::io::Write;

/// A value of a request.
#[derive(Debug, Clone)]
pub(crate) enum Field<'a> {
    Text(&'a str),
    Number(u64),
    Time(Timestamp),
    /// A structure in the structure.
    Nested(Vec<(&'a str, Field<'a>)>),
}

/// The body of a request.
pub(crate) fn encode(fields: &[(&str, Field<'_>)], format: Format) -> Vec<u8> {
    let mut body = Vec::with_capacity(256);
    structure(fields, format, &mut body);
    body
}

fn structure(fields: &[(&str, Field<'_>)], format: Format, out: &mut Vec<u8>) {
    match format {
        Format::Json => out.push(b'{'),
        Format::Cbor => head(5, fields.len() as u64, out),
    }
    for (at, (name, value)) in fields.iter().enumerate() {
        if at > 0 && format == Format::Json {
            out.push(b',');
        }
        text(name, format, out);
        if format == Format::Json {
            out.push(b':');
        }
        match (value, format) {
            (Field::Text(value), _) => text(value, format, out),
            (Field::Nested(fields), _) => structure(fields, format, out),
            (Field::Number(number), Format::Cbor) => head(0, *number, out),
            (Field::Time(time), Format::Cbor) => {
                head(6, 1, out);
                head(0, time.ms(), out);
            }
            (Field::Number(number), Format::Json) => write!(out, "{number}").expect("a Vec takes everything"),
            (Field::Time(time), Format::Json) => {
                let (seconds, ms) = (time.ms() / 1_000, time.ms() % 1_000);
                write!(out, "{seconds}.{ms:03}").expect("a Vec takes everything");
            }
        }
    }
    if format == Format::Json {
        out.push(b'}');
    }
}

/// A text, quoted or with its length.
pub(crate) fn text(text: &str, format: Format, out: &mut Vec<u8>) {
    match format {
        Format::Json => serde_json::to_writer(out, text).expect("a Vec takes every text"),
        Format::Cbor => {
            head(3, text.len() as u64, out);
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// The beginning of an item of CBOR, as short as may be.
pub(crate) fn head(major: u8, number: u64, out: &mut Vec<u8>) {
    let major = major << 5;
    let bytes = number.to_be_bytes();
    match number {
        0..=23 => out.push(major | bytes[7]),
        24..=0xff => out.extend_from_slice(&[major | 24, bytes[7]]),
        0x100..=0xffff => out.extend_from_slice(&[major | 25, bytes[6], bytes[7]]),
        0x1_0000..=0xffff_ffff => {
            out.push(major | 26);
            out.extend_from_slice(&bytes[4..]);
        }
        _ => {
            out.push(major | 27);
            out.extend_from_slice(&bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Read {
        a: String,
        b: u64,
        c: super::super::Seconds,
        d: Inner,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Inner {
        e: String,
    }

    #[test]
    fn both_formats_say_the_same() {
        for number in [0, 23, 24, 255, 256, 65_535, 65_536, u64::from(u32::MAX), 1 << 40] {
            let time = Timestamp::from_ms(1_440_938_160_007);
            let long = "é\"\n".repeat(100);
            let nested = Field::Nested(vec![("e", Field::Text("x"))]);
            let fields = [
                ("a", Field::Text(&long)),
                ("b", Field::Number(number)),
                ("c", Field::Time(time)),
                ("d", nested),
            ];
            let json: Read = Format::Json.decode(&encode(&fields, Format::Json)).unwrap();
            let cbor: Read = Format::Cbor.decode(&encode(&fields, Format::Cbor)).unwrap();
            assert_eq!(json, cbor);
            assert_eq!((json.a, json.b, json.c.timestamp(), json.d.e.as_str()), (long, number, time, "x"));
        }
    }
}
