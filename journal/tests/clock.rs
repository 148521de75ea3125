//! Retention goes by the clock of whoever opened the journal, wherever in time that is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use headwater_journal::{AppendSet, Clock, Config, Journal, ShardKey};

const SHARD: ShardKey = ShardKey { stream: 1, shard: 0 };
const HOUR_MS: u64 = 3_600_000;
/// In 2001: for the machine's clock everything from then is too old.
const LONG_AGO_MS: u64 = 1_000_000_000_000;

fn first(journal: &Journal) -> u64 {
    journal.bounds(SHARD).expect("has records").first
}

#[test]
fn records_expire_by_the_clock_of_the_opener() {
    let dir = tempfile::tempdir().expect("a directory");
    let config =
        Config { segment_bytes: 64 << 10, size_bytes_max: 1 << 20, reserve_bytes: 0, ..Config::small() };
    let config = Config { group_bytes_max: 16 << 10, staged_bytes_max: 64 << 10, ..config };
    let (now_ms, looks) = (Arc::new(AtomicU64::new(LONG_AGO_MS)), Arc::new(AtomicU64::new(0)));
    let clock = {
        let (now_ms, looks) = (Arc::clone(&now_ms), Arc::clone(&looks));
        Clock::new(move || {
            looks.fetch_add(1, Ordering::Relaxed);
            now_ms.load(Ordering::Relaxed)
        })
    };
    let (journal, _) = Journal::open_with(dir.path(), config, clock).expect("opens");
    journal.retain(SHARD.stream, Some(HOUR_MS));
    // Two segments are full, a third is open.
    for _ in 0..40 {
        let mut set = AppendSet::new();
        set.batch(SHARD);
        set.record(b"key", b"data");
        let ticket = journal.append(&set, LONG_AGO_MS).expect("appends").ticket;
        journal.wait(ticket).expect("commits");
    }
    // Upkeep has looked at least twice since, once a second.
    let before = looks.load(Ordering::Relaxed);
    let begun = Instant::now();
    while looks.load(Ordering::Relaxed) < before + 3 {
        assert!(begun.elapsed() < Duration::from_secs(20), "upkeep does not look at this clock");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(first(&journal), 1, "expired by another clock");
    now_ms.fetch_add(2 * HOUR_MS, Ordering::Relaxed);
    let begun = Instant::now();
    while first(&journal) == 1 {
        assert!(begun.elapsed() < Duration::from_secs(20), "did not expire");
        std::thread::sleep(Duration::from_millis(20));
    }
    journal.close();
}
