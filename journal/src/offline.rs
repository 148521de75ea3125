//! A journal that is looked at: nothing in its directory changes.
//!
//! In: the directory of a journal that nobody has open. Out: what an opening would find, records, metadata, and every damage by name.
//! Invariant: not a byte, name or time of writing changes; an opening for writing is kept out while this lives, and the other way round.
//! How: the very recovery of [`Journal::open`](crate::Journal::open) on a [view](crate::storage::ViewStorage), which keeps to itself what
//! the recovery writes. So what is said here is what a start would do.

use std::path::Path;

use crate::config::{Config, Unread};
use crate::core::{Core, Holdings, Keys, Progress, Verification};
use crate::error::{OpenError, ReadError};
use crate::journal::LANE_DIR;
use crate::page::{Page, ReadLimits};
use crate::storage::ViewStorage;
use crate::types::{Bounds, MetaValue, Recovery, ShardKey};

/// Salts and identities that nobody will ever write.
const SEED: u64 = 0;

/// A journal opened for reading alone.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use headwater_journal::{AppendSet, Config, Journal, Offline, ReadLimits, ShardKey};
///
/// let dir = tempfile::tempdir()?;
/// let config = Config { segment_bytes: 1 << 20, reserve_bytes: 0, ..Config::small() };
/// let (journal, _) = Journal::open(dir.path(), config.clone(), 1_790_000_000_000)?;
/// assert!(Offline::open(dir.path(), config.clone()).is_err(), "somebody writes");
/// let shard = ShardKey { stream: 1, shard: 0 };
/// let mut set = AppendSet::new();
/// set.batch(shard);
/// set.record(b"boiler", b"73.5");
/// journal.wait(journal.append(&set, 1_790_000_000_000)?.ticket)?;
/// journal.close();
///
/// let offline = Offline::open(dir.path(), config)?;
/// assert!(offline.verify(&mut |_| {}).is_clean());
/// assert_eq!(offline.holdings()[0].records, 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Offline {
    core: Core<ViewStorage>,
    recovery: Recovery,
}

impl Offline {
    /// Looks at the journal in `dir`. `config` is what a start would have; no limit of it matters but that it is valid.
    ///
    /// # Errors
    /// [`OpenError::Io`] with [`std::io::ErrorKind::NotFound`] when there is no journal, and with
    /// [`std::io::ErrorKind::ResourceBusy`] while one is open there; a setting out of range; files of a newer format.
    pub fn open(dir: &Path, config: Config) -> Result<Self, OpenError> {
        let storage = ViewStorage::open(&dir.join(LANE_DIR))
            .map_err(|source| OpenError::Io { doing: format!("looking at {}", dir.display()), source })?;
        let config = Config { tail_cache_bytes: 0, unread: Unread::LOST, ..config };
        let (core, recovery) = Core::open_on(storage, config, 0, SEED)?;
        Ok(Self { core, recovery })
    }

    /// The directory that the files are in.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.core.storage().path()
    }

    /// What a start would find. It reads what has no footer, so damage in a full segment is not in it: [`verify`](Self::verify) is.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// Reads every byte that counts and names every damage; see [`Verification`]. Memory holds the tables of one segment, about 1/50 of
    /// it. `progress` is called before each file and at the end.
    pub fn verify(&self, progress: &mut dyn FnMut(Progress)) -> Verification {
        self.core.verify(&self.recovery, progress)
    }

    /// What is kept of every shard, in order.
    #[must_use]
    pub fn holdings(&self) -> Vec<Holdings> {
        self.core.holdings()
    }

    /// Readable records of `shard` from sequence `from` to before `to`, as the index knows.
    #[must_use]
    pub fn count(&self, shard: ShardKey, from: u64, to: u64) -> u64 {
        self.core.count(shard, from, to)
    }

    /// As [`Core::read`].
    ///
    /// # Errors
    /// As [`Core::read`].
    pub fn read(&self, shard: ShardKey, from: u64, limits: ReadLimits) -> Result<Page, ReadError> {
        self.core.read(shard, from, limits)
    }

    /// As [`Core::seek_time`].
    ///
    /// # Errors
    /// As [`Core::read`].
    pub fn seek_time(&self, shard: ShardKey, time_ms: u64) -> Result<u64, ReadError> {
        self.core.seek_time(shard, time_ms)
    }

    /// As [`Core::bounds`].
    #[must_use]
    pub fn bounds(&self, shard: ShardKey) -> Option<Bounds> {
        self.core.bounds(shard)
    }

    /// As [`Core::meta_get`].
    #[must_use]
    pub fn meta_get(&self, key: &[u8]) -> Option<MetaValue> {
        self.core.meta_get(key)
    }

    /// As [`Core::meta_list`].
    #[must_use]
    pub fn meta_list(&self, prefix: &[u8]) -> Vec<(Vec<u8>, MetaValue)> {
        self.core.meta_list(prefix)
    }

    /// The keys that sealed records are read with.
    pub fn keys(&self) -> Keys<'_, ViewStorage> {
        self.core.keys()
    }
}
