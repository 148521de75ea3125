//! Opening: from a directory of files that may hold anything to a journal that accepts appends.
//!
//! In: a storage, settings, time and seed. Out: a core, and what was found.
//! Steps: newer valid snapshot; segments by number; footers trusted when their checksums are right, else the segment is read whole;
//! metadata replayed after the snapshot; what no piece holds between floor and end is lost and named; the first append opens a new
//! segment, so nothing that was dropped can come back. Last group and newest snapshot are written again as they were read: what a
//! killed process left in memory is seen and yet not durable.
//! Invariant: no damage stops an open, and no acknowledged loss goes unnamed.
//! Not here: the files themselves (`survey`, `scan`).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Mutex, RwLock};
use std::time::Duration;

use crate::ShardKey;
use crate::budget::Budget;
use crate::clock::Moment;
use crate::config::Config;
use crate::core::keys::KeyRing;
use crate::core::meta::own;
use crate::core::read::Buffers;
use crate::core::snapshot::Slots;
use crate::core::survey::{Survey, candidates, lane, unreadable_numbers};
use crate::core::tables::TableCache;
use crate::core::tail::Tail;
use crate::core::totals::Totals;
use crate::core::unread::Unread;
use crate::core::upkeep::Upkeep;
use crate::core::writer::Writer;
use crate::core::{Core, Listeners, lock};
use crate::error::{OpenError, ReadError};
use crate::format::FORMAT_VERSION;
use crate::kept::KeptTime;
use crate::page::{LostRange, ReadLimits};
use crate::queue::Queue;
use crate::set::AppendSet;
use crate::storage::{Storage, StorageFile};
use crate::types::{FIRST_SEQUENCE, Lost, Recovery};

/// Lost ranges written into metadata per group.
const LOST_KEYS_PER_SET: usize = 64;

impl<S: Storage> Core<S> {
    /// Opens the lane in `storage` without threads. `seed` gives salts and identities: another one at each opening of real files.
    ///
    /// # Errors
    /// [`OpenError`]: a setting out of range, a storage that cannot list, create or rename, files of a newer format.
    pub fn open_on(
        storage: S,
        config: Config,
        now_ms: u64,
        seed: u64,
    ) -> Result<(Self, Recovery), OpenError> {
        Self::open_at(storage, config, Moment::certain(now_ms), seed)
    }

    /// As [`open_on`](Self::open_on), at a moment of clocks that may be wrong; [`maintain_at`](Self::maintain_at) is told of the same.
    ///
    /// # Errors
    /// As [`open_on`](Self::open_on).
    pub fn open_at(
        storage: S,
        config: Config,
        moment: Moment,
        seed: u64,
    ) -> Result<(Self, Recovery), OpenError> {
        let now_ms = moment.wall_ms;
        config.check()?;
        let names =
            storage.list().map_err(|source| OpenError::Io { doing: "listing the journal".into(), source })?;
        let mut opened = Slots::open(&storage, &names);
        if let Some((file, found)) = opened.version {
            return Err(OpenError::Version { file, found, expected: FORMAT_VERSION });
        }
        let mut recovery = Recovery::default();
        // One slot that is whole tells everything: no segment goes before both do.
        let mut unread = opened.unread.take().filter(|_| opened.newest.is_none());
        let candidates = candidates(&storage, &names, &mut recovery, &mut unread);
        let lane = lane(opened.newest.as_ref(), &candidates, seed);
        let mut survey = Survey::new(&config, lane, recovery);
        survey.newest_number = unreadable_numbers(&survey.recovery).max().unwrap_or(0);
        survey.files.total = survey.recovery.unreadable.len() as u64;
        survey.segments(&candidates)?;
        // Before anything is written: what the disk does not give back may be whole, and nothing is to be built on its absence.
        let unread = unread.or(survey.unread.take()).filter(|_| !config.unread.is_lost_at_open);
        if let Some((file, offset, source)) = unread {
            return Err(OpenError::Unread { file, offset, source });
        }
        // Without a snapshot only a log from its very first group on tells everything.
        let oldest = survey.index.segments.values().next();
        let blind = opened.newest.is_none() && oldest.is_some_and(|segment| segment.first_group > 1);
        if let Some(newest) = &opened.newest {
            let doing = "writing the snapshot again".into();
            opened.slots.renew(newest).map_err(|source| OpenError::Io { doing, source })?;
        }
        survey.renew_tail()?;
        let snapshot = opened.newest.unwrap_or_default();
        survey.snapshot(&snapshot, blind);
        survey.blank_files(&storage, &config, &names)?;
        survey.recovery.segments = survey.index.segments.len() as u64;
        survey.recovery.metadata_lost |= blind;
        let mut core = survey.into_core(storage, config, now_ms, seed, opened.slots);
        let recovery = core.finish_recovery(now_ms).map_err(unread_metadata)?;
        core.unread.set_patience(core.config.unread.patience);
        core.resume_kept(moment);
        core.resume_budget();
        Ok((core, recovery))
    }

    /// What needs a core that can read: metadata, and the losses it does not know of yet.
    fn finish_recovery(&mut self, now_ms: u64) -> Result<Recovery, ReadError> {
        let mut recovery = lock(&self.upkeep).take_recovery();
        recovery.metadata_lost |= self.replay_metadata()?;
        let (dropped, holds, known, retained) = self.queue.look(|staged| {
            let meta = &staged.meta;
            (
                own::dropped_streams(meta),
                own::holds(meta),
                own::lost_ranges(meta),
                own::retentions(meta).len(),
            )
        });
        let mut index = self.index_mut();
        for stream in dropped {
            index.drop_stream(stream);
            self.queue.look(|staged| staged.forget(stream));
        }
        for (shard, from) in holds {
            // Also of a shard that has no record yet: its first ones are held too.
            let slot = self.queue.look(|staged| staged.slot(shard));
            index.shard_mut(slot, shard).hold = Some(from);
        }
        let known_by_shard = by_shard(known);
        for (shard, slot) in index.keys() {
            let known = known_by_shard.get(&shard).map(Vec::as_slice).unwrap_or_default();
            let holes = index.at(slot).holes();
            for &range in &holes {
                index.add_lost(slot, range);
            }
            if shard != ShardKey::META {
                let fresh = holes.into_iter().flat_map(|hole| without(hole, known));
                recovery.lost.extend(fresh.map(|range| Lost { shard, range }));
            }
        }
        drop(index);
        self.record_lost(&recovery.lost, now_ms);
        for lost in &recovery.lost {
            let (stream, shard) = (lost.shard.stream, lost.shard.shard);
            tracing::error!(
                stream,
                shard,
                first = lost.range.first,
                last = lost.range.last,
                "records lost to damage"
            );
        }
        tracing::debug!(
            segments = recovery.segments,
            last_group = recovery.last_group,
            retained,
            "journal recovered"
        );
        Ok(recovery)
    }

    /// Applies stream 0 from the snapshot on; whether part of it is missing.
    fn replay_metadata(&self) -> Result<bool, ReadError> {
        let (mut from, mut missing) =
            (self.index().shard(ShardKey::META).map_or(FIRST_SEQUENCE, |meta| meta.floor), false);
        let limits = ReadLimits { records: 10_000, bytes: 1 << 20 };
        loop {
            let page = match self.read(ShardKey::META, from, limits) {
                Ok(page) => page,
                Err(error @ ReadError::Unread { .. }) => return Err(error),
                Err(error) => {
                    tracing::error!(%error, "cannot read metadata");
                    return Ok(true);
                }
            };
            missing |= !page.gaps.is_empty();
            self.queue.look(|staged| page.records().for_each(|record| staged.meta.replay(&record)));
            if page.next >= page.end {
                return Ok(missing);
            }
            from = page.next;
        }
    }

    /// Stages losses as metadata, so that the next opening knows them.
    pub(super) fn record_lost(&self, lost: &[Lost], now_ms: u64) {
        for lost in lost.chunks(LOST_KEYS_PER_SET) {
            let mut set = AppendSet::new();
            for lost in lost {
                set.put(&own::lost(lost.shard, lost.range.first), &lost.range.last.to_le_bytes(), None);
            }
            self.append_own(&set, now_ms);
        }
    }
}

impl<F: StorageFile> Survey<F> {
    fn into_core<S: Storage<File = F>>(
        mut self,
        storage: S,
        config: Config,
        now_ms: u64,
        seed: u64,
        mut slots: Slots<F>,
    ) -> Core<S> {
        if let Err(error) = slots.ensure(&storage) {
            tracing::warn!(%error, "cannot make the snapshot files");
        }
        let last = self.recovery.last_group;
        let next_number = self.next_number.max(self.newest_number + 1);
        self.staged.spare_added(self.files.ready(), 0);
        Core {
            lane_id: 0,
            lane: self.lane,
            seed,
            queue: Queue::new(self.staged, last),
            writer: Mutex::new(Writer::new(next_number, self.last.1.unwrap_or(0), &config)),
            files: Mutex::new(self.files),
            index: RwLock::new(self.index),
            tail: Mutex::new(Tail::new(config.tail_cache_bytes)),
            tables: Mutex::new(TableCache::default()),
            ring: KeyRing::default(),
            upkeep: Mutex::new(Upkeep::new(slots, self.recovery)),
            listeners: Mutex::new(Listeners::default()),
            buffers: Buffers::default(),
            found: Mutex::new(Vec::new()),
            making: Mutex::new(()),
            totals: Totals::default(),
            // The opening itself has no time to wait in.
            unread: Unread::new(if config.unread.is_lost_at_open { Duration::ZERO } else { Duration::MAX }),
            next_number: AtomicU64::new(next_number),
            attended: AtomicBool::new(false),
            late: AtomicBool::new(false),
            upkeep_due: AtomicBool::new(true),
            kept: Mutex::new(KeptTime::resume(None, None, Moment::certain(now_ms), 0)),
            kept_ms: AtomicU64::new(now_ms),
            kept_stored_ms: AtomicU64::new(0),
            kept_stored_group: AtomicU64::new(0),
            budget: Mutex::new(Budget::resume(None, None, now_ms)),
            linger_ms: AtomicU64::new(0),
            budget_due: AtomicBool::new(false),
            newest_ms: AtomicU64::new(now_ms),
            storage,
            config,
        }
    }
}

/// What an opening says when the disk does not give back metadata.
fn unread_metadata(error: ReadError) -> OpenError {
    match error {
        ReadError::Unread { file, offset, reason, .. } => {
            OpenError::Unread { file, offset, source: std::io::Error::other(reason.to_string()) }
        }
        error => OpenError::Io { doing: "reading metadata".into(), source: std::io::Error::other(error) },
    }
}

pub(super) fn by_shard(known: Vec<(ShardKey, LostRange)>) -> BTreeMap<ShardKey, Vec<LostRange>> {
    let mut map: BTreeMap<ShardKey, Vec<LostRange>> = BTreeMap::new();
    for (shard, range) in known {
        map.entry(shard).or_default().push(range);
    }
    map
}

/// The parts of `range` that none of `known` covers.
pub(super) fn without(range: LostRange, known: &[LostRange]) -> Vec<LostRange> {
    let mut rest = vec![range];
    for known in known {
        rest = rest
            .into_iter()
            .flat_map(|range| {
                let before =
                    LostRange { first: range.first, last: range.last.min(known.first.wrapping_sub(1)) };
                let after =
                    LostRange { first: range.first.max(known.last.saturating_add(1)), last: range.last };
                if known.last < range.first || known.first > range.last {
                    vec![range]
                } else {
                    [before, after]
                        .into_iter()
                        .filter(|part| part.first <= part.last && known.first > 0)
                        .collect()
                }
            })
            .collect();
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_known_yet_is_a_new_loss() {
        let range = |first, last| LostRange { first, last };
        assert_eq!(without(range(10, 20), &[]), [range(10, 20)]);
        assert_eq!(without(range(10, 20), &[range(10, 20)]), []);
        assert_eq!(without(range(10, 20), &[range(12, 14), range(18, 30)]), [range(10, 11), range(15, 17)]);
        assert_eq!(without(range(10, 20), &[range(1, 9), range(21, 25)]), [range(10, 20)]);
    }
}
