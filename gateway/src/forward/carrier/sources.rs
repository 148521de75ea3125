//! The shards of one stream as a sink follows them: known, read to their end, forgotten.
//!
//! Invariants: a shard is told after its parents; a shard that a sink is not done with is followed although its stream has forgotten it.

use super::Tools;
use super::events::{self, Event};
use super::losses::{self, Losses};
use crate::forward::cursor::{self, Noted};
use crate::forward::settings::Start;
use headwater_engine::storage::{Cursor, Position, ReadError};
use headwater_engine::{Shard, ShardId, StreamHandle, StreamState};
use headwater_relay::{Forwarding, Ledger, Offset, Progress, ProgressDue, SourceId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::task::{AbortHandle, JoinSet};

mod forgetting;
mod tally;

use forgetting::PAST;

pub(super) struct Sources {
    pub(super) losses: Losses,
    known: BTreeMap<ShardId, Source>,
    /// The state that was followed last.
    seen: Option<Arc<StreamState>>,
    /// Cursors that were stored before the start.
    stored: BTreeMap<ShardId, Progress>,
    /// The counts of shards that were forgotten.
    past: Ledger,
    /// The sink never carried this stream.
    is_new: bool,
    /// Shards whose progress is on its way to the disk, and what comes after it.
    storing: BTreeMap<SourceId, Option<ProgressDue>>,
    /// Forgotten shards whose cursors are still stored.
    leaving: BTreeSet<ShardId>,
    /// The stream could not be followed; somebody says when to try again.
    is_paused: bool,
}

#[derive(Default)]
struct Source {
    is_closed: bool,
    /// Who waits for it to grow.
    watch: Option<AbortHandle>,
    /// The last read of it failed.
    is_unreadable: bool,
}

impl Sources {
    pub(super) fn new(tools: &Tools, stream: &StreamHandle) -> Self {
        let prefix = cursor::prefix_of(&tools.settings.name, stream.number());
        let mut stored = BTreeMap::new();
        let (mut past, mut losses) = (Ledger::default(), Losses::default());
        for (key, value) in tools.engine.meta_list(prefix.as_bytes()) {
            if key == format!("{prefix}{PAST}").as_bytes() {
                past = cursor::decode(&value.value).map(|progress| progress.ledger).unwrap_or_default();
                continue;
            }
            match (cursor::shard_of(&prefix, &key), cursor::decode_noted(&value.value)) {
                (Some(shard), Some((progress, noted))) => {
                    losses.handle_noted(SourceId(shard.0), noted);
                    stored.insert(shard, progress);
                }
                _ => {
                    tracing::error!(key = %key.escape_ascii(), "cursor of a sink cannot be read, it begins anew")
                }
            }
        }
        let is_new = stored.is_empty();
        let (known, storing, leaving) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        Self { losses, known, seen: None, stored, past, is_new, storing, leaving, is_paused: false }
    }

    /// A shard's name among sources is its number.
    pub(super) fn shard(&self, source: SourceId) -> ShardId {
        ShardId(source.0)
    }

    /// Every shard that is followed.
    pub(super) fn all(&self) -> impl Iterator<Item = ShardId> + '_ {
        self.known.keys().copied()
    }

    /// Notes how a read of a shard went; whether that is news.
    pub(super) fn note_readable(&mut self, shard: ShardId, is_readable: bool) -> bool {
        let Some(source) = self.known.get_mut(&shard) else { return false };
        std::mem::replace(&mut source.is_unreadable, !is_readable) == is_readable
    }

    /// Cursors on their way to the disk.
    pub(super) fn storing(&self) -> usize {
        self.storing.len()
    }

    /// Tells what is new of the stream's shards. False when the stream is gone.
    pub(super) async fn follow(
        &mut self,
        tools: &Tools,
        stream: &StreamHandle,
        forwarding: &mut Forwarding,
        tasks: &mut JoinSet<Event>,
        now_ms: u64,
    ) -> bool {
        let state = stream.state();
        if self.seen.as_ref().is_some_and(|seen| Arc::ptr_eq(seen, &state)) {
            return true;
        }
        if !state.definition.status.is_usable() {
            return false;
        }
        if self.is_paused {
            return true;
        }
        let told = self.tell(tools, stream, &state, forwarding, tasks, now_ms).await;
        match told {
            Ok(()) => {
                self.seen = Some(state);
                self.is_new = false;
            }
            Err(error) => {
                tracing::warn!(sink = tools.settings.name, stream = %stream.name(), %error, "shards cannot be followed, trying again");
                self.is_paused = true;
                tasks.spawn(async {
                    tokio::time::sleep(crate::forward::limits::LOG_PAUSE).await;
                    Event::Again
                });
            }
        }
        true
    }

    async fn tell(
        &mut self,
        tools: &Tools,
        stream: &StreamHandle,
        state: &StreamState,
        forwarding: &mut Forwarding,
        tasks: &mut JoinSet<Event>,
        now_ms: u64,
    ) -> Result<(), ReadError> {
        // Shards that the stream has forgotten and the sink has not. Whose children they are nobody knows any more, but parents have the
        // lower numbers: one goes after the other.
        let forgotten: Vec<ShardId> =
            self.stored.keys().copied().filter(|shard| state.shards.get(*shard).is_none()).collect();
        let mut before = None;
        for shard in forgotten {
            if !self.known.contains_key(&shard) {
                let end = tools.engine.locate(stream, shard, Cursor::Latest).await?;
                self.add(tools, stream, (shard, before.as_slice()), forwarding, tasks, now_ms).await?;
                self.close(shard, end, forwarding, now_ms);
            }
            before = Some(SourceId(shard.0));
        }
        for shard in state.shards.all() {
            if !self.known.contains_key(&shard.id) {
                let parents = self.parents(shard, before);
                self.add(tools, stream, (shard.id, &parents), forwarding, tasks, now_ms).await?;
            }
            if let Some(closed) = shard.closed {
                self.close(shard.id, closed.end, forwarding, now_ms);
            }
        }
        self.forget(tools, stream, state, forwarding);
        Ok(())
    }

    /// What comes before a shard. `before`: the last one that the stream has forgotten and the sink is not done with; it stands for a parent
    /// that nobody knows.
    fn parents(&self, shard: &Shard, before: Option<SourceId>) -> Vec<SourceId> {
        let named = [shard.parent, shard.adjacent_parent].into_iter().flatten();
        let known = |id: ShardId| self.known.contains_key(&id).then_some(SourceId(id.0));
        let parents: BTreeSet<SourceId> = named.filter_map(|id| known(id).or(before)).collect();
        parents.into_iter().collect()
    }

    async fn add(
        &mut self,
        tools: &Tools,
        stream: &StreamHandle,
        (shard, parents): (ShardId, &[SourceId]),
        forwarding: &mut Forwarding,
        tasks: &mut JoinSet<Event>,
        now_ms: u64,
    ) -> Result<(), ReadError> {
        let source = SourceId(shard.0);
        let (progress, is_first) = match self.stored.get(&shard) {
            Some(progress) => (progress.clone(), false),
            None => {
                // What a stream that came later has is all from now on.
                let is_older = stream.state().definition.created_ms < tools.started_ms;
                let start = if self.is_new && is_older { tools.settings.start } else { Start::Oldest };
                let cursor = match start {
                    Start::Oldest => Cursor::TrimHorizon,
                    Start::Newest => Cursor::Latest,
                };
                let origin = tools.engine.locate(stream, shard, cursor).await?;
                (Progress::new(Offset(origin.position)), true)
            }
        };
        let tail = tools.engine.locate(stream, shard, Cursor::Latest).await?;
        if tools.settings.required {
            tools.holds.hold(&tools.settings.name, stream, shard, progress.checkpoint.0);
        }
        if let Err(error) = forwarding.handle_source(source, parents, &progress) {
            tracing::error!(sink = tools.settings.name, stream = %stream.name(), %shard, %error, "shard is not carried");
            self.known.insert(shard, Source { is_closed: true, ..Source::default() });
            return Ok(());
        }
        let told = forwarding.handle_tail(source, Offset(tail.position), now_ms);
        debug_assert!(told.is_ok(), "it was just told");
        self.known.insert(shard, Source::default());
        self.watch(tools, stream, shard, tail.position, tasks);
        if is_first {
            // Where it began is kept before anything comes of it.
            let due = self.handle_due(ProgressDue { source, version: 0, progress });
            let due = due.expect("nothing of a new shard is on its way");
            tasks.spawn(losses::store(
                tools.clone(),
                stream.clone(),
                shard,
                due,
                (Noted::default(), Vec::new()),
            ));
        }
        Ok(())
    }

    fn close(&mut self, shard: ShardId, end: Position, forwarding: &mut Forwarding, now_ms: u64) {
        let Some(source) = self.known.get_mut(&shard).filter(|source| !source.is_closed) else { return };
        source.is_closed = true;
        if let Some(watch) = source.watch.take() {
            watch.abort();
        }
        let told = forwarding.handle_source_end(SourceId(shard.0), Offset(end.position), now_ms);
        debug_assert!(told.is_ok(), "a known source");
    }

    /// It is time to try again what could not be followed.
    pub(super) fn handle_again(&mut self) {
        self.is_paused = false;
    }

    /// Notes that a shard has grown, or could not be watched; watches it on.
    pub(super) fn handle_grown(
        &mut self,
        (tools, stream): (&Tools, &StreamHandle),
        shard: ShardId,
        tail: u64,
        forwarding: &mut Forwarding,
        tasks: &mut JoinSet<Event>,
        now_ms: u64,
    ) {
        let Some(source) = self.known.get_mut(&shard) else { return };
        source.watch = None;
        let told = forwarding.handle_tail(SourceId(shard.0), Offset(tail), now_ms);
        debug_assert!(told.is_ok(), "a known source");
        self.watch(tools, stream, shard, tail, tasks);
    }

    /// Takes a progress to store; gives it back when nothing of its shard is on the way to the disk. Otherwise the newest waits, so that
    /// a cursor never goes back.
    pub(super) fn handle_due(&mut self, due: ProgressDue) -> Option<ProgressDue> {
        match self.storing.get_mut(&due.source) {
            Some(next) => {
                *next = Some(due);
                None
            }
            None => {
                self.storing.insert(due.source, None);
                Some(due)
            }
        }
    }

    /// A progress is stored, or could not be; gives the next one of its shard.
    pub(super) fn handle_stored(&mut self, source: SourceId) -> Option<ProgressDue> {
        let next = self.storing.get_mut(&source)?.take();
        if next.is_none() {
            self.storing.remove(&source);
        }
        next
    }

    fn watch(
        &mut self,
        tools: &Tools,
        stream: &StreamHandle,
        shard: ShardId,
        tail: u64,
        tasks: &mut JoinSet<Event>,
    ) {
        let Some(source) = self.known.get_mut(&shard) else { return };
        if source.watch.is_none() && !source.is_closed {
            source.watch = Some(tasks.spawn(events::watch(tools.clone(), stream.clone(), shard, tail)));
        }
    }

    /// The shard as its stream has it.
    pub(super) fn named(stream: &StreamHandle, shard: ShardId) -> Option<Shard> {
        stream.state().shards.get(shard).cloned()
    }
}
