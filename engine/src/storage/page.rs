//! What a read gives: records where they are, and the ranges that are lost.
//!
//! In: limits. Out: a [`Page`]. Invariant: records are in the order of their shard. Not here: where they come from (the storage).

use super::Position;
use std::fmt;

/// How much one read may give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    /// Most records.
    pub records: usize,
    /// Most bytes of keys and data; the first record is given even when it alone is larger.
    pub bytes: usize,
    /// Records that arrived before this UTC time (ms since 1970) are passed over: their retention is over.
    pub not_before_ms: u64,
}

/// One record as it is stored.
#[derive(Debug, Clone, Copy)]
pub struct RecordRef<'a> {
    /// Its place in the shard.
    pub position: Position,
    /// When it arrived, UTC ms since 1970.
    pub time_ms: u64,
    /// Its partition key.
    pub key: &'a [u8],
    /// Its data.
    pub data: &'a [u8],
}

/// Records that are read together, kept in whatever buffer the storage read them into.
pub trait Run: Send + Sync {
    /// Shows the records in order.
    fn visit(&self, visit: &mut dyn FnMut(RecordRef<'_>));

    /// Whether the records are encrypted where they are stored.
    fn is_encrypted(&self) -> bool;
}

/// Acknowledged records that a damaged device lost, named instead of skipped silently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// First lost position.
    pub first: Position,
    /// Last lost position.
    pub last: Position,
}

/// One answer to a read.
pub struct Page {
    /// The records, in order, within the limits.
    pub runs: Vec<Box<dyn Run>>,
    /// Ranges on the way that are lost.
    pub lost: Vec<Lost>,
    /// Where to go on.
    pub next: Position,
    /// After the newest durable record: `next == end` means nothing is left.
    pub end: Position,
    /// When the newest durable record of the shard arrived, UTC ms, if it has one.
    pub newest_ms: Option<u64>,
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut page = f.debug_struct("Page");
        page.field("runs", &self.runs.len()).field("lost", &self.lost);
        page.field("next", &self.next).field("end", &self.end).finish()
    }
}
