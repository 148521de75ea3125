//! How much of a shard there is, and ever was.

use super::Position;

/// What a log has and had of a shard. Positions count every record, so these numbers are exact after any crash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Extent {
    /// Records that ever became durable, those that are gone or damaged included.
    pub appended: u64,
    /// Of these, those that left the log at its beginning: trimmed, or past their retention.
    pub gone: u64,
    /// Of those that are not gone, those that are known to be damaged.
    pub damaged: u64,
    /// After the newest durable record.
    pub end: Position,
}
