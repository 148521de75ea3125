//! The model: streams as lists of shards, shards as lists of records.

use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(crate) struct Naive {
    pub(crate) streams: BTreeMap<String, Stream>,
}

#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) shards: Vec<Shard>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) retention_hours: u64,
    /// What had expired when retention was made longer stays away.
    pub(crate) horizon_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) id: String,
    pub(crate) start: u128,
    pub(crate) end: u128,
    pub(crate) parents: Vec<String>,
    pub(crate) opened_ms: u64,
    pub(crate) closed_ms: Option<u64>,
    pub(crate) records: Vec<Record>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) number: String,
    pub(crate) key: String,
    pub(crate) data: Vec<u8>,
    pub(crate) time_ms: u64,
}

pub(crate) fn shard_id(number: usize) -> String {
    format!("shardId-{number:012}")
}

impl Stream {
    pub(crate) fn new(shards: u32, now_ms: u64) -> Self {
        let mut stream =
            Stream { shards: Vec::new(), tags: BTreeMap::new(), retention_hours: 24, horizon_ms: 0 };
        let count = u128::from(shards);
        for number in 0..count {
            // floor(2^128 / count), which is a number too large to write down when count is 1.
            let step = |times: u128| ((u128::MAX - (count - 1)) / count + 1) * times;
            let start = if number == 0 { 0 } else { step(number) };
            let end = if number + 1 == count { u128::MAX } else { step(number + 1) - 1 };
            stream.open(start, end, Vec::new(), now_ms);
        }
        stream
    }

    fn open(&mut self, start: u128, end: u128, parents: Vec<String>, now_ms: u64) {
        let id = shard_id(self.shards.len());
        let shard =
            Shard { id, start, end, parents, opened_ms: now_ms, closed_ms: None, records: Vec::new() };
        self.shards.push(shard);
    }

    pub(crate) fn open_shards(&self) -> Vec<usize> {
        let mut open: Vec<_> =
            (0..self.shards.len()).filter(|&i| self.shards[i].closed_ms.is_none()).collect();
        open.sort_by_key(|&i| self.shards[i].start);
        open
    }

    /// The shard that takes a hash key.
    pub(crate) fn taker(&mut self, hash: u128) -> &mut Shard {
        let takes =
            |shard: &&mut Shard| shard.closed_ms.is_none() && (shard.start..=shard.end).contains(&hash);
        self.shards.iter_mut().find(takes).expect("every hash key has a shard")
    }

    pub(crate) fn split(&mut self, shard: usize, at: u128, now_ms: u64) {
        let Shard { start, end, id, .. } = self.shards[shard].clone();
        self.shards[shard].closed_ms = Some(now_ms);
        self.open(start, at - 1, vec![id.clone()], now_ms);
        self.open(at, end, vec![id], now_ms);
    }

    /// Merges a shard with the one that follows it, in the order in which they were named.
    pub(crate) fn merge(&mut self, first: usize, second: usize, now_ms: u64) {
        let (one, two) = (self.shards[first].clone(), self.shards[second].clone());
        for shard in [first, second] {
            self.shards[shard].closed_ms = Some(now_ms);
        }
        self.open(one.start.min(two.start), one.end.max(two.end), vec![one.id, two.id], now_ms);
    }

    /// Arrival time of the oldest record that can be read.
    pub(crate) fn horizon(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.retention_hours * 3_600_000).max(self.horizon_ms)
    }

    /// Whether a shard is still listed: open, or closed for less than retention.
    pub(crate) fn is_listed(&self, shard: &Shard, now_ms: u64) -> bool {
        shard.closed_ms.is_none_or(|closed| closed >= self.horizon(now_ms))
    }
}
