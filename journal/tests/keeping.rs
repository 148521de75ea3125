//! What is kept how long: holds, and streams that are dropped.

use headwater_journal::storage::SimDisk;
use headwater_journal::{AppendError, AppendSet, Config, Core, ReadLimits, Recovery, ShardKey};

const NOW: u64 = 1_790_000_000_000;
const ALL: ReadLimits = ReadLimits { records: 1_000_000, bytes: 1 << 30 };

fn shard(stream: u32, shard: u32) -> ShardKey {
    ShardKey { stream, shard }
}

fn open(disk: &SimDisk) -> (Core<SimDisk>, Recovery) {
    let config = Config {
        segment_bytes: 64 << 10,
        size_bytes_max: 4 << 20,
        reserve_bytes: 0,
        group_bytes_max: 16 << 10,
        staged_bytes_max: 64 << 10,
        ..Config::default()
    };
    Core::open_on(disk.clone(), config, NOW, 7).expect("opens")
}

fn append(core: &Core<SimDisk>, key: ShardKey, data: &[u8], now_ms: u64) -> Result<u64, AppendError> {
    let mut set = AppendSet::new();
    set.batch(key);
    set.record(b"k", data);
    core.append(&set, now_ms).map(|appended| appended.firsts[0])
}

fn fill(core: &Core<SimDisk>, key: ShardKey, from: u64, count: u64, now_ms: u64) {
    for number in from..from + count {
        append(core, key, format!("{number:0200}").as_bytes(), now_ms).expect("appends");
        if number % 3 == 0 {
            core.commit().expect("commits");
        }
    }
    core.commit().expect("commits");
}

fn upkeep(core: &Core<SimDisk>, now_ms: u64) {
    for _ in 0..1000 {
        core.commit().expect("commits");
        if !core.maintain(now_ms) {
            return;
        }
    }
    panic!("upkeep does not come to an end");
}

fn records(core: &Core<SimDisk>, key: ShardKey) -> usize {
    core.read(key, 0, ALL).expect("reads").records().count()
}

#[test]
fn a_hold_keeps_what_age_and_trim_would_let_go() {
    let disk = SimDisk::new(11);
    let (core, _) = open(&disk);
    core.retain(1, Some(1000));
    core.hold(shard(1, 0), 50);
    fill(&core, shard(1, 0), 1, 2000, NOW);
    core.trim(shard(1, 0), 1500);
    upkeep(&core, NOW + 1_000_000);
    assert_eq!(core.bounds(shard(1, 0)).expect("has records").first, 50);
    drop(core);
    let (core, _) = open(&disk);
    fill(&core, shard(1, 0), 2001, 1, NOW + 1_000_000);
    upkeep(&core, NOW + 2_000_000);
    assert_eq!(core.bounds(shard(1, 0)).expect("has records").first, 50, "the hold survives");
    core.retain(1, None);
    core.hold(shard(1, 0), 1000);
    core.trim(shard(1, 0), 900);
    upkeep(&core, NOW + 2_000_000);
    assert_eq!(core.bounds(shard(1, 0)).expect("has records").first, 900);
    core.retain(1, Some(1000));
    core.release(shard(1, 0));
    upkeep(&core, NOW + 2_000_000);
    assert!(core.bounds(shard(1, 0)).expect("has records").first > 1500);
}

#[test]
fn a_hold_on_a_shard_without_records_survives_a_restart() {
    // Set before the shard's first record, and no snapshot knows of the shard when the power goes.
    let disk = SimDisk::new(21);
    let (core, _) = open(&disk);
    core.retain(1, Some(1000));
    core.hold(shard(1, 0), 1);
    assert_eq!(core.bounds(shard(1, 0)), None, "nothing of it is durable");
    assert_eq!(core.shards(), []);
    core.commit().expect("commits");
    drop(core);
    let (core, _) = open(&disk);
    assert_eq!(core.bounds(shard(1, 0)), None);
    fill(&core, shard(1, 0), 1, 2000, NOW);
    upkeep(&core, NOW + 1_000_000);
    assert_eq!(core.bounds(shard(1, 0)).expect("has records").first, 1);
}

#[test]
fn a_dropped_stream_is_gone_for_good() {
    let disk = SimDisk::new(12);
    let (core, _) = open(&disk);
    fill(&core, shard(1, 0), 1, 500, NOW);
    fill(&core, shard(2, 0), 1, 10, NOW);
    core.drop_stream(1);
    upkeep(&core, NOW);
    for _ in 0..2 {
        assert_eq!(core.bounds(shard(1, 0)), None);
        assert!(matches!(append(&core, shard(1, 0), b"x", NOW), Err(AppendError::Refused { .. })));
        assert_eq!(records(&core, shard(2, 0)), 10);
    }
    drop(core);
    let (core, recovery) = open(&disk);
    assert!(recovery.is_clean(), "{recovery:?}");
    assert_eq!(core.bounds(shard(1, 0)), None);
    assert!(matches!(append(&core, shard(1, 0), b"x", NOW), Err(AppendError::Refused { .. })));
    assert_eq!(records(&core, shard(2, 0)), 10);
}

#[test]
fn records_under_way_do_not_bring_a_dropped_stream_back() {
    // The shard's first records are staged and not durable when its stream is dropped.
    let disk = SimDisk::new(22);
    let (core, _) = open(&disk);
    fill(&core, shard(2, 0), 1, 10, NOW);
    append(&core, shard(1, 0), b"x", NOW).expect("appends");
    core.drop_stream(1);
    core.commit().expect("commits");
    assert_eq!(core.bounds(shard(1, 0)), None);
    assert_eq!(core.shards(), [shard(2, 0)]);
    assert_eq!(records(&core, shard(1, 0)), 0);
}

#[test]
fn a_hold_does_not_bring_a_dropped_stream_back() {
    let disk = SimDisk::new(23);
    let (core, _) = open(&disk);
    fill(&core, shard(1, 0), 1, 10, NOW);
    core.drop_stream(1);
    // A reader that has not heard of it yet.
    core.hold(shard(1, 0), 5);
    core.retain(1, Some(1000));
    upkeep(&core, NOW);
    assert!(matches!(append(&core, shard(1, 0), b"x", NOW), Err(AppendError::Refused { .. })));
    assert_eq!(core.bounds(shard(1, 0)), None);
}
