//! Writing answers in the format of their requests: commas by themselves, escapes where needed, data and times as the API
//! has them.
//!
//! | | JSON | CBOR |
//! |---|---|---|
//! | objects, arrays | as ever | maps and arrays of indefinite length |
//! | time | seconds since 1970 with three decimals | tag 1, integer milliseconds since 1970 (see cbor) |
//! | blob | base64 | byte string |
//!
//! Not here: which members an answer has (operations).

use crate::api::Format;

/// A growing answer. The caller nests correctly; members come as `answer.key("Name").text("value")`.
#[derive(Debug)]
pub(crate) struct Writer {
    out: Vec<u8>,
    format: Format,
}

/// Major types of CBOR, in the place they have in a first byte.
const NEGATIVE: u8 = 1 << 5;
const BYTES: u8 = 2 << 5;
const TEXT: u8 = 3 << 5;

impl Writer {
    pub(crate) fn new(format: Format) -> Self {
        Writer { out: Vec::new(), format }
    }

    /// The same with room for this many bytes.
    pub(crate) fn with_capacity(mut self, bytes: usize) -> Self {
        self.out.reserve(bytes);
        self
    }

    pub(crate) fn format(&self) -> Format {
        self.format
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    pub(crate) fn len(&self) -> usize {
        self.out.len()
    }

    /// A comma unless something has just begun. Strings end in a quote, so an opening bracket or a colon at the end is
    /// always structure.
    fn separate(&mut self) {
        if !matches!(self.out.last(), None | Some(b'{' | b'[' | b':')) {
            self.out.push(b',');
        }
    }

    pub(crate) fn open_object(&mut self) {
        self.open(b'{', 0xbf);
    }

    pub(crate) fn close_object(&mut self) {
        self.close(b'}');
    }

    pub(crate) fn open_array(&mut self) {
        self.open(b'[', 0x9f);
    }

    pub(crate) fn close_array(&mut self) {
        self.close(b']');
    }

    fn open(&mut self, json: u8, cbor: u8) {
        match self.format {
            Format::Json => {
                self.separate();
                self.out.push(json);
            }
            Format::Cbor => self.out.push(cbor),
        }
    }

    fn close(&mut self, json: u8) {
        self.out.push(match self.format {
            Format::Json => json,
            Format::Cbor => 0xff,
        });
    }

    /// The name of the member whose value comes next. Names are the model's and need no escapes.
    pub(crate) fn key(&mut self, name: &str) -> &mut Self {
        match self.format {
            Format::Json => {
                self.separate();
                self.out.push(b'"');
                self.out.extend_from_slice(name.as_bytes());
                self.out.extend_from_slice(b"\":");
            }
            Format::Cbor => self.string(TEXT, name.as_bytes()),
        }
        self
    }

    /// Bytes that are of the format already, with their own commas and names.
    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.lossy_text(text.as_bytes());
    }

    /// Text whose bytes may not be UTF-8; those become U+FFFD.
    pub(crate) fn lossy_text(&mut self, text: &[u8]) {
        match self.format {
            Format::Json => {
                self.separate();
                self.out.push(b'"');
                if text.iter().all(|&b| matches!(b, 0x20..=0x7e) && b != b'"' && b != b'\\') {
                    self.out.extend_from_slice(text);
                } else {
                    self.escaped(&String::from_utf8_lossy(text));
                }
                self.out.push(b'"');
            }
            Format::Cbor => self.string(TEXT, String::from_utf8_lossy(text).as_bytes()),
        }
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

    /// Every integer of the API has at most 64 bits; beyond them CBOR gets the nearest.
    pub(crate) fn integer(&mut self, value: impl Into<i128>) {
        let value = value.into();
        match self.format {
            Format::Json => {
                use std::io::Write;
                self.separate();
                // Writing to a Vec cannot fail.
                let _ = write!(self.out, "{value}");
            }
            Format::Cbor if value < 0 => self.head(NEGATIVE, u64::try_from(-1 - value).unwrap_or(u64::MAX)),
            Format::Cbor => self.head(0, u64::try_from(value).unwrap_or(u64::MAX)),
        }
    }

    pub(crate) fn count(&mut self, value: usize) {
        self.integer(value as u64);
    }

    pub(crate) fn boolean(&mut self, value: bool) {
        match self.format {
            Format::Json => {
                self.separate();
                self.out.extend_from_slice(if value { b"true" } else { b"false" });
            }
            Format::Cbor => self.out.push(if value { 0xf5 } else { 0xf4 }),
        }
    }

    /// A time in UTC ms since 1970.
    pub(crate) fn time(&mut self, time_ms: u64) {
        match self.format {
            Format::Json => {
                self.separate();
                self.seconds(time_ms);
            }
            Format::Cbor => {
                self.out.push(0xc1);
                self.head(0, time_ms);
            }
        }
    }

    fn seconds(&mut self, time_ms: u64) {
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

    /// Bytes that are no text.
    pub(crate) fn blob(&mut self, data: &[u8]) {
        match self.format {
            Format::Json => {
                self.separate();
                self.out.push(b'"');
                base64_simd::STANDARD.encode_append(data, &mut self.out);
                self.out.push(b'"');
            }
            Format::Cbor => self.string(BYTES, data),
        }
    }

    fn string(&mut self, major: u8, bytes: &[u8]) {
        self.head(major, bytes.len() as u64);
        self.out.extend_from_slice(bytes);
    }

    /// A first byte and what it takes to say `value`, in the shortest form.
    fn head(&mut self, major: u8, value: u64) {
        let bytes = value.to_be_bytes();
        let (info, tail) = match value {
            0..=23 => (bytes[7], &bytes[8..]),
            24..=0xff => (24, &bytes[7..]),
            0x100..=0xffff => (25, &bytes[6..]),
            0x1_0000..=0xffff_ffff => (26, &bytes[4..]),
            _ => (27, &bytes[..]),
        };
        self.out.push(major | info);
        self.out.extend_from_slice(tail);
    }
}

#[cfg(test)]
mod tests;
