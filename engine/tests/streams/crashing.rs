//! Stores that stop for good after so many durable steps, as a machine does that loses its power: nothing of a later step
//! reaches the disk.

use headwater_engine::StreamNumber;
use headwater_engine::storage::{
    AppendError, AppendSet, BoxFuture, CommitError, Cursor, Fence, LogState, MetaError, MetaStore, Page,
    Pending, Position, ReadError, ReadLimits, ShardKey, ShardLog, Versioned,
};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Counts steps down; shared by the two stores of one engine.
#[derive(Clone)]
pub(crate) struct Power(Arc<AtomicI64>);

impl Power {
    pub(crate) fn for_steps(steps: i64) -> Power {
        Power(Arc::new(AtomicI64::new(steps)))
    }

    /// Takes one step, unless the power is gone.
    fn step(&self) -> Result<(), CommitError> {
        if self.0.fetch_sub(1, Ordering::SeqCst) > 0 { Ok(()) } else { Err(gone()) }
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.0.load(Ordering::SeqCst) < 0
    }
}

fn gone() -> CommitError {
    CommitError { reason: "the power is gone".into() }
}

pub(crate) struct CrashingMeta(pub(crate) Arc<dyn MetaStore>, pub(crate) Power);

impl MetaStore for CrashingMeta {
    fn get(&self, key: &[u8]) -> Option<Versioned> {
        self.0.get(key)
    }

    fn list(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Versioned)> {
        self.0.list(prefix)
    }

    fn put(&self, key: &[u8], value: &[u8], expect: u64) -> BoxFuture<'static, Result<u64, MetaError>> {
        match self.1.step() {
            Ok(()) => self.0.put(key, value, expect),
            Err(error) => Box::pin(async { Err(error.into()) }),
        }
    }

    fn delete(&self, key: &[u8], expect: u64) -> BoxFuture<'static, Result<(), MetaError>> {
        match self.1.step() {
            Ok(()) => self.0.delete(key, expect),
            Err(error) => Box::pin(async { Err(error.into()) }),
        }
    }
}

pub(crate) struct CrashingLog(pub(crate) Arc<dyn ShardLog>, pub(crate) Power);

impl ShardLog for CrashingLog {
    fn append(&self, set: &AppendSet, now_ms: u64) -> Result<Pending, AppendError> {
        self.1.step().map_err(|error| AppendError::Failed(error.reason))?;
        self.0.append(set, now_ms)
    }

    fn barrier(&self) -> Pending {
        self.0.barrier()
    }

    fn locate(&self, shard: ShardKey, cursor: Cursor) -> BoxFuture<'_, Result<Position, ReadError>> {
        self.0.locate(shard, cursor)
    }

    fn read(
        &self,
        shard: ShardKey,
        from: Position,
        limits: ReadLimits,
    ) -> BoxFuture<'_, Result<Page, ReadError>> {
        self.0.read(shard, from, limits)
    }

    fn wait(&self, shard: ShardKey, from: Position) -> BoxFuture<'_, Result<(), CommitError>> {
        self.0.wait(shard, from)
    }

    fn trim(&self, shard: ShardKey, before: Position) {
        if self.1.step().is_ok() {
            self.0.trim(shard, before);
        }
    }

    fn hold(&self, shard: ShardKey, from: Option<Position>) {
        if self.1.step().is_ok() {
            self.0.hold(shard, from);
        }
    }

    fn seal(&self, shard: ShardKey, fence: Fence) -> BoxFuture<'_, Result<Position, CommitError>> {
        match self.1.step() {
            Ok(()) => self.0.seal(shard, fence),
            Err(error) => Box::pin(async { Err(error) }),
        }
    }

    fn retain(&self, stream: StreamNumber, max_age_ms: u64) {
        self.0.retain(stream, max_age_ms);
    }

    fn drop_stream(&self, stream: StreamNumber) {
        if self.1.step().is_ok() {
            self.0.drop_stream(stream);
        }
    }

    fn learn_key(&self, stream: StreamNumber, key: u16, bytes: &[u8; 32]) {
        self.0.learn_key(stream, key, bytes);
    }

    fn encrypt_with(&self, stream: StreamNumber, key: Option<u16>) {
        self.0.encrypt_with(stream, key);
    }

    fn forget_keys(&self, stream: StreamNumber) {
        self.0.forget_keys(stream);
    }

    fn state(&self) -> LogState {
        self.0.state()
    }
}
