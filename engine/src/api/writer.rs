//! Writing answers: commas by themselves, escapes where needed, base64 and times as the API has them.

use crate::api::Format;

/// A growing answer. The caller nests correctly; members come as `answer.key("Name").text("value")`.
#[derive(Debug)]
pub(crate) struct Writer {
    out: Vec<u8>,
    format: Format,
}

impl Writer {
    pub(crate) fn new(format: Format) -> Self {
        Writer { out: Vec::new(), format }
    }

    /// The same with room for this many bytes.
    pub(crate) fn with_capacity(mut self, bytes: usize) -> Self {
        self.out.reserve(bytes);
        self
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    pub(crate) fn ends_with(&self, tail: &[u8]) -> bool {
        self.out.ends_with(tail)
    }

    /// A comma unless something has just begun. Strings end in a quote, so an opening bracket or a colon at the end is
    /// always structure.
    fn separate(&mut self) {
        if !matches!(self.out.last(), None | Some(b'{' | b'[' | b':')) {
            self.out.push(b',');
        }
    }

    pub(crate) fn open_object(&mut self) {
        self.separate();
        self.out.push(b'{');
    }

    pub(crate) fn close_object(&mut self) {
        self.out.push(b'}');
    }

    pub(crate) fn open_array(&mut self) {
        self.separate();
        self.out.push(b'[');
    }

    pub(crate) fn close_array(&mut self) {
        self.out.push(b']');
    }

    /// The name of the member whose value comes next. Names are the model's and need no escapes.
    pub(crate) fn key(&mut self, name: &str) -> &mut Self {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self
    }

    /// Bytes that are JSON already, with their own commas.
    pub(crate) fn raw(&mut self, json: &[u8]) {
        self.out.extend_from_slice(json);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.separate();
        self.quoted(text.as_bytes());
    }

    /// A quoted and escaped string, without a comma before it. Bytes that are not UTF-8 become U+FFFD.
    pub(crate) fn quoted(&mut self, text: &[u8]) {
        self.out.push(b'"');
        let plain = text.iter().all(|&b| matches!(b, 0x20..=0x7e) && b != b'"' && b != b'\\');
        if plain {
            self.out.extend_from_slice(text);
        } else {
            self.escaped(&String::from_utf8_lossy(text));
        }
        self.out.push(b'"');
    }

    fn escaped(&mut self, text: &str) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        for &byte in text.as_bytes() {
            match byte {
                b'"' | b'\\' => self.out.extend_from_slice(&[b'\\', byte]),
                b'\n' => self.out.extend_from_slice(b"\\n"),
                b'\r' => self.out.extend_from_slice(b"\\r"),
                b'\t' => self.out.extend_from_slice(b"\\t"),
                0..=0x1f => {
                    let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                    self.out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
                }
                _ => self.out.push(byte),
            }
        }
    }

    pub(crate) fn integer(&mut self, value: impl Into<i128>) {
        self.separate();
        self.digits(value.into());
    }

    pub(crate) fn count(&mut self, value: usize) {
        self.integer(value as u64);
    }

    fn digits(&mut self, value: i128) {
        use std::io::Write;
        // Writing to a Vec cannot fail.
        let _ = write!(self.out, "{value}");
    }

    pub(crate) fn boolean(&mut self, value: bool) {
        self.separate();
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A time as the API has it: seconds since 1970 with three decimals.
    pub(crate) fn time(&mut self, time_ms: u64) {
        self.separate();
        self.seconds(time_ms);
    }

    /// As [`Writer::time`], without a comma before it.
    pub(crate) fn seconds(&mut self, time_ms: u64) {
        let mut text = [b'0'; 24];
        let mut at = text.len();
        let mut rest = time_ms;
        while rest > 0 || at > text.len() - 5 {
            at -= 1;
            if at == text.len() - 4 {
                text[at] = b'.';
                continue;
            }
            text[at] = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        self.out.extend_from_slice(&text[at..]);
    }

    /// Data in base64, quoted, without a comma before it.
    pub(crate) fn base64(&mut self, data: &[u8]) {
        self.out.push(b'"');
        base64_simd::STANDARD.encode_append(data, &mut self.out);
        self.out.push(b'"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back_the_same() {
        let mut json = Writer::new(Format::Json);
        json.open_object();
        json.key("a").text("plain");
        json.key("b").text("q\"b\\n\nt\tu\u{1}ä[");
        json.key("c").open_array();
        json.integer(-1);
        json.boolean(true);
        json.open_object();
        json.close_object();
        json.text("x");
        json.close_array();
        json.key("d").time(1_700_000_000_123);
        json.key("e").base64(b"\x00\xff\x10");
        json.close_object();
        let value: serde_json::Value = serde_json::from_slice(&json.into_bytes()).unwrap();
        let expected = serde_json::json!({
            "a": "plain", "b": "q\"b\\n\nt\tu\u{1}ä[", "c": [-1, true, {}, "x"], "d": 1_700_000_000.123, "e": "AP8Q",
        });
        assert_eq!(value, expected);
    }

    #[test]
    fn times_have_three_decimals() {
        for (time_ms, text) in
            [(0, "0.000"), (7, "0.007"), (1_000, "1.000"), (1_700_000_000_120, "1700000000.120")]
        {
            let mut json = Writer::new(Format::Json);
            json.seconds(time_ms);
            assert_eq!(String::from_utf8(json.into_bytes()).unwrap(), text);
        }
        let mut json = Writer::new(Format::Json);
        json.seconds(u64::MAX);
        assert_eq!(String::from_utf8(json.into_bytes()).unwrap(), "18446744073709551.615");
    }
}
