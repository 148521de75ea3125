//! Requests for tests: the CBOR that means what a JSON body means.

use crate::api::check::{Member, Shape};
use crate::api::{Format, Writer};
use serde_json::Value;

/// How maps, arrays and strings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum Style {
    /// As AWS's SDKs do: maps and arrays end in a break.
    Indefinite,
    /// With counts in front.
    Definite,
    /// Strings too are of indefinite length.
    Chunks,
}

pub(in crate::api) const STYLES: [Style; 3] = [Style::Indefinite, Style::Definite, Style::Chunks];

/// A request, by the table of its input; members that are not in it are written as they are.
pub(in crate::api) fn encode(json: &str, members: &'static [Member], style: Style) -> Vec<u8> {
    let mut out = Vec::new();
    write(&serde_json::from_str(json).unwrap(), Some(Shape::Structure(members)), style, &mut out);
    out
}

fn write(value: &Value, shape: Option<Shape>, style: Style, out: &mut Vec<u8>) {
    match (value, shape) {
        (Value::Null, _) => out.push(0xf6),
        (Value::Bool(value), _) => out.push(0xf4 + u8::from(*value)),
        (Value::Number(number), Some(Shape::Timestamp)) => {
            out.push(0xc1);
            out.extend(integer(&format!("{:.0}", number.as_f64().unwrap() * 1_000.0)));
        }
        (Value::Number(number), _) if number.is_f64() => {
            out.push(0xfb);
            out.extend(number.as_f64().unwrap().to_be_bytes());
        }
        (Value::Number(number), _) => out.extend(integer(&number.to_string())),
        (Value::String(text), Some(Shape::Blob { .. })) => {
            string(2, &base64_simd::STANDARD.decode_to_vec(text).unwrap(), style, out);
        }
        (Value::String(text), _) => string(3, text.as_bytes(), style, out),
        (Value::Array(values), shape) => {
            let member = if let Some(Shape::List { member, .. }) = shape { Some(*member) } else { None };
            head(4, values.len(), style, out);
            values.iter().for_each(|value| write(value, member, style, out));
            end(style, out);
        }
        (Value::Object(values), shape) => {
            head(5, values.len(), style, out);
            for (name, value) in values {
                let shape = match shape {
                    Some(Shape::Structure(members)) => {
                        members.iter().find(|member| member.name == name).map(|member| member.shape)
                    }
                    _ => None,
                };
                string(3, name.as_bytes(), style, out);
                write(value, shape, style, out);
            }
            end(style, out);
        }
    }
}

fn integer(digits: &str) -> Vec<u8> {
    let mut writer = Writer::new(Format::Cbor);
    writer.integer(digits.parse::<i64>().unwrap());
    writer.into_bytes()
}

fn string(major: u8, bytes: &[u8], style: Style, out: &mut Vec<u8>) {
    if style != Style::Chunks {
        long_head(major, bytes.len(), out);
        return out.extend_from_slice(bytes);
    }
    out.push(major << 5 | 31);
    for chunk in bytes.chunks(3) {
        long_head(major, chunk.len(), out);
        out.extend_from_slice(chunk);
    }
    out.push(0xff);
}

fn head(major: u8, count: usize, style: Style, out: &mut Vec<u8>) {
    match style {
        Style::Definite => long_head(major, count, out),
        Style::Indefinite | Style::Chunks => out.push(major << 5 | 31),
    }
}

fn end(style: Style, out: &mut Vec<u8>) {
    if style != Style::Definite {
        out.push(0xff);
    }
}

/// A length in two bytes, though most fit into the first: any form is allowed.
fn long_head(major: u8, length: usize, out: &mut Vec<u8>) {
    out.push(major << 5 | 25);
    out.extend(u16::try_from(length).unwrap().to_be_bytes());
}
