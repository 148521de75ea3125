//! What an agent promised, held against what its disk and the gateway said.
//!
//! In: the records that are durable in its spool, its durable checkpoint, the PUBACKs that came to it, the acks it sends, what its devices
//! let go. Out: the first promise that is broken.
//! Not here: what the gateway holds in the end (`edge`).

use crate::inhabitant::Broken;
use headwater_agent::simulation::{SPOOL, SimulatedAgent};
use headwater_journal::{FIRST_SEQUENCE, ReadLimits};
use headwater_telemetry::{CommandResult, ResetReason, Up, decode_body};
use std::collections::{BTreeMap, BTreeSet};

const PAGE: ReadLimits = ReadLimits { records: 1_000, bytes: 1 << 20 };

/// The PUBACKs an agent had that let a record go: what each was for.
#[derive(Debug, Default)]
pub(super) struct Answered {
    all: BTreeSet<u64>,
    /// Results of commands among them, with their devices.
    results: Vec<(String, CommandResult)>,
}

impl Answered {
    /// Notes a PUBACK.
    pub(super) fn note(&mut self, topic: &str, payload: &[u8], reason: u8) {
        // 0x10: nobody wanted it. What is no batch may be unwanted.
        if reason == 0 || (reason == 0x10 && !topic.ends_with("/batch")) {
            self.all.insert(hash(topic, payload));
        }
        let device = topic.strip_prefix("headwater/").and_then(|rest| rest.strip_suffix("/result"));
        if let (0, Some(device), Ok(Up::CommandResult(result))) = (reason, device, decode_body::<Up>(payload))
        {
            self.results.push((device.to_owned(), result));
        }
    }

    pub(super) fn take_results(&mut self) -> Vec<(String, CommandResult)> {
        std::mem::take(&mut self.results)
    }
}

/// One agent's.
#[derive(Debug)]
pub(super) struct Ledger {
    name: String,
    /// Records before this place were looked at when they became durable.
    scanned: u64,
    checkpoint: u64,
    /// Durable and not yet behind the durable checkpoint: what they are, by place.
    waiting: BTreeMap<u64, (String, u64)>,
    /// Behind the durable checkpoint.
    done: BTreeSet<u64>,
    sent: BTreeSet<u64>,
    repeats: u64,
    /// Device and boot: how far it is durable here.
    durable: BTreeMap<(String, u32), u32>,
    /// Device and boot: how far it was acked.
    acked: BTreeMap<(String, u32), u32>,
    /// Device and boot: whether it said that it was asked for.
    births: BTreeMap<(String, u32), bool>,
}

impl Ledger {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            scanned: FIRST_SEQUENCE,
            checkpoint: FIRST_SEQUENCE,
            waiting: BTreeMap::new(),
            done: BTreeSet::new(),
            sent: BTreeSet::new(),
            repeats: 0,
            durable: BTreeMap::new(),
            acked: BTreeMap::new(),
            births: BTreeMap::new(),
        }
    }

    /// More is durable than before, or the spool was opened.
    pub(super) fn handle_durable(
        &mut self,
        agent: &SimulatedAgent,
        answered: &Answered,
    ) -> Result<(), Broken> {
        let bounds = agent.journal().bounds(SPOOL);
        let end = bounds.map_or(FIRST_SEQUENCE, |bounds| bounds.end);
        if end < self.scanned {
            return self.broken(format!("records {end} to {} were durable and are gone", self.scanned - 1));
        }
        while self.scanned < end {
            let page = agent.journal().read(SPOOL, self.scanned, PAGE);
            let page = page.map_err(|error| self.as_broken(format!("spool cannot be read: {error}")))?;
            if let Some(gap) = page.gaps.first() {
                return self.broken(format!("records {} to {} are lost", gap.first, gap.last));
            }
            for record in page.records() {
                let key = String::from_utf8_lossy(record.key);
                self.handle_record(record.sequence, &key, record.data);
            }
            self.scanned = page.next;
        }
        // What is asked for is what is staged: it is durable when everything is.
        if agent.journal().durable() < agent.journal().barrier() {
            return Ok(());
        }
        self.handle_checkpoint(agent.checkpoint(), answered)
    }

    fn handle_record(&mut self, offset: u64, key: &str, body: &[u8]) {
        if let (Some(device), Ok(Up::Batch(batch))) = (key.strip_suffix("/batch"), decode_body::<Up>(body))
            && let Some(through) = batch.through()
        {
            raise(&mut self.durable, device, batch.boot.0, through.0);
        }
        let topic = format!("headwater/{key}");
        let hash = hash(&topic, body);
        // Its mark was forgotten: it is spooled once more, and goes up once more.
        self.done.remove(&hash);
        self.waiting.insert(offset, (topic, hash));
    }

    fn handle_checkpoint(&mut self, checkpoint: u64, answered: &Answered) -> Result<(), Broken> {
        if checkpoint < self.checkpoint {
            return self.broken(format!("checkpoint goes back from {} to {checkpoint}", self.checkpoint));
        }
        self.checkpoint = checkpoint;
        while let Some(entry) = self.waiting.first_entry().filter(|entry| *entry.key() < checkpoint) {
            let (offset, (topic, hash)) = entry.remove_entry();
            if !answered.all.contains(&hash) {
                return self
                    .broken(format!("checkpoint {checkpoint} passes {offset}, {topic}, without PUBACK"));
            }
            self.done.insert(hash);
        }
        Ok(())
    }

    /// The agent sends a publish.
    pub(super) fn handle_publish(&mut self, topic: &str, payload: &[u8]) -> Result<(), Broken> {
        let device = topic.strip_prefix("headwater/").and_then(|rest| rest.strip_suffix("/birth"));
        if let (Some(device), Ok(Up::Hello(hello))) = (device, decode_body::<Up>(payload)) {
            let is_asked_for = hello.reset == ResetReason::Requested;
            self.births.insert((device.to_owned(), hello.boot.0), is_asked_for);
        }
        let hash = hash(topic, payload);
        if topic.ends_with("/batch") && !self.sent.insert(hash) {
            self.repeats += 1;
        }
        if topic.ends_with("/batch") && self.done.contains(&hash) {
            return self.broken(format!("{topic} is sent again although the checkpoint is behind it"));
        }
        Ok(())
    }

    pub(super) fn births(&self) -> &BTreeMap<(String, u32), bool> {
        &self.births
    }

    /// Batches that were sent more than once.
    pub(super) fn repeats(&self) -> u64 {
        self.repeats
    }

    /// The agent acks a device.
    pub(super) fn handle_ack(&mut self, device: &str, boot: u32, through: u32) -> Result<(), Broken> {
        let durable = self.durable.get(&(device.to_owned(), boot)).copied();
        if durable.is_none_or(|durable| durable < through) {
            return self
                .broken(format!("{device} boot {boot} is acked through {through}, durable: {durable:?}"));
        }
        raise(&mut self.acked, device, boot, through);
        Ok(())
    }

    /// A device lets go what it holds, up to this place.
    pub(super) fn handle_released(&self, device: &str, boot: u32, through: u32) -> Result<(), Broken> {
        let acked = self.acked.get(&(device.to_owned(), boot)).copied();
        if acked.is_none_or(|acked| acked < through) {
            return self.broken(format!("{device} boot {boot} lets {through} go, acked: {acked:?}"));
        }
        Ok(())
    }

    /// Whether everything durable is behind the checkpoint.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn as_broken(&self, what: String) -> Broken {
        Broken(format!("{}: {what}", self.name))
    }

    fn broken(&self, what: String) -> Result<(), Broken> {
        Err(self.as_broken(what))
    }
}

fn raise(marks: &mut BTreeMap<(String, u32), u32>, device: &str, boot: u32, through: u32) {
    let mark = marks.entry((device.to_owned(), boot)).or_insert(through);
    *mark = through.max(*mark);
}

/// One number for a publish: two different ones have the same once in 2^64.
fn hash(topic: &str, payload: &[u8]) -> u64 {
    let bytes = topic.bytes().chain([0xff]).chain(payload.iter().copied());
    let mixed = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23)
    });
    mixed ^ mixed >> 31
}
