//! Reading an engine's shards from outside, without waiting: the records that are durable.

use headwater_engine::storage::{Cursor, Position};
use headwater_engine::{Engine, ShardId, StreamHandle, StreamName};
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// Records of one look at a shard.
const RECORDS: usize = 5_000;
const BYTES: usize = 8 << 20;

/// One record where it lies.
pub(crate) struct Found {
    pub(crate) position: u64,
    pub(crate) key: Vec<u8>,
    pub(crate) data: Vec<u8>,
}

/// What a future gives that never waits: an engine without threads reads at once.
pub(crate) fn at_once<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

/// The stream, if the engine has it.
pub(crate) fn stream(engine: &Engine, name: &str) -> Option<StreamHandle> {
    engine.stream(&StreamName::parse(name).ok()?)
}

/// Every shard a stream ever had, parents before children, as far as the stream knows them.
pub(crate) fn shards(stream: &StreamHandle) -> Vec<ShardId> {
    stream.state().shards.all().iter().map(|shard| shard.id).collect()
}

/// The oldest place that can be read.
pub(crate) fn oldest(engine: &Engine, stream: &StreamHandle, shard: ShardId) -> Option<u64> {
    Some(at_once(engine.locate(stream, shard, Cursor::TrimHorizon))?.ok()?.position)
}

/// The place after the newest durable record.
pub(crate) fn end(engine: &Engine, stream: &StreamHandle, shard: ShardId) -> Option<u64> {
    Some(at_once(engine.locate(stream, shard, Cursor::Latest))?.ok()?.position)
}

/// Reads on from a place; gives the next one, none when the log cannot be read.
pub(crate) fn read(
    engine: &Engine,
    stream: &StreamHandle,
    shard: ShardId,
    from: u64,
    found: &mut Vec<Found>,
) -> Option<u64> {
    let mut next = Position { position: from, index: 0 };
    loop {
        let page = at_once(engine.read(stream, shard, next, (RECORDS, BYTES)))?.ok()?;
        for run in &page.runs {
            run.visit(&mut |record| {
                found.push(Found {
                    position: record.position.position,
                    key: record.key.to_vec(),
                    data: record.data.to_vec(),
                });
            });
        }
        if page.next >= page.end || page.next == next {
            return Some(page.next.position);
        }
        next = page.next;
    }
}
