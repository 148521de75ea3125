//! The storage of one box: shards and metadata on the journal.
//!
//! A position is the journal's sequence of the record in its shard, with index 0. Records of one append share one group
//! of the journal, marks included, so they become durable in one flush. Metadata is the journal's stream 0.
//!
//! Not here: files, recovery, retention of segments (journal).

mod commits;
mod meta;
#[cfg(test)]
mod tests;
mod watches;

pub use meta::EmbeddedMeta;

use super::{
    Ack, AppendError, AppendSet, BoxFuture, CommitError, Cursor, Fence, LogState, Lost, Page, Pending,
    Position, ReadError, ReadLimits, RecordRef, Run, ShardKey, ShardLog,
};
use crate::names::StreamNumber;
use commits::Commits;
use headwater_journal::{self as journal, Journal};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use watches::Watches;

/// A [`ShardLog`] on a journal.
pub struct EmbeddedLog {
    journal: Journal,
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

impl EmbeddedLog {
    /// A log on `journal`, whose commits it listens to from now on.
    #[must_use]
    pub fn new(journal: Journal) -> Self {
        let durable = journal.durable().0;
        let (commits, watches) = (Arc::new(Commits::new(durable)), Arc::new(Watches::new(durable)));
        let listeners = (Arc::clone(&commits), Arc::clone(&watches));
        journal.on_commit(Box::new(move |outcome| {
            listeners.1.committed(&outcome);
            listeners.0.committed(outcome);
        }));
        EmbeddedLog { journal, commits, watches, sealed: RwLock::default(), spare: Mutex::default() }
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
}

/// Copies `set` into the journal's form, shard by shard: the journal writes one run per batch.
fn fill(staged: &mut journal::AppendSet, set: &AppendSet) {
    match set.shards() {
        [] => {}
        [(shard, _)] => {
            staged.batch(key(*shard));
            for record in set.records() {
                staged.record(record.key, record.data);
            }
        }
        shards => {
            let records: Vec<_> = set.records().collect();
            let mut order: Vec<u32> = (0..u32::try_from(records.len()).unwrap_or(u32::MAX)).collect();
            // Stable: records of one shard keep their order.
            order.sort_by_key(|&i| records[i as usize].shard);
            let mut of_shard = order.iter().map(|&i| &records[i as usize]).peekable();
            for (place, (shard, _)) in (0..).zip(shards) {
                staged.batch(key(*shard));
                while let Some(record) = of_shard.next_if(|record| record.shard == place) {
                    staged.record(record.key, record.data);
                }
            }
        }
    }
    for (key, value) in set.marks() {
        staged.put(key, value, None);
    }
    for key in set.unmarks() {
        staged.delete(key, None);
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

impl ShardLog for EmbeddedLog {
    fn append(&self, set: &AppendSet, now_ms: u64) -> Result<Pending, AppendError> {
        let (ticket, acks) = self.stage(set, now_ms)?;
        Ok(self.durable(ticket, acks))
    }

    fn barrier(&self) -> Pending {
        self.durable(self.journal.barrier(), Vec::new())
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
                    let journal = self.journal.clone();
                    at(blocking(shard, move || journal.seek_time(key(shard), time_ms)).await?)
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
            // Even a reader at the end of a quiet shard may need the disk, and a slow disk must not hold up the thread
            // that keeps connections alive.
            let journal = self.journal.clone();
            blocking(shard, move || read(&journal, shard, from, limits)).await.map(page)
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
        let last = self.barrier();
        Box::pin(async move {
            last.await?;
            Ok(at(self.journal.bounds(key(shard)).map_or(journal::FIRST_SEQUENCE, |bounds| bounds.end)))
        })
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
fn read(
    journal: &Journal,
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

fn page(page: journal::Page) -> Page {
    let lost = |gap: journal::LostRange| Lost { first: at(gap.first), last: at(gap.last) };
    Page {
        runs: page.runs.into_iter().map(|run| Box::new(run) as Box<dyn Run>).collect(),
        lost: page.gaps.into_iter().map(lost).collect(),
        next: at(page.next),
        end: at(page.end),
        newest_ms: (page.newest_ms > 0).then_some(page.newest_ms),
    }
}

fn nothing(from: u64) -> Page {
    Page { runs: Vec::new(), lost: Vec::new(), next: at(from), end: at(from), newest_ms: None }
}

/// Runs what may touch the disk where it does not hold up other connections.
async fn blocking<T: Send + 'static>(
    shard: ShardKey,
    read: impl FnOnce() -> Result<T, journal::ReadError> + Send + 'static,
) -> Result<T, ReadError> {
    match tokio::task::spawn_blocking(read).await {
        Ok(outcome) => outcome.map_err(|error| unreadable(shard, &error)),
        Err(error) => Err(ReadError { shard, reason: error.to_string(), key: None }),
    }
}

fn unreadable(shard: ShardKey, error: &journal::ReadError) -> ReadError {
    let key = match error {
        journal::ReadError::KeyUnknown { key_id, .. } | journal::ReadError::KeyWrong { key_id, .. } => {
            Some(*key_id)
        }
        _ => None,
    };
    ReadError { shard, reason: error.to_string(), key }
}

fn refusal(error: journal::AppendError) -> AppendError {
    match error {
        journal::AppendError::Full => AppendError::Full,
        journal::AppendError::Busy { .. } => AppendError::Busy,
        journal::AppendError::TooLarge { found, limit, .. } => AppendError::TooLarge { found, limit },
        journal::AppendError::Refused { shard, .. } => AppendError::Sealed(ours(shard)),
        journal::AppendError::NoKey { shard, .. } => AppendError::NoKey(ours(shard)),
        // Appends of records expect no versions; changes of metadata look at a conflict before they come here.
        error @ (journal::AppendError::Conflict { .. } | journal::AppendError::Failed(_)) => {
            AppendError::Failed(error.to_string())
        }
    }
}

fn ours(shard: journal::ShardKey) -> ShardKey {
    ShardKey { stream: StreamNumber(shard.stream), shard: crate::names::ShardId(shard.shard) }
}

fn key(shard: ShardKey) -> journal::ShardKey {
    journal::ShardKey { stream: shard.stream.0, shard: shard.shard.0 }
}

fn at(sequence: u64) -> Position {
    Position { position: sequence, index: 0 }
}

/// The first sequence at or after a position: every record has index 0.
fn sequence(position: Position) -> u64 {
    position.position.saturating_add(u64::from(position.index > 0))
}
