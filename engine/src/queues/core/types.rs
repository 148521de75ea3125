//! What the core is told and says: entries, receives, receipts, verdicts, reads.

use crate::names::ShardId;
use crate::storage::Position;

/// An open record: received at least once and not done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Nobody receives it before this time, UTC ms.
    pub(crate) until_ms: u64,
    /// When it was first received, UTC ms.
    pub(crate) first_ms: u64,
    /// Bytes of its key and data, so that an answer can be kept small before anything is read.
    pub(crate) bytes: u32,
    /// Receives ever: tells a receipt handle of the newest receive from older ones.
    pub(crate) serial: u32,
    /// Receives that no longer count: those before it was restored.
    pub(crate) forgiven: u32,
    /// Whether it is a dead letter.
    pub(crate) dead: bool,
}

impl Entry {
    /// Receives that count.
    pub(crate) fn count(&self) -> u32 {
        self.serial.saturating_sub(self.forgiven)
    }
}

/// Which records a call is about: the two sides of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    /// Those that are delivered.
    Live,
    /// Those that were received too often.
    Dead,
}

/// What a receive asks for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) side: Side,
    /// Most records.
    pub(crate) records: usize,
    /// Most bytes of keys and data; the first record is given even when it alone is larger.
    pub(crate) bytes: usize,
    /// How long they stay invisible, ms.
    pub(crate) timeout_ms: u64,
    /// Records that arrived before this UTC time (ms) are over.
    pub(crate) not_before_ms: u64,
}

/// A record given to a receiver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Claimed {
    pub(crate) shard: ShardId,
    pub(crate) position: Position,
    pub(crate) entry: Entry,
}

/// One delivery of one record, as a receipt handle names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Receipt {
    pub(crate) side: Side,
    pub(crate) shard: ShardId,
    pub(crate) position: Position,
    pub(crate) serial: u32,
}

/// What a consumer wants done with a record it received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Never deliver it again.
    Acknowledge,
    /// Keep it invisible for this long from now, ms.
    Hide(u64),
    /// Make a dead letter deliverable again, with no receives.
    Restore,
}

/// Why a verdict was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It was received again since, or became a dead letter, or was restored.
    Stale,
    /// It is not open: acknowledged, or past the stream's retention.
    Gone,
}

/// A shard as the stream describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShardView {
    pub(crate) id: ShardId,
    pub(crate) parents: Vec<ShardId>,
    /// The position after its last record, once it is closed.
    pub(crate) end: Option<Position>,
}

/// A read that would give a receiver more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fetch {
    pub(crate) shard: ShardId,
    pub(crate) from: Position,
    /// The last read reached the end of the shard: look whether there is more before reading.
    pub(crate) dry: bool,
    /// The shard was closed when the read was asked for.
    pub(crate) closed: bool,
}

/// What became of records without a consumer's word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Open or unread records that retention, a trim or damage took.
    pub(crate) expired: u64,
    /// Records that became dead letters.
    pub(crate) dead: u64,
}
