//! What the world knows to be true, held against what the gateway's and the target's shards hold, after every step.
//!
//! In: both engines, from outside. Out: the first broken promise. Invariants looked at: what was read once as durable stays where it is;
//! nothing is twice in our own engine; each key is in order there, and in the order of first arrivals at each target stream; a stored
//! cursor never goes back and never passes a record that its target does not have, that is no dead letter, and that nobody counts as lost;
//! only what a target never takes is a dead letter; what publishers were promised is there. Each sink of a stream for itself.

mod letters;
mod source;
mod target;

use crate::edge;
use crate::identity::{Identity, Names};
use crate::inhabitant::{Broken, Stored};
use crate::plan::{Plan, Sink, target_of};
use crate::promises::Promises;
use crate::trace::Trace;
use headwater_engine::Engine;
use headwater_relay::Progress;
use letters::Letters;
use source::Source;
use std::collections::BTreeMap;
use target::Arrived;

pub(crate) struct Books {
    names: Names,
    promises: Promises,
    sinks: Vec<Sink>,
    sources: BTreeMap<String, Source>,
    /// By the name of the target stream.
    arrived: BTreeMap<String, Arrived>,
    letters: Letters,
    cursors: BTreeMap<Vec<u8>, Cursor>,
}

/// A cursor as it was found last.
#[derive(Default)]
struct Cursor {
    checkpoint: u64,
    /// Places below the checkpoint whose records the target does not have.
    missing: u64,
}

impl Books {
    pub(crate) fn new(plan: &Plan, promises: Promises) -> Self {
        let source = |name: &String| (name.clone(), Source::new(name == edge::STREAM));
        let sources = plan.streams.iter().map(source).collect();
        let arrived = plan.sinks.iter().flat_map(|sink| {
            sink.streams.iter().map(|stream| (target_of(&sink.name, stream), Arrived::new(sink.is_ordered)))
        });
        Self {
            names: Names::default(),
            promises,
            arrived: arrived.collect(),
            sinks: plan.sinks.clone(),
            sources,
            letters: Letters::default(),
            cursors: BTreeMap::new(),
        }
    }

    /// The gateway came back: everything is read again and held against what was there, and against what was promised. False when it cannot
    /// be read.
    pub(crate) fn handle_boot(&mut self, gateway: &Engine) -> Result<bool, Broken> {
        for (stream, source) in &mut self.sources {
            let is_read = source.check(stream, gateway, &mut self.names)?
                && source.read(stream, gateway, &mut self.names, &mut Trace::default())?;
            if !is_read {
                return Ok(false);
            }
        }
        self.check_promises()?;
        Ok(true)
    }

    /// Looks at what is new. `is_settled`: everything that the gateway staged is durable. False when its shards cannot be read.
    pub(crate) fn look(
        &mut self,
        gateway: Option<&Engine>,
        is_settled: bool,
        target: Option<&Engine>,
        (now, trace): (u64, &mut Trace),
    ) -> Result<bool, Broken> {
        if let Some(gateway) = gateway {
            for (stream, source) in &mut self.sources {
                if !source.read(stream, gateway, &mut self.names, trace)? {
                    return Ok(false);
                }
            }
            if !self.letters.read(gateway, &self.sinks, &mut self.names, trace)? {
                return Ok(false);
            }
        }
        if let Some(target) = target {
            for (stream, arrived) in &mut self.arrived {
                arrived.read(stream, target, &mut self.names, trace)?;
            }
        }
        self.check_trimmed()?;
        match gateway {
            Some(gateway) if is_settled => self.check_cursors(gateway, now, trace)?,
            _ => {}
        }
        Ok(true)
    }

    /// Records of a stream that a sink has neither delivered nor set aside.
    pub(crate) fn missing(&self, sink: &str, stream: &str) -> u64 {
        self.all_missing(sink, stream).count() as u64
    }

    /// One that is missing, in words.
    pub(crate) fn first_missing(&self) -> Option<String> {
        self.pairs().find_map(|(sink, stream)| {
            let id = self.all_missing(sink, stream).next()?;
            Some(format!("{} to {sink}", self.names.show(id)))
        })
    }

    /// Records of a stream that are dead letters of a sink.
    pub(crate) fn set_aside(&self, sink: &str, stream: &str) -> u64 {
        self.letters.count(sink, stream)
    }

    fn all_missing(&self, sink: &str, stream: &str) -> impl Iterator<Item = Identity> {
        let (letters, arrived) = (&self.letters, self.arrived.get(&target_of(sink, stream)));
        let ids = self.sources.get(stream).into_iter().flat_map(Source::ids);
        ids.filter(move |id| {
            arrived.is_none_or(|arrived| !arrived.has(*id)) && !letters.has(sink, stream, *id)
        })
    }

    /// Everything that the gateway's streams hold, and of the devices' stream what it ever held.
    pub(crate) fn stored(&self, gateway: &Engine) -> Vec<Stored> {
        let all = |(stream, source): (&String, &Source)| match source.kept() {
            Some(kept) => kept.to_vec(),
            None => source::everything(stream, gateway),
        };
        self.sources.iter().flat_map(all).collect()
    }

    /// The target's streams.
    pub(crate) fn target_streams(&self) -> Vec<String> {
        self.arrived.keys().cloned().collect()
    }

    /// Records in the gateway's streams, and those of them that arrived anywhere.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let stored = self.sources.values().map(|source| source.ids().count()).sum();
        (stored, self.arrived.values().map(Arrived::count).sum())
    }

    /// Every stream of every sink.
    pub(crate) fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.sinks
            .iter()
            .flat_map(|sink| sink.streams.iter().map(|stream| (sink.name.as_str(), stream.as_str())))
    }

    pub(crate) fn check_promises(&mut self) -> Result<(), Broken> {
        for ((stream, device, boot), through) in self.promises.all() {
            let Some(source) = self.sources.get(&stream) else { continue };
            let number = self.names.number(&device);
            let missing = (0..through).find(|&seq| !source.has(Identity { device: number, boot, seq }));
            if let Some(seq) = missing {
                return Err(Broken(format!(
                    "{device} boot {boot} was told that everything before {through} is stored in {stream}, and {seq} is not there"
                )));
            }
        }
        Ok(())
    }

    /// What a required sink has not delivered stays, however old.
    fn check_trimmed(&mut self) -> Result<(), Broken> {
        for (stream, source) in &mut self.sources {
            for id in source.trimmed() {
                let carries =
                    |sink: &&Sink| sink.is_required && !sink.may_drop && sink.streams.contains(stream);
                for sink in self.sinks.iter().filter(carries) {
                    let arrived = self.arrived.get(&target_of(&sink.name, stream));
                    let is_there = arrived.is_some_and(|arrived| arrived.has(id));
                    if !is_there && !self.letters.has(&sink.name, stream, id) {
                        let id = self.names.show(id);
                        return Err(Broken(format!(
                            "{id} is trimmed from {stream} and {} has not delivered it",
                            sink.name
                        )));
                    }
                }
            }
        }
        Ok(())
    }

    fn check_cursors(&mut self, gateway: &Engine, now: u64, trace: &mut Trace) -> Result<(), Broken> {
        for (key, value) in gateway.meta_list(b"g/sink/") {
            let Some((sink, stream, shard)) = self.place(gateway, &key) else { continue };
            let Some(progress) = headwater::forward::decode_cursor(&value.value) else {
                return Err(Broken(format!("cursor {} cannot be read", key.escape_ascii())));
            };
            let cursor = self.cursors.entry(key.clone()).or_default();
            let name = format!("cursor of {sink} in {stream} shard {shard}");
            if progress.checkpoint.0 < cursor.checkpoint {
                let (from, to) = (cursor.checkpoint, progress.checkpoint.0);
                return Err(Broken(format!("{name} went back from {from} to {to}")));
            }
            let (Some(source), Some(arrived)) =
                (self.sources.get(&stream), self.arrived.get(&target_of(&sink, &stream)))
            else {
                continue;
            };
            let is_missing = |id: &Identity| !arrived.has(*id) && !self.letters.has(&sink, &stream, *id);
            if progress.checkpoint.0 > cursor.checkpoint {
                trace.note(now, format_args!("{name} at {}", progress.checkpoint.0));
                let passed = source.between(shard, cursor.checkpoint, progress.checkpoint.0);
                cursor.missing += passed.filter(is_missing).count() as u64;
                cursor.checkpoint = progress.checkpoint.0;
            }
            check_counted(&name, &progress, cursor.missing, |from, to| {
                source.between(shard, from, to).filter(is_missing).count() as u64
            })?;
        }
        Ok(())
    }

    /// Sink, stream and shard of a cursor's key.
    fn place(&self, gateway: &Engine, key: &[u8]) -> Option<(String, String, u32)> {
        let mut parts = std::str::from_utf8(key).ok()?.strip_prefix("g/sink/")?.split('/');
        let (sink, number, shard): (_, u32, _) =
            (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let stream = self.sources.keys().find(|name| {
            crate::reading::stream(gateway, name).is_some_and(|stream| stream.number().0 == number)
        })?;
        Some((sink.to_owned(), stream.clone(), shard))
    }
}

/// What a cursor passes is at the target, a dead letter, or counted as dropped.
fn check_counted(
    name: &str,
    progress: &Progress,
    missing_below: u64,
    missing_in: impl Fn(u64, u64) -> u64,
) -> Result<(), Broken> {
    let done: u64 = progress.done.iter().map(|range| missing_in(range.start.0, range.end.0)).sum();
    let (missing, dropped) = (missing_below + done, progress.ledger.dropped_total());
    if missing > dropped {
        let checkpoint = progress.checkpoint.0;
        return Err(Broken(format!(
            "{name} is at {checkpoint} and passes {missing} records that the target does not have and that are no dead letters; {dropped} are counted as dropped"
        )));
    }
    Ok(())
}
