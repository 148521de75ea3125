//! The one durable log: segments, groups, runs per shard, group commit, recovery, trim.
//!
//! In: sets of records for many shards, and metadata changes. Out: tickets that become durable, pages of records, metadata.
//! Always: what a durable ticket covers survives a power cut, or its loss is named (stream, shard, range of sequences); a set is
//! there whole or not at all; nothing is written while nothing is appended.
//! Not here: streams' names, hash keys, the form of a payload, clocks (every method is told the time).
//!
//! ```
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use headwater_journal::{AppendSet, Config, Journal, ReadLimits, ShardKey};
//!
//! let dir = tempfile::tempdir()?;
//! let now_ms = 1_790_000_000_000;
//! let config = Config { segment_bytes: 1 << 20, reserve_bytes: 0, ..Config::small() };
//! let (journal, recovery) = Journal::open(dir.path(), config, now_ms)?;
//! assert!(recovery.is_clean());
//!
//! let shard = ShardKey { stream: 1, shard: 0 };
//! let mut set = AppendSet::new();
//! set.batch(shard);
//! set.record(b"boiler", b"73.5");
//! set.put(b"cursor", b"17", None);
//! let appended = journal.append(&set, now_ms)?;
//! journal.wait(appended.ticket)?; // now it survives a power cut
//!
//! let page = journal.read(shard, 0, ReadLimits { records: 100, bytes: 1 << 20 })?;
//! let record = page.records().next().expect("one record was appended");
//! assert_eq!((record.sequence, record.data), (appended.firsts[0], &b"73.5"[..]));
//! journal.close();
//! # Ok(())
//! # }
//! ```

pub mod blocks;
mod budget;
mod bytes;
mod clock;
mod config;
mod core;
mod error;
mod format;
mod journal;
mod kept;
mod keys;
pub mod limits;
mod offline;
mod page;
mod queue;
mod set;
pub mod storage;
mod sync;
mod types;

pub use crate::clock::{Clock, Moment, vouch};
pub use crate::config::{Cipher, Compression, Config, Durability, IoMode, Unread};
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use crate::core::fuzzing;
pub use crate::core::{Core, Finding, Holdings, Keys, Progress, Standing, Verification};
pub use crate::error::{AppendError, Failed, OpenError, ReadError};
pub use crate::journal::Journal;
pub use crate::keys::{STREAM_KEY_BYTES, StreamKey};
pub use crate::offline::Offline;
pub use crate::page::{LostRange, Page, ReadLimits, RecordRef, Records, Run};
pub use crate::set::AppendSet;
pub use crate::storage::{FileStorage, Storage, StorageFile};
pub use crate::types::{
    Appended, Bounds, ClockState, Counters, FIRST_SEQUENCE, Firsts, Lost, META_STREAM, MetaValue, Recovery,
    ShardKey, Standing as BudgetStanding, State, Ticket, UnreadPlace, WriteBudget,
};
