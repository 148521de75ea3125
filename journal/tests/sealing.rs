//! What sealing promises: nothing of a sealed stream's records is on the disk, a missing key is said and harms nothing, and a seal
//! changes between two appends exactly.

use headwater_journal::storage::SimDisk;
use headwater_journal::{
    AppendError, AppendSet, Compression, Config, Core, FileStorage, IoMode, ReadError, ReadLimits,
    STREAM_KEY_BYTES, ShardKey, State, Storage, StreamKey,
};

const NOW: u64 = 1_790_000_000_000;
const ALL: ReadLimits = ReadLimits { records: 1_000_000, bytes: 1 << 30 };
const SEALED: ShardKey = ShardKey { stream: 1, shard: 0 };
const OPEN: ShardKey = ShardKey { stream: 2, shard: 0 };

fn config() -> Config {
    Config {
        segment_bytes: 64 << 10,
        size_bytes_max: 640 << 10,
        reserve_bytes: 0,
        group_bytes_max: 16 << 10,
        staged_bytes_max: 64 << 10,
        tail_cache_bytes: 0,
        ..Config::default()
    }
}

fn key(number: u8) -> StreamKey {
    StreamKey::new(&[number; STREAM_KEY_BYTES])
}

fn open_with(disk: &SimDisk, config: Config, seed: u64) -> Core<SimDisk> {
    let (core, recovery) = Core::open_on(disk.clone(), config, NOW, seed).expect("opens");
    assert!(recovery.is_clean(), "{recovery:?}");
    core
}

fn append<S: Storage>(core: &Core<S>, shard: ShardKey, text: &str) -> Result<u64, AppendError> {
    let mut set = AppendSet::new();
    set.batch(shard);
    set.record(format!("key of {text}").as_bytes(), text.as_bytes());
    core.append(&set, NOW).map(|appended| appended.firsts[0])
}

fn texts<S: Storage>(core: &Core<S>, shard: ShardKey) -> Result<Vec<String>, ReadError> {
    let (mut texts, mut from) = (Vec::new(), 0);
    loop {
        let page = core.read(shard, from, ALL)?;
        assert!(page.gaps.is_empty(), "gaps {:?}", page.gaps);
        texts.extend(page.records().map(|record| String::from_utf8_lossy(record.data).into_owned()));
        from = page.next;
        if page.next >= page.end {
            return Ok(texts);
        }
    }
}

fn upkeep<S: Storage>(core: &Core<S>) {
    while core.maintain(NOW) {}
    core.commit().expect("commits");
}

/// Text that does not pack.
fn noise(mut state: u64) -> String {
    let mut letter = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        char::from(b'0' + u8::try_from(state >> 58).expect("6 bits"))
    };
    (0..300).map(|_| letter()).collect()
}

/// How often `wanted` stands in the files of a directory, and in its folders.
fn occurrences(dir: &std::path::Path, wanted: &[u8]) -> usize {
    let entries = std::fs::read_dir(dir).expect("lists").map(|entry| entry.expect("lists").path());
    entries
        .map(|path| {
            if path.is_dir() {
                return occurrences(&path, wanted);
            }
            let bytes = std::fs::read(&path).expect("reads");
            bytes.windows(wanted.len()).filter(|window| *window == wanted).count()
        })
        .sum()
}

#[test]
fn no_file_of_a_journal_shows_keys_or_data_of_a_sealed_stream() {
    // Both streams say the same; the open one is the control. Old segments are pinned and freed by copying.
    for compression in [Compression::None, Compression::Lz4] {
        let dir = tempfile::tempdir().expect("makes a directory");
        // Real files, and no thread that makes room before it is short.
        let storage = FileStorage::open(dir.path(), IoMode::Auto).expect("opens");
        let config = Config { compression, ..config() };
        let (journal, _) = Core::open_on(storage, config, NOW, 7).expect("opens");
        journal.keys().set(1, 7, key(1));
        journal.keys().seal_with(1, Some(7));
        let mut kept = Vec::new();
        for round in 0..150 {
            for (shard, word) in [(SEALED, "marmalade"), (OPEN, "limestone")] {
                let text = format!("{word} {round} of the boiler");
                append_patiently(&journal, shard, &text);
                kept.push((shard, text));
            }
            for _ in 0..40 {
                let filler = ShardKey { stream: 3, shard: 0 };
                let sequence = append_patiently(&journal, filler, &noise(round * 40));
                journal.trim(filler, sequence.saturating_sub(150));
            }
            journal.commit().expect("commits");
        }
        let moved = journal.counters().bytes_copied;
        assert!(moved > 0, "nothing was copied forward: {:?}", journal.counters());
        for shard in [SEALED, OPEN] {
            let expected: Vec<String> =
                kept.iter().filter(|(of, _)| *of == shard).map(|(_, text)| text.clone()).collect();
            assert_eq!(texts(&journal, shard).expect("reads"), expected);
        }
        journal.close(NOW);
        for part in ["marmalade", "key of marm"] {
            assert_eq!(occurrences(dir.path(), part.as_bytes()), 0, "{part} with {compression:?}");
        }
        assert!(occurrences(dir.path(), b"limestone") > 0, "the search finds nothing: {compression:?}");
        assert!(occurrences(dir.path(), b"key of lime") > 0, "the search finds nothing: {compression:?}");
    }
}

fn append_patiently<S: Storage>(journal: &Core<S>, shard: ShardKey, text: &str) -> u64 {
    loop {
        match append(journal, shard, text) {
            Ok(sequence) => return sequence,
            Err(AppendError::Full | AppendError::Busy { .. }) => {
                upkeep(journal);
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn a_copied_run_is_read_although_nobody_knew_its_key_when_it_was_copied() {
    let disk = SimDisk::new(3);
    let core = open_with(&disk, config(), 7);
    core.keys().set(1, 7, key(1));
    core.keys().seal_with(1, Some(7));
    let mut kept = Vec::new();
    for round in 0..120 {
        let text = format!("kept {round}");
        if round == 5 {
            core.keys().forget(1);
            core.keys().seal_with(1, None);
        }
        if round < 5 {
            append(&core, SEALED, &text).expect("appends");
            kept.push(text);
        }
        for _ in 0..40 {
            match append(&core, OPEN, &format!("{round:0300}")) {
                Ok(sequence) => core.trim(OPEN, sequence.saturating_sub(150)),
                Err(AppendError::Full | AppendError::Busy { .. }) => upkeep(&core),
                Err(error) => panic!("{error}"),
            }
        }
        core.commit().expect("commits");
    }
    upkeep(&core);
    assert!(core.counters().bytes_copied > 0, "{:?}", core.counters());
    assert!(matches!(texts(&core, SEALED), Err(ReadError::KeyUnknown { .. })));
    core.keys().set(1, 7, key(1));
    assert_eq!(texts(&core, SEALED).expect("reads"), kept);
    drop(core);
    let core = open_with(&disk.kill(), config(), 8);
    core.keys().set(1, 7, key(1));
    assert_eq!(texts(&core, SEALED).expect("reads"), kept);
}

#[test]
fn a_key_that_is_not_known_is_said_and_nothing_is_lost_by_it() {
    let disk = SimDisk::new(4);
    let core = open_with(&disk, config(), 7);
    core.keys().set(1, 9, key(1));
    core.keys().seal_with(1, Some(9));
    append(&core, SEALED, "secret").expect("appends");
    append(&core, OPEN, "open").expect("appends");
    core.commit().expect("commits");
    drop(core);
    let core = open_with(&disk.kill(), config(), 8);
    match core.read(SEALED, 0, ALL) {
        Err(ReadError::KeyUnknown { shard, first, key_id }) => {
            assert_eq!((shard, first, key_id), (SEALED, 1, 9))
        }
        other => panic!("{other:?}"),
    }
    core.keys().set(1, 9, key(2));
    match core.read(SEALED, 0, ALL) {
        Err(ReadError::KeyWrong { shard, first, key_id }) => {
            assert_eq!((shard, first, key_id), (SEALED, 1, 9))
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(core.seek_time(SEALED, NOW), Err(ReadError::KeyWrong { .. })));
    assert_eq!((core.state(), core.counters().lost_ranges), (State::Open, 0));
    assert_eq!(texts(&core, OPEN).expect("reads"), ["open"]);
    core.keys().set(1, 9, key(1));
    assert_eq!(texts(&core, SEALED).expect("reads"), ["secret"]);
    assert_eq!(core.seek_time(SEALED, NOW).expect("seeks"), 1);
    core.keys().forget(1);
    assert!(matches!(texts(&core, SEALED), Err(ReadError::KeyUnknown { .. })), "forgotten, cached or not");
}

#[test]
fn what_was_read_before_a_missing_key_is_given_first() {
    let core = open_with(&SimDisk::new(5), config(), 7);
    append(&core, SEALED, "open").expect("appends");
    core.keys().set(1, 0, key(1));
    core.keys().seal_with(1, Some(0));
    append(&core, SEALED, "sealed").expect("appends");
    core.commit().expect("commits");
    core.keys().forget(1);
    let page = core.read(SEALED, 0, ALL).expect("the first record is open");
    assert_eq!((page.len(), page.next), (1, 2));
    assert!(matches!(core.read(SEALED, 2, ALL), Err(ReadError::KeyUnknown { first: 2, key_id: 0, .. })));
}

#[test]
fn a_stream_that_is_sealed_is_never_written_in_the_open_for_want_of_a_key() {
    let disk = SimDisk::new(6);
    let core = open_with(&disk, config(), 7);
    core.keys().seal_with(1, Some(3));
    let refused = |core: &Core<SimDisk>| match append(core, SEALED, "never in the open") {
        Err(AppendError::NoKey { shard, key_id }) => assert_eq!((shard, key_id), (SEALED, 3)),
        other => panic!("{other:?}"),
    };
    refused(&core);
    core.keys().set(1, 3, key(1));
    append(&core, SEALED, "sealed before").expect("appends");
    // Forgotten while it waits: what was staged is written sealed all the same.
    core.keys().forget(1);
    refused(&core);
    core.commit().expect("commits");
    assert!(
        !disk.image().iter().any(|(_, bytes)| bytes.windows(13).any(|window| window == b"sealed before"))
    );
    core.keys().set(1, 3, key(1));
    append(&core, SEALED, "and after").expect("appends");
    core.commit().expect("commits");
    assert_eq!(texts(&core, SEALED).expect("reads"), ["sealed before", "and after"]);
    core.drop_stream(1);
    assert_eq!(core.keys().sealed_with(1), None);
    assert!(matches!(append(&core, SEALED, "gone"), Err(AppendError::Refused { .. })));
}

#[test]
fn a_seal_changes_between_two_appends_exactly() {
    // All staged before one commit: without a seal, with two keys in turn, without.
    let disk = SimDisk::new(7);
    let core = open_with(&disk, config(), 7);
    core.keys().set(1, 1, key(1));
    core.keys().set(1, 2, key(2));
    for (seal, text) in [(None, "first open"), (Some(1), "alpha"), (Some(2), "beta"), (None, "last open")] {
        core.keys().seal_with(1, seal);
        append(&core, SEALED, text).expect("appends");
        append(&core, OPEN, "neighbour").expect("appends");
    }
    core.commit().expect("commits");
    let shows = |text: &str| {
        disk.image()
            .iter()
            .any(|(_, bytes)| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
    };
    assert_eq!(
        ["first open", "alpha", "beta", "last open"].map(shows),
        [true, false, false, true],
        "what is on the disk in the open"
    );
    assert_eq!(texts(&core, SEALED).expect("reads"), ["first open", "alpha", "beta", "last open"]);
    core.keys().forget(1);
    core.keys().set(1, 2, key(2));
    assert!(matches!(core.read(SEALED, 2, ALL), Err(ReadError::KeyUnknown { key_id: 1, .. })));
    assert_eq!(core.read(SEALED, 3, ALL).expect("reads").len(), 2);
}
