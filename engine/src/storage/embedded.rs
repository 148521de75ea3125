//! The storage of one box: shards and metadata on the journal.
//!
//! A position is the journal's sequence of the record in its shard, with index 0. Records of one append share one group
//! of the journal, marks included, so they become durable in one flush. Metadata is the journal's stream 0.
//!
//! Not here: files, recovery, retention of segments (journal).

mod commits;
mod forms;
mod meta;
#[cfg(test)]
mod tests;
mod watches;

pub use meta::EmbeddedMeta;

use super::{
    Ack, AppendError, AppendSet, BoxFuture, CommitError, Cursor, Extent, Fence, LogState, Page, Pending,
    Position, ReadError, ReadLimits, RecordRef, Run, ShardKey, ShardLog,
};
use crate::clock::{ClockState, Moment};
use crate::names::StreamNumber;
use commits::Commits;
use forms::{at, extent, fill, key, nothing, ours, page, refusal, sequence, unreadable};
use headwater_journal::{self as journal, FileStorage, Journal, Storage};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use watches::Watches;

/// A [`ShardLog`] on a journal: on files, unless another storage is said.
pub struct EmbeddedLog<S: Storage = FileStorage> {
    journal: Journal<S>,
    /// Whether the journal has threads of its own; without, there is one thread, which reads too.
    is_attended: bool,
    commits: Arc<Commits>,
    watches: Arc<Watches>,
    sealed: RwLock<Sealed>,
    /// Sets in the journal's form, kept for their memory.
    spare: Mutex<Vec<journal::AppendSet>>,
}

/// What takes no more appends. Empty but for resharded and deleted streams.
#[derive(Default)]
struct Sealed {
    shards: BTreeSet<ShardKey>,
    streams: BTreeSet<StreamNumber>,
}

/// Sets kept for reuse: as many as threads append at the same time on machines this engine is for.
const SPARE_SETS_MAX: usize = 8;
/// A set that grew beyond this is not kept: one large request must not hold its memory for good.
const SPARE_SET_BYTES_MAX: usize = 1 << 20;

impl<S: Storage> EmbeddedLog<S> {
    /// A log on `journal`, whose commits it listens to from now on. Reads go to threads beside the runtime's, unless the journal is
    /// [unattended](Journal::unattended): then the caller drives it and everything happens on its thread.
    #[must_use]
    pub fn new(journal: Journal<S>) -> Self {
        let durable = journal.durable().0;
        let (commits, watches) = (Arc::new(Commits::new(durable)), Arc::new(Watches::new(durable)));
        let listeners = (Arc::clone(&commits), Arc::clone(&watches));
        journal.on_commit(Box::new(move |outcome| {
            listeners.1.committed(&outcome);
            listeners.0.committed(outcome);
        }));
        EmbeddedLog {
            is_attended: journal.is_attended(),
            journal,
            commits,
            watches,
            sealed: RwLock::default(),
            spare: Mutex::default(),
        }
    }

    fn stage(&self, set: &AppendSet, now_ms: u64) -> Result<(journal::Ticket, Vec<Ack>), AppendError> {
        let mut staged = self.spare.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default();
        fill(&mut staged, set);
        let appended = {
            // Held over the append: a shard is sealed before or after it, never in the middle.
            let sealed = self.sealed.read().unwrap_or_else(PoisonError::into_inner);
            sealed.check(set).and_then(|()| self.journal.append(&staged, now_ms).map_err(refusal))
        };
        self.keep(staged);
        let appended = appended?;
        self.watches.staged(appended.ticket.0, set.shards().iter().map(|&(shard, _)| shard));
        let acks = set.shards().iter().zip(appended.firsts.iter());
        let acks = acks.map(|(&(_, count), &first)| Ack { first: at(first), count, time_ms: now_ms });
        Ok((appended.ticket, acks.collect()))
    }

    fn keep(&self, mut set: journal::AppendSet) {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARE_SETS_MAX && set.bytes() <= SPARE_SET_BYTES_MAX {
            set.clear();
            spare.push(set);
        }
    }

    fn durable(&self, ticket: journal::Ticket, acks: Vec<Ack>) -> Pending {
        Box::pin(self.commits.durable(ticket.0, acks))
    }

    /// Runs what may touch the disk where it does not hold up the thread that keeps connections alive.
    async fn reading<T: Send + 'static>(
        &self,
        shard: ShardKey,
        read: impl FnOnce(&Journal<S>) -> Result<T, journal::ReadError> + Send + 'static,
    ) -> Result<T, ReadError> {
        if !self.is_attended {
            return read(&self.journal).map_err(|error| unreadable(shard, &error));
        }
        let journal = self.journal.clone();
        match tokio::task::spawn_blocking(move || read(&journal)).await {
            Ok(outcome) => outcome.map_err(|error| unreadable(shard, &error)),
            Err(error) => Err(ReadError { shard, reason: error.to_string(), key: None }),
        }
    }
}

impl Sealed {
    fn check(&self, set: &AppendSet) -> Result<(), AppendError> {
        if self.shards.is_empty() && self.streams.is_empty() {
            return Ok(());
        }
        let closed = |key: &ShardKey| self.shards.contains(key) || self.streams.contains(&key.stream);
        match set.shards().iter().find(|(key, _)| closed(key)) {
            Some((key, _)) => Err(AppendError::Sealed(*key)),
            None => Ok(()),
        }
    }
}

impl<S: Storage> ShardLog for EmbeddedLog<S> {
    fn append(&self, set: &AppendSet, now_ms: u64) -> Result<Pending, AppendError> {
        let (ticket, acks) = self.stage(set, now_ms)?;
        Ok(self.durable(ticket, acks))
    }

    fn barrier(&self) -> Pending {
        self.durable(self.journal.barrier(), Vec::new())
    }

    fn barrier_at_once(&self) -> Pending {
        let barrier = self.barrier();
        self.journal.hurry();
        barrier
    }

    fn locate(&self, shard: ShardKey, cursor: Cursor) -> BoxFuture<'_, Result<Position, ReadError>> {
        Box::pin(async move {
            let bounds = self.journal.bounds(key(shard));
            let (first, end) =
                bounds.map_or((journal::FIRST_SEQUENCE, journal::FIRST_SEQUENCE), |b| (b.first, b.end));
            Ok(match cursor {
                Cursor::TrimHorizon => at(first),
                Cursor::Latest => at(end),
                Cursor::At(position) => at(sequence(position)),
                Cursor::After(position) => at(sequence(position.after())),
                Cursor::AtTime(_) if bounds.is_none() => at(end),
                Cursor::AtTime(time_ms) => {
                    let seek = move |journal: &Journal<S>| journal.seek_time(key(shard), time_ms);
                    at(self.reading(shard, seek).await?)
                }
            })
        })
    }

    fn read(
        &self,
        shard: ShardKey,
        from: Position,
        limits: ReadLimits,
    ) -> BoxFuture<'_, Result<Page, ReadError>> {
        let from = sequence(from);
        Box::pin(async move {
            let Some(bounds) = self.journal.bounds(key(shard)) else { return Ok(nothing(from)) };
            if from >= bounds.end {
                return Ok(Page { newest_ms: Some(bounds.newest_ms), ..nothing(from) });
            }
            // Even a reader at the end of a quiet shard may need the disk.
            self.reading(shard, move |journal| read(journal, shard, from, limits)).await.map(page)
        })
    }

    fn wait(&self, shard: ShardKey, from: Position) -> BoxFuture<'_, Result<(), CommitError>> {
        let from = sequence(from);
        Box::pin(async move {
            let there = || self.journal.bounds(key(shard)).is_some_and(|bounds| bounds.end > from);
            if there() {
                return Ok(());
            }
            let mut watch = self.watches.watch(shard);
            // What was staged before the watch began does not wake it.
            self.commits.durable(self.journal.barrier().0, Vec::new()).await?;
            while !there() {
                watch.changed().await?;
            }
            Ok(())
        })
    }

    fn trim(&self, shard: ShardKey, before: Position) {
        self.journal.trim(key(shard), sequence(before));
    }

    fn hold(&self, shard: ShardKey, from: Option<Position>) {
        match from {
            Some(from) => self.journal.hold(key(shard), sequence(from)),
            None => self.journal.release(key(shard)),
        }
    }

    fn seal(&self, shard: ShardKey, _fence: Fence) -> BoxFuture<'_, Result<Position, CommitError>> {
        self.sealed.write().unwrap_or_else(PoisonError::into_inner).shards.insert(shard);
        let last = self.barrier_at_once();
        Box::pin(async move {
            last.await?;
            Ok(at(self.journal.bounds(key(shard)).map_or(journal::FIRST_SEQUENCE, |bounds| bounds.end)))
        })
    }

    fn begin_after(&self, child: ShardKey, parents: &[ShardKey]) {
        let parents: Vec<_> = parents.iter().map(|&parent| key(parent)).collect();
        self.journal.begin_after(key(child), &parents);
    }

    fn retain(&self, stream: StreamNumber, max_age_ms: u64) {
        self.journal.retain(stream.0, Some(max_age_ms));
    }

    fn learn_key(&self, stream: StreamNumber, key: u16, secret: &[u8; 32]) {
        self.journal.keys().set(stream.0, key, journal::StreamKey::new(secret));
    }

    fn encrypt_with(&self, stream: StreamNumber, key: Option<u16>) {
        self.journal.keys().seal_with(stream.0, key);
    }

    fn forget_keys(&self, stream: StreamNumber) {
        self.journal.keys().forget(stream.0);
    }

    fn drop_stream(&self, stream: StreamNumber) {
        self.sealed.write().unwrap_or_else(PoisonError::into_inner).streams.insert(stream);
        self.journal.drop_stream(stream.0);
        self.journal.keys().forget(stream.0);
    }

    fn bytes_from(&self, shard: ShardKey, from: Position) -> u64 {
        self.journal.bytes_from(key(shard), sequence(from))
    }

    fn kept_ms(&self, moment: Moment) -> u64 {
        self.journal.look(moment);
        self.journal.kept_ms()
    }

    fn horizon_ms(&self, age_ms: u64, moment: Moment) -> u64 {
        // Looked first: a reader must not pass over what only a clock that has just jumped calls old.
        self.journal.look(moment);
        self.journal.horizon_ms(age_ms)
    }

    fn clock_state(&self, age_ms: u64, moment: Moment) -> ClockState {
        self.journal.look(moment);
        self.journal.clock_state(age_ms)
    }

    fn extents(&self, of: Option<StreamNumber>) -> Vec<(ShardKey, Extent)> {
        let shards = self.journal.shards().into_iter();
        let wanted = shards.filter(|shard| of.is_none_or(|of| shard.stream == of.0));
        let known =
            |shard| Some((ours(shard), extent(self.journal.bounds(shard)?, &self.journal.lost(shard))));
        wanted.filter_map(known).collect()
    }

    fn state(&self) -> LogState {
        match self.journal.state() {
            journal::State::Open => LogState::Open,
            journal::State::Full => LogState::Full,
            journal::State::Failed { reason } => LogState::Failed { reason },
        }
    }
}

impl Run for journal::Run {
    fn visit(&self, visit: &mut dyn FnMut(RecordRef<'_>)) {
        for record in self.records() {
            let position = at(record.sequence);
            visit(RecordRef { position, time_ms: record.time_ms, key: record.key, data: record.data });
        }
    }

    fn is_encrypted(&self) -> bool {
        self.sealed_with().is_some()
    }
}

/// Reads from `from` on, past what is older than `limits` allow: the journal keeps whole segments.
fn read<S: Storage>(
    journal: &Journal<S>,
    shard: ShardKey,
    from: u64,
    limits: ReadLimits,
) -> Result<journal::Page, journal::ReadError> {
    let wanted = journal::ReadLimits { records: limits.records, bytes: limits.bytes };
    let page = journal.read(key(shard), from, wanted)?;
    // Looked for only when there is something to skip: it costs a read of its own.
    if page.records().next().is_none_or(|record| record.time_ms >= limits.not_before_ms) {
        return Ok(page);
    }
    let from = from.max(journal.seek_time(key(shard), limits.not_before_ms)?);
    journal.read(key(shard), from, wanted)
}
