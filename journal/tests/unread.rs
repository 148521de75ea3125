//! A disk that does not give back what it holds: no damage, as long as it may come back.

use std::time::Duration;

use headwater_journal::storage::SimDisk;
use headwater_journal::{
    AppendSet, Config, Core, Moment, OpenError, ReadError, ReadLimits, Recovery, ShardKey, Unread,
};

const NOW: u64 = 1_790_000_000_000;
const SHARD: ShardKey = ShardKey { stream: 1, shard: 0 };
const ALL: ReadLimits = ReadLimits { records: 100_000, bytes: 1 << 30 };
const ROUNDS: u64 = 46;
const BLOCK: u64 = 4096;

fn config(unread: Unread) -> Config {
    Config {
        segment_bytes: 64 << 10,
        size_bytes_max: 4 << 20,
        reserve_bytes: 0,
        group_bytes_max: 16 << 10,
        staged_bytes_max: 64 << 10,
        tail_cache_bytes: 0,
        unread,
        ..Config::default()
    }
}

fn open(disk: &SimDisk, unread: Unread) -> Result<(Core<SimDisk>, Recovery), OpenError> {
    Core::open_on(disk.clone(), config(unread), NOW, 7)
}

/// Several segments with a record in each group, killed: the last segment has no footer.
fn written() -> SimDisk {
    let disk = SimDisk::new(1);
    let (core, _) = open(&disk, Unread::AWAITED).expect("opens");
    let mut set = AppendSet::new();
    for round in 0..ROUNDS {
        set.clear();
        set.batch(SHARD);
        set.record(b"key", format!("{round:0200}").as_bytes());
        core.append(&set, NOW).expect("takes");
        core.commit().expect("commits");
        while core.maintain(NOW) {}
    }
    disk.kill()
}

fn segments(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    let live = |(name, bytes): &(String, Vec<u8>)| name.ends_with(".seg") && bytes.starts_with(b"HWSEGMNT");
    disk.image().into_iter().filter(live).collect()
}

fn records(core: &Core<SimDisk>) -> u64 {
    let page = core.read(SHARD, 0, ALL).expect("reads");
    assert_eq!((page.next, page.gaps.len()), (page.end, 0));
    page.records().count() as u64
}

#[test]
fn an_opening_that_cannot_read_acknowledged_records_refuses_and_changes_nothing() {
    let disk = written();
    let (name, bytes) = segments(&disk).pop().expect("has segments");
    let groups = (BLOCK..bytes.len() as u64)
        .step_by(4096)
        .filter(|&at| bytes[usize::try_from(at).expect("fits")..].starts_with(b"HWGR"));
    let places: Vec<u64> = std::iter::once(0).chain(groups).collect();
    assert!(places.len() > 3, "{places:?}");
    for at in places {
        let disk = disk.fork();
        disk.make_bad(&name, at..at + 512).expect("is there");
        let (before, steps) = (disk.image(), disk.counters().steps);
        match open(&disk, Unread::AWAITED).map(|(_, recovery)| recovery) {
            Err(OpenError::Unread { file, offset, .. }) => assert_eq!((file, offset), (name.clone(), at)),
            other => panic!("at {at}: {other:?}"),
        }
        assert_eq!((disk.image(), disk.counters().steps), (before, steps), "at {at}: something was changed");
        let disk = disk.kill();
        let lossy = disk.fork().kill();
        disk.make_good();
        let (core, recovery) = open(&disk, Unread::AWAITED).expect("it is there again");
        assert!(recovery.is_clean(), "at {at}: {recovery:?}");
        assert_eq!(records(&core), ROUNDS);
        let (_, recovery) = open(&lossy, Unread::LOST).expect("opens");
        // The newest group looks like a torn tail.
        assert!(
            !recovery.is_clean() || recovery.torn_bytes > 0 || at == 0 || at + BLOCK >= end(&bytes),
            "{at}"
        );
    }
}

/// Where the groups end.
fn end(bytes: &[u8]) -> u64 {
    let last = (0..bytes.len()).step_by(4096).rfind(|&at| bytes[at..].starts_with(b"HWGR"));
    last.expect("has groups") as u64 + BLOCK
}

#[test]
fn what_costs_no_record_stops_no_opening() {
    let disk = written();
    let first = segments(&disk).swap_remove(0);
    let trailer = first.1.len() as u64 - BLOCK;
    for (name, at) in
        [(first.0.as_str(), 0), (first.0.as_str(), trailer), ("snapshot-0", 0), ("snapshot-1", 0)]
    {
        let disk = disk.fork();
        disk.make_bad(name, at..at + 512).expect("is there");
        let (core, recovery) =
            open(&disk, Unread::AWAITED).unwrap_or_else(|error| panic!("{name} at {at}: {error}"));
        assert!(recovery.is_clean(), "{name} at {at}: {recovery:?}");
        assert_eq!(records(&core), ROUNDS, "{name} at {at}");
    }
}

#[test]
fn metadata_that_cannot_be_read_stops_an_opening() {
    let disk = written();
    for snapshot in ["snapshot-0", "snapshot-1"] {
        disk.make_bad(snapshot, 0..512).expect("is there");
    }
    match open(&disk, Unread::AWAITED).map(|(_, recovery)| recovery) {
        Err(OpenError::Unread { file, .. }) => assert!(file.starts_with("snapshot-"), "{file}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn readers_wait_for_what_is_not_given_back_until_their_patience_is_over() {
    let disk = written();
    let unread = Unread { patience: Duration::from_secs(60), ..Unread::AWAITED };
    let (core, _) = open(&disk, unread).expect("opens");
    let name = segments(&disk).swap_remove(0).0;
    // The records of the first group, behind its head.
    disk.make_bad(&name, BLOCK + 100..BLOCK + 120).expect("is there");
    let at = |seconds: u64| {
        let ms = NOW + seconds * 1_000;
        core.look(Moment { wall_ms: ms, uptime_ms: ms, is_certain: true });
        core.read(SHARD, 0, ALL)
    };
    for seconds in [1, 30, 60] {
        match at(seconds) {
            Err(ReadError::Unread { shard, first, file, .. }) => {
                assert_eq!((shard, first, &file), (SHARD, 1, &name));
            }
            other => panic!("after {seconds} s: {:?}", other.map(|page| page.gaps)),
        }
    }
    disk.make_good();
    assert_eq!(at(61).expect("it is there again").gaps, []);
    disk.make_bad(&name, BLOCK + 100..BLOCK + 120).expect("is there");
    assert!(at(62).is_err(), "patience begins anew");
    assert!(at(121).is_err());
    let page = at(123).expect("it is lost now");
    assert_eq!(page.gaps.iter().map(|gap| (gap.first, gap.last)).collect::<Vec<_>>(), [(1, 1)]);
    assert_eq!(page.records().count() as u64, ROUNDS - 1);
}

#[test]
fn what_was_read_before_the_place_is_given_first() {
    let disk = written();
    let (core, _) = open(&disk, Unread::AWAITED).expect("opens");
    let name = segments(&disk).swap_remove(0).0;
    disk.make_bad(&name, 3 * BLOCK + 100..3 * BLOCK + 120).expect("is there");
    let page = core.read(SHARD, 0, ALL).expect("the first two are there");
    assert_eq!((page.next, page.records().count(), page.gaps.len()), (3, 2, 0));
    assert!(matches!(core.read(SHARD, page.next, ALL), Err(ReadError::Unread { first: 3, .. })));
}
