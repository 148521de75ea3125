//! What one append carries, in one buffer.
//!
//! In: records with their shards, marks. Out: the same, in the order they were added. Invariant: a record that was not
//! added whole leaves nothing behind. Not here: routing (batch), what a log makes of it.

use super::ShardKey;
use std::collections::HashMap;

/// Records for any number of shards, marks and removals of marks, that become durable together. Reusable: [`AppendSet::clear`] keeps the memory.
#[derive(Debug, Default)]
pub struct AppendSet {
    bytes: Vec<u8>,
    records: Vec<Slice>,
    shards: Vec<(ShardKey, u32)>,
    places: HashMap<ShardKey, u32>,
    marks: Vec<Mark>,
    /// Keys to remove: start and length in `bytes`.
    unmarks: Vec<(usize, usize)>,
}

#[derive(Debug, Clone, Copy)]
struct Slice {
    shard: u32,
    start: usize,
    key_bytes: u32,
    data_bytes: u32,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    start: usize,
    key_bytes: usize,
    value_bytes: usize,
}

/// One record of an [`AppendSet`].
#[derive(Debug, Clone, Copy)]
pub struct StagedRecord<'a> {
    /// Index into [`AppendSet::shards`].
    pub shard: u32,
    /// Partition key.
    pub key: &'a [u8],
    /// Data.
    pub data: &'a [u8],
}

impl AppendSet {
    /// Makes room for this many records and bytes of keys and data.
    pub fn reserve(&mut self, records: usize, bytes: usize) {
        self.records.reserve(records);
        self.bytes.reserve(bytes);
    }

    /// Forgets all records and marks, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
        self.shards.clear();
        self.places.clear();
        self.marks.clear();
        self.unmarks.clear();
    }

    /// Whether there is nothing to append.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records.is_empty() && self.marks.is_empty() && self.unmarks.is_empty()
    }

    /// Number of records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// Bytes of keys, data and marks held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of keys and data of records.
    #[must_use]
    pub fn record_bytes(&self) -> usize {
        let marks: usize = self.marks.iter().map(|mark| mark.key_bytes + mark.value_bytes).sum();
        let unmarks: usize = self.unmarks.iter().map(|(_, bytes)| bytes).sum();
        self.bytes.len() - marks - unmarks
    }

    /// Adds a record at the end of its shard's batch.
    pub fn record(&mut self, shard: ShardKey, key: &[u8], data: &[u8]) {
        let taken = self.record_with(shard, key, |bytes| {
            bytes.extend_from_slice(data);
            Some(())
        });
        debug_assert!(taken.is_some());
    }

    /// Adds a record whose data `write` appends to the buffer, which it must not change otherwise. `None` from `write`
    /// adds nothing. Spares a copy where data is decoded.
    pub fn record_with<T>(
        &mut self,
        shard: ShardKey,
        key: &[u8],
        write: impl FnOnce(&mut Vec<u8>) -> Option<T>,
    ) -> Option<T> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        let data_start = self.bytes.len();
        let written = write(&mut self.bytes);
        let sizes = (u32::try_from(key.len()), u32::try_from(self.bytes.len() - data_start));
        let (Some(written), (Ok(key_bytes), Ok(data_bytes))) = (written, sizes) else {
            self.bytes.truncate(start);
            return None;
        };
        let shard = self.place(shard);
        self.records.push(Slice { shard, start, key_bytes, data_bytes });
        Some(written)
    }

    /// Sets metadata `key` to `value`, durable together with the records; no version is checked.
    pub fn mark(&mut self, key: &[u8], value: &[u8]) {
        self.marks.push(Mark { start: self.bytes.len(), key_bytes: key.len(), value_bytes: value.len() });
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(value);
    }

    /// Removes metadata `key`, durable together with the records and marks; no version is checked. A key that is marked
    /// and unmarked in one set is removed.
    pub fn unmark(&mut self, key: &[u8]) {
        self.unmarks.push((self.bytes.len(), key.len()));
        self.bytes.extend_from_slice(key);
    }

    /// The shards appended to, each with its number of records, in order of first use.
    #[must_use]
    pub fn shards(&self) -> &[(ShardKey, u32)] {
        &self.shards
    }

    /// Bytes of keys and data of the records of each shard, in the order of [`AppendSet::shards`].
    #[must_use]
    pub fn shard_bytes(&self) -> Vec<u64> {
        let mut bytes = vec![0; self.shards.len()];
        for slice in &self.records {
            bytes[slice.shard as usize] += u64::from(slice.key_bytes) + u64::from(slice.data_bytes);
        }
        bytes
    }

    /// The records in the order they were added.
    pub fn records(&self) -> impl ExactSizeIterator<Item = StagedRecord<'_>> {
        self.records.iter().map(|slice| {
            let data_start = slice.start + slice.key_bytes as usize;
            StagedRecord {
                shard: slice.shard,
                key: &self.bytes[slice.start..data_start],
                data: &self.bytes[data_start..data_start + slice.data_bytes as usize],
            }
        })
    }

    /// The marks in the order they were added, as key and value.
    pub fn marks(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.marks.iter().map(|mark| {
            let value_start = mark.start + mark.key_bytes;
            (&self.bytes[mark.start..value_start], &self.bytes[value_start..value_start + mark.value_bytes])
        })
    }

    /// The keys to remove.
    pub fn unmarks(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.unmarks.iter().map(|&(start, bytes)| &self.bytes[start..start + bytes])
    }

    fn place(&mut self, shard: ShardKey) -> u32 {
        // Most sets go to one shard or to a few, in runs.
        if let Some(last) = self.records.last()
            && let Some((key, count)) = self.shards.get_mut(last.shard as usize)
            && *key == shard
        {
            *count += 1;
            return last.shard;
        }
        let fresh = u32::try_from(self.shards.len()).unwrap_or(u32::MAX);
        let place = *self.places.entry(shard).or_insert(fresh);
        match self.shards.get_mut(place as usize) {
            Some((_, count)) => *count += 1,
            None => self.shards.push((shard, 1)),
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{ShardId, StreamNumber};

    fn shard(shard: u32) -> ShardKey {
        ShardKey { stream: StreamNumber(1), shard: ShardId(shard) }
    }

    #[test]
    fn records_and_marks_keep_their_order_and_shards_are_counted() {
        let mut set = AppendSet::default();
        for i in 0..10_u8 {
            set.record(shard(u32::from(i % 3)), &[i], &[i; 3]);
            set.mark(b"key", &[i]);
        }
        assert_eq!(set.shards(), [(shard(0), 4), (shard(1), 3), (shard(2), 3)]);
        assert_eq!(set.shard_bytes(), [16, 12, 12]);
        for (i, record) in (0..10_u8).zip(set.records()) {
            assert_eq!((record.shard, record.key, record.data), (u32::from(i % 3), &[i][..], &[i; 3][..]));
        }
        assert_eq!(set.marks().map(|(_, value)| value[0]).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
        assert_eq!((set.len(), set.record_bytes(), set.bytes()), (10, 40, 80));
        set.clear();
        assert!(set.is_empty() && set.shards().is_empty() && set.bytes() == 0);
    }

    #[test]
    fn a_record_that_is_not_written_whole_leaves_nothing_behind() {
        let mut set = AppendSet::default();
        set.record(shard(0), b"a", b"1");
        let written = set.record_with(shard(1), b"b", |bytes| {
            bytes.extend_from_slice(b"half");
            None::<()>
        });
        assert!(written.is_none());
        assert_eq!((set.len(), set.bytes(), set.shards().len()), (1, 2, 1));
        set.record(shard(1), b"c", b"2");
        assert_eq!(set.records().map(|r| r.data.to_vec()).collect::<Vec<_>>(), [b"1", b"2"]);
    }
}
