//! An aggregate's records, for tools and tests.
//!
//! What is not an aggregate is a record like any other: its first bytes or its checksum say so, and nothing is refused.
//! Unknown fields are passed over, as protobuf wants it; tags are not read.

use super::{MAGIC, sizes::FRAME_BYTES};
use md5::{Digest, Md5};

/// A record out of an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserRecord<'a> {
    /// Its own partition key.
    pub key: &'a str,
    /// Its own hash key, where it had one.
    pub hash: Option<u128>,
    /// What is in it.
    pub data: &'a [u8],
}

/// Whether data is an aggregate: by its first bytes and its checksum.
#[must_use]
pub fn is_aggregate(data: &[u8]) -> bool {
    protobuf(data).is_some()
}

/// The records of an aggregate; nothing where data is none.
#[must_use]
pub fn deaggregate(data: &[u8]) -> Option<Vec<UserRecord<'_>>> {
    let body = protobuf(data)?;
    let (mut keys, mut hashes, mut records) = (Vec::new(), Vec::new(), Vec::new());
    let mut fields = Fields(body);
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Bytes(key)) => keys.push(std::str::from_utf8(key).ok()?),
            (2, Value::Bytes(hash)) => hashes.push(std::str::from_utf8(hash).ok()?.parse::<u128>().ok()?),
            (3, Value::Bytes(record)) => records.push(record),
            _ => {}
        }
    }
    // Tables are whole only now: protobuf lets fields come in any order.
    records.into_iter().map(|record| read(record, &keys, &hashes)).collect()
}

fn read<'a>(record: &'a [u8], keys: &[&'a str], hashes: &[u128]) -> Option<UserRecord<'a>> {
    let (mut key, mut hash, mut data) = (None, None, None);
    let mut fields = Fields(record);
    while let Some(field) = fields.next()? {
        match field {
            (1, Value::Number(index)) => key = Some(*keys.get(usize::try_from(index).ok()?)?),
            (2, Value::Number(index)) => hash = Some(*hashes.get(usize::try_from(index).ok()?)?),
            (3, Value::Bytes(bytes)) => data = Some(bytes),
            _ => {}
        }
    }
    Some(UserRecord { key: key?, hash, data: data? })
}

fn protobuf(data: &[u8]) -> Option<&[u8]> {
    if data.len() < FRAME_BYTES {
        return None;
    }
    let (body, digest) = data.strip_prefix(&MAGIC)?.split_last_chunk::<16>()?;
    (Md5::digest(body)[..] == digest[..]).then_some(body)
}

struct Fields<'a>(&'a [u8]);

enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of a kind that nothing here has.
    Other,
}

impl<'a> Fields<'a> {
    /// The next field; `Some(None)` at the end, `None` where it is not protobuf.
    #[expect(clippy::option_option, reason = "the end is not a failure")]
    fn next(&mut self) -> Option<Option<(u64, Value<'a>)>> {
        if self.0.is_empty() {
            return Some(None);
        }
        let tag = self.varint()?;
        let value = match tag & 7 {
            0 => Value::Number(self.varint()?),
            1 => self.take(8).map(|_| Value::Other)?,
            2 => {
                let length = self.varint()?;
                Value::Bytes(self.take(usize::try_from(length).ok()?)?)
            }
            5 => self.take(4).map(|_| Value::Other)?,
            _ => return None,
        };
        Some(Some((tag >> 3, value)))
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for place in 0..10 {
            let byte = self.take(1)?[0];
            number |= u64::from(byte & 0x7f).checked_shl(place * 7)?;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}
