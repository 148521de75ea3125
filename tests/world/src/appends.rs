//! What engines append, for the trace: heard where an engine meets its log.

use crate::trace::{Digest, Trace};
use headwater_engine::StreamNumber;
use headwater_engine::storage::{
    AppendError, AppendSet, BoxFuture, CommitError, Cursor, Fence, LogState, Page, Pending, Position,
    ReadError, ReadLimits, ShardKey, ShardLog,
};
use std::sync::{Arc, Mutex, PoisonError};

/// Appends that nobody was told of yet. Cheap to clone; clones are one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Appends(Arc<Mutex<Vec<Append>>>);

#[derive(Debug, Clone, Copy)]
struct Append {
    records: usize,
    marks: usize,
    is_taken: bool,
    /// Of shards, keys and data of records, and of marks.
    digest: u64,
}

impl Appends {
    /// Tells them.
    pub(crate) fn tell(&self, who: &str, trace: &mut Trace) {
        for append in std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
            let Append { records, marks, is_taken, digest } = append;
            trace
                .count(format_args!("{who} appends {records} records and {marks} marks, {is_taken}"), digest);
        }
    }

    fn hear(&self, set: &AppendSet, is_taken: bool) {
        let mut digest = Digest::default();
        for record in set.records() {
            let (shard, _) = set.shards()[record.shard as usize];
            digest.add(&[shard.stream.0.to_le_bytes(), shard.shard.0.to_le_bytes()].concat());
            digest.add(record.key);
            digest.add(record.data);
        }
        for (key, value) in set.marks() {
            digest.add(key);
            digest.add(value);
        }
        set.unmarks().for_each(|key| digest.add(key));
        digest.add(&[u8::from(is_taken)]);
        let (records, marks, digest) =
            (set.records().len(), set.marks().len() + set.unmarks().len(), digest.value());
        let append = Append { records, marks, is_taken, digest };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(append);
    }
}

/// A log whose appends are heard.
pub(crate) struct Heard {
    log: Arc<dyn ShardLog>,
    appends: Appends,
}

impl Heard {
    pub(crate) fn new(log: Arc<dyn ShardLog>, appends: Appends) -> Self {
        Self { log, appends }
    }
}

impl ShardLog for Heard {
    fn append(&self, set: &AppendSet, now_ms: u64) -> Result<Pending, AppendError> {
        let pending = self.log.append(set, now_ms);
        self.appends.hear(set, pending.is_ok());
        pending
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

    fn hold(&self, shard: ShardKey, from: Option<Position>) {
        self.log.hold(shard, from);
    }

    fn state(&self) -> LogState {
        self.log.state()
    }
}
