//! Bugs that a world must find: each breaks one promise, where the engine meets its log.

use crate::reading::at_once;
use crate::run::{Failure, live};
use crate::station::Plant;
use crate::trace::Trace;
use crate::world::World;
use headwater_engine::ShardId;
use headwater_engine::StreamNumber;
use headwater_engine::storage::{
    Ack, AppendError, AppendSet, BoxFuture, CommitError, Cursor, Fence, LogState, Page, Pending, Position,
    ReadError, ReadLimits, ShardKey, ShardLog,
};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// Appends are said to be durable before they are.
    AckBeforeSync,
    /// Where a sink is told to begin, everything that is there is let go.
    TrimBeforeAck,
    /// A cursor is stored one record further than its sink has come.
    CheckpointPastHole,
    /// What the faster of two sinks has delivered is let go, although the other waits for it.
    TrimAtTheFaster,
    /// A dead letter is said to be durable and never written.
    LetterNotWritten,
}

/// Lives the world of a seed with a bug in its gateway.
///
/// # Errors
/// The world found it, as it should.
pub fn run_planted(seed: u64, bug: Bug) -> Result<Trace, Box<Failure>> {
    let plant: Plant = Arc::new(move |log| Arc::new(Planted { log, bug, cursors: Mutex::default() }));
    live(seed, Trace::default(), |logs| World::with_plant(seed, logs, Some(plant)), |_| {})
}

struct Planted {
    log: Arc<dyn ShardLog>,
    bug: Bug,
    /// By shard and sink.
    cursors: Mutex<BTreeMap<ShardKey, BTreeMap<String, u64>>>,
}

impl Planted {
    fn fake(set: &AppendSet, now_ms: u64) -> Pending {
        let ack = |&(_, count): &(ShardKey, u32)| Ack { first: Position::default(), count, time_ms: now_ms };
        let acks: Vec<Ack> = set.shards().iter().map(ack).collect();
        Box::pin(async move { Ok(acks) })
    }

    fn learn_cursors(&self, set: &AppendSet) {
        for (key, value) in set.marks() {
            let Some((sink, shard)) = place(key) else { continue };
            let Some(Ok(checkpoint)) = value.get(1..9).map(<[u8; 8]>::try_from) else { continue };
            let mut cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
            cursors.entry(shard).or_default().insert(sink, u64::from_le_bytes(checkpoint));
        }
    }

    /// How far the faster of several sinks of a shard is.
    fn fastest(&self, shard: ShardKey) -> Option<Position> {
        let cursors = self.cursors.lock().unwrap_or_else(PoisonError::into_inner);
        let of_shard = cursors.get(&shard).filter(|sinks| sinks.len() > 1)?;
        Some(Position { position: of_shard.values().max().copied()?, index: 0 })
    }

    /// The same set, with cursors of sinks that are one further.
    fn further(set: &AppendSet) -> AppendSet {
        let mut changed = AppendSet::default();
        for record in set.records() {
            let (shard, _) = set.shards()[record.shard as usize];
            changed.record(shard, record.key, record.data);
        }
        for (key, value) in set.marks() {
            let mut value = value.to_vec();
            // A cursor is its version, then the checkpoint.
            if key.starts_with(b"g/sink/")
                && let Some(Ok(checkpoint)) = value.get(1..9).map(<[u8; 8]>::try_from)
            {
                let further = u64::from_le_bytes(checkpoint) + 1;
                value[1..9].copy_from_slice(&further.to_le_bytes());
            }
            changed.mark(key, &value);
        }
        for key in set.unmarks() {
            changed.unmark(key);
        }
        changed
    }
}

/// Sink and shard of a cursor's key.
fn place(key: &[u8]) -> Option<(String, ShardKey)> {
    let mut parts = std::str::from_utf8(key).ok()?.strip_prefix("g/sink/")?.split('/');
    let (sink, stream, shard) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    Some((sink.to_owned(), ShardKey { stream: StreamNumber(stream), shard: ShardId(shard) }))
}

fn is_letter(data: &[u8]) -> bool {
    data.windows(13).any(|window| window == b"\"dead_letter\"")
}

impl ShardLog for Planted {
    fn append(&self, set: &AppendSet, now_ms: u64) -> Result<Pending, AppendError> {
        match self.bug {
            Bug::AckBeforeSync => {
                drop(self.log.append(set, now_ms)?);
                Ok(Self::fake(set, now_ms))
            }
            Bug::LetterNotWritten if set.records().any(|record| is_letter(record.data)) => {
                Ok(Self::fake(set, now_ms))
            }
            Bug::TrimAtTheFaster => {
                self.learn_cursors(set);
                self.log.append(set, now_ms)
            }
            Bug::CheckpointPastHole => self.log.append(&Self::further(set), now_ms),
            Bug::TrimBeforeAck | Bug::LetterNotWritten => self.log.append(set, now_ms),
        }
    }

    fn hold(&self, shard: ShardKey, from: Option<Position>) {
        self.log.hold(shard, from);
        if self.bug == Bug::TrimBeforeAck
            && let Some(Ok(end)) = at_once(self.log.locate(shard, Cursor::Latest))
        {
            self.log.hold(shard, None);
            self.log.trim(shard, end);
        }
        if self.bug == Bug::TrimAtTheFaster
            && let Some(fastest) = self.fastest(shard)
        {
            self.log.hold(shard, Some(fastest));
            self.log.trim(shard, fastest);
        }
    }

    fn barrier(&self) -> Pending {
        self.log.barrier()
    }

    fn locate(&self, shard: ShardKey, cursor: Cursor) -> BoxFuture<'_, Result<Position, ReadError>> {
        self.log.locate(shard, cursor)
    }

    fn read(
        &self,
        shard: ShardKey,
        from: Position,
        limits: ReadLimits,
    ) -> BoxFuture<'_, Result<Page, ReadError>> {
        self.log.read(shard, from, limits)
    }

    fn wait(&self, shard: ShardKey, from: Position) -> BoxFuture<'_, Result<(), CommitError>> {
        self.log.wait(shard, from)
    }

    fn trim(&self, shard: ShardKey, before: Position) {
        self.log.trim(shard, before);
    }

    fn seal(&self, shard: ShardKey, fence: Fence) -> BoxFuture<'_, Result<Position, CommitError>> {
        self.log.seal(shard, fence)
    }

    fn retain(&self, stream: StreamNumber, max_age_ms: u64) {
        self.log.retain(stream, max_age_ms);
    }

    fn learn_key(&self, stream: StreamNumber, key: u16, secret: &[u8; 32]) {
        self.log.learn_key(stream, key, secret);
    }

    fn encrypt_with(&self, stream: StreamNumber, key: Option<u16>) {
        self.log.encrypt_with(stream, key);
    }

    fn forget_keys(&self, stream: StreamNumber) {
        self.log.forget_keys(stream);
    }

    fn drop_stream(&self, stream: StreamNumber) {
        self.log.drop_stream(stream);
    }

    fn bytes_from(&self, shard: ShardKey, from: Position) -> u64 {
        self.log.bytes_from(shard, from)
    }

    fn state(&self) -> LogState {
        self.log.state()
    }
}
