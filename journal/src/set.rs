//! What one append carries: records per shard and metadata changes, encoded as they are entered.
//!
//! In: records and metadata changes. Out: chunks, each the encoded records of one shard with one time, in one buffer.
//! Invariant: a chunk's bytes are what the run holds, but for the time of its first record, which is known at staging.
//! Not here: sequence numbers, versions, limits of the journal.

use std::ops::Range;

use crate::ShardKey;
use crate::bytes::put_varint;

/// Builder of one append. Reusable: [`clear`](Self::clear) keeps the memory.
///
/// Everything in a set is staged together, in order, into one group: after a crash either all of it is there or nothing.
#[derive(Clone, Debug, Default)]
pub struct AppendSet {
    pub(crate) bytes: Vec<u8>,
    pub(crate) chunks: Vec<SetChunk>,
    pub(crate) changes: Vec<Change>,
    // Keys and values of the changes, apart from the records so that a chunk's bytes stay in one piece.
    side: Vec<u8>,
    batches: u32,
    records: u64,
    largest_key: usize,
    largest_data: usize,
    // Key and payload bytes entered, without any framing: what the user asked to keep.
    received: u64,
}

/// Records of one shard that share a time.
#[derive(Clone, Debug)]
pub(crate) struct SetChunk {
    pub(crate) shard: ShardKey,
    pub(crate) batch: u32,
    pub(crate) count: u32,
    pub(crate) time_ms: Option<u64>,
    pub(crate) start: usize,
}

/// One metadata change.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) key: Range<usize>,
    pub(crate) value: Option<Range<usize>>,
    pub(crate) expect: Option<u64>,
}

impl AppendSet {
    /// An empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Empties the set and keeps its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.chunks.clear();
        self.changes.clear();
        self.side.clear();
        (self.batches, self.records, self.received) = (0, 0, 0);
        (self.largest_key, self.largest_data) = (0, 0);
    }

    /// Whether the set holds neither records nor metadata changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.records == 0 && self.changes.is_empty()
    }

    /// Records in the set.
    #[must_use]
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Bytes the set will take of a group, without the runs' headers.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.len() + self.side.len()
    }

    /// Batches in the set: the length of [`Appended::firsts`](crate::Appended).
    #[must_use]
    pub fn batches(&self) -> usize {
        self.batches as usize
    }

    /// Makes `shard` the one that the next records go to, and returns the index of its batch in
    /// [`Appended::firsts`](crate::Appended). Naming the shard of the last batch again continues that batch.
    pub fn batch(&mut self, shard: ShardKey) -> usize {
        match self.chunks.last() {
            Some(last) if last.shard == shard => {}
            _ => {
                let batch = self.batches;
                self.batches += 1;
                self.chunks.push(SetChunk { shard, batch, count: 0, time_ms: None, start: self.bytes.len() });
            }
        }
        (self.batches - 1) as usize
    }

    /// Adds a record with the time of the append (or, after [`record_at`](Self::record_at) in the same batch, with the time of the
    /// record before it).
    ///
    /// # Panics
    /// When no [`batch`](Self::batch) was begun.
    pub fn record(&mut self, key: &[u8], data: &[u8]) {
        let chunk = self.chunks.last_mut().expect("batch() comes before record()");
        // The first record's time is written when the chunk is staged.
        if chunk.count > 0 {
            self.bytes.push(0);
        }
        chunk.count += 1;
        put_varint(&mut self.bytes, key.len() as u64);
        put_varint(&mut self.bytes, data.len() as u64);
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(data);
        self.records += 1;
        self.received += (key.len() + data.len()) as u64;
        self.largest_key = self.largest_key.max(key.len());
        self.largest_data = self.largest_data.max(data.len());
    }

    /// Adds a record with a time of its own, in ms since 1970. Times never run backwards inside a shard: an earlier one becomes
    /// that of the record before.
    ///
    /// # Panics
    /// When no [`batch`](Self::batch) was begun.
    pub fn record_at(&mut self, time_ms: u64, key: &[u8], data: &[u8]) {
        let last = self.chunks.last_mut().expect("batch() comes before record_at()");
        if last.count == 0 {
            last.time_ms = Some(time_ms);
        } else if last.time_ms != Some(time_ms) {
            let (shard, batch) = (last.shard, last.batch);
            let start = self.bytes.len();
            self.chunks.push(SetChunk { shard, batch, count: 0, time_ms: Some(time_ms), start });
        }
        self.record(key, data);
    }

    /// Sets metadata `key`. With `expect` the append is refused unless the key is at that version; version 0 means that it must not
    /// exist.
    pub fn put(&mut self, key: &[u8], value: &[u8], expect: Option<u64>) {
        let key = self.aside(key);
        let value = Some(self.aside(value));
        self.changes.push(Change { key, value, expect });
    }

    /// Removes metadata `key`. With `expect` the append is refused unless the key is at that version.
    pub fn delete(&mut self, key: &[u8], expect: Option<u64>) {
        let key = self.aside(key);
        self.changes.push(Change { key, value: None, expect });
    }

    pub(crate) fn received(&self) -> u64 {
        self.received
    }

    pub(crate) fn largest(&self) -> (usize, usize) {
        (self.largest_key, self.largest_data)
    }

    /// Encoded bytes of chunk `index`.
    pub(crate) fn chunk_bytes(&self, index: usize) -> &[u8] {
        let end = self.chunks.get(index + 1).map_or(self.bytes.len(), |next| next.start);
        &self.bytes[self.chunks[index].start..end]
    }

    pub(crate) fn key(&self, change: &Change) -> &[u8] {
        &self.side[change.key.clone()]
    }

    pub(crate) fn value(&self, change: &Change) -> Option<&[u8]> {
        change.value.clone().map(|range| &self.side[range])
    }

    fn aside(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.side.len();
        self.side.extend_from_slice(bytes);
        start..self.side.len()
    }
}
