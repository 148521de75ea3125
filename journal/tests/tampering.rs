//! What a sealed run proves: any change of it is noticed, also by somebody who makes the checksums right; and no pair of key and nonce
//! seals two texts.

use std::collections::BTreeMap;

use headwater_journal::blocks::Blocks;
use headwater_journal::storage::SimDisk;
use headwater_journal::{
    AppendError, AppendSet, Cipher, Compression, Config, Core, LostRange, ReadError, ReadLimits,
    STREAM_KEY_BYTES, ShardKey, State, Storage, StorageFile, StreamKey,
};

const NOW: u64 = 1_790_000_000_000;
const ALL: ReadLimits = ReadLimits { records: 1_000_000, bytes: 1 << 30 };
const SEALED: ShardKey = ShardKey { stream: 1, shard: 0 };

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

/// The files of a journal with one sealed run that was not closed.
fn one_run(cipher: Cipher, compression: Compression) -> Vec<(String, Vec<u8>)> {
    let disk = SimDisk::new(8);
    let core = open_with(&disk, Config { cipher, compression, ..config() }, 7);
    core.keys().set(1, 7, key(1));
    core.keys().seal_with(1, Some(7));
    append(&core, SEALED, &"the boiler is warm; ".repeat(20)).expect("appends");
    core.commit().expect("commits");
    drop(core);
    disk.image()
}

const GROUP: usize = 4096;
const RUN_HEADER: usize = GROUP + 48;
const BODY: usize = RUN_HEADER + 40;

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes")) as usize
}

/// Makes all checksums right again, as somebody would who wants his change to go unnoticed.
fn forge(segment: &mut [u8]) {
    let stored = u32_at(segment, RUN_HEADER + 28);
    let crc = crc_fast::crc32_iscsi(&segment[BODY..BODY + stored]);
    segment[RUN_HEADER + 32..RUN_HEADER + 36].copy_from_slice(&crc.to_le_bytes());
    let head = [&segment[GROUP..GROUP + 44], &segment[RUN_HEADER..BODY]].concat();
    let crc = crc_fast::crc32_iscsi(&head);
    segment[GROUP + 44..GROUP + 48].copy_from_slice(&crc.to_le_bytes());
}

fn disk_of(files: &[(String, Vec<u8>)]) -> SimDisk {
    let disk = SimDisk::new(9);
    for (name, bytes) in files {
        let file = disk.create(name, bytes.len() as u64).expect("creates");
        file.write_at(&Blocks::from(&bytes[..]), 0).expect("writes");
        file.sync().expect("syncs");
    }
    disk.sync_dir().expect("syncs");
    disk
}

#[test]
fn any_changed_byte_of_a_sealed_run_is_noticed_although_all_checksums_are_right() {
    let text = "the boiler is warm; ".repeat(20);
    for (cipher, compression) in [
        (Cipher::Aes256Gcm, Compression::None),
        (Cipher::ChaCha20Poly1305, Compression::None),
        (Cipher::Aes256Gcm, Compression::Lz4),
        (Cipher::ChaCha20Poly1305, Compression::Lz4),
    ] {
        let files = one_run(cipher, compression);
        let number = files.iter().position(|(name, _)| name == "0000000000000001.seg").expect("is there");
        let stored = u32_at(&files[number].1, RUN_HEADER + 28);
        assert!(compression == Compression::None || stored < text.len());
        let (mut lost, mut other_key) = (0, 0);
        // Not the length and the checksum in the header: no group is whole without them.
        let header = (0..28).chain(36..40).map(|at| RUN_HEADER + at);
        for at in header.chain(BODY..BODY + stored) {
            let mut changed = files.clone();
            changed[number].1[at] ^= 0x40;
            forge(&mut changed[number].1);
            let opened = Core::open_on(disk_of(&changed), config(), NOW, 11).expect("opens");
            let core = opened.0;
            core.keys().set(1, 7, key(1));
            for shard in core.shards() {
                match core.read(shard, 0, ALL) {
                    Ok(page) => {
                        let read: Vec<_> = page.records().collect();
                        assert!(read.is_empty(), "{cipher:?} {compression:?} byte {at}: {read:?}");
                        lost += page.gaps.len();
                        assert!(core.read(shard, 0, ALL).expect("reads").is_empty(), "byte {at}");
                        assert!(core.counters().lost_ranges > 0, "byte {at} is not counted");
                    }
                    // Where the change says that another key or program made the run.
                    Err(ReadError::KeyUnknown { .. } | ReadError::KeyWrong { .. }) => other_key += 1,
                    Err(ReadError::Unsupported { .. }) => other_key += 1,
                    Err(error) => panic!("byte {at}: {error}"),
                }
            }
            assert_eq!(core.state(), State::Open, "byte {at}");
        }
        assert!(lost > stored / 2 && other_key > 4, "{lost} lost, {other_key} of another key");
    }
}

#[test]
fn a_run_moved_to_another_shard_or_place_is_noticed() {
    // The body of one run over that of another of the same stream, key and length: both were written by us.
    let disk = SimDisk::new(10);
    let core = open_with(&disk, config(), 7);
    core.keys().set(1, 7, key(1));
    core.keys().seal_with(1, Some(7));
    let mut set = AppendSet::new();
    for shard in 0..2 {
        set.batch(ShardKey { stream: 1, shard });
        set.record(b"key", format!("shard {shard}").as_bytes());
    }
    core.append(&set, NOW).expect("appends");
    core.commit().expect("commits");
    drop(core);
    let mut files = disk.image();
    let (_, segment) = files.iter_mut().find(|(name, _)| name == "0000000000000001.seg").expect("is there");
    let stored = u32_at(segment, RUN_HEADER + 28);
    let bodies = GROUP + 48 + 2 * 40;
    segment.copy_within(bodies..bodies + stored, bodies + stored);
    let crc = crc_fast::crc32_iscsi(&segment[bodies..bodies + stored]);
    segment[RUN_HEADER + 40 + 32..RUN_HEADER + 40 + 36].copy_from_slice(&crc.to_le_bytes());
    let head = [&segment[GROUP..GROUP + 44], &segment[RUN_HEADER..bodies]].concat();
    segment[GROUP + 44..GROUP + 48].copy_from_slice(&crc_fast::crc32_iscsi(&head).to_le_bytes());
    let core = Core::open_on(disk_of(&files), config(), NOW, 11).expect("opens").0;
    core.keys().set(1, 7, key(1));
    assert_eq!(texts(&core, ShardKey { stream: 1, shard: 0 }).expect("reads"), ["shard 0"]);
    let page = core.read(ShardKey { stream: 1, shard: 1 }, 0, ALL).expect("reads");
    assert_eq!((page.len(), &page.gaps[..]), (0, &[LostRange { first: 1, last: 1 }][..]));
}

/// Lane, salt, group and index of every sealed run in the files, with its body.
fn sealed_runs(disk: &SimDisk) -> Vec<([u8; 36], Vec<u8>)> {
    let mut runs = Vec::new();
    for (name, bytes) in disk.image() {
        // Also what is no more wanted: it was on the disk, so somebody may have seen it.
        for at in (4096..bytes.len()).step_by(4096).filter(|_| !name.starts_with("snapshot")) {
            if bytes[at..at + 4] != *b"HWGR" {
                continue;
            }
            let count = u32_at(&bytes, at + 4);
            let mut body = at + 48 + 40 * count;
            for header in (0..count).map(|run| at + 48 + 40 * run) {
                let stored = u32_at(&bytes, header + 28);
                let flags = u16::from_le_bytes([bytes[header + 36], bytes[header + 37]]);
                let Some(whole) = bytes.get(body..body + stored) else { break };
                // A torn group's bytes were not all written.
                let right = crc_fast::crc32_iscsi(whole) as usize == u32_at(&bytes, header + 32);
                if flags & 0x30 != 0 && right {
                    runs.push((whole[8..44].try_into().expect("36 bytes"), whole.to_vec()));
                }
                body += stored;
            }
        }
    }
    runs
}

#[test]
fn no_key_and_nonce_seal_two_texts_in_a_life_full_of_crashes() {
    // Groups are written, torn by a cut, and their numbers given again with other content; files are recycled; runs are copied.
    let mut disk = SimDisk::new(12);
    let mut seen: BTreeMap<[u8; 36], Vec<u8>> = BTreeMap::new();
    let (mut again, mut groups) = (0, BTreeMap::<Vec<u8>, [u8; 24]>::new());
    let mut text = 0;
    for life in 0..200u64 {
        let config = Config { compression: Compression::Lz4, ..config() };
        let Ok((core, _)) = Core::open_on(disk.clone(), config, NOW + life, 1000 + life) else {
            panic!("life {life} does not open")
        };
        core.keys().set(1, 0, key(1));
        core.keys().seal_with(1, Some(0));
        disk.fail_step(20 + life % 13, headwater_journal::storage::Fault::PowerOff);
        for _ in 0..12 {
            text += 1;
            for shard in 0..3 {
                let shard = ShardKey { stream: 1, shard };
                let content = format!("{text} ").repeat(40 + 100 * usize::from(text % 7 == 0));
                if let Ok(sequence) = append(&core, shard, &content) {
                    core.trim(shard, sequence.saturating_sub(20));
                }
            }
            let _ = core.commit();
            core.maintain(NOW + life);
            // After every group: a later one may recycle the file.
            for (place, body) in sealed_runs(&disk) {
                let (life_of_key, group) =
                    (place[..24].try_into().expect("24 bytes"), place[24..32].to_vec());
                let first = *groups.entry(group).or_insert(life_of_key);
                again += u32::from(first != life_of_key);
                let known = seen.entry(place).or_insert_with(|| body.clone());
                assert_eq!(*known, body, "life {life}: {place:?} seals two texts");
            }
        }
        drop(core);
        disk = disk.power_cut(life);
    }
    assert!(seen.len() > 300 && again > 0, "{} runs, {again} groups given again", seen.len());
}
