//! What a read gives: runs of records that borrow from the buffers they were read into.
//!
//! In: run bodies whose checksum was verified. Out: records, without copying.
//! Invariant: sequences rise by one inside a run, and from run to run except where `Page::gaps` says so.
//! Not here: finding and reading runs (`core::read`).

use std::ops::Range;
use std::sync::Arc;

use crate::blocks::Blocks;
use crate::bytes::Fields;

/// How much one read may give. At least one record is given when there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Most records.
    pub records: usize,
    /// Most bytes of keys and payloads.
    pub bytes: usize,
}

/// Records that were acknowledged and are lost: damage to the device or its files. Both ends belong to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LostRange {
    /// First sequence lost.
    pub first: u64,
    /// Last sequence lost.
    pub last: u64,
}

/// A piece of one shard.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The records, in runs.
    pub runs: Vec<Run>,
    /// Ranges inside `from..next` that are lost.
    pub gaps: Vec<LostRange>,
    /// Sequence to read on from.
    pub next: u64,
    /// Next durable sequence of the shard: nothing more to read when `next` reaches it.
    pub end: u64,
    /// Time of the newest durable record of the shard, ms since 1970; 0 when there never was one.
    pub newest_ms: u64,
}

impl Page {
    /// All records in order.
    pub fn records(&self) -> impl Iterator<Item = RecordRef<'_>> {
        self.runs.iter().flat_map(Run::records)
    }

    /// Records in the page.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.iter().map(Run::len).sum()
    }

    /// Whether the page has no records.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Consecutive records of one shard in one buffer. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Run {
    pub(crate) buffer: Arc<Blocks>,
    // Bytes of the buffer from the first record to the end of the last.
    pub(crate) range: Range<usize>,
    pub(crate) first: u64,
    pub(crate) base_ms: u64,
    pub(crate) count: usize,
    pub(crate) key_id: Option<u16>,
}

/// One record, borrowed from its run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordRef<'a> {
    /// Its sequence in the shard.
    pub sequence: u64,
    /// Its time, ms since 1970; never less than that of the record before.
    pub time_ms: u64,
    /// Its key.
    pub key: &'a [u8],
    /// Its payload.
    pub data: &'a [u8],
}

impl Run {
    /// The records in order.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        let fields = Fields::new(&self.buffer.as_slice()[self.range.clone()]);
        Records { fields, sequence: self.first, time_ms: self.base_ms, left: self.count }
    }

    /// Records in the run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the run has no records; reads never give such a run.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Sequence of the first record.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The key it is sealed with on the device, if it is.
    #[must_use]
    pub fn sealed_with(&self) -> Option<u16> {
        self.key_id
    }
}

impl<'a> IntoIterator for &'a Run {
    type Item = RecordRef<'a>;
    type IntoIter = Records<'a>;

    fn into_iter(self) -> Records<'a> {
        self.records()
    }
}

/// The records of a [`Run`].
#[derive(Clone)]
pub struct Records<'a> {
    fields: Fields<'a>,
    sequence: u64,
    time_ms: u64,
    left: usize,
}

impl<'a> Records<'a> {
    pub(crate) fn over(bytes: &'a [u8], first: u64, base_ms: u64, count: usize) -> Self {
        Self { fields: Fields::new(bytes), sequence: first, time_ms: base_ms, left: count }
    }

    /// Bytes that follow the records given so far.
    pub(crate) fn rest(&self) -> &'a [u8] {
        self.fields.rest()
    }

    /// Time of the record given last, or the run's base time.
    pub(crate) fn time_ms(&self) -> u64 {
        self.time_ms
    }

    fn parse(&mut self) -> Option<RecordRef<'a>> {
        self.time_ms = self.time_ms.checked_add(self.fields.varint()?)?;
        let (key, data) = (self.fields.varint_usize()?, self.fields.varint_usize()?);
        let (key, data) = (self.fields.take(key)?, self.fields.take(data)?);
        Some(RecordRef { sequence: self.sequence, time_ms: self.time_ms, key, data })
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = RecordRef<'a>;

    fn next(&mut self) -> Option<RecordRef<'a>> {
        if self.left == 0 {
            return None;
        }
        let record = self.parse();
        self.left = if record.is_some() { self.left - 1 } else { 0 };
        self.sequence += 1;
        record
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (0, Some(self.left))
    }
}
