//! On-demand streams: as many shards as their traffic needs.
//!
//! In: what the shards took (meters), the mode and the warm throughput of the streams. Out: reshards. Runs in both limit
//! profiles.
//!
//! AWS documents that a stream begins with 4 MB/s, grants up to twice its highest traffic of the last 30 days, splits a
//! shard that takes more than half of its limit, and does so within 15 minutes; and that it throttles what more than doubles
//! in less. Where AWS is silent: the load is that of a whole minute; a split halves the hash keys, whatever keys are hot,
//! and after four splits that separated nothing the load is taken for that of one key and left alone; neighbours are merged
//! after a day in which both together took less than a quarter of one shard; a stream changed from provisioned keeps its
//! shards; what was learned of the traffic begins anew at a start of the engine, but shards are only merged after a day.

mod core;

use self::core::{Scaling, Told, Want};
use crate::control;
use crate::definition::StreamMode;
use crate::engine::Engine;
use crate::limits;
use crate::names::StreamNumber;
use crate::reshard::{Plan, Step};
use crate::shards::Shard;
use crate::stream::StreamHandle;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// What is known of the traffic of on-demand streams.
#[derive(Debug, Default)]
pub(crate) struct Scalings(Mutex<BTreeMap<StreamNumber, Scaling>>);

/// Looks at every on-demand stream for which it is time, and reshards those that need it.
pub(crate) async fn round(engine: &Engine) {
    let streams = engine.streams();
    let is_on_demand = |stream: &&StreamHandle| stream.state().definition.mode == StreamMode::OnDemand;
    let on_demand: Vec<_> = streams.iter().filter(is_on_demand).collect();
    let there: Vec<_> = on_demand.iter().map(|stream| stream.number()).collect();
    let forgotten = |number: &StreamNumber| there.contains(number);
    engine.0.scalings.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|number, _| forgotten(number));
    for stream in on_demand {
        let Some(steps) = steps(engine, stream) else { continue };
        let (name, count) = (stream.name(), steps.len());
        match control::resize(engine, name, Plan::Steps(steps)).await {
            Ok(()) => tracing::info!(stream = %name, count, "on-demand stream scaled"),
            // Most likely the stream is being changed; the next round looks again.
            Err(error) => tracing::warn!(stream = %name, %error, "an on-demand stream was not scaled"),
        }
    }
}

/// What a stream needs now, if it is time to look and there is anything.
fn steps(engine: &Engine, stream: &StreamHandle) -> Option<Vec<Step>> {
    let now_ms = engine.0.clock.now_ms();
    let state = stream.state();
    let mut scalings = engine.0.scalings.0.lock().unwrap_or_else(PoisonError::into_inner);
    let scaling = scalings.entry(stream.number()).or_default();
    let interval_ms = u64::try_from(limits::SCALING_INTERVAL.as_millis()).unwrap_or(u64::MAX);
    if scaling.told_ms.is_some_and(|told_ms| now_ms.abs_diff(told_ms) < interval_ms) {
        return None;
    }
    let meter = engine.0.meters.of(stream.number());
    let told = |shard: &Shard| {
        let taken = meter.shard(shard.id);
        Told {
            shard: shard.id,
            parent: shard.parent.filter(|_| shard.adjacent_parent.is_none()),
            width: shard.range.end.0 - shard.range.start.0,
            bytes: taken.incoming_bytes.get(),
            records: taken.incoming_records.get(),
        }
    };
    let open: Vec<_> = state.shards.open().map(told).collect();
    let ready = state.definition.settings.warm_mib as usize;
    let wants = scaling.told(now_ms, &open, ready);
    let step = |want| match want {
        Want::Split(shard) => state.shards.get(shard).and_then(Step::halve),
        Want::Merge(shard, adjacent) => Some(Step::Merge { shard, adjacent }),
    };
    let steps: Vec<_> = wants.into_iter().filter_map(step).collect();
    (!steps.is_empty()).then_some(steps)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::control::NewStream;
    use crate::engine::EngineConfig;
    use crate::hash::HashKey;
    use crate::names::StreamName;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    fn engine(dir: &tempfile::TempDir) -> (Engine, Arc<AtomicU64>) {
        let now_ms = Arc::new(AtomicU64::new(1_700_000_000_000));
        let time = Arc::clone(&now_ms);
        let journal = headwater_journal::Config {
            segment_bytes: 8 << 20,
            pool_segments: 1,
            reserve_bytes: 0,
            ..headwater_journal::Config::small()
        };
        let clock = Clock::new(move || time.load(Relaxed));
        (Engine::open(EngineConfig { journal, clock, ..EngineConfig::new(dir.path()) }).unwrap().0, now_ms)
    }

    async fn created(engine: &Engine, name: &str, mode: StreamMode, warm_mib: u32) -> StreamHandle {
        let mut new = NewStream::new(StreamName::parse(name).unwrap(), 4);
        (new.mode, new.settings.warm_mib) = (mode, warm_mib);
        engine.create(new).await.unwrap()
    }

    async fn put(engine: &Engine, stream: &StreamHandle, hash: u128, records: u32) {
        let mut batch = engine.batch();
        (0..records).for_each(|_| batch.put(stream, "k", Some(HashKey(hash)), b"x").unwrap());
        engine.append(&batch).unwrap().await.unwrap();
    }

    #[tokio::test]
    async fn a_busy_shard_of_an_on_demand_stream_is_halved_and_a_provisioned_one_never() {
        let dir = tempfile::tempdir().unwrap();
        let (engine, now_ms) = engine(&dir);
        let on_demand = created(&engine, "d", StreamMode::OnDemand, 0).await;
        let provisioned = created(&engine, "p", StreamMode::Provisioned, 0).await;
        round(&engine).await;
        // Just above 500 records a second for a minute, into the first shard.
        for stream in [&on_demand, &provisioned] {
            put(&engine, stream, 0, 30_100).await;
        }
        now_ms.fetch_add(30_000, Relaxed);
        round(&engine).await;
        assert_eq!(on_demand.state().shards.open_count(), 4, "half a minute is not judged");
        now_ms.fetch_add(30_000, Relaxed);
        round(&engine).await;
        assert_eq!(on_demand.state().shards.open_count(), 5);
        assert_eq!(provisioned.state().shards.open_count(), 4);
        let state = on_demand.state();
        let children: Vec<_> = state.shards.children(crate::ShardId(0)).map(|shard| shard.range).collect();
        assert_eq!(children[0].end.0, u128::MAX / 8);
        assert_eq!(children[1].start.0, u128::MAX / 8 + 1);
        engine.delete_stream(on_demand.name()).await.unwrap();
        round(&engine).await;
        assert!(engine.0.scalings.0.lock().unwrap().is_empty(), "deleted streams are forgotten");
        engine.close().await;
    }

    #[tokio::test]
    async fn warm_throughput_is_made_ready() {
        let dir = tempfile::tempdir().unwrap();
        let (engine, now_ms) = engine(&dir);
        let stream = created(&engine, "w", StreamMode::OnDemand, 10).await;
        for _ in 0..3 {
            round(&engine).await;
            now_ms.fetch_add(60_000, Relaxed);
        }
        assert_eq!(stream.state().shards.open_count(), 10);
        engine.close().await;
    }
}
