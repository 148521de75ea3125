//! Files that no journal leaves behind: under wrong names, with numbers nobody counts up to. What fuzzing found, and its like.

use headwater_journal::blocks::Blocks;
use headwater_journal::storage::SimDisk;
use headwater_journal::{AppendSet, Config, Core, ReadLimits, Recovery, ShardKey, Storage, StorageFile};

const NOW: u64 = 1_790_000_000_000;
const ALL: ReadLimits = ReadLimits { records: 1_000_000, bytes: 1 << 30 };
const SHARD: ShardKey = ShardKey { stream: 1, shard: 0 };

fn config() -> Config {
    Config {
        segment_bytes: 64 << 10,
        size_bytes_max: 1 << 20,
        reserve_bytes: 0,
        group_bytes_max: 16 << 10,
        staged_bytes_max: 64 << 10,
        tail_cache_bytes: 0,
        ..Config::default()
    }
}

/// Appends and commits one record; its sequence.
fn append(core: &Core<SimDisk>, text: &str) -> u64 {
    let mut set = AppendSet::new();
    set.batch(SHARD);
    set.record(b"key", text.as_bytes());
    let appended = core.append(&set, NOW).expect("appends");
    core.commit().expect("commits");
    appended.firsts[0]
}

/// The files of a journal of two segments that was not closed.
fn two_segments() -> Vec<(String, Vec<u8>)> {
    let disk = SimDisk::new(1);
    let (core, _) = Core::open_on(disk.clone(), config(), NOW, 7).expect("opens");
    for round in 0..24 {
        append(&core, &format!("before {round}"));
    }
    drop(core);
    disk.image()
}

fn disk_of(files: &[(String, Vec<u8>)]) -> SimDisk {
    let disk = SimDisk::new(9);
    for (name, bytes) in files {
        let mut blocks = Blocks::from(&bytes[..]);
        blocks.pad();
        let file = disk.create(name, bytes.len() as u64).expect("creates");
        file.write_at(&blocks, 0).expect("writes");
        file.sync().expect("syncs");
    }
    disk.sync_dir().expect("syncs");
    disk
}

/// Opens the files, appends, keeps house and reads back what was appended.
fn serves(files: &[(String, Vec<u8>)]) -> (Recovery, Core<SimDisk>) {
    let (core, recovery) = Core::open_on(disk_of(files), config(), NOW, 11).expect("opens");
    let first = append(&core, "after");
    assert!((0..200).any(|_| !core.maintain(NOW)), "upkeep writes for ever: {:?}", core.counters());
    let page = core.read(SHARD, first, ALL).expect("reads");
    assert!(page.records().map(|record| record.data).eq([b"after"]));
    (recovery, core)
}

#[test]
fn a_segment_under_an_earlier_name_does_not_keep_upkeep_writing() {
    // The second segment stands before the first, and its header, which would tell, is damaged.
    let mut files = two_segments();
    let names: Vec<_> = files.iter().map(|(name, _)| name.clone()).collect();
    let second = names.iter().position(|name| name == "0000000000000002.seg").expect("was written");
    files[second].0 = "0000000000000000.seg".into();
    files[second].1[0] ^= 1;
    let (recovery, core) = serves(&files);
    assert!(recovery.last_group >= 24, "counts on from the newest group: {recovery:?}");
    let page = core.read(SHARD, 0, ALL).expect("reads");
    assert_eq!(page.records().count(), 25);
}

#[test]
fn files_with_numbers_that_nobody_counts_up_to_are_nobodys() {
    for name in ["ffffffffffffffff.pool", "ffffffffffffffff.seg", "fffffffffffffffe.seg"] {
        let mut files = two_segments();
        let copy = files.iter().find(|(name, _)| name == "0000000000000001.seg").expect("was written");
        files.push((name.into(), copy.1.clone()));
        let (recovery, core) = serves(&files);
        assert!(recovery.is_clean(), "{name}: {recovery:?}");
        let page = core.read(SHARD, 0, ALL).expect("reads");
        assert_eq!(page.records().count(), 25, "{name}");
        assert!(core.storage().list().expect("lists").contains(&name.to_owned()), "{name} is left alone");
    }
}
