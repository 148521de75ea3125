//! Reads of the log: where they run, and what they pass over.

use super::*;
use crate::names::ShardId;

const SHARD: ShardKey = ShardKey { stream: StreamNumber(1), shard: ShardId(0) };

async fn append(log: &EmbeddedLog, data: &[u8], now_ms: u64) {
    let mut set = AppendSet::default();
    set.record(SHARD, b"k", data);
    log.append(&set, now_ms).unwrap().await.unwrap();
}

fn log(dir: &std::path::Path) -> EmbeddedLog {
    EmbeddedLog::new(Journal::open(dir, journal::Config::small(), 1).unwrap().0)
}

#[tokio::test]
async fn a_read_never_touches_the_disk_on_the_thread_of_its_caller() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path());
    append(&log, b"x", 1).await;
    let limits = ReadLimits { records: 10, bytes: 1_000, not_before_ms: 0 };
    let mut read = log.read(SHARD, at(journal::FIRST_SEQUENCE), limits);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(read.as_mut().poll(&mut cx).is_pending(), "somebody else's thread reads");
    assert_eq!(read.await.unwrap().runs.len(), 1);
}

#[tokio::test]
async fn what_is_too_old_is_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let log = log(dir.path());
    for now_ms in 1..=9 {
        append(&log, &[0], now_ms * 100).await;
    }
    for (not_before_ms, oldest_ms) in [(0, 100), (100, 100), (450, 500), (900, 900)] {
        let limits = ReadLimits { records: 100, bytes: 10_000, not_before_ms };
        let page = log.read(SHARD, at(journal::FIRST_SEQUENCE), limits).await.unwrap();
        let mut times = Vec::new();
        page.runs.iter().for_each(|run| run.visit(&mut |record| times.push(record.time_ms)));
        assert_eq!((times[0], *times.last().unwrap()), (oldest_ms, 900), "{not_before_ms}");
    }
    let limits = ReadLimits { records: 100, bytes: 10_000, not_before_ms: 901 };
    assert!(log.read(SHARD, at(journal::FIRST_SEQUENCE), limits).await.unwrap().runs.is_empty());
}
