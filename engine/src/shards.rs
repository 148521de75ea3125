//! The shards of a stream at one moment, and the way from a hash key to the open one that takes it.
//!
//! In: shards, from a definition or a stored layout. Out: [`ShardMap`]. Invariants: the ranges of the open shards cover the
//! hash-key space without a gap or an overlap, so every key has exactly one open shard; shards are in order of their ids;
//! parents have lower ids and lower generations than their children. Not here: making other shards (reshard).

use crate::hash::{HashKey, HashRange, split_evenly};
use crate::names::ShardId;
use crate::storage::Position;

/// One shard of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its id; never used again in its stream.
    pub id: ShardId,
    /// Reshards behind it: 0 for the shards a stream is created with, above those of both parents otherwise.
    pub generation: u32,
    /// The hash keys it takes.
    pub range: HashRange,
    /// The shard it came from, which may have expired.
    pub parent: Option<ShardId>,
    /// The second shard it came from, after a merge.
    pub adjacent_parent: Option<ShardId>,
    /// When it was opened, UTC ms since 1970.
    pub opened_ms: u64,
    /// Set when it takes no more records.
    pub closed: Option<Closed>,
}

impl Shard {
    /// Whether `id` is one of its parents.
    #[must_use]
    pub fn is_child_of(&self, id: ShardId) -> bool {
        self.parent == Some(id) || self.adjacent_parent == Some(id)
    }

    /// Whether it ended so long ago that none of its records can be read: no record arrived after the end.
    #[must_use]
    pub fn is_expired(&self, horizon_ms: u64) -> bool {
        self.closed.is_some_and(|closed| closed.at_ms < horizon_ms)
    }
}

/// How a shard ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// When, UTC ms since 1970.
    pub at_ms: u64,
    /// Position after its last record.
    pub end: Position,
}

/// All shards of a stream and the way from a hash key to the open one that takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardMap {
    shards: Vec<Shard>,
    /// Open shards by first hash key: (first key, index into `shards`).
    open: Vec<(HashKey, usize)>,
}

impl ShardMap {
    /// The map of a stream that was never resharded: `count` shards over even parts, at least one.
    #[must_use]
    pub fn even(count: u32, created_ms: u64) -> Self {
        let shards = (0..).zip(split_evenly(count.max(1))).map(|(id, range)| Shard {
            id: ShardId(id),
            generation: 0,
            range,
            parent: None,
            adjacent_parent: None,
            opened_ms: created_ms,
            closed: None,
        });
        Self::index(shards.collect())
    }

    /// A map of these shards, when they are one: in order of ids, and the open ones cover the space.
    #[must_use]
    pub fn new(shards: Vec<Shard>) -> Option<Self> {
        let map = Self::index(shards);
        let ordered = map.shards.windows(2).all(|pair| pair[0].id < pair[1].id);
        let ranges: Vec<_> = map.open().map(|shard| shard.range).collect();
        let joined = ranges.windows(2).all(|pair| pair[0].end.0.checked_add(1) == Some(pair[1].start.0));
        let forward = ranges.iter().all(|range| range.start <= range.end);
        let first = ranges.first().is_some_and(|range| range.start.0 == 0);
        let last = ranges.last().is_some_and(|range| range.end.0 == u128::MAX);
        (ordered && joined && forward && first && last).then_some(map)
    }

    fn index(shards: Vec<Shard>) -> Self {
        let open = shards.iter().enumerate().filter(|(_, shard)| shard.closed.is_none());
        let mut open: Vec<_> = open.map(|(i, shard)| (shard.range.start, i)).collect();
        open.sort_unstable_by_key(|&(start, _)| start);
        ShardMap { shards, open }
    }

    /// The open shard that takes `key`.
    #[must_use]
    pub fn route(&self, key: HashKey) -> &Shard {
        let after = self.open.partition_point(|&(start, _)| start <= key);
        // Invariant: the first open range starts at 0, so at least one start is not above any key.
        &self.shards[self.open[after.saturating_sub(1)].1]
    }

    /// All shards there are, by id: also closed ones until their retention has passed, and for a while after.
    #[must_use]
    pub fn all(&self) -> &[Shard] {
        &self.shards
    }

    /// The open shards by first hash key.
    pub fn open(&self) -> impl ExactSizeIterator<Item = &Shard> {
        self.open.iter().map(|&(_, i)| &self.shards[i])
    }

    /// First hash key of an open shard; counting `turn` up goes round all of them.
    #[must_use]
    pub fn open_start(&self, turn: usize) -> HashKey {
        // Invariant: at least one shard is open.
        self.open[turn % self.open.len().max(1)].0
    }

    /// One shard.
    #[must_use]
    pub fn get(&self, id: ShardId) -> Option<&Shard> {
        self.shards.binary_search_by_key(&id, |shard| shard.id).ok().map(|i| &self.shards[i])
    }

    /// The shards that came from one, by id.
    pub fn children(&self, id: ShardId) -> impl Iterator<Item = &Shard> {
        let after = self.shards.partition_point(|shard| shard.id <= id);
        self.shards[after..].iter().filter(move |shard| shard.is_child_of(id))
    }

    /// How many shards take records.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.open.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_exactly_one_open_shard() {
        for shards in [1, 2, 3, 7, 100] {
            let map = ShardMap::even(shards, 0);
            for i in 0..1_000_u128 {
                let key = HashKey((u128::MAX / 999).wrapping_mul(i));
                let holders: Vec<_> = map.all().iter().filter(|s| s.range.contains(key)).collect();
                assert_eq!(holders.len(), 1);
                assert_eq!(map.route(key).id, holders[0].id);
            }
            assert_eq!(map.get(ShardId(shards - 1)).unwrap().range.end.0, u128::MAX);
            assert!(map.get(ShardId(shards)).is_none());
        }
    }

    #[test]
    fn shards_that_leave_a_key_out_are_no_map() {
        let whole = ShardMap::even(4, 0).all().to_vec();
        assert!(ShardMap::new(whole.clone()).is_some());
        for i in 0..4 {
            let mut gap = whole.clone();
            gap.remove(i);
            assert!(ShardMap::new(gap).is_none());
            let mut overlap = whole.clone();
            overlap[i].range.start.0 = overlap[i].range.start.0.wrapping_sub(1);
            assert!(ShardMap::new(overlap).is_none());
        }
        let mut twice = whole;
        twice[1].id = ShardId(0);
        assert!(ShardMap::new(twice).is_none());
        assert!(ShardMap::new(Vec::new()).is_none());
    }
}
