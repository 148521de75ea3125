//! Reading CBOR (RFC 8949) as answers of this API use it, for serde.
//!
//! Strings of definite length are borrowed from the input. A time (tag 1) is milliseconds here, although the RFC counts
//! seconds, and is given as seconds. Other tags are passed over. Refused: bytes after the item, breaks where none belongs.

use crate::limits;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};

/// Bytes that are not what is wanted. Where and what does not help anybody: they came from elsewhere.
#[derive(Debug, thiserror::Error)]
#[error("not the CBOR that was expected")]
pub(super) struct NotCbor;

impl serde::de::Error for NotCbor {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        NotCbor
    }
}

pub(super) fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, NotCbor> {
    let mut reader = Reader { rest: bytes, depth: 0 };
    let value = T::deserialize(&mut reader)?;
    if reader.rest.is_empty() { Ok(value) } else { Err(NotCbor) }
}

struct Reader<'a> {
    rest: &'a [u8],
    depth: usize,
}

/// The bits that say what an item is, and the number behind them; no number where the length is indefinite.
struct Head {
    major: u8,
    info: u8,
    number: Option<u64>,
}

const BREAK: u8 = 0xff;

impl<'a> Reader<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8], NotCbor> {
        let count = usize::try_from(count).map_err(|_| NotCbor)?;
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(NotCbor)?;
        self.rest = rest;
        Ok(taken)
    }

    fn head(&mut self) -> Result<Head, NotCbor> {
        let first = self.take(1)?[0];
        let (major, info) = (first >> 5, first & 31);
        let number = match info {
            0..=23 => Some(u64::from(info)),
            24..=27 => {
                let bytes = self.take(1 << (info - 24))?;
                Some(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
            }
            31 if matches!(major, 2..=5) => None,
            _ => return Err(NotCbor),
        };
        Ok(Head { major, info, number })
    }

    /// Whether an indefinite item ends here; takes the break.
    fn ends(&mut self) -> Result<bool, NotCbor> {
        let ends = *self.rest.first().ok_or(NotCbor)? == BREAK;
        if ends {
            self.take(1)?;
        }
        Ok(ends)
    }

    /// Chunks of a string of indefinite length, put together.
    fn chunks(&mut self, major: u8) -> Result<Vec<u8>, NotCbor> {
        let mut whole = Vec::new();
        while !self.ends()? {
            let head = self.head()?;
            let length = head.number.filter(|_| head.major == major).ok_or(NotCbor)?;
            whole.extend_from_slice(self.take(length)?);
        }
        Ok(whole)
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, NotCbor>) -> Result<T, NotCbor> {
        if self.depth == limits::CBOR_DEPTH_MAX {
            return Err(NotCbor);
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn number<V: Visitor<'a>>(&mut self, head: &Head, visitor: V) -> Result<V::Value, NotCbor> {
        let number = head.number.ok_or(NotCbor)?;
        match (head.major, head.info) {
            (0, _) => visitor.visit_u64(number),
            (1, _) => visitor.visit_i64(-1 - i64::try_from(number).map_err(|_| NotCbor)?),
            (7, 26) => visitor.visit_f64(f32::from_bits(u32::try_from(number).map_err(|_| NotCbor)?).into()),
            (7, 27) => visitor.visit_f64(f64::from_bits(number)),
            _ => Err(NotCbor),
        }
    }

    /// A tag is read; a time follows it, or something it says nothing about that matters here.
    fn tagged<V: Visitor<'a>>(&mut self, tag: Option<u64>, visitor: V) -> Result<V::Value, NotCbor> {
        if tag != Some(1) {
            return self.nested(|reader| reader.deserialize_any(visitor));
        }
        let ms = self.nested(|reader| f64::deserialize(reader))?;
        visitor.visit_f64(ms / 1_000.0)
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = NotCbor;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotCbor> {
        let head = self.head()?;
        match (head.major, head.number) {
            (2, Some(length)) => visitor.visit_borrowed_bytes(self.take(length)?),
            (2, None) => visitor.visit_byte_buf(self.chunks(2)?),
            (3, Some(length)) => {
                visitor.visit_borrowed_str(std::str::from_utf8(self.take(length)?).map_err(NotCbor::custom)?)
            }
            (3, None) => visitor.visit_string(String::from_utf8(self.chunks(3)?).map_err(NotCbor::custom)?),
            (4, left) => self.nested(|reader| {
                let mut items = Items { reader, left };
                let value = visitor.visit_seq(&mut items)?;
                if items.next()? { Err(NotCbor) } else { Ok(value) }
            }),
            (5, left) => self.nested(|reader| {
                let mut items = Items { reader, left };
                let value = visitor.visit_map(&mut items)?;
                if items.next()? { Err(NotCbor) } else { Ok(value) }
            }),
            (6, tag) => self.tagged(tag, visitor),
            (7, _) if matches!(head.info, 20 | 21) => visitor.visit_bool(head.info == 21),
            (7, _) if matches!(head.info, 22 | 23) => visitor.visit_unit(),
            _ => self.number(&head, visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, NotCbor> {
        if matches!(self.rest.first(), Some(0xf6 | 0xf7)) {
            self.take(1)?;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, NotCbor> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier ignored_any
    }
}

/// Elements of an array or pairs of a map: so many, or up to a break.
struct Items<'r, 'a> {
    reader: &'r mut Reader<'a>,
    left: Option<u64>,
}

impl Items<'_, '_> {
    fn next(&mut self) -> Result<bool, NotCbor> {
        match &mut self.left {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None => {
                let ends = self.reader.ends()?;
                if ends {
                    self.left = Some(0);
                }
                Ok(!ends)
            }
        }
    }
}

impl<'de> SeqAccess<'de> for &mut Items<'_, 'de> {
    type Error = NotCbor;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, NotCbor> {
        if self.next()? { seed.deserialize(&mut *self.reader).map(Some) } else { Ok(None) }
    }
}

impl<'de> MapAccess<'de> for &mut Items<'_, 'de> {
    type Error = NotCbor;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, NotCbor> {
        if !self.next()? {
            return Ok(None);
        }
        // Keys are short texts: no need for the whole machinery.
        let head = self.reader.head()?;
        match (head.major, head.number) {
            (3, Some(length)) => {
                let key = std::str::from_utf8(self.reader.take(length)?).map_err(NotCbor::custom)?;
                seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some)
            }
            _ => Err(NotCbor),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, NotCbor> {
        seed.deserialize(&mut *self.reader)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Blob, Seconds};
    use super::*;
    use serde::de::IgnoredAny;
    use std::collections::BTreeMap;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "PascalCase")]
    struct Sample<'a> {
        name: &'a str,
        #[serde(default)]
        time: Option<Seconds>,
        #[serde(default)]
        data: Blob,
        #[serde(default)]
        counts: Vec<i64>,
        #[serde(default)]
        flag: Option<bool>,
    }

    #[test]
    fn what_servers_write_is_read() {
        // {_ "Name": "x", "Time": 1(1500), "Data": (_ h'01', h'02'), "Counts": [_ 1, -2, 500], "Flag": null, "More": {"a": [1.5]}}
        let bytes = b"\xbf\x64Name\x61x\x64Time\xc1\x19\x05\xdc\x64Data\x5f\x41\x01\x41\x02\xff\x66Counts\x9f\x01\x21\x19\x01\xf4\xff\
                      \x64Flag\xf6\x64More\xa1\x61a\x81\xfb\x3f\xf8\0\0\0\0\0\0\xff";
        let sample: Sample<'_> = decode(bytes).unwrap();
        assert_eq!(
            (sample.name, &sample.data.0[..], &sample.counts[..], sample.flag),
            ("x", &[1, 2][..], &[1, -2, 500][..], None)
        );
        assert_eq!(sample.time.unwrap().timestamp().ms(), 1_500);
        let base64: Sample<'_> = decode(b"\xa2\x64Name\x61x\x64Data\x64AQI=").unwrap();
        assert_eq!(base64.data.0, [1, 2]);
        let chunked: BTreeMap<String, String> = decode(b"\xa1\x61k\x7f\x61a\x61b\xff").unwrap();
        assert_eq!(chunked["k"], "ab");
    }

    #[test]
    fn every_beginning_of_it_and_every_flipped_byte_is_refused_or_read_and_never_panics() {
        let bytes = b"\xbf\x64Name\x61x\x64Time\xc1\x19\x05\xdc\x64Data\x5f\x41\x01\xff\x66Counts\x83\x01\x21\x19\x01\xf4\xff";
        for end in 0..bytes.len() {
            assert!(decode::<Sample<'_>>(&bytes[..end]).is_err(), "{end}");
        }
        for at in 0..bytes.len() {
            for value in 0..=255 {
                let mut changed = bytes.to_vec();
                changed[at] = value;
                let _ = decode::<Sample<'_>>(&changed);
                let _ = decode::<IgnoredAny>(&changed);
            }
        }
        assert!(decode::<IgnoredAny>(b"\x01\x01").is_err(), "bytes after the item");
        assert!(decode::<IgnoredAny>(&[0x81; 100_000]).is_err(), "too deep");
        assert!(decode::<IgnoredAny>(&[0xc2; 100_000]).is_err(), "too many tags");
        assert!(decode::<IgnoredAny>(&[0xc1; 100_000]).is_err(), "times of times");
        assert!(
            decode::<Vec<u8>>(b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff").is_err(),
            "a length that is not there"
        );
    }
}
