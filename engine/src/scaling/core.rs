//! When an on-demand stream splits and merges its shards. Pure: told what each shard took, asked what to do.
//!
//! In: the open shards with their counts, about once a minute. Out: splits into halves and merges of neighbours.
//! Invariants: no more shards than [`limits::ON_DEMAND_SHARDS_MAX`], or than are to be kept ready; a merge never takes the stream below twice its highest
//! minute of the last 30 days, nor below what it was asked to keep ready; time is a parameter.
//!
//! A load is told in thousandths of what one shard can take: of its bytes or of its records, whichever is more. Not here:
//! how a shard is split (control), the limit that holds while it is being split (throttle).

use crate::limits;
use crate::names::ShardId;
use std::collections::BTreeMap;

/// An open shard and what it took since the engine started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) shard: ShardId,
    /// The shard it came from by a split.
    pub(super) parent: Option<ShardId>,
    /// Hash keys it takes, less one.
    pub(super) width: u128,
    pub(super) bytes: u64,
    pub(super) records: u64,
}

/// What should be done to a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// Split it into halves.
    Split(ShardId),
    /// Merge it with the neighbour above it.
    Merge(ShardId, ShardId),
}

/// What is known of one stream.
#[derive(Debug, Default)]
pub(super) struct Scaling {
    pub(super) told_ms: Option<u64>,
    shards: BTreeMap<ShardId, Watch>,
    /// Highest load of the whole stream, by day.
    peaks: Peaks<30>,
}

/// What is known of one shard.
#[derive(Debug, Clone)]
struct Watch {
    bytes: u64,
    records: u64,
    since_ms: u64,
    load: u64,
    /// Load of the parent when it was split, until the shard's own is known.
    parent_load: Option<u64>,
    /// Splits behind it, without a pause, that left nearly all of the load on one side: it is of one key.
    barren: u32,
    /// Highest loads by hour.
    peaks: Peaks<24>,
}

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// The highest values of the last `N` periods and of the current one.
#[derive(Debug, Clone)]
struct Peaks<const N: usize> {
    period: u64,
    past: [u64; N],
    current: u64,
}

impl<const N: usize> Default for Peaks<N> {
    fn default() -> Self {
        Peaks { period: 0, past: [0; N], current: 0 }
    }
}

impl<const N: usize> Peaks<N> {
    fn saw(&mut self, period: u64, value: u64) {
        let passed = usize::try_from(period.saturating_sub(self.period)).unwrap_or(usize::MAX);
        for _ in 0..passed.min(N + 1) {
            self.past.rotate_right(1);
            self.past[0] = self.current;
            self.current = 0;
        }
        self.period = period;
        self.current = self.current.max(value);
    }

    fn highest(&self) -> u64 {
        self.past.iter().copied().fold(self.current, u64::max)
    }
}

impl Scaling {
    /// Tells the open shards in the order of their hash keys, and how many must be kept ready; gives what to do now.
    pub(super) fn told(&mut self, now_ms: u64, open: &[Told], ready: usize) -> Vec<Want> {
        let elapsed_ms = now_ms.saturating_sub(self.told_ms.unwrap_or(now_ms));
        self.measure(now_ms, elapsed_ms, open);
        self.told_ms = Some(now_ms);
        let splits = self.splits(open, ready);
        // First what is needed, then what is not: a plan that does both would merge what it splits.
        if splits.is_empty() { self.merges(now_ms, open, ready) } else { splits }
    }

    fn measure(&mut self, now_ms: u64, elapsed_ms: u64, open: &[Told]) {
        let before = std::mem::take(&mut self.shards);
        let mut total = 0;
        for told in open {
            let mut watch =
                before.get(&told.shard).cloned().unwrap_or_else(|| Watch::new(told, &before, now_ms));
            watch.measure(now_ms, elapsed_ms, told);
            total += watch.load;
            self.shards.insert(told.shard, watch);
        }
        self.peaks.saw(now_ms / DAY_MS, total);
        for told in open {
            self.judge_split(told, open);
        }
    }

    /// Once the loads of both children of a split are known: whether it separated anything.
    fn judge_split(&mut self, told: &Told, open: &[Told]) {
        let sibling = open.iter().find(|other| other.parent == told.parent && other.shard != told.shard);
        let sibling_load = sibling.map(|other| self.load(other.shard));
        let Some(watch) = self.shards.get_mut(&told.shard) else { return };
        let (Some(before), Some(sibling_load)) = (watch.parent_load.take(), sibling_load) else { return };
        let barren = watch.load * 10 >= before * 9 && sibling_load * 10 <= before;
        watch.barren = if barren && watch.load > limits::SCALING_SPLIT_LOAD { watch.barren + 1 } else { 0 };
    }

    fn splits(&self, open: &[Told], ready: usize) -> Vec<Want> {
        let ceiling = limits::ON_DEMAND_SHARDS_MAX.max(ready.min(limits::SHARDS_PER_STREAM_MAX as usize));
        let most = ceiling.saturating_sub(open.len()).min(limits::RESHARD_STEPS_MAX);
        let mut busy: Vec<_> = open.iter().filter(|told| self.is_busy(told)).collect();
        busy.sort_by_key(|told| std::cmp::Reverse(self.load(told.shard)));
        let short = ready.saturating_sub(open.len()).saturating_sub(busy.len());
        let mut idle: Vec<_> = open.iter().filter(|told| !busy.contains(told) && told.width > 0).collect();
        // The widest first, so that the shards stay about even.
        idle.sort_by_key(|told| std::cmp::Reverse(told.width));
        busy.into_iter()
            .chain(idle.into_iter().take(short))
            .map(|told| Want::Split(told.shard))
            .take(most)
            .collect()
    }

    fn is_busy(&self, told: &Told) -> bool {
        let watch = self.shards.get(&told.shard);
        told.width > 0
            && watch.is_some_and(|watch| {
                watch.load > limits::SCALING_SPLIT_LOAD && watch.barren < limits::SCALING_BARREN_SPLITS_MAX
            })
    }

    fn load(&self, shard: ShardId) -> u64 {
        self.shards.get(&shard).map_or(0, |watch| watch.load)
    }

    fn merges(&self, now_ms: u64, open: &[Told], ready: usize) -> Vec<Want> {
        let peak = usize::try_from((2 * self.peaks.highest()).div_ceil(FULL)).unwrap_or(usize::MAX);
        let least = peak.max(ready).max(limits::ON_DEMAND_SHARDS as usize);
        let most = open.len().saturating_sub(least).min(limits::RESHARD_STEPS_MAX);
        let mut merges = Vec::new();
        let mut rest = open;
        while let [one, other, ..] = rest
            && merges.len() < most
        {
            if self
                .quiet(one, now_ms)
                .zip(self.quiet(other, now_ms))
                .is_some_and(|(a, b)| a + b < limits::SCALING_MERGE_LOAD)
            {
                merges.push(Want::Merge(one.shard, other.shard));
                rest = &rest[2..];
            } else {
                rest = &rest[1..];
            }
        }
        merges
    }

    /// The highest load of a shard in the last day, when it is known for so long.
    fn quiet(&self, told: &Told, now_ms: u64) -> Option<u64> {
        let watch = self.shards.get(&told.shard)?;
        (now_ms.saturating_sub(watch.since_ms) >= DAY_MS).then(|| watch.peaks.highest())
    }
}

/// The load of a shard that takes all it can.
const FULL: u64 = 1_000;

impl Watch {
    /// A shard that was not there before. What a child took was put since its parent was split.
    fn new(told: &Told, before: &BTreeMap<ShardId, Watch>, now_ms: u64) -> Self {
        let parent = told.parent.and_then(|parent| before.get(&parent));
        let (bytes, records) = if parent.is_some() { (0, 0) } else { (told.bytes, told.records) };
        Watch {
            bytes,
            records,
            since_ms: now_ms,
            load: 0,
            parent_load: parent.map(|parent| parent.load),
            barren: parent.map_or(0, |parent| parent.barren),
            peaks: Peaks::default(),
        }
    }

    fn measure(&mut self, now_ms: u64, elapsed_ms: u64, told: &Told) {
        // Counts begin anew when a shard was forgotten and used again.
        let (bytes, records) =
            (told.bytes.saturating_sub(self.bytes), told.records.saturating_sub(self.records));
        (self.bytes, self.records) = (told.bytes, told.records);
        let share = |taken: u64, limit: u32| {
            taken.saturating_mul(FULL * 1_000) / u64::from(limit).saturating_mul(elapsed_ms).max(1)
        };
        self.load = match elapsed_ms {
            0 => 0,
            _ => share(bytes, limits::SHARD_PUT_BYTES_PER_SECOND)
                .max(share(records, limits::SHARD_PUT_RECORDS_PER_SECOND)),
        };
        self.peaks.saw(now_ms / HOUR_MS, self.load);
        if self.load <= limits::SCALING_SPLIT_LOAD {
            self.barren = 0;
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
