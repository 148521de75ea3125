//! A small log is damaged at every place in turn: it opens, names what is lost, and serves the rest.

use std::collections::BTreeMap;

use headwater_journal::blocks::Blocks;
use headwater_journal::storage::{Fate, Fault, Operation, SimDisk};
use headwater_journal::{AppendSet, Config, Core, ReadLimits, ShardKey, Storage, StorageFile};

const NOW: u64 = 1_790_000_000_000;
const ALL: ReadLimits = ReadLimits { records: 1_000_000, bytes: 1 << 30 };
const SHARDS: [ShardKey; 3] =
    [ShardKey { stream: 1, shard: 0 }, ShardKey { stream: 1, shard: 1 }, ShardKey { stream: 2, shard: 0 }];

type Files = Vec<(String, Vec<u8>)>;

fn config() -> Config {
    Config {
        segment_bytes: 64 << 10,
        size_bytes_max: 4 << 20,
        reserve_bytes: 0,
        group_bytes_max: 16 << 10,
        staged_bytes_max: 64 << 10,
        tail_cache_bytes: 0,
        ..Config::default()
    }
}

fn payload(shard: ShardKey, sequence: u64) -> Vec<u8> {
    format!("{}/{}/{sequence:0120}", shard.stream, shard.shard).into_bytes()
}

/// Three segments, the last one open; returns the files and, per shard, the end before and after the last group.
fn written() -> (Files, BTreeMap<ShardKey, (u64, u64)>) {
    let disk = SimDisk::new(1);
    let (core, _) = Core::open_on(disk.clone(), config(), NOW, 7).expect("opens");
    let mut set = AppendSet::new();
    let (mut ends, mut before) = (BTreeMap::new(), BTreeMap::new());
    for round in 0..36u64 {
        set.clear();
        // Shard 2/0 speaks only for a while in the open segment: its losses cannot be told from later runs.
        for shard in SHARDS.into_iter().filter(|shard| shard.stream == 1 || (28..31).contains(&round)) {
            set.batch(shard);
            for _ in 0..4 {
                let sequence = ends.entry(shard).or_insert(1u64);
                set.record(b"key", &payload(shard, *sequence));
                *sequence += 1;
            }
        }
        set.put(b"round", format!("{round}").as_bytes(), None);
        core.append(&set, NOW + round).expect("appends");
        core.commit().expect("commits");
        // Not at the end: a snapshot would know how far the silent shard came.
        while round % 8 == 0 && round < 28 && core.maintain(NOW) {}
        if round == 34 {
            before.clone_from(&ends);
        }
    }
    let ends =
        ends.iter().map(|(&shard, &end)| (shard, (before.get(&shard).copied().unwrap_or(1), end))).collect();
    (disk.image(), ends)
}

fn disk_of(files: &Files) -> SimDisk {
    let disk = SimDisk::new(2);
    for (name, bytes) in files {
        let file = disk.create(name, bytes.len() as u64).expect("creates");
        let mut blocks = Blocks::from(&bytes[..]);
        blocks.pad();
        if !bytes.is_empty() {
            file.write_at(&blocks, 0).expect("writes");
        }
        file.sync().expect("syncs");
    }
    disk.sync_dir().expect("syncs");
    disk
}

/// Opens and reads everything; every record must be there and right, or in a gap, or of the last group.
fn check(files: &Files, ends: &BTreeMap<ShardKey, (u64, u64)>, what: &str) -> u64 {
    let disk = disk_of(files);
    let mut lost = 0;
    // The second opening finds what the first one wrote about the loss.
    for opening in 0..2 {
        let opened = Core::open_on(disk.clone(), config(), NOW, 100 + opening);
        let (core, recovery) = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
        for (&shard, &(before_last, end)) in ends {
            let (mut next, mut from) = (1, 0);
            loop {
                let page = core.read(shard, from, ALL).unwrap_or_else(|error| panic!("{what}: {error}"));
                let mut gaps = page.gaps.iter().peekable();
                for record in page.records() {
                    while let Some(gap) = gaps.next_if(|gap| gap.first == next) {
                        lost += gap.last.min(end) - gap.first + 1;
                        next = gap.last + 1;
                    }
                    assert_eq!(record.sequence, next, "{what}: opening {opening}: hole without a gap");
                    assert_eq!(record.data, payload(shard, next), "{what}: opening {opening}: wrong bytes");
                    next += 1;
                }
                for gap in gaps {
                    assert_eq!(gap.first, next, "{what}");
                    lost += gap.last - gap.first + 1;
                    next = gap.last + 1;
                }
                from = page.next;
                if page.next >= page.end {
                    break;
                }
            }
            assert!(
                next >= before_last,
                "{what}: opening {opening}: {shard:?} ends at {next}, acknowledged to {before_last}"
            );
        }
        let round = core.meta_get(b"round").map(|meta| String::from_utf8_lossy(&meta.value).into_owned());
        let right = matches!(round.as_deref(), Some("34" | "35"));
        assert!(right || recovery.metadata_lost || opening > 0, "{what}: metadata {round:?}, {recovery:?}");
        if opening == 0 && lost > 0 {
            assert!(!recovery.is_clean() || core.counters().lost_ranges > 0, "{what}: lost without a word");
        }
        core.commit().unwrap_or_else(|error| panic!("{what}: {error}"));
        while core.maintain(NOW) {}
        core.commit().unwrap_or_else(|error| panic!("{what}: {error}"));
    }
    lost
}

#[test]
fn an_undamaged_log_loses_nothing() {
    let (files, ends) = written();
    assert!(files.iter().filter(|(name, _)| name.ends_with(".seg")).count() >= 3);
    assert_eq!(check(&files, &ends, "whole"), 0);
}

#[test]
fn a_flipped_bit_anywhere_is_named() {
    let (files, ends) = written();
    let mut lost = 0;
    for (number, (name, bytes)) in files.iter().enumerate() {
        // Heads of blocks hold headers; the middle of blocks holds bodies.
        for at in (0..bytes.len()).step_by(1024).flat_map(|at| [at + 5, at + 60, at + 700]) {
            if bytes.get(at / 4096 * 4096..).is_none_or(|rest| rest[..4096].iter().all(|&byte| byte == 0)) {
                continue;
            }
            let mut damaged = files.clone();
            damaged[number].1[at] ^= 0x10;
            lost += check(&damaged, &ends, &format!("{name}: bit flipped at {at}"));
        }
    }
    assert!(lost > 0, "the test damages nothing");
}

#[test]
fn a_block_of_zeros_anywhere_is_named() {
    let (files, ends) = written();
    let mut lost = 0;
    for (number, (name, bytes)) in files.iter().enumerate() {
        for at in (0..bytes.len()).step_by(4096) {
            let mut damaged = files.clone();
            damaged[number].1[at..at + 4096].fill(0);
            lost += check(&damaged, &ends, &format!("{name}: zeros at {at}"));
        }
    }
    assert!(lost > 0, "the test damages nothing");
}

#[test]
fn a_file_that_ends_early_or_is_gone_is_named() {
    let (files, ends) = written();
    for (number, (name, bytes)) in files.iter().enumerate() {
        // The newest segment's groups end with nothing behind: cutting it short cannot be told from a torn tail.
        let newest = files
            .iter()
            .rposition(|(name, bytes)| name.ends_with(".seg") && bytes.iter().any(|&byte| byte != 0));
        if newest == Some(number) {
            continue;
        }
        for length in (0..bytes.len()).step_by(8192) {
            let mut damaged = files.clone();
            damaged[number].1.truncate(length);
            check(&damaged, &ends, &format!("{name}: cut to {length}"));
        }
        let mut damaged = files.clone();
        damaged.remove(number);
        check(&damaged, &ends, &format!("{name}: removed"));
    }
}

#[test]
fn a_segment_with_a_damaged_header_is_counted_once() {
    let (mut files, _) = written();
    let scanned =
        |files: &Files| Core::open_on(disk_of(files), config(), NOW, 100).expect("opens").1.segments_scanned;
    let whole = scanned(&files);
    let open = files.iter_mut().rfind(|(name, _)| name.ends_with(".seg")).expect("has segments");
    open.1[0] ^= 1;
    assert_eq!(scanned(&files), whole);
}

#[test]
fn a_first_group_that_outlived_its_header_is_no_loss_of_the_groups_before() {
    // Their segments were let go; then a cut tears the first write of the next, and keeps the group without the header before it.
    let disk = SimDisk::new(5);
    let (core, _) = Core::open_on(disk.clone(), config(), NOW, 7).expect("opens");
    let mut set = AppendSet::new();
    set.batch(SHARDS[0]);
    set.record(b"key", b"data");
    for _ in 0..4 {
        core.append(&set, NOW).expect("appends");
        core.commit().expect("commits");
    }
    core.close(NOW);
    drop(core);
    let (core, _) = Core::open_on(disk.clone(), config(), NOW, 8).expect("opens");
    core.trim(SHARDS[0], 5);
    while core.maintain(NOW) {}
    assert_eq!(core.counters().segments_live, 0);
    core.append(&set, NOW).expect("appends");
    disk.fail_operation(Operation::Sync, 0, Fault::PowerOff);
    core.commit().expect_err("the power is gone");
    drop(core);
    let header = 0xff;
    let disk = disk.power_cut_with(|pending| match pending.operation {
        Operation::Write => Fate::Sectors { mask: !header },
        _ => Fate::Kept,
    });
    let (core, recovery) = Core::open_on(disk, config(), NOW, 9).expect("opens");
    assert!(recovery.is_clean(), "{recovery:?}");
    assert_eq!((recovery.last_group, recovery.segments_scanned), (5, 1));
    assert_eq!(core.read(SHARDS[0], 5, ALL).expect("reads").len(), 1);
}

/// Where the groups of the open segment begin, in a file that has no footer.
fn groups_of_the_open_segment(files: &Files) -> (usize, Vec<usize>) {
    let has_groups = |bytes: &[u8]| bytes.len() > 4100 && bytes[4096..4100] == *b"HWGR";
    let open = files.iter().rposition(|(name, bytes)| name.ends_with(".seg") && has_groups(bytes));
    let open = open.expect("has segments");
    let bytes = &files[open].1;
    let heads = (4096..bytes.len()).step_by(4096).filter(|&at| bytes[at..at + 4] == *b"HWGR");
    (open, heads.collect())
}

#[test]
fn a_flipped_magic_leaves_a_trace_of_the_last_group() {
    let (files, ends) = written();
    let (open, heads) = groups_of_the_open_segment(&files);
    let &[.., before, last] = &heads[..] else { panic!("two groups in the open segment, found {heads:?}") };
    for bit in 0..32 {
        let mut damaged = files.clone();
        damaged[open].1[last + bit / 8] ^= 1 << (bit % 8);
        // It looks like the write that a crash interrupted, and is told as one.
        let (_, recovery) = Core::open_on(disk_of(&damaged), config(), NOW, 100).expect("opens");
        assert!(recovery.torn_bytes > 0, "bit {bit}: dropped without a word: {recovery:?}");
        // It still proves the group before it, which was acknowledged before it was written.
        damaged[open].1[before + 700] ^= 1;
        let (_, recovery) = Core::open_on(disk_of(&damaged), config(), NOW, 100).expect("opens");
        assert!(
            !recovery.is_clean(),
            "bit {bit}: the group before it is taken for a torn tail: {recovery:?}"
        );
        check(&damaged, &ends, &format!("bit {bit} of the last magic, and a body before it"));
    }
}
