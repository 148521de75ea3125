//! Many records in one: the aggregation format of Amazon's producer library, read by every KCL and by AWS's de-aggregation.
//!
//! ```text
//! F3 89 9A C2                      magic
//! AggregatedRecord (protobuf)      1: partition key table, repeated string
//!                                  2: explicit hash key table, repeated string (decimal)
//!                                  3: records, repeated { 1: index of key, 2: index of hash key, optional, 3: data, 4: tags }
//! 16 bytes                         MD5 of the protobuf
//! ```
//! In: keys and data, borrowed. Out: bytes, of exactly the size that was said before.
//! Invariant: everything in one aggregate has to belong to one shard, or a reader drops it: the caller sees to that, and
//! sends the aggregate with the hash key of one of its records. Not here: which records go together (relay).

mod decode;
mod sizes;

pub use decode::{UserRecord, deaggregate, is_aggregate};
pub use sizes::{FRAME_BYTES, record_bytes_max};

use crate::limits;
use md5::{Digest, Md5};
use sizes::{field_bytes, put_varint, varint_bytes};
use std::collections::HashMap;

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

/// Field number and wire type in one byte: bytes and texts, or numbers.
const KEYS: u8 = 1 << 3 | 2;
const HASHES: u8 = 2 << 3 | 2;
const RECORDS: u8 = 3 << 3 | 2;
const KEY: u8 = 1 << 3;
const HASH: u8 = 2 << 3;
const DATA: u8 = 3 << 3 | 2;

/// Why a record is not put into an aggregate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AggregateError {
    /// It has as many as it may.
    #[error("the aggregate has {records} records, must have at most {most}", most = limits::AGGREGATE_RECORDS_MAX)]
    Full {
        /// Records in it.
        records: usize,
    },
    /// The partition key is none.
    #[error("the partition key has {characters} characters, must have 1 to {most}", most = limits::KEY_CHARACTERS_MAX)]
    Key {
        /// How long it is.
        characters: usize,
    },
}

/// Records that will be one. Borrows what it is made of until it is encoded.
#[derive(Debug, Clone, Default)]
pub struct Aggregate<'a> {
    keys: Table<&'a str>,
    hashes: Table<u128>,
    records: Vec<Inner<'a>>,
    /// Of the protobuf.
    bytes: usize,
}

#[derive(Debug, Clone, Copy)]
struct Inner<'a> {
    key: u64,
    hash: Option<u64>,
    data: &'a [u8],
}

impl<'a> Aggregate<'a> {
    /// One without records.
    #[must_use]
    pub fn new() -> Self {
        Aggregate::default()
    }

    /// Adds a record with its own key, and its own hash key where it has one.
    ///
    /// # Errors
    /// [`AggregateError`]; then nothing was added.
    pub fn put(&mut self, key: &'a str, hash: Option<u128>, data: &'a [u8]) -> Result<(), AggregateError> {
        if self.records.len() == limits::AGGREGATE_RECORDS_MAX {
            return Err(AggregateError::Full { records: self.records.len() });
        }
        let characters = key.chars().count();
        if !(1..=limits::KEY_CHARACTERS_MAX).contains(&characters) {
            return Err(AggregateError::Key { characters });
        }
        self.bytes += self.added(key, hash, data.len());
        let key = self.keys.enter(key);
        let hash = hash.map(|hash| self.hashes.enter(hash));
        self.records.push(Inner { key, hash, data });
        Ok(())
    }

    /// Records in it.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes it will have, exactly.
    #[must_use]
    pub fn size(&self) -> usize {
        FRAME_BYTES + self.bytes
    }

    /// Bytes it would have with this record more, exactly.
    #[must_use]
    pub fn size_with(&self, key: &str, hash: Option<u128>, data_bytes: usize) -> usize {
        self.size() + self.added(key, hash, data_bytes)
    }

    /// Writes it behind what is in `out`: [`Aggregate::size`] bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.reserve(self.size());
        out.extend_from_slice(&MAGIC);
        let start = out.len();
        for key in &self.keys.entries {
            put_text(KEYS, key, out);
        }
        for hash in &self.hashes.entries {
            put_text(HASHES, &hash.to_string(), out);
        }
        for record in &self.records {
            out.push(RECORDS);
            put_varint(record.bytes() as u64, out);
            out.push(KEY);
            put_varint(record.key, out);
            if let Some(hash) = record.hash {
                out.push(HASH);
                put_varint(hash, out);
            }
            out.push(DATA);
            put_varint(record.data.len() as u64, out);
            out.extend_from_slice(record.data);
        }
        let digest = Md5::digest(&out[start..]);
        out.extend_from_slice(&digest);
    }

    fn added(&self, key: &str, hash: Option<u128>, data_bytes: usize) -> usize {
        let (key_index, key_bytes) = match self.keys.find(&key) {
            Some(index) => (index, 0),
            None => (self.keys.next(), field_bytes(key.len())),
        };
        let (hash_index, hash_bytes) = match hash.map(|hash| (hash, self.hashes.find(&hash))) {
            None => (None, 0),
            Some((_, Some(index))) => (Some(index), 0),
            Some((hash, None)) => (Some(self.hashes.next()), field_bytes(decimal_bytes(hash))),
        };
        key_bytes + hash_bytes + field_bytes(inner_bytes(key_index, hash_index, data_bytes))
    }
}

impl Inner<'_> {
    fn bytes(&self) -> usize {
        inner_bytes(self.key, self.hash, self.data.len())
    }
}

fn inner_bytes(key: u64, hash: Option<u64>, data_bytes: usize) -> usize {
    1 + varint_bytes(key) + hash.map_or(0, |hash| 1 + varint_bytes(hash)) + field_bytes(data_bytes)
}

fn decimal_bytes(number: u128) -> usize {
    number.checked_ilog10().map_or(1, |log| log as usize + 1)
}

fn put_text(field: u8, text: &str, out: &mut Vec<u8>) {
    out.push(field);
    put_varint(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

/// Values that are named by their place.
#[derive(Debug, Clone)]
struct Table<T> {
    entries: Vec<T>,
    places: HashMap<T, u64>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { entries: Vec::new(), places: HashMap::new() }
    }
}

impl<T: std::hash::Hash + Eq + Copy> Table<T> {
    fn find<Q: std::hash::Hash + Eq + ?Sized>(&self, value: &Q) -> Option<u64>
    where
        T: std::borrow::Borrow<Q>,
    {
        self.places.get(value).copied()
    }

    fn next(&self) -> u64 {
        self.entries.len() as u64
    }

    fn enter(&mut self, value: T) -> u64 {
        let next = self.next();
        *self.places.entry(value).or_insert_with(|| {
            self.entries.push(value);
            next
        })
    }
}

#[cfg(test)]
mod tests;
