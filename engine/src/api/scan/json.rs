//! The JSON a scanner takes: no escapes in strings.

use super::Source;
use crate::api::put::Data;
use memchr::memchr;

pub(in crate::api) struct Scanner<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Scanner<'a> {
    pub(in crate::api) fn new(body: &'a [u8]) -> Self {
        Scanner { body, at: 0 }
    }

    #[inline]
    fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.body.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    #[inline]
    fn take(&mut self, expected: u8) -> Option<()> {
        (self.peek()? == expected).then(|| self.at += 1)
    }

    /// The bytes between two quotes. May hold escapes or control characters, which the caller must refuse.
    #[inline]
    fn string(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let rest = &self.body[self.at..];
        let length = memchr(b'"', rest)?;
        self.at += length + 1;
        Some(&rest[..length])
    }
}

impl<'a> Source<'a> for Scanner<'a> {
    #[inline]
    fn object(&mut self, mut member: impl FnMut(&mut Self, &'a [u8]) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        loop {
            let name = self.string()?;
            self.take(b':')?;
            member(self, name)?;
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => break,
                _ => return None,
            }
        }
        self.at += 1;
        Some(())
    }

    fn array(&mut self, mut element: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(b'[')?;
        loop {
            element(self)?;
            match self.peek()? {
                b',' => self.at += 1,
                b']' => break,
                _ => return None,
            }
        }
        self.at += 1;
        Some(())
    }

    #[inline]
    fn text(&mut self) -> Option<&'a str> {
        let bytes = self.string()?;
        if bytes.iter().any(|&b| b == b'\\' || b < 0x20) {
            return None;
        }
        std::str::from_utf8(bytes).ok()
    }

    /// An escape or a control character in it is no base64, which whoever decodes it finds.
    #[inline]
    fn data(&mut self) -> Option<Data<'a>> {
        self.string().map(Data::Base64)
    }

    fn left(&self) -> usize {
        self.body.len() - self.at
    }

    fn ends(&mut self) -> bool {
        self.peek().is_none()
    }
}
