//! What a forwarding is told and what it answers.

use std::ops::Range;

use crate::{Ledger, Offset};

/// A shard of ours that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(pub u32);

/// A shard of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetId(pub u32);

/// A call that is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// A record of a source shard, without what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Its place in the source shard.
    pub offset: Offset,
    /// Bytes of data.
    pub data_bytes: u32,
    /// Bytes of the partition key.
    pub key_bytes: u32,
    /// Hash of the partition key, by which the target chooses the shard (MD5 for the service). Records of one lane keep their order.
    pub lane: u128,
    /// When it arrived, on the clock of `now_ms`.
    pub arrival_ms: u64,
    /// It is an aggregate already: it goes as it is and is not packed again.
    pub is_packed: bool,
}

/// A shard of the target and the hash keys it takes, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetShard {
    /// Its name here.
    pub id: TargetId,
    /// First hash key.
    pub first: u128,
    /// Last hash key.
    pub last: u128,
}

/// A request to read a source shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// Which shard.
    pub source: SourceId,
    /// From where.
    pub from: Offset,
    /// Up to where, without it; `None` for up to the end.
    pub until: Option<Offset>,
    /// Most records to bring.
    pub records_max: usize,
    /// Most bytes of data and keys to bring. A first record larger than this is brought alone.
    pub bytes_max: u64,
}

/// A call to make. Every call has to be settled once, by `handle_outcomes` or `handle_call_failed`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its name.
    pub id: CallId,
    /// What to send, in this order.
    pub entries: Vec<Entry>,
    /// The records of all entries.
    pub records: Vec<RecordRef>,
    /// Data and keys, as the target counts them.
    pub size_bytes: u64,
}

/// One record of a call: a record of ours, or an aggregate of several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Where it should arrive. Another shard in the answer means that the map is old.
    pub target: TargetId,
    /// Which of `Call::records`: one to send as it is, or several to pack, in this order.
    pub records: Range<usize>,
    /// Its size as the target counts it.
    pub size_bytes: u64,
}

/// Names a record of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordRef {
    /// Its shard.
    pub source: SourceId,
    /// Its place.
    pub offset: Offset,
}

/// What became of one entry of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendOutcome {
    /// The target holds it durably.
    Acked,
    /// Not now.
    Retry {
        /// The shard took too much already. This is never the record's fault and is not counted as a try.
        is_throttled: bool,
    },
    /// The target will never take it.
    Rejected,
}

/// What became of a call that got no answer per entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallFailure {
    /// Nobody knows whether it arrived: a timeout, a broken connection, an error of the server; or it cannot be made now: no
    /// credentials, no permission, no such stream, throttled as a whole. All of it is sent again.
    Unknown,
    /// The target refused the call for what is in it. It is sent again in halves until the record at fault is alone.
    Refused,
}

/// A record that is not sent any more. The checkpoint stays before it until `handle_dead_letter_stored`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetter {
    /// Which record.
    pub record: RecordRef,
    /// Why.
    pub reason: DeadReason,
}

/// Why a record is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeadReason {
    /// The target will never take it.
    Rejected,
    /// It failed this many times by itself, and others did not.
    Failed {
        /// Number of tries.
        tries: u16,
    },
    /// The target takes no records of this size.
    TooLarge {
        /// Data and key.
        size_bytes: u64,
        /// What the target takes.
        bytes_max: u64,
    },
}

/// How far a source is done. Stored by the shell as one value, given back at the next start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Everything before is done for good.
    pub checkpoint: Offset,
    /// Ranges above that are done too, rising, apart from each other; at most `REGIONS_MAX`: delivered with `newest`, or passed over.
    pub done: Vec<Range<Offset>>,
    /// Records above the checkpoint that are in the dead-letter stream, rising. Bounded by the records in memory; usually empty.
    pub set_aside: Vec<Offset>,
    /// Where forwarding of this source began.
    pub origin: Offset,
    /// What this progress covers, but for `stored`, which follows from the end of the shard.
    pub ledger: Ledger,
}

impl Progress {
    /// A source that is forwarded from `origin` on.
    pub fn new(origin: Offset) -> Self {
        Self { checkpoint: origin, origin, ..Self::default() }
    }
}

/// A progress to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressDue {
    /// Whose it is.
    pub source: SourceId,
    /// Names this one for `handle_progress_stored`.
    pub version: u64,
    /// What to store.
    pub progress: Progress,
}

/// What is still to be sent, and how long that takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainState {
    /// Records not delivered, set aside or dropped, of all sources.
    pub waiting_records: u64,
    /// Of these in memory.
    pub held_records: usize,
    /// Bytes of data and keys in memory.
    pub held_bytes: u64,
    /// Records delivered in 1,000 seconds, at the rate of the last 15.
    pub delivered_per_1000_s: u64,
    /// Records that arrived in 1,000 seconds, at the rate of the last 15.
    pub arrived_per_1000_s: u64,
    /// When nothing will be waiting at these rates, in ms from now; `None` when that is never.
    pub eta_ms: Option<u64>,
}

/// Something told that does not fit. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForwardError {
    /// The source was told twice.
    SourceKnown(SourceId),
    /// The source was never told.
    SourceUnknown(SourceId),
    /// Limit on sources, parents of a source, or target shards.
    TooMany {
        /// How many there can be.
        max: usize,
    },
    /// The source cannot be forgotten: it is not drained, or that is not stored.
    NotDrained(SourceId),
    /// Nobody asked for these records, or they are out of order, or more than was asked for.
    Unasked(SourceId),
    /// Ranges of target shards overlap, are upside down, or an id comes twice.
    Overlap(TargetId),
    /// No such call is under way.
    CallUnknown(CallId),
    /// Number of outcomes and of entries differ.
    Outcomes {
        /// Outcomes given.
        found: usize,
        /// Entries of the call.
        expected: usize,
    },
    /// No such dead letter was given out.
    DeadLetterUnknown(RecordRef),
}

impl std::fmt::Display for ForwardError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SourceKnown(SourceId(id)) => write!(f, "source {id} is known already"),
            Self::SourceUnknown(SourceId(id)) => write!(f, "source {id} is not known"),
            Self::TooMany { max } => write!(f, "too many, expected at most {max}"),
            Self::NotDrained(SourceId(id)) => write!(f, "source {id} is not drained, or that is not stored"),
            Self::Unasked(SourceId(id)) => write!(f, "records of source {id} that were not asked for so"),
            Self::Overlap(TargetId(id)) => write!(f, "target shard {id} overlaps another or is upside down"),
            Self::CallUnknown(CallId(id)) => write!(f, "call {id} is not under way"),
            Self::Outcomes { found, expected } => write!(f, "{found} outcomes, expected {expected}"),
            Self::DeadLetterUnknown(RecordRef { source, offset }) => {
                write!(f, "offset {offset} of source {} is no dead letter", source.0)
            }
        }
    }
}

impl std::error::Error for ForwardError {}
