//! Where the engine is cut from what stores it: a [`ShardLog`] that takes and gives batches and a [`MetaStore`] with
//! put-if-version. Operations know nothing else of storage.
//!
//! Invariants every implementation keeps:
//! - An [`AppendSet`] is taken whole or not at all, and per shard in its order. Nothing of it can be read, and its
//!   [`Pending`] does not resolve, before all of it (records and marks) is durable.
//! - Positions of a shard increase strictly in the order of reading, across restarts; none is given twice.
//! - A record that was read once is read again with the same position until it is trimmed or its retention has passed.
//!
//! Positions become known when the [`Pending`] resolves: a replicated log is told them by its server. That is also why
//! reads are futures. Not here: sequence numbers, names, retention rules (engine); files (journal).

pub mod embedded;
mod extent;
mod page;
mod set;

pub use extent::Extent;
pub use page::{Lost, Page, ReadLimits, RecordRef, Run};
pub use set::{AppendSet, StagedRecord};

use crate::clock::{ClockState, Moment};
use crate::names::{ShardId, StreamNumber};
use std::future::Future;
use std::pin::Pin;

/// A future in a box: what lets traits with futures be used as objects.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Resolves when an append is durable, with one [`Ack`] per shard in the order of [`AppendSet::shards`].
pub type Pending = BoxFuture<'static, Result<Vec<Ack>, CommitError>>;

/// One shard of one stream. Stream number 0 belongs to the storage itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardKey {
    /// The stream.
    pub stream: StreamNumber,
    /// The shard.
    pub shard: ShardId,
}

/// Where in a shard a record is: the log's own position and, for logs that give one position to a whole batch, the
/// record's place in it (0 for the embedded log).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Counts up within the shard.
    pub position: u64,
    /// Place in the batch.
    pub index: u16,
}

impl Position {
    /// The least position after this one.
    #[must_use]
    pub fn after(self) -> Position {
        match self.index.checked_add(1) {
            // A log without batches skips the empty places in between, so this is right for both kinds.
            Some(index) => Position { position: self.position, index },
            None => Position { position: self.position.saturating_add(1), index: 0 },
        }
    }

    /// The greatest position before this one. [`Position::after`] leads back; in a log that counts every record it holds
    /// none, so reading from it is reading from here.
    #[must_use]
    pub fn before(self) -> Position {
        match self.index.checked_sub(1) {
            Some(index) => Position { position: self.position, index },
            None if self.position == 0 => self,
            None => Position { position: self.position - 1, index: u16::MAX },
        }
    }

    /// The position that is `places` records further in a batch that began here, for logs that count every record.
    #[must_use]
    pub fn plus(self, places: u32) -> Position {
        Position { position: self.position.saturating_add(u64::from(places)), index: self.index }
    }
}

/// Where to begin reading a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cursor {
    /// The oldest record that can still be read.
    TrimHorizon,
    /// After the newest durable record.
    Latest,
    /// This position, or the next one that holds a record.
    At(Position),
    /// The first record after this position.
    After(Position),
    /// The first record that arrived at this UTC time (ms since 1970) or later.
    AtTime(u64),
}

/// The right to append to a shard: the epoch of its owner. An older owner is refused once a shard is sealed with a newer
/// fence. The embedded log has one owner, held by its lock file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence(pub u64);

/// Where one shard's part of an append went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// Position of the first record; record i has `first.plus(i)`.
    pub first: Position,
    /// How many records.
    pub count: u32,
    /// Their arrival time, UTC ms.
    pub time_ms: u64,
}

/// The durable log of all shards.
pub trait ShardLog: Send + Sync + 'static {
    /// Stages everything in `set`, to become durable together. `now_ms` is the arrival time of its records; a log keeps
    /// the times of a shard from running backwards.
    ///
    /// # Errors
    /// [`AppendError`]; nothing of the set is staged then.
    fn append(&self, set: &AppendSet, now_ms: u64) -> Result<Pending, AppendError>;

    /// Resolves when everything staged so far is durable. Gives no acks.
    fn barrier(&self) -> Pending;

    /// As [`barrier`](Self::barrier), for an operation on a stream: what is staged waits for no company, where the log otherwise has it wait.
    fn barrier_at_once(&self) -> Pending {
        self.barrier()
    }

    /// Turns a cursor into the position reading would begin at.
    fn locate(&self, shard: ShardKey, cursor: Cursor) -> BoxFuture<'_, Result<Position, ReadError>>;

    /// Reads durable records from `from` on.
    fn read(
        &self,
        shard: ShardKey,
        from: Position,
        limits: ReadLimits,
    ) -> BoxFuture<'_, Result<Page, ReadError>>;

    /// Resolves when the shard has a durable record at or after `from`.
    fn wait(&self, shard: ShardKey, from: Position) -> BoxFuture<'_, Result<(), CommitError>>;

    /// Nothing before `before` is needed any more.
    fn trim(&self, shard: ShardKey, before: Position);

    /// Keeps records of the shard from this position on, whatever [`ShardLog::retain`] and [`ShardLog::trim`] say; `None` ends
    /// that. One hold a shard, a later one moves it. Where it was first set is durable, where it was moved on to need not be.
    fn hold(&self, shard: ShardKey, from: Option<Position>);

    /// Refuses appends to the shard from this call on, also when the future is dropped, and gives the position after its
    /// last record once that is durable. Sealing again gives the same position. Not durable itself: after a start the shard
    /// is open, unless whoever sealed it has stored that it ended and routes nothing there.
    fn seal(&self, shard: ShardKey, fence: Fence) -> BoxFuture<'_, Result<Position, CommitError>>;

    /// Records of `child` arrive no earlier than those of `parents`, which take no more, also when the clock was put back. To be said
    /// again after a start.
    fn begin_after(&self, _child: ShardKey, _parents: &[ShardKey]) {}

    /// Records of the stream may be forgotten when older than `max_age_ms`.
    fn retain(&self, stream: StreamNumber, max_age_ms: u64);

    /// Makes key number `key` of the stream known: 32 secret bytes, from the machine's randomness. Records encrypted with it can
    /// be read from now on. A number names one key for good. Keys are not stored: whoever opens the log gives them again.
    fn learn_key(&self, stream: StreamNumber, key: u16, secret: &[u8; 32]);

    /// Encrypts records of the stream with this key from the next append on, or with none. While the key is not known, appends
    /// to the stream are refused with [`AppendError::NoKey`]. Not stored either.
    fn encrypt_with(&self, stream: StreamNumber, key: Option<u16>);

    /// Forgets the keys of the stream and wipes them from memory. What they encrypted cannot be read without them.
    fn forget_keys(&self, stream: StreamNumber);

    /// Forgets everything of the stream, its keys included. Its number is not used again.
    fn drop_stream(&self, stream: StreamNumber);

    /// Bytes on the device of a shard's records from `from` on, as they are stored; 0 where the log does not know.
    fn bytes_from(&self, _shard: ShardKey, _from: Position) -> u64 {
        0
    }

    /// Time that goes by however the wall clock jumps, ms; on one line over starts.
    fn kept_ms(&self, moment: Moment) -> u64 {
        moment.wall_ms
    }

    /// The arrival time, UTC ms, before which records are older than `age_ms`; 0 while arrival times do not tell.
    fn horizon_ms(&self, age_ms: u64, moment: Moment) -> u64 {
        moment.wall_ms.saturating_sub(age_ms)
    }

    /// What there is to say of the wall clock, for records that are kept for `age_ms`.
    fn clock_state(&self, _age_ms: u64, moment: Moment) -> ClockState {
        ClockState { is_certain: moment.is_certain, ..ClockState::default() }
    }

    /// Every shard that has or had durable records, of one stream or of all that were not dropped; none where the log does not say.
    fn extents(&self, _of: Option<StreamNumber>) -> Vec<(ShardKey, Extent)> {
        Vec::new()
    }

    /// Whether appends are taken.
    fn state(&self) -> LogState;
}

/// A value with the version it has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Versioned {
    /// Another one after every change of this key; never 0.
    pub version: u64,
    /// The value, at most 64 KiB.
    pub value: Vec<u8>,
}

/// Durable metadata: few, small values. `get` and `list` answer from a local view, which in a replicated store may be
/// behind; what decides is the version that `put` and `delete` expect.
pub trait MetaStore: Send + Sync + 'static {
    /// The value of `key`.
    fn get(&self, key: &[u8]) -> Option<Versioned>;

    /// All keys that begin with `prefix`, in order.
    fn list(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Versioned)>;

    /// Sets `key` if it has version `expect` (0: it must not exist). The call stages the change; the future resolves with
    /// the new version when it is durable, which waits for no company where appends do: operations on streams take several of these.
    fn put(&self, key: &[u8], value: &[u8], expect: u64) -> BoxFuture<'static, Result<u64, MetaError>>;

    /// Removes `key` if it has version `expect`. The call stages the change; the future resolves when it is durable.
    fn delete(&self, key: &[u8], expect: u64) -> BoxFuture<'static, Result<(), MetaError>>;
}

/// Whether a log takes appends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogState {
    /// It does.
    Open,
    /// The disk's allowance is used up; appends are refused until retention or an operator frees some.
    Full,
    /// A write or flush failed; nothing is taken until the log is opened again.
    Failed {
        /// What failed.
        reason: String,
    },
}

/// An append was not staged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// No room on the disk.
    #[error("the log is full: its disk allowance is used up")]
    Full,
    /// Too much is waiting to become durable; try again after the next commit.
    #[error("the log is busy: too many bytes wait to become durable")]
    Busy,
    /// The set is larger than the log takes at once.
    #[error("append of {found} bytes is larger than the {limit} bytes the log takes at once")]
    TooLarge {
        /// Bytes of the set.
        found: usize,
        /// Bytes the log takes.
        limit: usize,
    },
    /// The shard was closed by a reshard or its stream deleted.
    #[error("shard {} of stream number {} is closed", .0.shard, .0.stream.0)]
    Sealed(ShardKey),
    /// The shard's stream is encrypted with a key that is not known.
    #[error("shard {} of stream number {} is encrypted with a key that is not known", .0.shard, .0.stream.0)]
    NoKey(ShardKey),
    /// The log stopped after a failed write or flush.
    #[error("the log has stopped: {0}")]
    Failed(String),
}

/// What was staged may or may not be durable: the log stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the log has stopped: {reason}")]
pub struct CommitError {
    /// What failed.
    pub reason: String,
}

/// A read failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read shard {} of stream number {}: {reason}", .shard.shard, .shard.stream.0)]
pub struct ReadError {
    /// The shard.
    pub shard: ShardKey,
    /// What failed.
    pub reason: String,
    /// The key that is missing, when that is the reason.
    pub key: Option<u16>,
}

/// A change of metadata was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetaError {
    /// The key has another version than expected.
    #[error("metadata changed meanwhile: found version {found}, expected {expected}")]
    Conflict {
        /// Version the key has, 0 when it does not exist.
        found: u64,
        /// Version that was expected.
        expected: u64,
    },
    /// The change could not be staged.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// Whether the change is durable is not known.
    #[error(transparent)]
    Commit(#[from] CommitError),
}
