//! What streams received and hold, to be added up.
//!
//! In: batches on their way. Out: per stream how many records came from whom, and how many the log has and had. Invariants, in the order
//! [`Engine::received`] and [`Engine::extents`] are asked here: what is durable was counted as offered before; what is counted as staged
//! is durable no later than anything staged after it was read. Counts of origins begin at 0 with every start, extents never: they are
//! positions. Not here: keeping counts over restarts (the host), metrics (meters).

use crate::engine::Engine;
use crate::meters::Count;
use crate::names::{ShardId, StreamNumber};
use crate::storage::Extent;
use crate::stream::StreamHandle;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Who put a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// A client of the API.
    Api = 0,
    /// The host, from what its publishers sent.
    Routes = 1,
    /// The host, about records that did not get to where they were carried.
    Sinks = 2,
    /// The host, otherwise.
    #[default]
    Host = 3,
}

impl Origin {
    /// Every origin, in the order of the counts in [`Received`].
    pub const ALL: [Self; 4] = [Self::Api, Self::Routes, Self::Sinks, Self::Host];
}

/// Records that a stream received since the start, by [`Origin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Received {
    /// Taken, or about to be: never less than what of them is durable.
    pub offered: [u64; Origin::ALL.len()],
    /// Taken: durable no later than whatever is appended after this was asked.
    pub staged: [u64; Origin::ALL.len()],
    /// Refused to clients of the API: beyond a rate, or while too much waited for the disk.
    pub throttled: u64,
    /// Refused to clients of the API for another reason.
    pub failed: u64,
}

/// The counts of a stream.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    offered: [AtomicU64; Origin::ALL.len()],
    staged: [Count; Origin::ALL.len()],
}

impl Origins {
    pub(crate) fn offered(&self, origin: Origin, records: u64, is_taken_back: bool) {
        let count = &self.offered[origin as usize];
        match is_taken_back {
            false => count.fetch_add(records, Relaxed),
            true => count.fetch_sub(records, Relaxed),
        };
    }

    pub(crate) fn staged(&self, origin: Origin, records: u64) {
        self.staged[origin as usize].add(records);
    }
}

impl Engine {
    /// What a stream received since the start. Ask [`Engine::extents`] before, not after.
    #[must_use]
    pub fn received(&self, stream: &StreamHandle) -> Received {
        let meter = self.0.meters.of(stream.number());
        let staged = meter.origins.staged.each_ref().map(Count::get);
        let offered = meter.origins.offered.each_ref().map(|count| count.load(Relaxed));
        let (throttled, failed) = meter.refused();
        Received { offered, staged, throttled, failed }
    }

    /// What the log has and had of every shard of every stream, those included that their stream has forgotten. Looks at all shards.
    #[must_use]
    pub fn extents(&self) -> BTreeMap<StreamNumber, BTreeMap<ShardId, Extent>> {
        let mut streams: BTreeMap<StreamNumber, BTreeMap<ShardId, Extent>> = BTreeMap::new();
        for (shard, extent) in self.0.log.extents(None) {
            streams.entry(shard.stream).or_default().insert(shard.shard, extent);
        }
        streams
    }

    /// What the log has and had of every shard of one stream.
    #[must_use]
    pub fn extents_of(&self, stream: &StreamHandle) -> BTreeMap<ShardId, Extent> {
        let extents = self.0.log.extents(Some(stream.number())).into_iter();
        extents.map(|(shard, extent)| (shard.shard, extent)).collect()
    }
}
