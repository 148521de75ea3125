//! One stream of the gateway, as far as it is durable.

use crate::identity::{Identity, Names};
use crate::inhabitant::{Broken, Stored};
use crate::reading::{self, Found};
use crate::trace::Trace;
use headwater_engine::{Engine, ShardId, StreamHandle};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
pub(super) struct Source {
    shards: BTreeMap<u32, Shard>,
    seen: BTreeSet<Identity>,
    /// The newest entry of each device.
    last: BTreeMap<u32, Identity>,
    trimmed: Vec<Identity>,
    /// Everything that ever was durable, where somebody compares it.
    kept: Option<Vec<Stored>>,
}

#[derive(Default, Clone)]
struct Shard {
    next: u64,
    records: Vec<(u64, Identity)>,
    /// How many of them, from the first on, cannot be read any more.
    gone: usize,
}

impl Source {
    /// Keeps what it reads when asked to: some records are too old in the end.
    pub(super) fn new(keeps: bool) -> Self {
        Self { kept: keeps.then(Vec::new), ..Self::default() }
    }

    /// Everything that ever was durable, if it is kept.
    pub(super) fn kept(&self) -> Option<&[Stored]> {
        self.kept.as_deref()
    }

    /// Reads what is new. False when the shards cannot be read.
    pub(super) fn read(
        &mut self,
        stream: &str,
        engine: &Engine,
        names: &mut Names,
        trace: &mut Trace,
    ) -> Result<bool, Broken> {
        let Some(handle) = reading::stream(engine, stream) else { return Ok(true) };
        for id in reading::shards(&handle) {
            let shard = self.shards.entry(id.0).or_default();
            if reading::end(engine, &handle, id).is_none_or(|end| end <= shard.next) {
                continue;
            }
            let mut found = Vec::new();
            let Some(next) = reading::read(engine, &handle, id, shard.next, &mut found) else {
                return Ok(false);
            };
            shard.next = next;
            for record in found {
                trace.fold(format_args!("{stream} {id}"), &record.data);
                self.take(stream, id, &record, names)?;
            }
        }
        self.note_trimmed(engine, &handle);
        Ok(true)
    }

    fn note_trimmed(&mut self, engine: &Engine, handle: &StreamHandle) {
        for (&id, shard) in &mut self.shards {
            let oldest = reading::oldest(engine, handle, ShardId(id)).unwrap_or(0);
            while let Some((_, identity)) = shard.records.get(shard.gone).filter(|&&(at, _)| at < oldest) {
                self.trimmed.push(*identity);
                shard.gone += 1;
            }
        }
    }

    /// Holds what can be read now against what was durable before; what is new is read later. False when the shards cannot be read.
    pub(super) fn check(&self, stream: &str, engine: &Engine, names: &mut Names) -> Result<bool, Broken> {
        let Some(handle) = reading::stream(engine, stream) else {
            return match self.seen.is_empty() {
                true => Ok(true),
                false => Err(Broken(format!("{stream} is gone, and held {} records", self.seen.len()))),
            };
        };
        for (&id, shard) in &self.shards {
            let number = ShardId(id);
            let mut found = Vec::new();
            let oldest = reading::oldest(engine, &handle, number).unwrap_or(0);
            if reading::read(engine, &handle, number, oldest, &mut found).is_none() {
                return Ok(false);
            }
            let now: Vec<_> = found
                .iter()
                .filter_map(|record| Some((record.position, names.identify(&record.data)?)))
                .collect();
            // What is too old for the stream may be gone.
            let kept = &shard.records[shard.records.partition_point(|&(at, _)| at < oldest)..];
            if now.starts_with(kept) {
                continue;
            }
            let place = now.iter().zip(kept).take_while(|(now, before)| now == before).count();
            let lost = kept.get(place).map(|&(at, id)| format!("{} at {at}", names.show(id)));
            let end = reading::end(engine, &handle, number);
            return Err(Broken(format!(
                "{stream} shard {id} held {} records from {oldest} on that were durable, now {} until {end:?}: {} is not where it was",
                kept.len(),
                now.len(),
                lost.unwrap_or_default()
            )));
        }
        Ok(true)
    }

    /// Records that were trimmed since this was asked last.
    pub(super) fn trimmed(&mut self) -> Vec<Identity> {
        std::mem::take(&mut self.trimmed)
    }

    fn take(&mut self, stream: &str, id: ShardId, record: &Found, names: &mut Names) -> Result<(), Broken> {
        if let Some(kept) = &mut self.kept {
            let (stream, key, data) = (stream.to_owned(), record.key.clone(), record.data.clone());
            kept.push(Stored { stream, shard: id.0, key, data });
        }
        let Some(identity) = names.identify(&record.data) else { return Ok(()) };
        if !self.seen.insert(identity) {
            return Err(Broken(format!("{} is twice in {stream}", names.show(identity))));
        }
        if let Some(last) = self.last.insert(identity.device, identity)
            && last > identity
        {
            return Err(Broken(format!(
                "{} came before {} in {stream} shard {}",
                names.show(last),
                names.show(identity),
                id.0
            )));
        }
        if let Some(shard) = self.shards.get_mut(&id.0) {
            shard.records.push((record.position, identity));
        }
        Ok(())
    }

    pub(super) fn has(&self, id: Identity) -> bool {
        self.seen.contains(&id)
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = Identity> + '_ {
        self.seen.iter().copied()
    }

    /// The records of a shard at places from `from` on and before `to`.
    pub(super) fn between(&self, shard: u32, from: u64, to: u64) -> impl Iterator<Item = Identity> + '_ {
        let records = self.shards.get(&shard).map_or(&[][..], |shard| &shard.records);
        let start = records.partition_point(|&(at, _)| at < from);
        records[start..].iter().take_while(move |&&(at, _)| at < to).map(|&(_, id)| id)
    }
}

/// Everything a stream holds, in the order of its shards.
pub(super) fn everything(stream: &str, engine: &Engine) -> Vec<Stored> {
    let Some(handle) = reading::stream(engine, stream) else { return Vec::new() };
    let mut stored = Vec::new();
    for id in reading::shards(&handle) {
        let mut found = Vec::new();
        let from = reading::oldest(engine, &handle, id).unwrap_or(0);
        reading::read(engine, &handle, id, from, &mut found);
        stored.extend(found.into_iter().map(|record| Stored {
            stream: stream.to_owned(),
            shard: id.0,
            key: record.key,
            data: record.data,
        }));
    }
    stored
}
