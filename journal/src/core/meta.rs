//! The metadata map: stream 0 in memory, and the keys that are the journal's own.
//!
//! In: changes with expected versions. Out: values; bytes of the records that carry the changes.
//! Invariant: a value's version is the sequence of its record in stream 0, so versions never repeat.
//! Not here: durability; a value is visible as soon as it is staged.

use std::collections::BTreeMap;

use crate::ShardKey;
use crate::bytes::Fields;
use crate::error::AppendError;
use crate::page::{LostRange, RecordRef};
use crate::set::AppendSet;
use crate::types::MetaValue;

pub(super) const PUT: u8 = 1;
pub(super) const DELETE: u8 = 2;

#[derive(Debug, Default)]
pub(crate) struct Meta {
    map: BTreeMap<Vec<u8>, MetaValue>,
}

impl Meta {
    pub(super) fn get(&self, key: &[u8]) -> Option<&MetaValue> {
        self.map.get(key)
    }

    /// Entries whose key begins with `prefix`, in order.
    pub(super) fn list<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = (&'a Vec<u8>, &'a MetaValue)> {
        self.map.range(prefix.to_vec()..).take_while(move |(key, _)| key.starts_with(prefix))
    }

    pub(super) fn all(&self) -> Vec<(Vec<u8>, MetaValue)> {
        self.map.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    pub(super) fn load(&mut self, keys: Vec<(Vec<u8>, MetaValue)>) {
        self.map = keys.into_iter().collect();
    }

    /// Checks every expectation of `set`, later changes seeing earlier ones.
    pub(super) fn check(&self, set: &AppendSet) -> Result<(), AppendError> {
        // Version that a key will have within this set: unknown until staged, so only "exists" and "does not" can be expected.
        let mut changed: BTreeMap<&[u8], bool> = BTreeMap::new();
        for change in &set.changes {
            let key = set.key(change);
            if let Some(expected) = change.expect {
                let found = match changed.get(key) {
                    Some(true) => u64::MAX,
                    Some(false) => 0,
                    None => self.map.get(key).map_or(0, |meta| meta.version),
                };
                if found != expected {
                    return Err(AppendError::Conflict { key: key.to_vec(), found, expected });
                }
            }
            if set.changes.len() > 1 {
                changed.insert(key, change.value.is_some());
            }
        }
        Ok(())
    }

    pub(super) fn apply(&mut self, key: &[u8], value: Option<&[u8]>, version: u64) {
        match value {
            Some(value) => {
                if let Some(meta) = self.map.get_mut(key) {
                    meta.version = version;
                    meta.value.clear();
                    meta.value.extend_from_slice(value);
                } else {
                    self.map.insert(key.to_vec(), MetaValue { version, value: value.to_vec() });
                }
            }
            None => {
                self.map.remove(key);
            }
        }
    }

    /// Applies a record of stream 0 read back from disk; records of an unknown kind are a newer program's and change nothing.
    pub(super) fn replay(&mut self, record: &RecordRef<'_>) {
        match record.data.split_first() {
            Some((&PUT, value)) => self.apply(record.key, Some(value), record.sequence),
            Some((&DELETE, _)) => self.apply(record.key, None, record.sequence),
            _ => {}
        }
    }
}

/// Keys that are the journal's own: they begin with byte 0, which user keys may not.
pub(super) mod own {
    use super::{Fields, LostRange, Meta, ShardKey};

    /// First byte of all own keys.
    pub(in crate::core) const PREFIX: u8 = 0;
    const RETENTION: u8 = b'r';
    const HOLD: u8 = b'h';
    const LOST: u8 = b'l';
    const DROPPED: u8 = b'd';
    /// What is known of the clock.
    pub(in crate::core) const CLOCK: &[u8] = &[PREFIX, b'c'];
    /// What was written of the write budget.
    pub(in crate::core) const BUDGET: &[u8] = &[PREFIX, b'w'];

    pub(in crate::core) fn retention(stream: u32) -> Vec<u8> {
        [&[PREFIX, RETENTION][..], &stream.to_be_bytes()].concat()
    }

    pub(in crate::core) fn dropped(stream: u32) -> Vec<u8> {
        [&[PREFIX, DROPPED][..], &stream.to_be_bytes()].concat()
    }

    pub(in crate::core) fn hold(shard: ShardKey) -> Vec<u8> {
        [&[PREFIX, HOLD][..], &shard.stream.to_be_bytes(), &shard.shard.to_be_bytes()].concat()
    }

    pub(in crate::core) fn lost(shard: ShardKey, first: u64) -> Vec<u8> {
        let (stream, shard) = (shard.stream.to_be_bytes(), shard.shard.to_be_bytes());
        [&[PREFIX, LOST][..], &stream, &shard, &first.to_be_bytes()].concat()
    }

    /// Own keys of one stream that go when it is dropped.
    pub(in crate::core) fn of_stream(meta: &Meta, stream: u32) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        for kind in [RETENTION, HOLD, LOST] {
            let prefix = [&[PREFIX, kind][..], &stream.to_be_bytes()].concat();
            keys.extend(meta.list(&prefix).map(|(key, _)| key.clone()));
        }
        keys
    }

    /// Longest age of every stream that has one.
    pub(in crate::core) fn retentions(meta: &Meta) -> Vec<(u32, u64)> {
        let parse = |(key, value): (&Vec<u8>, &super::MetaValue)| {
            Some((be32(&key[2..])?, Fields::new(&value.value).u64()?))
        };
        meta.list(&[PREFIX, RETENTION]).filter_map(parse).collect()
    }

    pub(in crate::core) fn dropped_streams(meta: &Meta) -> Vec<u32> {
        meta.list(&[PREFIX, DROPPED]).filter_map(|(key, _)| be32(&key[2..])).collect()
    }

    pub(in crate::core) fn holds(meta: &Meta) -> Vec<(ShardKey, u64)> {
        let parse = |(key, value): (&Vec<u8>, &super::MetaValue)| {
            Some((shard(&key[2..])?, Fields::new(&value.value).u64()?))
        };
        meta.list(&[PREFIX, HOLD]).filter_map(parse).collect()
    }

    pub(in crate::core) fn lost_ranges(meta: &Meta) -> Vec<(ShardKey, LostRange)> {
        let parse = |(key, value): (&Vec<u8>, &super::MetaValue)| {
            let first = key.get(10..18)?.try_into().ok().map(u64::from_be_bytes)?;
            let last = Fields::new(&value.value).u64()?;
            Some((shard(&key[2..])?, LostRange { first, last }))
        };
        meta.list(&[PREFIX, LOST]).filter_map(parse).collect()
    }

    fn shard(key: &[u8]) -> Option<ShardKey> {
        Some(ShardKey { stream: be32(key)?, shard: be32(key.get(4..)?)? })
    }

    fn be32(key: &[u8]) -> Option<u32> {
        key.get(..4)?.try_into().ok().map(u32::from_be_bytes)
    }
}
