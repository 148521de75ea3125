//! Plans of reshards: which shards end and which begin. Pure; the work itself is control's.
//!
//! In: a shard map and a plan. Out: [`Resharded`], the shards after it. Invariants, for every plan that is not refused: the
//! open shards cover the space as before; a shard has at most two parents and every end has its children; children have
//! higher ids and higher generations than their parents; nothing but the ended shards changes.
//!
//! A stream is brought to another number of even shards as AWS does it: shards are split at the boundaries of the new
//! ranges, then what lies within one new range is merged, two by two. Shards that only exist in between are born closed and
//! hold nothing; they keep the rule of two parents. Shards that are right already stay; borders that are off by no more than
//! dividing by another number leaves over count as right, or ten shards could not become five by five merges.

use crate::hash::{HashKey, HashRange, split_evenly};
use crate::limits;
use crate::names::ShardId;
use crate::shards::{Closed, Shard, ShardMap};
use crate::storage::Position;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// What a reshard should do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Plan {
    /// These splits and merges of shards that are open now, each at most once; at most [`limits::RESHARD_STEPS_MAX`].
    Steps(Vec<Step>),
    /// This many even shards.
    Resize {
        /// How many, 1 to [`limits::SHARDS_PER_STREAM_MAX`].
        shards: u32,
    },
}

/// One split or merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// One shard becomes two.
    Split {
        /// The shard.
        #[serde(with = "id")]
        shard: ShardId,
        /// First key of the second child; above the first key of the shard.
        #[serde(with = "decimal")]
        at: HashKey,
    },
    /// Two neighbours become one.
    Merge {
        /// One of them: the parent.
        #[serde(with = "id")]
        shard: ShardId,
        /// The other: the adjacent parent.
        #[serde(with = "id")]
        adjacent: ShardId,
    },
}

impl Step {
    /// The split of an open shard into halves, when it has more than one key.
    #[must_use]
    pub fn halve(shard: &Shard) -> Option<Step> {
        let HashRange { start, end } = shard.range;
        let half = (end.0 - start.0) / 2;
        (start < end).then_some(Step::Split { shard: shard.id, at: HashKey(start.0 + half + 1) })
    }
}

mod id {
    use crate::names::ShardId;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(id: &ShardId, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(id.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ShardId, D::Error> {
        u32::deserialize(deserializer).map(ShardId)
    }
}

/// JSON has no integers of 128 bits that everybody reads.
mod decimal {
    use crate::hash::HashKey;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(key: &HashKey, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(key)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<HashKey, D::Error> {
        let text = String::deserialize(deserializer)?;
        HashKey::parse(&text).map_err(D::Error::custom)
    }
}

/// A plan cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No such shard.
    #[error("{0} does not exist")]
    Missing(ShardId),
    /// The shard has ended, or the plan names it twice.
    #[error("{0} is closed")]
    Closed(ShardId),
    /// The key does not leave both children something.
    #[error("{shard} cannot be split at {at}: both children need keys")]
    Outside {
        /// The shard.
        shard: ShardId,
        /// The key.
        at: HashKey,
    },
    /// The two have no border in common.
    #[error("{0} and {1} are not adjacent")]
    NotAdjacent(ShardId, ShardId),
    /// More shards than a stream may have, open or together with closed ones whose records can be read, or than it can number.
    #[error("{found} shards, must be 1 to {limit}")]
    Count {
        /// How many it would be.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// More splits and merges than one plan may have, or none.
    #[error("{0} steps in a plan, must be 1 to {limit}", limit = limits::RESHARD_STEPS_MAX)]
    Steps(usize),
}

/// What a plan makes of a map.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resharded {
    /// All shards after it, by id. Those in `ended` have no end position yet.
    shards: Vec<Shard>,
    /// Shards that were open and no longer are.
    pub(crate) ended: Vec<ShardId>,
}

impl Resharded {
    /// Works a plan out.
    ///
    /// # Errors
    /// [`PlanError`] when the map does not allow it.
    pub(crate) fn of(map: &ShardMap, plan: &Plan, at_ms: u64) -> Result<Resharded, PlanError> {
        let mut work = Work::new(map, at_ms);
        match plan {
            Plan::Steps(steps) => {
                if steps.is_empty() || steps.len() > limits::RESHARD_STEPS_MAX {
                    return Err(PlanError::Steps(steps.len()));
                }
                // A child is no part of the plan that makes it.
                let fresh = work.next_id()?;
                steps.iter().try_for_each(|step| work.step(*step, fresh))?;
            }
            Plan::Resize { shards } => work.resize(*shards)?,
        }
        work.finish(map)
    }

    /// Open shards there are after it.
    pub(crate) fn open_count(&self) -> usize {
        self.shards.iter().filter(|shard| shard.closed.is_none()).count()
    }

    /// The shards after it, with the positions after the last records of those that ended.
    pub(crate) fn with_ends(mut self, ends: &BTreeMap<ShardId, Position>) -> Vec<Shard> {
        for shard in &mut self.shards {
            if let (Some(closed), Some(&end)) = (&mut shard.closed, ends.get(&shard.id)) {
                closed.end = end;
            }
        }
        self.shards
    }
}

/// How far a border may be from where it should be: a share of 2^-100 of the space, and more than the rounding of any two
/// numbers of shards differs by, which is below the larger of them.
const BORDER_SLACK: u128 = 1 << 28;
const _: () = assert!(BORDER_SLACK > limits::SHARDS_PER_STREAM_MAX as u128);

/// A map on the way: open shards by their first keys.
struct Work {
    shards: Vec<Shard>,
    open: BTreeMap<HashKey, usize>,
    at_ms: u64,
}

impl Work {
    fn new(map: &ShardMap, at_ms: u64) -> Self {
        let shards = map.all().to_vec();
        let open = shards.iter().enumerate().filter(|(_, shard)| shard.closed.is_none());
        Work { open: open.map(|(i, shard)| (shard.range.start, i)).collect(), shards, at_ms }
    }

    /// The newest shard is never closed, as children have higher ids: so no id is given twice, whatever has expired.
    fn next_id(&self) -> Result<ShardId, PlanError> {
        let limit = limits::SHARD_ID_MAX;
        let next = self.shards.last().map_or(0, |shard| shard.id.0.saturating_add(1));
        if next > limit || self.shards.len() >= limits::SHARDS_LISTED_MAX {
            return Err(PlanError::Count { found: self.shards.len() + 1, limit: limits::SHARDS_LISTED_MAX });
        }
        Ok(ShardId(next))
    }

    fn step(&mut self, step: Step, fresh: ShardId) -> Result<(), PlanError> {
        match step {
            Step::Split { shard, at } => {
                let i = self.find(shard, fresh)?;
                let HashRange { start, end } = self.shards[i].range;
                if at <= start || at > end {
                    return Err(PlanError::Outside { shard, at });
                }
                self.split(i, at).map(|_| ())
            }
            Step::Merge { shard, adjacent } => {
                let (i, j) = (self.find(shard, fresh)?, self.find(adjacent, fresh)?);
                let (a, b) = (self.shards[i].range, self.shards[j].range);
                let touch = |low: HashRange, high: HashRange| low.end.0.checked_add(1) == Some(high.start.0);
                if !touch(a, b) && !touch(b, a) {
                    return Err(PlanError::NotAdjacent(shard, adjacent));
                }
                self.merge(i, j).map(|_| ())
            }
        }
    }

    fn find(&self, id: ShardId, fresh: ShardId) -> Result<usize, PlanError> {
        let found = self.shards.binary_search_by_key(&id, |shard| shard.id);
        let i = found.ok().filter(|_| id < fresh).ok_or(PlanError::Missing(id))?;
        if self.shards[i].closed.is_some() { Err(PlanError::Closed(id)) } else { Ok(i) }
    }

    fn split(&mut self, i: usize, at: HashKey) -> Result<(usize, usize), PlanError> {
        let HashRange { start, end } = self.shards[i].range;
        let below = HashRange { start, end: HashKey(at.0.saturating_sub(1)) };
        let first = self.child(&[i], below)?;
        let second = self.child(&[i], HashRange { start: at, end })?;
        Ok((first, second))
    }

    fn merge(&mut self, i: usize, j: usize) -> Result<usize, PlanError> {
        let (a, b) = (self.shards[i].range, self.shards[j].range);
        self.child(&[i, j], HashRange { start: a.start.min(b.start), end: a.end.max(b.end) })
    }

    /// Ends the parents and opens a shard behind them.
    fn child(&mut self, parents: &[usize], range: HashRange) -> Result<usize, PlanError> {
        let id = self.next_id()?;
        let mut generation = 0;
        for &parent in parents {
            let shard = &mut self.shards[parent];
            shard.closed.get_or_insert(Closed { at_ms: self.at_ms, end: Position::default() });
            generation = generation.max(shard.generation.saturating_add(1));
            if self.open.get(&shard.range.start) == Some(&parent) {
                self.open.remove(&shard.range.start);
            }
        }
        let parent_of = |place: usize| parents.get(place).map(|&i| self.shards[i].id);
        let (parent, adjacent_parent) = (parent_of(0), parent_of(1));
        let opened_ms = self.at_ms;
        let place = self.shards.len();
        self.shards.push(Shard { id, generation, range, parent, adjacent_parent, opened_ms, closed: None });
        self.open.insert(range.start, place);
        Ok(place)
    }

    fn resize(&mut self, target: u32) -> Result<(), PlanError> {
        let limit = limits::SHARDS_PER_STREAM_MAX;
        if !(1..=limit).contains(&target) {
            return Err(PlanError::Count { found: target as usize, limit: limit as usize });
        }
        let starts = self.starts(target);
        let before: Vec<usize> = self.open.values().copied().collect();
        for i in before {
            let HashRange { start, end } = self.shards[i].range;
            let inside = starts.partition_point(|&at| at <= start)..starts.partition_point(|&at| at <= end);
            self.split_at(i, &starts[inside])?;
        }
        for (i, &start) in starts.iter().enumerate() {
            let end = starts.get(i + 1).map_or(Bound::Unbounded, |&next| Bound::Excluded(next));
            let pieces: Vec<usize> =
                self.open.range((Bound::Included(start), end)).map(|(_, &i)| i).collect();
            self.merge_all(&pieces)?;
        }
        Ok(())
    }

    /// First keys of this many even ranges; where shards begin close enough already, it is there.
    fn starts(&self, target: u32) -> Vec<HashKey> {
        let near = |HashKey(start): HashKey| {
            let around =
                HashKey(start.saturating_sub(BORDER_SLACK))..=HashKey(start.saturating_add(BORDER_SLACK));
            let found = self.open.range(around).map(|(&begin, _)| begin);
            found.min_by_key(|begin| begin.0.abs_diff(start)).unwrap_or(HashKey(start))
        };
        split_evenly(target).iter().map(|range| near(range.start)).collect()
    }

    /// Splits at all of these keys, in the middle first: with n keys no record has more than log2(n) shards to follow.
    fn split_at(&mut self, i: usize, keys: &[HashKey]) -> Result<(), PlanError> {
        if keys.is_empty() {
            return Ok(());
        }
        let middle = keys.len() / 2;
        let (below, above) = self.split(i, keys[middle])?;
        self.split_at(below, &keys[..middle])?;
        self.split_at(above, &keys[middle + 1..])
    }

    /// Merges neighbours into one, halves first.
    fn merge_all(&mut self, pieces: &[usize]) -> Result<Option<usize>, PlanError> {
        match pieces {
            [] => Ok(None),
            [piece] => Ok(Some(*piece)),
            _ => {
                let (low, high) = pieces.split_at(pieces.len() / 2);
                match (self.merge_all(low)?, self.merge_all(high)?) {
                    (Some(low), Some(high)) => self.merge(low, high).map(Some),
                    (one, other) => Ok(one.or(other)),
                }
            }
        }
    }

    fn finish(self, before: &ShardMap) -> Result<Resharded, PlanError> {
        let (found, limit) = (self.open.len(), limits::SHARDS_PER_STREAM_MAX as usize);
        if found > limit && found > before.open_count() {
            return Err(PlanError::Count { found, limit });
        }
        let open: BTreeSet<ShardId> = before.open().map(|shard| shard.id).collect();
        let ended = self.shards.iter().filter(|shard| shard.closed.is_some() && open.contains(&shard.id));
        Ok(Resharded { ended: ended.map(|shard| shard.id).collect(), shards: self.shards })
    }
}

#[cfg(test)]
mod tests;
