//! Reading CBOR (RFC 8949), as `application/x-amz-cbor-1.1` uses it.
//!
//! In: a body. Out: heads of items and slices of the body, `None` where it is not well-formed. Nothing is allocated for a
//! length before its bytes are there. The general way from CBOR to a checked request is in `members`; the fast one for
//! records is a scanner (scan). Not here: writing it (writer).
//!
//! What AWS's SDKs write, all of it accepted: maps and arrays of definite or indefinite length, texts in chunks (Jackson
//! does that from 4 kB on), the shortest form of integers or any longer one, floats of all sizes, byte strings for blobs.
//!
//! Times are integers of **milliseconds** since 1970 with tag 1, in requests and in answers: what the service and its SDKs
//! do, although the RFC counts seconds. An untagged number is read the same. A float is what no SDK writes; below 10^11 it
//! can only mean seconds (as milliseconds it would be before March 1973, older than any record), from there on
//! milliseconds (as seconds it would be after the year 5138).
//!
//! Refused: other tags, keys that are not text, a member twice, numbers that are not finite, bytes after the request.

mod members;

pub(super) use members::object;

use crate::limits;
use std::borrow::Cow;

/// The first byte of an item that ends an indefinite length.
const BREAK: u8 = 0xff;

/// Elements of an array, pairs of a map, bytes of a string; `None` when a break ends them.
pub(super) type Length = Option<u64>;

/// The beginning of an item.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Head {
    Unsigned(u64),
    /// The value is -1 minus this.
    Negative(u64),
    Bytes(Length),
    Text(Length),
    Array(Length),
    Map(Length),
    Tag(u64),
    Boolean(bool),
    /// Null or undefined.
    Null,
    Float(f64),
    Break,
}

/// What a string consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Bytes,
    Text,
}

/// A place in a body.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    body: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Reader { body, at: 0 }
    }

    /// Bytes that are left.
    pub(super) fn left(&self) -> usize {
        self.body.len() - self.at
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.left() == 0
    }

    /// The next bytes.
    #[inline]
    pub(super) fn slice(&mut self, length: u64) -> Option<&'a [u8]> {
        let end = self.at.checked_add(usize::try_from(length).ok()?)?;
        let slice = self.body.get(self.at..end)?;
        self.at = end;
        Some(slice)
    }

    #[inline]
    fn byte(&mut self) -> Option<u8> {
        let byte = *self.body.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// Reads the head of the next item.
    #[inline]
    pub(super) fn head(&mut self) -> Option<Head> {
        let first = self.byte()?;
        let (major, info) = (first >> 5, first & 31);
        if major == 7 {
            return self.simple(info);
        }
        let length = match info {
            0..=23 => Some(u64::from(info)),
            24..=27 => Some(self.argument(info)?),
            31 if matches!(major, 2..=5) => None,
            _ => return None,
        };
        Some(match major {
            0 => Head::Unsigned(length?),
            1 => Head::Negative(length?),
            2 => Head::Bytes(length),
            3 => Head::Text(length),
            4 => Head::Array(length),
            5 => Head::Map(length),
            _ => Head::Tag(length?),
        })
    }

    /// The 1, 2, 4 or 8 bytes after a first byte that ends in 24 to 27.
    #[inline]
    fn argument(&mut self, info: u8) -> Option<u64> {
        let bytes = self.slice(1 << (info - 24))?;
        Some(bytes.iter().fold(0, |value, &byte| value << 8 | u64::from(byte)))
    }

    fn simple(&mut self, info: u8) -> Option<Head> {
        Some(match info {
            20 | 21 => Head::Boolean(info == 21),
            22 | 23 => Head::Null,
            25 => Head::Float(half(u16::try_from(self.argument(25)?).ok()?)),
            26 => Head::Float(f32::from_bits(u32::try_from(self.argument(26)?).ok()?).into()),
            27 => Head::Float(f64::from_bits(self.argument(27)?)),
            31 => Head::Break,
            _ => return None,
        })
    }

    /// Whether another element comes; counts it, or takes the break.
    #[inline]
    pub(super) fn more(&mut self, left: &mut Length) -> Option<bool> {
        match left {
            Some(0) => Some(false),
            Some(count) => {
                *count -= 1;
                Some(true)
            }
            None => {
                let ends = *self.body.get(self.at)? == BREAK;
                self.at += usize::from(ends);
                Some(!ends)
            }
        }
    }

    /// Passes over one item with all that is in it.
    pub(super) fn skip(&mut self) -> Option<()> {
        // What is left on each level; a pair of a map counts as two.
        let mut levels: Vec<Length> = vec![Some(1)];
        while let Some(left) = levels.last_mut() {
            if !self.more(left)? {
                levels.pop();
                continue;
            }
            match self.head()? {
                Head::Bytes(Some(length)) | Head::Text(Some(length)) => {
                    self.slice(length)?;
                }
                Head::Bytes(None) => self.chunks(Kind::Bytes, |_| {})?,
                Head::Text(None) => self.chunks(Kind::Text, |_| {})?,
                Head::Array(length) => levels.push(length),
                Head::Map(None) => levels.push(None),
                Head::Map(Some(length)) => levels.push(Some(length.checked_mul(2)?)),
                Head::Tag(_) => levels.push(Some(1)),
                Head::Break => return None,
                Head::Unsigned(_) | Head::Negative(_) | Head::Boolean(_) | Head::Null | Head::Float(_) => {}
            }
            if levels.len() > limits::CBOR_DEPTH_MAX {
                return None;
            }
        }
        Some(())
    }

    /// The bytes of a string whose head is read, its chunks put together.
    pub(super) fn string(&mut self, length: Length, kind: Kind) -> Option<Cow<'a, [u8]>> {
        if let Some(length) = length {
            return self.slice(length).map(Cow::Borrowed);
        }
        let mut whole = Vec::new();
        self.chunks(kind, |chunk| whole.extend_from_slice(chunk))?;
        Some(Cow::Owned(whole))
    }

    /// The chunks of a string of indefinite length: definite strings of the same kind up to the break.
    fn chunks(&mut self, kind: Kind, mut chunk: impl FnMut(&'a [u8])) -> Option<()> {
        while self.more(&mut None)? {
            match (self.head()?, kind) {
                (Head::Bytes(Some(length)), Kind::Bytes) | (Head::Text(Some(length)), Kind::Text) => {
                    chunk(self.slice(length)?);
                }
                _ => return None,
            }
        }
        Some(())
    }
}

/// A float of 16 bits (RFC 8949, appendix D).
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1_023));
    let size = match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (fraction + 1_024.0) * 2_f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -size } else { size }
}

#[cfg(test)]
pub(super) mod samples;
#[cfg(test)]
mod tests;
