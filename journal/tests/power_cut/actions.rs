//! What happens in a life: appends, commits, upkeep, trims, holds, reads, each told to the journal and to the model.
//!
//! Not here: faults, and how lives begin and end (`world`).

use headwater_journal::{AppendError, AppendSet, Core, ShardKey};

use crate::model::{Record, Staged};
use crate::world::{Over, World};

/// Payload bytes a set may have and still fit: half a segment of 64 KiB, less 2 KiB for the framing of its at most 12 records,
/// run headers and footer entries, two changes, and the short payloads that come when this is reached.
const SET_DATA_BYTES: u64 = 30 << 10;

/// Whether an action was the last of its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Running,
    Stopped,
}

impl<O: Over> World<O> {
    pub(crate) fn act(&mut self, core: &Core<O::Storage>) -> Result<End, String> {
        if let Some(change) = self.coding.change(core) {
            self.log.push(change);
        }
        let shard = self.chance.pick(&self.shards);
        match self.chance.weighted(&[40, 25, 12, 6, 2, 2, 5, 8]) {
            0 => return self.append(core),
            1 => {
                let committed = core.commit();
                self.log.push(format!("commit: {committed:?}"));
                if committed.is_err() {
                    return self.refused(core);
                }
            }
            2 => {
                self.model.retire(self.now_ms);
                let more = core.maintain(self.now_ms);
                self.log.push(format!("maintain: {more}"));
            }
            3 => {
                let first = core.bounds(shard).map_or(1, |bounds| bounds.first);
                let end = self.model.shards.get(&shard).map_or(1, |shard| shard.end());
                let held = self.model.shards.get(&shard).and_then(|shard| shard.held).unwrap_or(end);
                let before = (first + self.chance.below(end.saturating_sub(first) + 1)).min(held);
                self.log.push(format!("trim {shard:?} before {before}"));
                self.model.trim(shard, before);
                core.trim(shard, before);
            }
            4 => {
                let age_ms = 1000 + self.chance.below(60_000);
                self.log.push(format!("retain stream {} for {age_ms} ms", shard.stream));
                self.model.retire(self.now_ms);
                core.retain(shard.stream, Some(age_ms));
                // With a full disk it is not kept at all; then there is no group to wait for.
                let group = core.barrier();
                let sure = if group > core.durable() { group.0 } else { u64::MAX };
                self.model.ages_ms.entry(shard.stream).or_default().push((age_ms, sure));
            }
            5 => self.hold(core, shard),
            6 => self.now_ms += self.chance.below(10_000),
            _ => {
                let limits = self.read_limits();
                self.log.push(format!("read {shard:?}"));
                self.model.check_shard(core, shard, limits)?;
                self.check_seek(core, shard)?;
            }
        }
        Ok(End::Running)
    }

    /// Holds a shard from a place that must still be there, or releases it.
    fn hold(&mut self, core: &Core<O::Storage>, key: ShardKey) {
        self.model.retire(self.now_ms);
        let Some(shard) = self.model.shards.get_mut(&key) else { return };
        shard.held = match shard.held {
            Some(_) => None,
            None => Some(shard.retired.max(1) + self.chance.below(shard.end().saturating_sub(shard.retired))),
        };
        self.log.push(format!("hold {key:?}: {:?}", shard.held));
        match shard.held {
            Some(from) => core.hold(key, from),
            None => core.release(key),
        }
        // What only the hold kept goes by its age now.
        self.model.retire(self.now_ms);
    }

    fn append(&mut self, core: &Core<O::Storage>) -> Result<End, String> {
        let (set, mut staged, mut firsts) = self.make_set();
        let appended = core.append(&set, self.now_ms);
        self.log.push(format!(
            "append {} records, {} changes: {appended:?}",
            staged.records.len(),
            staged.meta.len()
        ));
        match appended {
            Ok(appended) => {
                firsts.dedup_by_key(|(batch, _)| *batch);
                let expected: Vec<u64> = firsts.iter().map(|(_, first)| *first).collect();
                if appended.firsts[..] != expected[..] {
                    return Err(format!("given sequences {:?}, expected {expected:?}", appended.firsts));
                }
                staged.ticket = appended.ticket.0;
                for (_, record) in &mut staged.records {
                    record.ticket = staged.ticket;
                }
                self.model.stage(staged);
                Ok(End::Running)
            }
            Err(AppendError::Failed(_)) => self.refused(core),
            Err(AppendError::Busy { .. }) => Ok(End::Running),
            Err(AppendError::Full) => {
                self.make_room(core);
                Ok(End::Running)
            }
            Err(error) => Err(format!("append refused: {error}")),
        }
    }

    /// After a failure everything must be refused until the journal is opened again.
    fn refused(&mut self, core: &Core<O::Storage>) -> Result<End, String> {
        let (set, ..) = self.make_set();
        match (core.append(&set, self.now_ms), core.commit()) {
            (Err(AppendError::Failed(_)), Err(_)) => Ok(End::Stopped),
            (append, commit) => Err(format!("after a failure: {append:?}, {commit:?}")),
        }
    }

    /// A set for one to four shards with metadata changes among them, and what the model must think of it.
    fn make_set(&mut self) -> (AppendSet, Staged, Vec<(usize, u64)>) {
        let mut set = AppendSet::new();
        let mut staged = Staged { ticket: 0, records: Vec::new(), meta: Vec::new() };
        let mut firsts = Vec::new();
        for _ in 0..self.chance.below(4) {
            let shard = self.chance.pick(&self.shards);
            for _ in 0..=self.chance.below(3) {
                let batch = set.batch(shard);
                let ahead = staged.records.iter().filter(|(at, _)| *at == shard).count() as u64;
                firsts.push((batch, self.model.tip(shard) + ahead));
                let record = self.make_record(&staged, shard);
                set.record(&record.key, &record.data);
                staged.records.push((shard, record));
            }
        }
        for _ in 0..self.chance.below(3) {
            let key = format!("k{}", self.chance.below(5)).into_bytes();
            // At the version the model knows; a key that this or a waiting set has changed has another.
            let waiting = self.model.staged.iter().flat_map(|staged| &staged.meta).chain(&staged.meta);
            let changed = waiting.filter(|(changed, _)| *changed == key).count() > 0;
            let known = self.model.meta.get(&key).map_or(Some(0), |meta| meta.version);
            let expect = known.filter(|_| !changed && self.chance.percent(50));
            if self.chance.percent(25) {
                set.delete(&key, expect);
                staged.meta.push((key, None));
            } else {
                let len = self.chance.below(40);
                let value = self.chance.bytes(len);
                set.put(&key, &value, expect);
                staged.meta.push((key, Some(value)));
            }
        }
        (set, staged, firsts)
    }

    fn make_record(&mut self, staged: &Staged, shard: ShardKey) -> Record {
        self.made += 1;
        let drawn =
            if self.chance.percent(3) { 3000 + self.chance.below(9000) } else { self.chance.below(60) };
        let filled: u64 = staged.records.iter().map(|(_, record)| record.data.len() as u64).sum();
        // Shortened, not drawn again: worlds without such a set stay what they were, whatever their seed.
        let len = if filled + drawn > SET_DATA_BYTES { drawn % 60 } else { drawn };
        let before =
            staged.records.iter().rev().find(|(at, _)| *at == shard).map(|(_, record)| record.time_ms);
        let time_ms = before.unwrap_or_else(|| self.model.newest_ms(shard)).max(self.now_ms);
        let data = self.chance.bytes(len);
        let data = self.coding.payload(data);
        Record { time_ms, key: self.made.to_string().into_bytes(), data, ticket: 0 }
    }

    /// The journal is full: let go of most of every shard.
    fn make_room(&mut self, core: &Core<O::Storage>) {
        self.model.retire(self.now_ms);
        for key in self.shards.clone() {
            core.release(key);
            if let Some(shard) = self.model.shards.get_mut(&key) {
                shard.held = None;
                let before = shard.end() - shard.records.len() as u64 / 8;
                self.model.trim(key, before);
                core.trim(key, before);
            }
        }
        // What only a hold kept goes by its age now.
        self.model.retire(self.now_ms);
        let mut steps = 0;
        while core.maintain(self.now_ms) && steps < 100 {
            steps += 1;
        }
        self.log.push(format!("made room in {steps} steps"));
    }

    fn check_seek(&mut self, core: &Core<O::Storage>, key: ShardKey) -> Result<(), String> {
        let (Some(shard), Some(bounds)) = (self.model.shards.get(&key), core.bounds(key)) else {
            return Ok(());
        };
        let time_ms = self.now_ms.saturating_sub(self.chance.below(30_000));
        let found = core.seek_time(key, time_ms).map_err(|error| format!("{key:?} at {time_ms}: {error}"))?;
        let late = |sequence: &u64| shard.get(*sequence).is_some_and(|record| record.time_ms >= time_ms);
        let expected = (bounds.first..bounds.end).find(late).unwrap_or(bounds.end);
        if found == expected {
            Ok(())
        } else {
            Err(format!("{key:?} at {time_ms}: found {found}, expected {expected} in {bounds:?}"))
        }
    }
}
