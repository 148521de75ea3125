//! Reading shards inside the process that hosts the engine: for readers that carry records on and must see all of them.
//!
//! In: a shard and a position. Out: pages of records, and a word when there are more. Unlike the API's readers these see records past
//! their retention, and [`Engine::hold`] keeps records as long as they need them.
//!
//! Invariants: what is given is durable; a position that was read leads to the same record again until it is passed by every
//! hold. Not here: checkpoints (they are marks of the reader, see [`EngineBatch::mark`](crate::EngineBatch::mark)).

use crate::engine::Engine;
use crate::names::ShardId;
use crate::sequence::SequenceNumber;
use crate::shards::Shard;
use crate::storage::{CommitError, Cursor, Page, Position, ReadError, ReadLimits, ShardKey};
use crate::stream::StreamHandle;

impl Engine {
    /// What time it is to the engine, UTC ms since 1970: records that arrive now are stamped with it.
    #[must_use]
    pub fn now_ms(&self) -> u64 {
        self.0.clock.now_ms()
    }

    /// The position at which reading from `cursor` begins.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn locate(
        &self,
        stream: &StreamHandle,
        shard: ShardId,
        cursor: Cursor,
    ) -> Result<Position, ReadError> {
        self.0.log.locate(ShardKey { stream: stream.number(), shard }, cursor).await
    }

    /// Reads durable records from `from` on, at most this many and this many bytes of keys and data, and at least one where there is
    /// one. Ranges that a damaged device lost are named in the page.
    ///
    /// # Errors
    /// The log cannot be read, or the stream is encrypted with a key that is not there.
    pub async fn read(
        &self,
        stream: &StreamHandle,
        shard: ShardId,
        from: Position,
        (records, bytes): (usize, usize),
    ) -> Result<Page, ReadError> {
        self.0.keys.look(self);
        let limits = ReadLimits { records, bytes, not_before_ms: 0 };
        self.0.log.read(ShardKey { stream: stream.number(), shard }, from, limits).await
    }

    /// Resolves when the shard has a durable record at or after `from`; see [`StreamHandle::changes`] for its end.
    ///
    /// # Errors
    /// The log stopped.
    pub async fn wait(
        &self,
        stream: &StreamHandle,
        shard: ShardId,
        from: Position,
    ) -> Result<(), CommitError> {
        self.0.log.wait(ShardKey { stream: stream.number(), shard }, from).await
    }

    /// Keeps the records of a shard from `from` on, whatever their retention: a required reader has come so far. There is one hold a
    /// shard; a later call moves it. Durable where it was first set; after a start it stands there until it is moved again.
    pub fn hold(&self, stream: &StreamHandle, shard: ShardId, from: Position) {
        self.0.log.hold(ShardKey { stream: stream.number(), shard }, Some(from));
    }

    /// Ends the hold on a shard: retention alone decides.
    pub fn release(&self, stream: &StreamHandle, shard: ShardId) {
        self.0.log.hold(ShardKey { stream: stream.number(), shard }, None);
    }

    /// The name of the record at `position` in a shard of `stream`, as every reader sees it.
    #[must_use]
    pub fn number_of(&self, stream: &StreamHandle, shard: &Shard, position: Position) -> SequenceNumber {
        SequenceNumber { generation: shard.generation, position, stream: stream.number(), shard: shard.id }
    }
}
