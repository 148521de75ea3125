//! What can go wrong, said with which thing, what was found and what was expected.

use std::io;
use std::sync::Arc;

use crate::ShardKey;

/// Whether the disk did not answer. A file that is gone, or ends early, is an answer.
pub(crate) fn is_unread(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, NotFound, UnexpectedEof};
    !matches!(error.kind(), InvalidData | InvalidInput | NotFound | UnexpectedEof)
}

/// The journal stopped: a write or a sync failed, or it was closed. It accepts nothing until it is opened again, because what the
/// device holds after a failed sync is unknown and a second sync would only pretend to know.
#[derive(Clone, Debug, thiserror::Error)]
#[error("journal stopped: {reason}")]
pub struct Failed {
    /// What failed, with the error of the operating system.
    pub reason: Arc<str>,
}

impl Failed {
    pub(crate) fn new(reason: impl Into<Arc<str>>) -> Self {
        Self { reason: reason.into() }
    }
}

/// Why a journal does not open. Damage is never a reason: it is reported in [`Recovery`](crate::Recovery). A disk that does not answer is
/// none: what it holds may be whole.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A setting is out of range.
    #[error("journal config: {field} is {found}, must be {expected}")]
    Config {
        /// The setting.
        field: &'static str,
        /// Its value.
        found: u64,
        /// What is allowed.
        expected: &'static str,
    },
    /// The files were written by a newer program.
    #[error("{file}: format version {found}, this program reads up to {expected}")]
    Version {
        /// The file.
        file: String,
        /// Its version.
        found: u16,
        /// The newest version this program knows.
        expected: u16,
    },
    /// The disk does not give back what a file holds, which is [awaited](crate::Unread). Nothing was changed.
    #[error("{file}: the disk does not read it at byte {offset}")]
    Unread {
        /// The file.
        file: String,
        /// The first place found, in bytes, to a block.
        offset: u64,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
    /// The directory cannot be used.
    #[error("{doing} failed")]
    Io {
        /// What was being done, and to which file.
        doing: String,
        /// What the operating system said.
        #[source]
        source: std::io::Error,
    },
}

/// Why an append was refused. Nothing of the set is staged then.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AppendError {
    /// All segments are wanted and no more may be made. Passes when retention or a trim frees one.
    #[error("journal is full: no segment is free and none may be made")]
    Full,
    /// Too much is waiting for the device, or the next segment's file is still being made; try again after the next commit, or a few
    /// milliseconds later.
    #[error(
        "journal is busy: {staged_bytes} of at most {limit_bytes} bytes wait for the device or a segment file"
    )]
    Busy {
        /// Bytes staged.
        staged_bytes: usize,
        /// The limit, from the configuration.
        limit_bytes: usize,
    },
    /// A metadata key is not at the expected version.
    #[error("metadata key {}: version {found}, expected {expected}", key.escape_ascii())]
    Conflict {
        /// The key.
        key: Vec<u8>,
        /// Its version, 0 when it does not exist.
        found: u64,
        /// The version that was expected.
        expected: u64,
    },
    /// The set, or a part of it, is larger than a limit.
    #[error("{what} has {found} bytes, at most {limit} fit")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its size in bytes.
        found: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The shard cannot be written: stream 0 is the journal's own, and a dropped stream's number is never used again.
    #[error("stream {} shard {}: {reason}", shard.stream, shard.shard)]
    Refused {
        /// The shard.
        shard: ShardKey,
        /// Why.
        reason: &'static str,
    },
    /// The stream is sealed with a key that is not known: nothing of it may be written in the open.
    #[error("stream {} shard {}: key {key_id}, which its records are sealed with, is not known", shard.stream, shard.shard)]
    NoKey {
        /// The shard.
        shard: ShardKey,
        /// The key.
        key_id: u16,
    },
    /// The journal stopped.
    #[error(transparent)]
    Failed(#[from] Failed),
}

/// Why a read gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// A run is sealed with a key that is not known (any more). The records are there; with the key they are read.
    #[error("stream {} shard {}: run at sequence {first} is sealed with key {key_id}, which is not known", shard.stream, shard.shard)]
    KeyUnknown {
        /// The shard.
        shard: ShardKey,
        /// First sequence of the run.
        first: u64,
        /// The key.
        key_id: u16,
    },
    /// A run is sealed with another key than the one known under its id. Not damage: with the right key it is read.
    #[error("stream {} shard {}: run at sequence {first} is not sealed with the key known as {key_id}", shard.stream, shard.shard)]
    KeyWrong {
        /// The shard.
        shard: ShardKey,
        /// First sequence of the run.
        first: u64,
        /// The key's id.
        key_id: u16,
    },
    /// The disk does not give back the run, which is [awaited](crate::Unread). Another read may.
    #[error("stream {} shard {}: the disk does not read {file} at byte {offset}, sequence {first}: {reason}", shard.stream, shard.shard)]
    Unread {
        /// The shard.
        shard: ShardKey,
        /// First sequence that was not read.
        first: u64,
        /// The file.
        file: String,
        /// Where in it, in bytes.
        offset: u64,
        /// What the operating system said.
        reason: Arc<str>,
    },
    /// A run uses a flag this program does not know (compression or encryption of a newer one).
    #[error("stream {} shard {}: run at sequence {first} has flags {flags:#06x} and key {key_id}, this program reads neither", shard.stream, shard.shard)]
    Unsupported {
        /// The shard.
        shard: ShardKey,
        /// First sequence of the run.
        first: u64,
        /// Flags found.
        flags: u16,
        /// Key found.
        key_id: u16,
    },
    /// The journal stopped.
    #[error(transparent)]
    Failed(#[from] Failed),
}
