//! Why a stream cannot be changed as asked.

use crate::definition::StreamStatus;
use crate::limits;
use crate::names::StreamName;
use crate::reshard::PlanError;
use crate::storage::{CommitError, MetaError};

/// A stream cannot be changed as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// There is one of this name.
    #[error("stream {0} already exists")]
    Exists(StreamName),
    /// There is none of this name.
    #[error("stream {0} does not exist")]
    NotFound(StreamName),
    /// It is being made, changed or removed.
    #[error("stream {stream} is not ACTIVE but {}", .status.as_str())]
    NotActive {
        /// The stream.
        stream: StreamName,
        /// The state it is in.
        status: StreamStatus,
    },
    /// More shards than there may be.
    #[error(
        "{requested} shards cannot be added to {open}: a stream has 1 to {}, all together {}",
        limits::SHARDS_PER_STREAM_MAX,
        limits::SHARDS_MAX
    )]
    Shards {
        /// Shards asked for.
        requested: u32,
        /// Open shards there are.
        open: usize,
    },
    /// The shards do not allow the reshard.
    #[error("stream {stream}: {error}")]
    Plan {
        /// The stream.
        stream: StreamName,
        /// Why.
        error: PlanError,
    },
    /// Not a retention.
    #[error("retention is {0} hours, must be 24 to 8760")]
    Retention(u32),
    /// A stored value cannot be read.
    #[error("stored value `{0}` cannot be read")]
    Damaged(&'static str),
    /// The change was not stored.
    #[error(transparent)]
    Meta(#[from] MetaError),
}

impl From<CommitError> for StreamError {
    fn from(error: CommitError) -> Self {
        StreamError::Meta(MetaError::Commit(error))
    }
}
