//! The agent's spool: what was received and is not yet delivered, on the journal.
//!
//! In: [`Item`]s of any link, in their order. Out: a ticket that becomes durable, the acks it allows, and pages of
//! records for the uplink.
//!
//! Always true: a batch and the mark that makes its repeat a repeat are in one group; nothing is acked that is not
//! durable; a failed append changes nothing. Not here: links, MQTT, when to trim.
//!
//! ```text
//! stream 1 shard 0   what waits    key {device}/batch | birth | log | result    data: the body as received
//! stream 2 shard 0   set aside     key as above                                          data: reason u8, body
//! metadata           m/{device}, h/{device} (see devices), c/uplink: checkpoint u64 little endian
//! ```

mod durable;

pub(crate) use durable::Durable;

use crate::config::SpoolConfig;
use crate::devices::{BIRTHS_PREFIX, Birth, Device, MARKS_PREFIX, device_of};
use crate::intake::{Devices, Plan};
use crate::limits::{AHEAD_BYTES_MAX, AHEAD_RECORDS_MAX, DEAD_LETTER_AGE_MS};
use crate::link::session::Item;
use crate::status::Counters;
use durable::News;
use headwater_journal as journal;
use headwater_telemetry::{BootId, DeviceId, Seq};
use journal::{
    AppendError, AppendSet, FIRST_SEQUENCE, FileStorage, Journal, ReadLimits, RecordRef, Recovery, ShardKey,
    Storage,
};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::sync::watch;
use tokio::task::{JoinError, spawn_blocking};

/// What waits for the uplink.
pub(crate) const SPOOL: ShardKey = ShardKey { stream: 1, shard: 0 };
/// What the gateway will never take.
const DEAD_LETTERS: ShardKey = ShardKey { stream: 2, shard: 0 };
const CHECKPOINT_KEY: &[u8] = b"c/uplink";

/// What an intake allows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Intake {
    /// The acks below may go out once this is durable.
    pub(crate) ticket: u64,
    pub(crate) acks: Vec<(BootId, Seq)>,
}

/// A record on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) offset: u64,
    /// Topic without its root: `{device}/batch`.
    pub(crate) key: String,
    pub(crate) body: Vec<u8>,
}

/// A record that the gateway will never take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// When it was set aside, UTC ms.
    pub at_ms: u64,
    /// Its topic without `headwater/`: `{device}/batch`, `{device}/birth` or `{device}/log`.
    pub topic: String,
    /// Reason code of the PUBACK (MQTT 5, 3.4.2.1).
    pub reason: u8,
    /// The payload.
    pub body: Vec<u8>,
}

/// Records read ahead, and what was missing among them.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    pub(crate) records: Vec<Outgoing>,
    /// First and last offset of ranges lost by damage.
    pub(crate) lost: Vec<(u64, u64)>,
    /// Where reading continues.
    pub(crate) next: u64,
}

/// On files; on another storage where somebody else drives the journal.
pub(crate) struct Spool<S: Storage = FileStorage> {
    journal: Journal<S>,
    state: Mutex<State>,
    news: News,
    counters: Arc<Counters>,
}

struct State {
    devices: Devices,
    /// Counts appends.
    turn: u64,
    set: AppendSet,
}

impl Spool {
    /// Opens the spool in `dir`, creating it when it is missing.
    pub(crate) fn open(
        dir: &Path,
        config: &SpoolConfig,
        counters: Arc<Counters>,
        now_ms: u64,
    ) -> Result<Self, journal::OpenError> {
        let (journal, recovery) = Journal::open(dir, journal_config(config), now_ms)?;
        Ok(Self::of(journal, &recovery, counters))
    }
}

impl<S: Storage> Spool<S> {
    /// Opens the spool on `storage`. No thread is started: the caller drives the journal ([`Spool::journal`]).
    #[cfg(feature = "simulation")]
    pub(crate) fn open_on(
        storage: S,
        config: &SpoolConfig,
        counters: Arc<Counters>,
        now_ms: u64,
        seed: u64,
    ) -> Result<Self, journal::OpenError> {
        let (core, recovery) = Journal::open_on(storage, journal_config(config), now_ms, seed)?;
        Ok(Self::of(Journal::unattended(core), &recovery, counters))
    }

    /// Lets everybody take what is staged for durable, as long as the sender lives: wrong, and to be found.
    #[cfg(feature = "simulation")]
    pub(crate) fn plant_no_sync(&mut self) -> watch::Sender<Durable> {
        self.news.plant_no_sync()
    }

    /// The journal beneath.
    #[cfg(feature = "simulation")]
    pub(crate) fn journal(&self) -> &Journal<S> {
        &self.journal
    }

    fn of(journal: Journal<S>, recovery: &Recovery, counters: Arc<Counters>) -> Self {
        tracing::info!(?recovery, "spool opened");
        let news = News::of(&journal);
        journal.retain(DEAD_LETTERS.stream, Some(DEAD_LETTER_AGE_MS));
        let devices = read_devices(&journal);
        let spool = Self {
            journal,
            news,
            counters,
            state: Mutex::new(State { devices, turn: 0, set: AppendSet::default() }),
        };
        let checkpoint = spool.checkpoint();
        let end = spool.end().max(checkpoint);
        spool.counters.devices.set(spool.lock().devices.len() as u64);
        spool.counters.spool_checkpoint.set(checkpoint);
        spool.counters.spool_end.set(end);
        spool.counters.spool_before.set(end - checkpoint);
        spool
    }

    /// Does what blocks on the disk where it keeps no task waiting.
    pub(crate) async fn aside<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Self) -> T + Send + 'static,
    ) -> Result<T, JoinError> {
        if !self.journal.is_attended() {
            return Ok(read(self));
        }
        let spool = Arc::clone(self);
        spawn_blocking(move || read(&spool)).await
    }

    /// Follows what is durable.
    pub(crate) fn durable(&self) -> watch::Receiver<Durable> {
        self.news.listen()
    }

    /// Resolves when everything staged so far is durable, or with the reason why it never will be.
    pub(crate) async fn synced(&self) -> Result<(), String> {
        let staged = self.journal.barrier().0;
        let mut durable = self.durable();
        let reached = durable.wait_for(|durable| match durable {
            Durable::Through(through) => *through >= staged,
            Durable::Failed(_) => true,
        });
        match reached.await.as_deref() {
            Ok(Durable::Through(_)) => Ok(()),
            Ok(Durable::Failed(reason)) => Err(reason.clone()),
            Err(_) => Err("journal closed".to_owned()),
        }
    }

    /// Stages items in their order, in one group. After an error nothing is staged and the same items may be given again.
    pub(crate) fn append(&self, items: &[Item], now_ms: u64) -> Result<Intake, AppendError> {
        let mut state = self.lock();
        let State { devices, turn, set } = &mut *state;
        set.clear();
        *turn += 1;
        let plan = Plan::stage(devices, items, set, *turn);
        let ticket = if set.is_empty() {
            self.journal.barrier()
        } else {
            let appended = self.journal.append(set, now_ms)?;
            if let Some(first) = appended.firsts.first() {
                self.counters.spool_end.set(first + set.records());
            }
            self.counters.spooled.add(set.records());
            appended.ticket
        };
        let acks = plan.apply(devices, &self.counters);
        Ok(Intake { ticket: ticket.0, acks })
    }

    /// Births of every device, for a new connection.
    pub(crate) fn births(&self) -> Vec<(DeviceId, Vec<Birth>)> {
        let state = self.lock();
        state.devices.iter().map(|(device, known)| (device.clone(), known.births().to_vec())).collect()
    }

    /// First record not done, as stored. Behind the true one by what was acked since it was last written.
    pub(crate) fn checkpoint(&self) -> u64 {
        let stored = self.journal.meta_get(CHECKPOINT_KEY).map(|found| found.value);
        let stored =
            stored.and_then(|value| value.try_into().ok()).map_or(FIRST_SEQUENCE, u64::from_le_bytes);
        let first = self.journal.bounds(SPOOL).map_or(FIRST_SEQUENCE, |bounds| bounds.first);
        // Trimmed further than the checkpoint says: the trim came after the ack, the checkpoint was not yet written.
        stored.max(first)
    }

    /// First place after the durable records.
    pub(crate) fn end(&self) -> u64 {
        self.journal.bounds(SPOOL).map_or(FIRST_SEQUENCE, |bounds| bounds.end)
    }

    /// Reads durable records from `from` on. Blocks on the disk.
    pub(crate) fn read(&self, from: u64) -> Result<Ahead, journal::ReadError> {
        let limits = ReadLimits { records: AHEAD_RECORDS_MAX, bytes: AHEAD_BYTES_MAX };
        let page = self.journal.read(SPOOL, from, limits)?;
        let mut ahead = Ahead { next: page.next, ..Ahead::default() };
        ahead.records.extend(page.records().map(|record| outgoing(&record)));
        ahead.lost = page.gaps.iter().map(|gap| (gap.first, gap.last)).collect();
        Ok(ahead)
    }

    /// Reads the record at `offset` again; none when it is gone.
    pub(crate) fn read_one(&self, offset: u64) -> Result<Option<Outgoing>, journal::ReadError> {
        let page = self.journal.read(SPOOL, offset, ReadLimits { records: 1, bytes: AHEAD_BYTES_MAX })?;
        let record = page.records().find(|record| record.sequence == offset);
        Ok(record.map(|record| outgoing(&record)))
    }

    /// Stages the checkpoint; returns its ticket. Once it is durable, [`Spool::trim`] may follow.
    pub(crate) fn store_checkpoint(&self, checkpoint: u64, now_ms: u64) -> Result<u64, AppendError> {
        let mut set = AppendSet::default();
        set.put(CHECKPOINT_KEY, &checkpoint.to_le_bytes(), None);
        Ok(self.journal.append(&set, now_ms)?.ticket.0)
    }

    /// Nothing before `checkpoint` is needed.
    pub(crate) fn trim(&self, checkpoint: u64) {
        self.journal.trim(SPOOL, checkpoint);
    }

    /// Stages a copy of a record that the gateway will never take.
    pub(crate) fn set_aside(&self, record: &Outgoing, reason: u8, now_ms: u64) -> Result<u64, AppendError> {
        let mut set = AppendSet::default();
        let mut data = vec![reason];
        data.extend_from_slice(&record.body);
        set.batch(DEAD_LETTERS);
        set.record(record.key.as_bytes(), &data);
        Ok(self.journal.append(&set, now_ms)?.ticket.0)
    }

    /// Records set aside from `from` on (0: the oldest), at most one page, and where to read on; none at the end.
    pub(crate) fn set_aside_page(
        &self,
        from: u64,
    ) -> Result<(Vec<SetAside>, Option<u64>), journal::ReadError> {
        let limits = ReadLimits { records: AHEAD_RECORDS_MAX, bytes: AHEAD_BYTES_MAX };
        let first = self.journal.bounds(DEAD_LETTERS).map_or(FIRST_SEQUENCE, |bounds| bounds.first);
        let page = self.journal.read(DEAD_LETTERS, from.max(first), limits)?;
        let records = page.records().filter_map(|record| {
            let (reason, body) = record.data.split_first()?;
            let topic = String::from_utf8_lossy(record.key).into_owned();
            Some(SetAside { at_ms: record.time_ms, topic, reason: *reason, body: body.to_vec() })
        });
        Ok((records.collect(), (page.next < page.end).then_some(page.next)))
    }

    /// Syncs what is staged, seals, stops the journal's threads. Blocks.
    pub(crate) fn close(&self) {
        self.journal.clone().close();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

fn journal_config(config: &SpoolConfig) -> journal::Config {
    let small = journal::Config::small();
    let segment_bytes = config.segment_bytes / 4096 * 4096;
    let group_bytes_max = usize::try_from(segment_bytes / 4).unwrap_or(usize::MAX);
    journal::Config {
        segment_bytes,
        group_bytes_max: small.group_bytes_max.min(group_bytes_max),
        size_bytes_max: config.size_bytes_max,
        reserve_bytes: config.reserve_bytes,
        linger: config.linger,
        ..small
    }
}

fn read_devices<S: Storage>(journal: &Journal<S>) -> Devices {
    let mut devices = Devices::new();
    type Decode = fn(&mut Device, &[u8]) -> bool;
    for (prefix, decode) in
        [(MARKS_PREFIX, Device::decode_marks as Decode), (BIRTHS_PREFIX, Device::decode_births as Decode)]
    {
        for (key, value) in journal.meta_list(prefix.as_bytes()) {
            let is_read = device_of(prefix, &key)
                .is_some_and(|device| decode(devices.entry(device).or_default(), &value.value));
            if !is_read {
                tracing::warn!(key = %key.escape_ascii(), "device metadata not understood, ignored");
            }
        }
    }
    devices
}

fn outgoing(record: &RecordRef<'_>) -> Outgoing {
    let key = String::from_utf8_lossy(record.key).into_owned();
    Outgoing { offset: record.sequence, key, body: record.data.to_vec() }
}
