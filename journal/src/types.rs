//! The plain values of the journal's interface.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use crate::page::LostRange;

/// Sequence of a shard's first record ever. 0 is before everything.
pub const FIRST_SEQUENCE: u64 = 1;

/// The stream that is the journal's own: metadata.
pub const META_STREAM: u32 = 0;

/// One shard of one stream. Stream 0 is the journal's own; a user's streams begin at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardKey {
    /// The stream.
    pub stream: u32,
    /// The shard in the stream.
    pub shard: u32,
}

impl ShardKey {
    pub(crate) const META: Self = Self { stream: META_STREAM, shard: 0 };
}

/// A group's number. Durable when [`durable`](crate::Core::durable) has reached it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// A staged append.
#[derive(Clone, Debug)]
pub struct Appended {
    /// The group that carries it.
    pub ticket: Ticket,
    /// For every batch of the set the sequence of its first record; the others follow by one.
    pub firsts: Firsts,
}

/// One sequence per batch; without an allocation when there is one batch or none.
#[derive(Clone, Debug)]
pub enum Firsts {
    /// No batch.
    None,
    /// One batch.
    One([u64; 1]),
    /// Several.
    Many(Vec<u64>),
}

impl std::ops::Deref for Firsts {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        match self {
            Self::None => &[],
            Self::One(first) => first,
            Self::Many(firsts) => firsts,
        }
    }
}

/// A metadata value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaValue {
    /// Rises with every write of any key, so a key that was deleted and made again has another version. Never 0.
    pub version: u64,
    /// The bytes.
    pub value: Vec<u8>,
}

/// What of a shard can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Oldest readable sequence; equal to `end` when there is none.
    pub first: u64,
    /// Next durable sequence.
    pub end: u64,
    /// Time of the oldest readable record, ms since 1970 (of its segment's first record of the shard); 0 when there is none.
    pub oldest_ms: u64,
    /// Time of the newest durable record, ms since 1970; 0 when there never was one.
    pub newest_ms: u64,
}

/// What the journal does at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Accepts appends.
    Open,
    /// Refuses records until retention or a trim frees a segment. Reads and metadata work.
    Full,
    /// Refuses everything until opened again.
    Failed {
        /// What failed.
        reason: String,
    },
}

/// What there is to say of the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockState {
    /// Somebody vouched for it since the start. Until then the time that the machine was off does not count as time that records were
    /// kept.
    pub is_certain: bool,
    /// By how much it jumped the last time, when that still matters to what is read.
    pub jumped_by_ms: Option<i64>,
    /// How long ago that was, in ms.
    pub jumped_ago_ms: u64,
    /// For how many ms more records that are too old stay readable until their segment goes.
    pub held_ms: u64,
}

/// Whether what is written stays below the [budget](crate::Config::write_budget).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It does, or there is no budget.
    #[default]
    Holds,
    /// 80 % of it were written in the last 24 hours.
    Near,
    /// More than it was written in the last 24 hours, or will be: commits linger for as long as they may, and it is not enough.
    Exceeded,
}

/// What was written lately, and what the [budget](crate::Config::write_budget) makes of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WriteBudget {
    /// Bytes that may be written a day.
    pub bytes_a_day: Option<NonZeroU64>,
    /// Bytes [written](Counters::bytes_written) in the last 24 hours, over restarts where there is a budget. A crash forgets at most one part
    /// in 128 of the budget.
    pub day_bytes: u64,
    /// How much of these 24 hours was counted.
    pub day: Duration,
    /// How long commits linger for the budget's sake; zero below it.
    pub linger: Duration,
    /// Whether it holds.
    pub standing: Standing,
}

/// Running totals since the journal was opened, and levels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Key and payload bytes appended.
    pub bytes_received: u64,
    /// Bytes written to files: groups, footers, snapshots, zeros of new segments.
    pub bytes_written: u64,
    /// Bytes of `bytes_written` that are zeros of new segments.
    pub bytes_zeroed: u64,
    /// Syncs of files.
    pub flushes: u64,
    /// Write calls.
    pub device_writes: u64,
    /// Groups made durable.
    pub groups: u64,
    /// Records made durable, metadata included.
    pub records: u64,
    /// Appends refused because the journal was full.
    pub refused_full: u64,
    /// Appends refused because too much was staged.
    pub refused_busy: u64,
    /// Segments that an append had to wait for, or to make ready itself, because upkeep was late.
    pub late_segments: u64,
    /// Bytes of live runs copied forward to free segments.
    pub bytes_copied: u64,
    /// Segments that hold wanted records (level).
    pub segments_live: u64,
    /// Segments ready for reuse (level).
    pub segments_pooled: u64,
    /// Bytes of wanted runs (level).
    pub bytes_live: u64,
    /// Known lost ranges that readers can still meet (level).
    pub lost_ranges: u64,
}

/// Lost records of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lost {
    /// The shard.
    pub shard: ShardKey,
    /// The sequences.
    pub range: LostRange,
}

/// A place of a file that the disk does not give back, and that readers [wait](crate::Unread) for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnreadPlace {
    /// The file, in the directory of its lane.
    pub file: String,
    /// Where in it, in bytes.
    pub offset: u64,
    /// Whose records are there.
    pub shard: ShardKey,
    /// The first of them.
    pub first: u64,
    /// What the operating system said.
    pub reason: Arc<str>,
    /// For how long it has been waited for, in kept time: to the second.
    pub waited: Duration,
    /// For how much longer it will be; a read behind that takes it for lost.
    pub left: Duration,
}

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Segments with records.
    pub segments: u64,
    /// Segments read whole because they had no footer or a bad one.
    pub segments_scanned: u64,
    /// Number of the last group found.
    pub last_group: u64,
    /// Bytes of a torn tail: a group that was being written when the machine stopped and was never acknowledged.
    pub torn_bytes: u64,
    /// Records found lost by this opening (earlier losses are in the journal's metadata). Never silently empty: a loss that
    /// cannot be put into ranges is counted in `groups_lost`.
    pub lost: Vec<Lost>,
    /// Groups known to be missing or damaged.
    pub groups_lost: u64,
    /// Metadata changes are among what is lost: keys may be older than acknowledged.
    pub metadata_lost: bool,
    /// Files that could not be used at all; they are kept.
    pub unreadable: Vec<String>,
}

impl Recovery {
    /// Whether nothing acknowledged was found lost.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.lost.is_empty() && self.groups_lost == 0 && !self.metadata_lost && self.unreadable.is_empty()
    }
}
