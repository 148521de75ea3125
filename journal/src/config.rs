//! What a journal may use of disk and memory, and what its acknowledgement means.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::error::OpenError;
pub use crate::keys::Cipher;
use crate::limits::{SEGMENT_BYTES_MAX, SEGMENT_BYTES_MIN, UNREAD_PATIENCE};
pub use crate::storage::IoMode;

/// How runs are made smaller before they are written. Recorded in each run; any setting reads what any other wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Compression {
    /// As they are.
    #[default]
    None,
    /// LZ4 blocks, where that makes a run smaller: fewer bytes to a card that wears out or is slow, for some CPU.
    Lz4,
}

/// What "durable" means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// A group is durable when the device says that it is: it survives a power cut.
    #[default]
    Sync,
    /// **Lossy.** A group counts as durable once the operating system has it; the device is told with the first group after each
    /// `Duration`, or within a second of it when no group comes. A crash of the
    /// process loses nothing, a power cut loses up to this much of what was acknowledged.
    Interval(Duration),
}

/// What becomes of what the disk does not give back: neither right bytes nor wrong ones, but an error. It may be there again, behind a
/// cable, a controller, a network; or never. What counts as lost is lost as damaged bytes are: named, kept in mind, and a gap to readers,
/// who go on behind it for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread {
    /// Whether an opening takes it for lost. Else the opening ends with [`OpenError::Unread`], and has changed nothing; a
    /// [`Journal`](crate::Journal) tries that again for as long as `patience`.
    pub is_lost_at_open: bool,
    /// For how long reads of an open journal end with [`ReadError::Unread`](crate::ReadError::Unread), counted from the first that failed
    /// at the place, before it counts as lost. In kept time, to the second.
    pub patience: Duration,
}

impl Unread {
    /// It is lost at once, always.
    pub const LOST: Self = Self { is_lost_at_open: true, patience: Duration::ZERO };

    /// An opening refuses it, readers wait for [`UNREAD_PATIENCE`].
    pub const AWAITED: Self = Self { is_lost_at_open: false, patience: UNREAD_PATIENCE };
}

/// Settings of one journal. The defaults suit a server; [`Config::small`] suits an SD card.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of a segment file, a multiple of 4 KiB. Retention frees whole segments.
    pub segment_bytes: u64,
    /// Empty segments kept ready for reuse.
    pub pool_segments: u32,
    /// Most bytes of segment files, live and pooled. When they are all wanted the journal is [`Full`](crate::State::Full).
    pub size_bytes_max: u64,
    /// Bytes of the file system that are left to others: no segment is created below this.
    pub reserve_bytes: u64,
    /// Size before compression at which a waiting group is closed and the next begun. A set larger than this is a group of its own.
    pub group_bytes_max: usize,
    /// Most bytes staged and not yet durable, before compression; an append beyond it is [`Busy`](crate::AppendError::Busy).
    pub staged_bytes_max: usize,
    /// Bytes of recent groups kept in memory for readers that follow the end, as they are stored: compressed and sealed.
    pub tail_cache_bytes: usize,
    /// How long a group waits for company before it is flushed. Zero flushes at once; 5 to 20 ms spares SD cards.
    pub linger: Duration,
    /// Bytes that may be written in any 24 hours, as [counted](crate::Counters::bytes_written); none is no budget. Where they run out,
    /// groups linger for longer, up to [`BUDGET_LINGER_MAX`](crate::limits::BUDGET_LINGER_MAX); nothing is refused or dropped for it. Only a
    /// [`Journal`](crate::Journal) with its threads lingers. What was written is remembered over restarts.
    pub write_budget: Option<NonZeroU64>,
    /// How writes reach the device.
    pub io: IoMode,
    /// What "durable" means.
    pub durability: Durability,
    /// What becomes of what the disk does not give back.
    pub unread: Unread,
    /// How runs are made smaller.
    pub compression: Compression,
    /// How runs of streams that have a [key](crate::Keys) are encrypted.
    pub cipher: Cipher,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            pool_segments: 2,
            size_bytes_max: 64 << 30,
            reserve_bytes: 1 << 30,
            group_bytes_max: 1 << 20,
            staged_bytes_max: 16 << 20,
            tail_cache_bytes: 8 << 20,
            linger: Duration::ZERO,
            write_budget: None,
            io: IoMode::Auto,
            durability: Durability::Sync,
            unread: Unread::AWAITED,
            compression: Compression::None,
            cipher: Cipher::of_this_machine(),
        }
    }
}

impl Config {
    /// Settings for an SD card: segments of 4 MiB, at most 1 GiB, little memory, compressed. Measured on a server core with records
    /// of 200 bytes in sets of 100: telemetry as JSON leaves 0.18 bytes written per byte received for 0.03 to 0.1 us of CPU per
    /// record more (0.07 to 0.18 us without), payload that does not pack costs 0.03 us and changes nothing.
    #[must_use]
    pub fn small() -> Self {
        Self {
            segment_bytes: 4 << 20,
            size_bytes_max: 1 << 30,
            reserve_bytes: 64 << 20,
            group_bytes_max: 256 << 10,
            staged_bytes_max: 4 << 20,
            tail_cache_bytes: 1 << 20,
            compression: Compression::Lz4,
            ..Self::default()
        }
    }

    /// # Errors
    /// [`OpenError::Config`] naming the field, what was found and what is expected.
    pub(crate) fn check(&self) -> Result<(), OpenError> {
        let limits = SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX;
        if !limits.contains(&self.segment_bytes) || !self.segment_bytes.is_multiple_of(4096) {
            return Err(OpenError::Config {
                field: "segment_bytes",
                found: self.segment_bytes,
                expected: "65536 to 1073741824, a multiple of 4096",
            });
        }
        if self.size_bytes_max < 4 * self.segment_bytes {
            return Err(OpenError::Config {
                field: "size_bytes_max",
                found: self.size_bytes_max,
                expected: "at least 4 segments",
            });
        }
        if self.staged_bytes_max < self.group_bytes_max {
            return Err(OpenError::Config {
                field: "staged_bytes_max",
                found: self.staged_bytes_max as u64,
                expected: "at least group_bytes_max",
            });
        }
        Ok(())
    }
}
