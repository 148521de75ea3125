//! What a user of the journal can rely on, on the simulated disk and without threads.

use headwater_journal::storage::SimDisk;
use headwater_journal::{
    AppendError, AppendSet, Config, Core, Durability, ReadLimits, Recovery, ShardKey, State, Storage,
};

const NOW: u64 = 1_790_000_000_000;
const ALL: ReadLimits = ReadLimits { records: 1_000_000, bytes: 1 << 30 };

fn shard(stream: u32, shard: u32) -> ShardKey {
    ShardKey { stream, shard }
}

fn config() -> Config {
    Config {
        segment_bytes: 64 << 10,
        pool_segments: 2,
        size_bytes_max: 4 << 20,
        reserve_bytes: 0,
        group_bytes_max: 16 << 10,
        staged_bytes_max: 64 << 10,
        tail_cache_bytes: 32 << 10,
        durability: Durability::Sync,
        ..Config::default()
    }
}

fn open(disk: &SimDisk) -> (Core<SimDisk>, Recovery) {
    Core::open_on(disk.clone(), config(), NOW, 7).expect("opens")
}

fn append<S: Storage>(core: &Core<S>, key: ShardKey, data: &[u8], now_ms: u64) -> Result<u64, AppendError> {
    let mut set = AppendSet::new();
    set.batch(key);
    set.record(b"k", data);
    core.append(&set, now_ms).map(|appended| appended.firsts[0])
}

fn upkeep<S: Storage>(core: &Core<S>, now_ms: u64) {
    for _ in 0..1000 {
        core.commit().expect("commits");
        if !core.maintain(now_ms) {
            return;
        }
    }
    panic!("upkeep does not come to an end");
}

fn texts<S: Storage>(core: &Core<S>, key: ShardKey) -> Vec<String> {
    let (mut texts, mut from) = (Vec::new(), 0);
    loop {
        let page = core.read(key, from, ALL).expect("reads");
        assert!(page.gaps.is_empty(), "gaps {:?}", page.gaps);
        texts.extend(page.records().map(|record| String::from_utf8_lossy(record.data).into_owned()));
        from = page.next;
        if page.next >= page.end {
            return texts;
        }
    }
}

fn fill<S: Storage>(core: &Core<S>, key: ShardKey, from: u64, count: u64, now_ms: u64) {
    for number in from..from + count {
        append(core, key, format!("{number:0200}").as_bytes(), now_ms).expect("appends");
        if number % 3 == 0 {
            core.commit().expect("commits");
        }
    }
    core.commit().expect("commits");
}

#[test]
fn what_was_committed_is_read_back_and_survives_reopening() {
    let disk = SimDisk::new(1);
    let (core, recovery) = open(&disk);
    assert!(recovery.is_clean());
    assert_eq!(append(&core, shard(1, 0), b"one", NOW).expect("appends"), 1);
    assert_eq!(append(&core, shard(2, 5), b"other", NOW).expect("appends"), 1);
    assert_eq!(append(&core, shard(1, 0), b"two", NOW + 1).expect("appends"), 2);
    assert!(texts(&core, shard(1, 0)).is_empty(), "not durable, not readable");
    core.commit().expect("commits");
    assert_eq!(texts(&core, shard(1, 0)), ["one", "two"]);
    drop(core);
    let (core, recovery) = open(&disk);
    assert!(recovery.is_clean(), "{recovery:?}");
    assert_eq!(texts(&core, shard(1, 0)), ["one", "two"]);
    assert_eq!(texts(&core, shard(2, 5)), ["other"]);
    assert_eq!(append(&core, shard(1, 0), b"three", NOW).expect("appends"), 3);
    core.commit().expect("commits");
    assert_eq!(texts(&core, shard(1, 0)), ["one", "two", "three"]);
    let page = core.read(shard(1, 0), 3, ALL).expect("reads");
    assert_eq!(
        page.records().next().map(|record| record.time_ms),
        Some(NOW + 1),
        "time never runs backwards"
    );
}

#[test]
fn many_segments_are_read_back_through_footers() {
    let disk = SimDisk::new(2);
    let (core, _) = open(&disk);
    for round in 0..10 {
        fill(&core, shard(1, 0), round * 100 + 1, 100, NOW + round);
        fill(&core, shard(1, 1), round * 100 + 1, 100, NOW + round);
        upkeep(&core, NOW + round);
    }
    let expected: Vec<String> = (1..=1000).map(|number| format!("{number:0200}")).collect();
    assert_eq!(texts(&core, shard(1, 0)), expected);
    assert!(core.counters().segments_live > 5, "{:?}", core.counters());
    drop(core);
    let (core, recovery) = open(&disk);
    assert!(recovery.is_clean(), "{recovery:?}");
    assert_eq!(recovery.segments_scanned, 1, "only the open one is read whole: {recovery:?}");
    assert_eq!(texts(&core, shard(1, 0)), expected);
    assert_eq!(texts(&core, shard(1, 1)), expected);
}

#[test]
fn metadata_moves_with_the_data_and_guards_its_versions() {
    let disk = SimDisk::new(3);
    let (core, _) = open(&disk);
    let mut set = AppendSet::new();
    set.put(b"a/cursor", b"1", Some(0));
    set.put(b"b", b"x", None);
    core.append(&set, NOW).expect("appends");
    let version = core.meta_get(b"a/cursor").expect("is there").version;
    let refused = core.append(&set, NOW).expect_err("exists by now");
    assert!(matches!(refused, AppendError::Conflict { found, expected: 0, .. } if found == version));
    set.clear();
    set.put(b"a/cursor", b"2", Some(version));
    set.delete(b"b", None);
    core.append(&set, NOW).expect("appends");
    core.commit().expect("commits");
    let version = core.meta_get(b"a/cursor").expect("is there").version;
    drop(core);
    let (core, _) = open(&disk);
    assert_eq!(core.meta_get(b"b"), None);
    let found = core.meta_get(b"a/cursor").expect("is there");
    assert_eq!((found.version, found.value.as_slice()), (version, &b"2"[..]));
    assert_eq!(core.meta_list(b"a/").len(), 1);
}

#[test]
fn old_records_go_by_whole_segments_and_metadata_stays() {
    let disk = SimDisk::new(4);
    let (core, _) = open(&disk);
    core.retain(1, Some(1000));
    let mut set = AppendSet::new();
    set.put(b"name", b"kept", None);
    core.append(&set, NOW).expect("appends");
    for round in 0..20 {
        fill(&core, shard(1, 0), round * 100 + 1, 100, NOW + round * 500);
        upkeep(&core, NOW + round * 500);
    }
    let bounds = core.bounds(shard(1, 0)).expect("has records");
    assert!(bounds.first > 1000 && bounds.end == 2001, "{bounds:?}");
    assert!(core.counters().segments_live < 12, "{:?}", core.counters());
    assert_eq!(core.read(shard(1, 0), 1, ALL).expect("reads").gaps, [], "let go on purpose is no gap");
    drop(core);
    let (core, recovery) = open(&disk);
    assert!(recovery.is_clean(), "{recovery:?}");
    assert_eq!(core.meta_get(b"name").expect("is there").value, b"kept");
    assert_eq!(core.bounds(shard(1, 0)).expect("has records"), bounds);
}

#[test]
fn an_idle_journal_writes_nothing() {
    let disk = SimDisk::new(5);
    let (core, _) = open(&disk);
    core.retain(1, Some(1000));
    fill(&core, shard(1, 0), 1, 500, NOW);
    upkeep(&core, NOW);
    upkeep(&core, NOW + 1_000_000);
    let before = core.counters();
    for tick in 0..100 {
        upkeep(&core, NOW + 2_000_000 + tick * 1000);
    }
    assert_eq!(core.counters(), before);
}

#[test]
fn a_full_disk_refuses_records_takes_cursors_and_recovers_by_trimming() {
    let disk = SimDisk::new(6);
    let config = Config { size_bytes_max: 512 << 10, ..config() };
    let (core, _) = Core::open_on(disk.clone(), config, NOW, 7).expect("opens");
    let mut appended = 0u64;
    loop {
        match append(&core, shard(1, 0), &[7; 200], NOW) {
            Ok(sequence) => appended = sequence,
            Err(AppendError::Busy { .. }) => drop(core.commit().expect("commits")),
            Err(AppendError::Full) => break,
            Err(error) => panic!("{error}"),
        }
    }
    upkeep(&core, NOW);
    assert!(matches!(append(&core, shard(1, 0), &[7; 200], NOW), Err(AppendError::Full)));
    assert_eq!(core.state(), State::Full);
    assert!(appended > 1000, "{appended}");
    let mut set = AppendSet::new();
    set.put(b"cursor", b"500", None);
    core.append(&set, NOW).expect("metadata may use the reserve");
    upkeep(&core, NOW);
    core.trim(shard(1, 0), appended / 2);
    upkeep(&core, NOW);
    assert_eq!(core.state(), State::Open);
    append(&core, shard(1, 0), &[8; 200], NOW).expect("there is room again");
    core.commit().expect("commits");
    assert_eq!(texts(&core, shard(1, 0)).len() as u64, appended + 1 - appended / 2 + 1);
}

#[test]
fn pinned_records_are_copied_forward_when_space_is_short() {
    // Stream 2 keeps one record in each segment for ever; stream 1 fills the rest and is trimmed.
    let disk = SimDisk::new(8);
    let config = Config { size_bytes_max: 640 << 10, ..config() };
    let (core, _) = Core::open_on(disk.clone(), config.clone(), NOW, 7).expect("opens");
    let mut kept = Vec::new();
    for round in 0..100 {
        let text = format!("kept {round}");
        loop {
            match append(&core, shard(2, 0), text.as_bytes(), NOW) {
                Ok(_) => break,
                Err(AppendError::Full) => upkeep(&core, NOW),
                Err(error) => panic!("{error}"),
            }
        }
        kept.push(text);
        for _ in 0..100 {
            match append(&core, shard(1, 0), &[7; 300], NOW) {
                Ok(sequence) => core.trim(shard(1, 0), sequence.saturating_sub(150)),
                Err(AppendError::Full | AppendError::Busy { .. }) => upkeep(&core, NOW),
                Err(error) => panic!("{error}"),
            }
        }
        core.commit().expect("commits");
    }
    upkeep(&core, NOW);
    assert!(core.counters().bytes_copied > 0, "{:?}", core.counters());
    assert_eq!(texts(&core, shard(2, 0)), kept);
    drop(core);
    let (core, recovery) = Core::open_on(disk, config, NOW, 8).expect("opens");
    assert!(recovery.is_clean(), "{recovery:?}");
    assert_eq!(texts(&core, shard(2, 0)), kept);
}

#[test]
fn a_time_is_found_in_old_and_new_segments() {
    let disk = SimDisk::new(9);
    let (core, _) = open(&disk);
    for number in 0..600u64 {
        append(&core, shard(1, 0), &[1; 300], NOW + number * 10).expect("appends");
        if number % 7 == 0 {
            upkeep(&core, NOW);
        }
    }
    upkeep(&core, NOW);
    for reopened in [false, true] {
        let core = if reopened { &open(&disk).0 } else { &core };
        for number in [0, 1, 6, 7, 8, 100, 333, 599] {
            let exact = core.seek_time(shard(1, 0), NOW + number * 10).expect("seeks");
            assert_eq!(exact, number + 1);
            let between = core.seek_time(shard(1, 0), NOW + number * 10 + 1).expect("seeks");
            assert_eq!(between, number + 2);
        }
        assert_eq!(core.seek_time(shard(1, 0), 0).expect("seeks"), 1);
        assert_eq!(core.seek_time(shard(9, 9), 0).expect("seeks"), 1, "an unknown shard");
    }
}

#[test]
fn limits_cut_a_page_and_the_next_one_goes_on() {
    let disk = SimDisk::new(10);
    let (core, _) = open(&disk);
    fill(&core, shard(1, 0), 1, 1000, NOW);
    upkeep(&core, NOW);
    for limits in [
        ReadLimits { records: 7, bytes: 1 << 20 },
        ReadLimits { records: 1000, bytes: 999 },
        ReadLimits { records: 1, bytes: 1 },
    ] {
        let (mut from, mut count) = (0, 0u64);
        loop {
            let page = core.read(shard(1, 0), from, limits).expect("reads");
            assert!(page.len() <= limits.records);
            for record in page.records() {
                count += 1;
                assert_eq!(record.sequence, count);
                assert_eq!(record.data, format!("{count:0200}").as_bytes());
            }
            from = page.next;
            if page.next >= page.end {
                break;
            }
            assert!(!page.is_empty());
        }
        assert_eq!(count, 1000);
    }
}

#[test]
fn a_page_holds_exactly_as_many_bytes_as_it_may() {
    // Records of 100 bytes in groups of their own: what stands between them does not count.
    for in_tail in [true, false] {
        let disk = SimDisk::new(7);
        let (core, _) = open(&disk);
        let key = shard(1, 0);
        for _ in 0..30 {
            append(&core, key, &[7; 99], NOW).expect("appends");
            core.commit().expect("commits");
        }
        // After another opening nothing is in the cache of what was written last.
        let core = if in_tail { core } else { open(&disk).0 };
        for (bytes, expected) in [(1_000, 10), (999, 9), (1_099, 10), (1_100, 11), (99, 1), (3_000, 30)] {
            let page = core.read(key, 5, ReadLimits { records: 1_000, bytes }).expect("reads");
            assert_eq!(page.len(), expected.min(26), "{bytes}");
            assert_eq!(page.next, 5 + expected.min(26) as u64);
        }
    }
}
