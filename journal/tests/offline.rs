//! A journal on real files that is looked at: every damage is named with its file and what it costs, and not a byte changes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use headwater_journal::{
    AppendSet, Config, Finding, IoMode, Journal, LostRange, Offline, OpenError, ReadLimits, ShardKey,
    Standing,
};

const NOW: u64 = 1_790_000_000_000;
const BLOCK: usize = 4096;
const ALL: ReadLimits = ReadLimits { records: 1_000_000, bytes: 1 << 30 };
const SHARDS: [ShardKey; 2] = [ShardKey { stream: 1, shard: 0 }, ShardKey { stream: 2, shard: 7 }];
const ROUNDS: u64 = 60;
const PER_ROUND: u64 = 4;

fn config() -> Config {
    Config {
        segment_bytes: 64 << 10,
        size_bytes_max: 4 << 20,
        reserve_bytes: 0,
        group_bytes_max: 16 << 10,
        staged_bytes_max: 64 << 10,
        io: IoMode::Buffered,
        ..Config::default()
    }
}

fn payload(shard: ShardKey, sequence: u64) -> Vec<u8> {
    format!("{}/{}/{sequence:0200}", shard.stream, shard.shard).into_bytes()
}

/// Several segments; closed in order, or left as a killed process leaves it.
fn written(dir: &Path, close: bool) {
    let (journal, _) = Journal::open(dir, config(), NOW).expect("opens");
    let mut set = AppendSet::new();
    for round in 0..ROUNDS {
        set.clear();
        for shard in SHARDS {
            set.batch(shard);
            (1..=PER_ROUND).for_each(|n| set.record(b"key", &payload(shard, round * PER_ROUND + n)));
        }
        set.put(b"round", round.to_string().as_bytes(), None);
        let appended = loop {
            match journal.append(&set, NOW + round) {
                Ok(appended) => break appended,
                Err(_) => std::thread::sleep(std::time::Duration::from_millis(2)),
            }
        };
        journal.wait(appended.ticket).expect("commits");
    }
    if close {
        journal.close();
    }
}

type Image = BTreeMap<PathBuf, (Vec<u8>, std::time::SystemTime)>;

fn image(dir: &Path) -> Image {
    let lane = dir.join("lane-0");
    let files = std::fs::read_dir(lane).expect("lists").map(|entry| entry.expect("lists").path());
    files
        .map(|path| {
            let modified = path.metadata().and_then(|metadata| metadata.modified()).expect("has a time");
            (path.clone(), (std::fs::read(path).expect("reads"), modified))
        })
        .collect()
}

fn put_back(image: &Image) {
    for (path, (bytes, _)) in image {
        std::fs::write(path, bytes).expect("writes");
    }
}

fn name(path: &Path) -> String {
    path.file_name().expect("has a name").to_string_lossy().into_owned()
}

fn segments(image: &Image) -> Vec<(PathBuf, Vec<u8>)> {
    let live =
        |(path, bytes): &(PathBuf, Vec<u8>)| name(path).ends_with(".seg") && bytes.starts_with(b"HWSEGMNT");
    image.iter().map(|(path, (bytes, _))| (path.clone(), bytes.clone())).filter(live).collect()
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..][..4].try_into().expect("four")) as usize
}

/// Where groups begin.
fn groups(bytes: &[u8]) -> Vec<usize> {
    (BLOCK..bytes.len()).step_by(BLOCK).filter(|&at| bytes[at..].starts_with(b"HWGR")).collect()
}

/// Where the first run of the group at `at` has its records; the metadata is stream 0 and comes first.
fn first_body(bytes: &[u8], at: usize) -> usize {
    at + 48 + 40 * u32_at(bytes, at + 4)
}

/// Verifies, and makes sure that looking changed nothing.
fn findings(dir: &Path) -> (Vec<Finding>, bool) {
    let before = image(dir);
    let verification = {
        let offline = Offline::open(dir, config()).expect("opens");
        offline.verify(&mut |_| {})
    };
    assert_eq!(image(dir), before, "looking changed the directory");
    (verification.findings, verification.metadata_lost)
}

/// What readers do not get, by shard.
fn unread(dir: &Path) -> BTreeMap<ShardKey, Vec<u64>> {
    let offline = Offline::open(dir, config()).expect("opens");
    let mut unread = BTreeMap::new();
    for shard in SHARDS {
        let (mut there, mut from) = (Vec::new(), 0);
        loop {
            let page = offline.read(shard, from, ALL).expect("reads");
            for record in page.records() {
                assert_eq!(record.data, payload(shard, record.sequence));
                there.push(record.sequence);
            }
            if page.next >= page.end {
                break;
            }
            from = page.next;
        }
        let gone: Vec<u64> =
            (1..=ROUNDS * PER_ROUND).filter(|sequence| there.binary_search(sequence).is_err()).collect();
        unread.insert(shard, gone);
    }
    unread
}

/// Every record that readers miss is in a finding about `file`, and nothing that is whole is called lost.
fn check_named(dir: &Path, file: &str, what: &str, is_last_group: bool) {
    let (findings, _) = findings(dir);
    let missing = unread(dir);
    let any = missing.values().any(|gone| !gone.is_empty());
    if is_last_group && findings.is_empty() {
        return;
    }
    assert!(!findings.is_empty(), "{what}: nothing found");
    for finding in &findings {
        assert_eq!(finding.file, file, "{what}: {finding:?}");
    }
    for (&shard, gone) in &missing {
        let lost = findings.iter().flat_map(|finding| &finding.lost).filter(|lost| lost.shard == shard);
        let ranges: Vec<LostRange> = lost.map(|lost| lost.range).collect();
        for &sequence in gone {
            let named = ranges.iter().any(|range| (range.first..=range.last).contains(&sequence));
            assert!(named || is_last_group, "{what}: {shard:?} {sequence} is not named in {findings:?}");
        }
        for range in ranges {
            let end = range.last.min(ROUNDS * PER_ROUND);
            assert!(
                (range.first..=end).all(|sequence| gone.contains(&sequence)),
                "{what}: {range:?} is whole"
            );
        }
    }
    let standing = findings.iter().any(|finding| finding.standing == Standing::Lost);
    assert!(standing || !any || is_last_group, "{what}: {findings:?}");
}

#[test]
fn a_whole_journal_has_no_findings_closed_or_killed() {
    for close in [true, false] {
        let dir = tempfile::tempdir().expect("makes a directory");
        written(dir.path(), close);
        assert_eq!(findings(dir.path()), (Vec::new(), false), "closed: {close}");
        let offline = Offline::open(dir.path(), config()).expect("opens");
        let holdings = offline.holdings();
        assert_eq!(
            holdings.iter().map(|held| (held.shard, held.records)).collect::<Vec<_>>(),
            SHARDS.map(|shard| (shard, ROUNDS * PER_ROUND))
        );
        assert_eq!(offline.count(SHARDS[0], 11, 21), 10);
        assert!(
            matches!(Journal::open(dir.path(), config(), NOW), Err(OpenError::Io { .. })),
            "somebody looks"
        );
    }
}

/// One byte in each block of each segment, and in each field of the first groups and of footer and trailer.
#[test]
fn a_flipped_bit_is_named_with_its_file_and_its_records() {
    for close in [true, false] {
        let dir = tempfile::tempdir().expect("makes a directory");
        written(dir.path(), close);
        let whole = image(dir.path());
        let segments = segments(&whole);
        assert!(segments.len() >= 3, "{} segments", segments.len());
        let mut flips = 0;
        for (number, (path, bytes)) in segments.iter().enumerate() {
            let groups = groups(bytes);
            let last = *groups.last().expect("a segment has groups");
            let mut places = vec![3, 40, 69];
            for &at in groups.iter().step_by(3).chain([&last]) {
                // A group may be the clock's alone, and short; behind its end are zeros that have no checksum.
                let end = at + u32_at(bytes, at + 32);
                let within = [at + 1, at + 9, at + 33, at + 46, at + 50, at + 200, at + 900];
                places.extend(within.into_iter().filter(|&place| place < end));
                places.push(first_body(bytes, at) + 3);
            }
            if bytes[bytes.len() - BLOCK..].starts_with(b"HWTRAILR") {
                let footer = u32_at(bytes, bytes.len() - BLOCK + 48);
                places.extend([
                    footer + 9,
                    footer + 3 * 56 + 20,
                    bytes.len() - BLOCK + 10,
                    bytes.len() - BLOCK + 50,
                ]);
            }
            for at in places {
                let mut damaged = bytes.clone();
                damaged[at] ^= 0x10;
                std::fs::write(path, &damaged).expect("writes");
                let is_last = number + 1 == segments.len() && at >= last;
                check_named(
                    dir.path(),
                    &name(path),
                    &format!("closed {close}, {} at {at}", name(path)),
                    is_last,
                );
                flips += 1;
            }
            std::fs::write(path, bytes).expect("writes");
        }
        assert!(flips > 50, "{flips}");
        put_back(&whole);
        assert_eq!(findings(dir.path()), (Vec::new(), false));
    }
}

/// The opening reads the metadata that no snapshot has, meets the damage, and forgets where that stood.
#[test]
fn damaged_metadata_is_named_in_its_own_file_although_the_opening_met_it_first() {
    let dir = tempfile::tempdir().expect("makes a directory");
    written(dir.path(), true);
    for snapshot in ["snapshot-0", "snapshot-1"] {
        let path = dir.path().join("lane-0").join(snapshot);
        let bytes = std::fs::read(&path).expect("reads");
        std::fs::write(path, vec![0; bytes.len()]).expect("writes");
    }
    assert_eq!(findings(dir.path()), (Vec::new(), false), "footers and groups tell everything");
    let whole = image(dir.path());
    let mut flips = 0;
    for (path, bytes) in segments(&whole) {
        for at in groups(&bytes) {
            let mut damaged = bytes.clone();
            damaged[first_body(&bytes, at) + 3] ^= 0x10;
            std::fs::write(&path, &damaged).expect("writes");
            let (findings, metadata_lost) = findings(dir.path());
            let what = format!("{} at {at}: {findings:?}", name(&path));
            assert!(metadata_lost, "{what}");
            assert_eq!(findings.len(), 1, "{what}");
            assert_eq!((&findings[0].file, findings[0].offset), (&name(&path), at as u64), "{what}");
            assert!(findings[0].lost.iter().any(|lost| lost.shard.stream == 0), "{what}");
            flips += 1;
        }
        std::fs::write(path, bytes).expect("writes");
    }
    assert!(flips > 40, "{flips}");
}

#[test]
fn a_file_that_ends_early_or_is_gone_is_named() {
    let dir = tempfile::tempdir().expect("makes a directory");
    written(dir.path(), true);
    let whole = image(dir.path());
    let segments = segments(&whole);
    for (number, (path, bytes)) in segments.iter().enumerate() {
        for kept in [0, 100, BLOCK, 5 * BLOCK, bytes.len() / 2] {
            std::fs::write(path, &bytes[..kept]).expect("writes");
            let what = format!("{} cut to {kept}", name(path));
            // Without a byte of the last segment nobody knows how far it went behind the snapshots.
            check_named(dir.path(), &name(path), &what, number + 1 == segments.len());
        }
        std::fs::remove_file(path).expect("removes");
        if number > 0 {
            check_named(
                dir.path(),
                &name(path),
                &format!("{} removed", name(path)),
                number + 1 == segments.len(),
            );
        }
        std::fs::write(path, bytes).expect("writes");
    }
    put_back(&whole);
    assert_eq!(findings(dir.path()), (Vec::new(), false));
}

#[test]
fn a_damaged_snapshot_is_named_and_costs_nothing_while_the_other_holds() {
    let dir = tempfile::tempdir().expect("makes a directory");
    written(dir.path(), true);
    let snapshot = dir.path().join("lane-0/snapshot-0");
    let mut bytes = std::fs::read(&snapshot).expect("reads");
    if !bytes.starts_with(b"HWSNAPSH") {
        written(dir.path(), true);
        bytes = std::fs::read(&snapshot).expect("reads");
    }
    bytes[80] ^= 1;
    std::fs::write(&snapshot, &bytes).expect("writes");
    let (findings, _) = findings(dir.path());
    let found: Vec<_> = findings.iter().map(|finding| (finding.file.as_str(), finding.standing)).collect();
    assert_eq!(found, [("snapshot-0", Standing::Intact)]);
}

#[test]
fn there_is_nothing_to_look_at_while_a_journal_is_open_and_nothing_is_made_where_there_is_none() {
    let dir = tempfile::tempdir().expect("makes a directory");
    let kind = |error: OpenError| match error {
        OpenError::Io { source, .. } => source.kind(),
        other => panic!("{other}"),
    };
    let absent = Offline::open(dir.path(), config()).expect_err("there is none");
    assert_eq!(kind(absent), std::io::ErrorKind::NotFound);
    assert_eq!(std::fs::read_dir(dir.path()).expect("lists").count(), 0);
    let (journal, _) = Journal::open(dir.path(), config(), NOW).expect("opens");
    let busy = Offline::open(dir.path(), config()).expect_err("it is open");
    assert_eq!(kind(busy), std::io::ErrorKind::ResourceBusy);
    drop(journal);
}
