//! The journal so naive that it is obviously right: per shard a list, metadata a map, and what waits for its ticket.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use headwater_journal::{Core, FIRST_SEQUENCE, MetaValue, ReadLimits, ShardKey, Storage};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) time_ms: u64,
    pub(crate) key: Vec<u8>,
    pub(crate) data: Vec<u8>,
    pub(crate) ticket: u64,
}

#[derive(Clone, Default)]
pub(crate) struct Shard {
    /// Acknowledged; the first has `FIRST_SEQUENCE`. Never shortened.
    pub(crate) records: Vec<Record>,
    /// Nothing before this must be there any more.
    pub(crate) retired: u64,
    pub(crate) held: Option<u64>,
}

impl Shard {
    pub(crate) fn end(&self) -> u64 {
        FIRST_SEQUENCE + self.records.len() as u64
    }

    pub(crate) fn get(&self, sequence: u64) -> Option<&Record> {
        self.records.get(usize::try_from(sequence.checked_sub(FIRST_SEQUENCE)?).ok()?)
    }
}

/// A metadata value; the version is known once the journal has said it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) value: Vec<u8>,
    pub(crate) version: Option<u64>,
}

#[derive(Clone)]
pub(crate) struct Staged {
    pub(crate) ticket: u64,
    pub(crate) records: Vec<(ShardKey, Record)>,
    pub(crate) meta: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

#[derive(Clone, Default)]
pub(crate) struct Model {
    pub(crate) shards: BTreeMap<ShardKey, Shard>,
    pub(crate) meta: BTreeMap<Vec<u8>, Meta>,
    /// Every value a key ever had, for telling an old value from an invented one.
    pub(crate) meta_ever: BTreeSet<(Vec<u8>, Vec<u8>)>,
    pub(crate) staged: VecDeque<Staged>,
    /// Ages that may be in force per stream, each with the ticket that makes it the only one.
    pub(crate) ages_ms: BTreeMap<u32, Vec<(u64, u64)>>,
    pub(crate) dropped: BTreeSet<u32>,
    pub(crate) durable: u64,
}

impl Model {
    /// Next sequence of a shard, staged records counted.
    pub(crate) fn tip(&self, shard: ShardKey) -> u64 {
        let waiting =
            self.staged.iter().flat_map(|staged| &staged.records).filter(|(at, _)| *at == shard).count();
        self.shards.get(&shard).map_or(FIRST_SEQUENCE, Shard::end) + waiting as u64
    }

    /// Time of a shard's newest record, staged ones counted.
    pub(crate) fn newest_ms(&self, shard: ShardKey) -> u64 {
        let staged = self.staged.iter().flat_map(|staged| &staged.records).rev();
        let newest = staged.filter(|(at, _)| *at == shard).map(|(_, record)| record.time_ms).next();
        let durable = || Some(self.shards.get(&shard)?.records.last()?.time_ms);
        newest.or_else(durable).unwrap_or(0)
    }

    pub(crate) fn stage(&mut self, staged: Staged) {
        for (key, value) in &staged.meta {
            if let Some(value) = value {
                self.meta_ever.insert((key.clone(), value.clone()));
            }
        }
        self.staged.push_back(staged);
    }

    /// Everything up to `ticket` was acknowledged.
    pub(crate) fn acknowledge(&mut self, ticket: u64) {
        while let Some(staged) = self.staged.pop_front_if(|staged| staged.ticket <= ticket) {
            for (shard, record) in staged.records {
                self.shards.entry(shard).or_default().records.push(record);
            }
            for (key, value) in staged.meta {
                match value {
                    Some(value) => self.meta.insert(key, Meta { value, version: None }),
                    None => self.meta.remove(&key),
                };
            }
        }
        for ages in self.ages_ms.values_mut() {
            let newest = ages.iter().rposition(|(_, sure)| *sure <= ticket).unwrap_or(0);
            ages.drain(..newest);
        }
        self.durable = self.durable.max(ticket);
    }

    pub(crate) fn trim(&mut self, shard: ShardKey, before: u64) {
        if let Some(shard) = self.shards.get_mut(&shard) {
            shard.retired = shard.retired.max(before);
        }
    }

    /// Lets go of what is older than its stream's age, but for what is held.
    pub(crate) fn retire(&mut self, now_ms: u64) {
        for (key, shard) in &mut self.shards {
            let ages = self.ages_ms.get(&key.stream).into_iter().flatten();
            let Some(age_ms) = ages.map(|(age_ms, _)| *age_ms).min() else { continue };
            let young = |record: &Record| record.time_ms.saturating_add(age_ms) >= now_ms;
            let first = shard.records.iter().position(young).unwrap_or(shard.records.len());
            let first = FIRST_SEQUENCE + first as u64;
            shard.retired = shard.retired.max(shard.held.map_or(first, |held| first.min(held)));
        }
    }

    /// After a reopening: which of the unacknowledged groups are there decides what the model holds from now on.
    pub(crate) fn adopt<S: Storage>(&mut self, core: &Core<S>) -> Result<(), String> {
        let mut survivors = 0;
        let mut reasons = Vec::new();
        loop {
            let mut candidate = self.clone();
            candidate.staged.truncate(survivors);
            candidate.acknowledge(candidate.staged.back().map_or(0, |staged| staged.ticket));
            match candidate.agrees(core) {
                Ok(()) => {
                    candidate.durable = core.durable().0;
                    // Group numbers that were lost are given again: which age is in force is not known until the next one is.
                    candidate.ages_ms.values_mut().flatten().for_each(|(_, sure)| *sure = u64::MAX);
                    *self = candidate;
                    return Ok(());
                }
                Err(reason) => reasons.push(format!("with {survivors} unacknowledged sets: {reason}")),
            }
            let Some(next) = self.staged.get(survivors) else { return Err(reasons.join("; ")) };
            // A group is there whole or not at all, with every set in it.
            survivors = self.staged.iter().take_while(|staged| staged.ticket <= next.ticket).count();
        }
    }

    /// Whether ends and metadata are the model's; cheap, so that candidates can be tried.
    fn agrees<S: Storage>(&self, core: &Core<S>) -> Result<(), String> {
        for (key, shard) in &self.shards {
            let end = core.bounds(*key).map_or(FIRST_SEQUENCE, |bounds| bounds.end);
            if end != shard.end() && !self.dropped.contains(&key.stream) {
                return Err(format!("{key:?} ends at {end}, expected {}", shard.end()));
            }
        }
        let unknown = |key: &ShardKey| !self.shards.contains_key(key) && !self.dropped.contains(&key.stream);
        if let Some(key) = core.shards().into_iter().find(unknown) {
            return Err(format!("{key:?} has records, {:?}", core.bounds(key)));
        }
        let found = core.meta_list(b"");
        let same =
            |(key, found): &(Vec<u8>, MetaValue)| self.meta.get(key).is_some_and(|meta| meta.is(found));
        match found.iter().find(|found| !same(found)) {
            Some((key, found)) => {
                Err(format!("metadata {key:?} is {found:?}, expected {:?}", self.meta.get(key)))
            }
            None if found.len() != self.meta.len() => {
                Err(format!("{} metadata keys, expected {}", found.len(), self.meta.len()))
            }
            None => Ok(()),
        }
    }

    /// Compares everything readable with the model, and learns the versions of metadata.
    pub(crate) fn check<S: Storage>(&mut self, core: &Core<S>, limits: ReadLimits) -> Result<(), String> {
        self.agrees(core)?;
        for (key, found) in core.meta_list(b"") {
            if let Some(meta) = self.meta.get_mut(&key) {
                meta.version = Some(found.version);
            }
        }
        let keys: Vec<ShardKey> = self.shards.keys().copied().collect();
        keys.into_iter().try_for_each(|key| self.check_shard(core, key, limits))
    }

    /// Reads one shard from its first record to its end.
    pub(crate) fn check_shard<S: Storage>(
        &self,
        core: &Core<S>,
        key: ShardKey,
        limits: ReadLimits,
    ) -> Result<(), String> {
        let Some(shard) = self.shards.get(&key) else { return Ok(()) };
        let retired =
            if self.dropped.contains(&key.stream) { u64::MAX } else { shard.retired.min(shard.end()) };
        let Some(bounds) = core.bounds(key) else {
            let may_be_gone = shard.records.is_empty() || retired == u64::MAX;
            return if may_be_gone { Ok(()) } else { Err(format!("{key:?} is unknown")) };
        };
        if retired != u64::MAX && (bounds.first > retired.max(FIRST_SEQUENCE) || bounds.end != shard.end()) {
            let end = shard.end();
            let (ages, times) = (
                self.ages_ms.get(&key.stream),
                shard.records.iter().map(|record| record.time_ms % 1_000_000),
            );
            let times: Vec<u64> = times.collect();
            return Err(format!(
                "{key:?}: {bounds:?}, expected from {retired} or before to {end}; ages {ages:?}, times {times:?}"
            ));
        }
        let mut next = bounds.first;
        let mut calls = 0;
        while next < bounds.end {
            let page =
                core.read(key, next, limits).map_err(|error| format!("{key:?} from {next}: {error}"))?;
            if let Some(gap) = page.gaps.first() {
                return Err(format!("{key:?} from {next}: {gap:?} in a journal without damage"));
            }
            for record in page.records() {
                self.check_record(key, record.sequence, next, record.time_ms, record.key, record.data)?;
                next += 1;
            }
            if page.next != next {
                return Err(format!("{key:?}: page ends at {}, its records at {next}", page.next));
            }
            calls += 1;
            if calls > shard.records.len() {
                return Err(format!("{key:?}: read stands still at {next}"));
            }
        }
        Ok(())
    }

    fn check_record(
        &self,
        shard: ShardKey,
        sequence: u64,
        expected: u64,
        time_ms: u64,
        key: &[u8],
        data: &[u8],
    ) -> Result<(), String> {
        if sequence != expected {
            return Err(format!("{shard:?}: record {sequence} where {expected} was next"));
        }
        match self.shards.get(&shard).and_then(|shard| shard.get(sequence)) {
            Some(known) if known.time_ms == time_ms && known.key == key && known.data == data => Ok(()),
            Some(known) => Err(format!(
                "{shard:?} record {sequence}: {time_ms} {key:?} {} bytes, expected {} {:?} {} bytes",
                data.len(),
                known.time_ms,
                known.key,
                known.data.len()
            )),
            None => Err(format!("{shard:?} record {sequence} was never appended")),
        }
    }
}

impl Meta {
    pub(crate) fn is(&self, found: &MetaValue) -> bool {
        self.value == found.value && self.version.is_none_or(|version| version == found.version)
    }
}
