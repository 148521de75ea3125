//! The little JSON that routing needs: is it JSON, one field of it, and text written into it.
//!
//! In: payload bytes, strings. Out: yes or no, one field as text, escaped text.
//! Not here: what the records look like (`render`).

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt::{self, Write as _};

/// Whether `bytes` is one JSON text (RFC 8259), valid UTF-8 included.
pub(crate) fn is_json(bytes: &[u8]) -> bool {
    // IgnoredAny skips over the inside of strings, so the encoding is checked apart.
    std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok())
}

/// The text, number or boolean at `path` of a JSON object. Reads no further than it must and builds no tree.
pub(crate) fn field(payload: &[u8], path: &[String]) -> Option<String> {
    let mut found = None;
    let mut json = serde_json::Deserializer::from_slice(payload);
    let visited = Seek { path, found: &mut found }.deserialize(&mut json);
    visited.ok().and_then(|()| json.end().ok())?;
    found
}

struct Seek<'p, 'f> {
    path: &'p [String],
    found: &'f mut Option<String>,
}

impl<'de> DeserializeSeed<'de> for Seek<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<std::borrow::Cow<'de, str>>()? {
            match self.path.split_first() {
                // A key that stands twice: the last one counts, as in most readers of JSON.
                Some((first, rest)) if *first == key => {
                    *self.found = None;
                    map.next_value_seed(Seek { path: rest, found: self.found })?;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.leaf(text);
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.leaf(value);
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.leaf(value);
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.leaf(value);
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.leaf(value);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

impl Seek<'_, '_> {
    fn leaf(self, value: impl fmt::Display) {
        if self.path.is_empty() {
            *self.found = Some(value.to_string());
        }
    }
}

/// Appends `text` to `out` as a JSON string with its quotes.
pub(crate) fn push_string(out: &mut String, text: &str) {
    out.push('"');
    let mut from = 0;
    for (at, byte) in text.bytes().enumerate() {
        let escape = match byte {
            b'"' => "\\\"",
            b'\\' => "\\\\",
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            0..0x20 => "",
            _ => continue,
        };
        out.push_str(&text[from..at]);
        if escape.is_empty() {
            write!(out, "\\u{byte:04x}").expect("a String takes everything");
        } else {
            out.push_str(escape);
        }
        from = at + 1;
    }
    out.push_str(&text[from..]);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_told_from_other_bytes() {
        for good in ["1", "null", "\"é\"", "{\"a\":[1,2,{}]}", " [] "] {
            assert!(is_json(good.as_bytes()), "{good}");
        }
        for bad in [&b""[..], b"{", b"ON", b"{\"a\":1}x", b"\"\xff\"", b"\xff"] {
            assert!(!is_json(bad), "{bad:?}");
        }
    }

    #[test]
    fn escaped_text_is_read_back_as_it_was() {
        for text in ["", "plain", "a\"b\\c\n\r\t", "\u{0}\u{1f}", "é😀\u{7f}"] {
            let mut out = String::new();
            push_string(&mut out, text);
            assert_eq!(serde_json::from_str::<String>(&out).unwrap(), text);
        }
    }

    #[test]
    fn the_last_of_two_equal_keys_counts() {
        let path = vec!["a".to_owned()];
        assert_eq!(field(br#"{"a":1,"a":2}"#, &path).as_deref(), Some("2"));
        assert_eq!(field(br#"{"a":1,"a":{}}"#, &path), None);
        assert_eq!(field(br#"{"a":1} x"#, &path), None);
        assert_eq!(field(b"not json", &path), None);
    }
}
