//! What compression promises: the same records for fewer bytes, limits that count what is in memory, and no trust in a length.

use headwater_journal::blocks::Blocks;
use headwater_journal::storage::SimDisk;
use headwater_journal::{
    AppendError, AppendSet, Compression, Config, Core, Counters, ReadLimits, ShardKey, State, Storage,
    StorageFile,
};

const NOW: u64 = 1_790_000_000_000;
const ALL: ReadLimits = ReadLimits { records: 1_000_000, bytes: 1 << 30 };
const SHARD: ShardKey = ShardKey { stream: 1, shard: 0 };

fn config(compression: Compression) -> Config {
    Config {
        segment_bytes: 64 << 10,
        size_bytes_max: 8 << 20,
        reserve_bytes: 0,
        group_bytes_max: 16 << 10,
        staged_bytes_max: 64 << 10,
        tail_cache_bytes: 0,
        compression,
        ..Config::default()
    }
}

/// Like what devices send: much the same from record to record.
fn telemetry(number: u64) -> Vec<u8> {
    let (whole, tenth) = (20 + number % 7, number % 10);
    format!(
        r#"{{"device":"boiler-{}","boot":3,"seq":{number},"readings":{{"flow_temperature":{whole}.{tenth},"return_temperature":{tenth}.{whole},"pressure":1.{tenth},"pump":"on"}}}}"#,
        number % 5
    )
    .into_bytes()
}

/// Bytes in which nothing repeats.
fn noise(number: u64) -> Vec<u8> {
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..20).flat_map(|_| next()).collect()
}

/// Appends and commits sets of 40 records; then everything is read back, before and after a reopening.
fn round_trip(compression: Compression, data: fn(u64) -> Vec<u8>) -> Counters {
    let disk = SimDisk::new(1);
    let (core, _) = Core::open_on(disk.clone(), config(compression), NOW, 7).expect("opens");
    let mut set = AppendSet::new();
    for round in 0..100 {
        set.clear();
        set.batch(SHARD);
        (0..40).for_each(|number| set.record(b"key", &data(round * 40 + number)));
        core.append(&set, NOW + round).expect("appends");
        core.commit().expect("commits");
        while core.maintain(NOW + round) {}
    }
    let counters = core.counters();
    read_back(&core, data);
    drop(core);
    // Written with one setting, read with the other.
    let other = config(if compression == Compression::None { Compression::Lz4 } else { Compression::None });
    let (core, recovery) = Core::open_on(disk.kill(), other, NOW, 8).expect("opens");
    // All but the open segment had room for their footers.
    assert!(recovery.is_clean() && recovery.segments_scanned <= 1, "{recovery:?}");
    read_back(&core, data);
    counters
}

fn read_back<S: Storage>(core: &Core<S>, data: fn(u64) -> Vec<u8>) {
    for limits in [ALL, ReadLimits { records: 7, bytes: 1 << 20 }, ReadLimits { records: 1000, bytes: 900 }] {
        let mut next = 1;
        while next < 4001 {
            let page = core.read(SHARD, next, limits).expect("reads");
            assert!(page.gaps.is_empty());
            let bytes: usize = page.records().map(|record| record.key.len() + record.data.len()).sum();
            assert!(page.len() <= limits.records && (bytes <= limits.bytes || page.len() == 1), "{limits:?}");
            assert!(!page.is_empty(), "{limits:?} stands still at {next}");
            for record in page.records() {
                assert_eq!(record.sequence, next);
                assert_eq!(record.data, data(next - 1), "{limits:?}");
                assert_eq!(record.time_ms, NOW + (next - 1) / 40);
                next += 1;
            }
        }
    }
    assert_eq!(core.seek_time(SHARD, NOW + 50).expect("seeks"), 50 * 40 + 1);
}

#[test]
fn telemetry_takes_fewer_bytes_and_fewer_segments() {
    let plain = round_trip(Compression::None, telemetry);
    let packed = round_trip(Compression::Lz4, telemetry);
    assert!(packed.bytes_live * 3 < plain.bytes_live, "{packed:?} against {plain:?}");
    // The room that is saved is used: a segment is not given up for what its groups would have taken.
    assert!(packed.segments_live * 3 < plain.segments_live * 2, "{packed:?} against {plain:?}");
    // A group is padded to whole blocks, so less is saved on the disk than in the runs.
    let written = |counters: &Counters| counters.bytes_written - counters.bytes_zeroed;
    assert!(written(&packed) * 3 < written(&plain) * 2, "{packed:?} against {plain:?}");
}

#[test]
fn what_does_not_shrink_is_stored_as_it_is() {
    let (plain, packed) = (round_trip(Compression::None, noise), round_trip(Compression::Lz4, noise));
    assert_eq!(packed.bytes_live, plain.bytes_live);
    assert_eq!(packed.bytes_written, plain.bytes_written);
}

#[test]
fn limits_of_what_waits_count_bytes_in_memory() {
    // A megabyte of one letter packs into next to nothing, and takes a megabyte of memory all the same.
    let (core, _) = Core::open_on(SimDisk::new(2), config(Compression::Lz4), NOW, 7).expect("opens");
    let mut set = AppendSet::new();
    set.batch(SHARD);
    set.record(b"", &[b'a'; 10_000]);
    let mut staged = 0;
    let refusal = loop {
        match core.append(&set, NOW) {
            Ok(_) => staged += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(refusal, AppendError::Busy { .. }), "{refusal}");
    assert!((5..=6).contains(&staged), "{staged} sets of 10 kB where 64 KiB may wait");
    core.commit().expect("commits");
    set.record(b"", &[b'a'; 30_000]);
    assert!(
        matches!(core.append(&set, NOW), Err(AppendError::TooLarge { .. })),
        "half a segment is the most"
    );
}

const GROUP: usize = 4096;
const RUN_HEADER: usize = GROUP + 48;
const BODY: usize = RUN_HEADER + 40;

#[test]
fn a_length_that_the_block_does_not_have_is_damage_and_takes_no_memory() {
    let disk = SimDisk::new(3);
    let (core, _) = Core::open_on(disk.clone(), config(Compression::Lz4), NOW, 7).expect("opens");
    let mut set = AppendSet::new();
    set.batch(SHARD);
    set.record(b"", &[b'a'; 20_000]);
    core.append(&set, NOW).expect("appends");
    core.commit().expect("commits");
    drop(core);
    let image = disk.image();
    let (_, segment) = image.iter().find(|(name, _)| name == "0000000000000001.seg").expect("is there");
    let at = |at: usize| u32::from_le_bytes(segment[at..at + 4].try_into().expect("4 bytes"));
    let (stored, raw) = (at(RUN_HEADER + 28) as usize, at(BODY + 4));
    assert!(raw > 20_000 && stored < 200, "{raw} bytes in {stored}");
    for claimed in [0, 1, raw - 1, raw + 1, 2 * raw, 33 << 20, 1 << 30, u32::MAX] {
        let mut segment = segment.clone();
        segment[BODY + 4..BODY + 8].copy_from_slice(&claimed.to_le_bytes());
        let crc = crc_fast::crc32_iscsi(&segment[BODY..BODY + stored]);
        segment[RUN_HEADER + 32..RUN_HEADER + 36].copy_from_slice(&crc.to_le_bytes());
        let head = [&segment[GROUP..GROUP + 44], &segment[RUN_HEADER..BODY]].concat();
        segment[GROUP + 44..GROUP + 48].copy_from_slice(&crc_fast::crc32_iscsi(&head).to_le_bytes());
        let disk = SimDisk::new(4);
        let file = disk.create("0000000000000001.seg", segment.len() as u64).expect("creates");
        file.write_at(&Blocks::from(&segment[..]), 0).expect("writes");
        disk.sync_dir().expect("syncs");
        let (core, _) = Core::open_on(disk, config(Compression::None), NOW, 8).expect("opens");
        let page = core.read(SHARD, 0, ALL).expect("reads");
        assert!(page.is_empty() && page.gaps.len() == 1, "{claimed}: {page:?}");
        assert_eq!((core.state(), core.counters().lost_ranges), (State::Open, 1));
    }
}
