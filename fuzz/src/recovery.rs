//! A journal that is damaged as an input says, opened and read.
//!
//! ```text
//! input  := settings u8 | records u8 | damage*
//! damage := kind u8 | file u8 | place u16 | what follows of it
//! ```
//! Claims: opening never panics and needs no more memory than the journal has bytes, many times over; what is read was
//! written, at the place where it was written. With checksums made right after the damage, somebody's doing rather than a
//! disk's, this holds for sealed runs only: nothing but the cipher's tag is proof against that. A plain run under the name of a
//! sealed stream is believed, as records from before the stream had a key are.

use crate::Cursor;
use headwater_journal::blocks::Blocks;
use headwater_journal::storage::SimDisk;
use headwater_journal::{
    AppendSet, Compression, Config, Core, OpenError, ReadLimits, STREAM_KEY_BYTES, ShardKey, Storage,
    StorageFile, StreamKey,
};

const NOW_MS: u64 = 1_790_000_000_000;
const BLOCK: usize = 4096;
/// The stream whose records are sealed; others are not.
const SEALED: u32 = 2;
const STREAMS: u32 = 3;
const KEY_ID: u16 = 7;

type Files = Vec<(String, Vec<u8>)>;

fn config(settings: u8) -> Config {
    Config {
        segment_bytes: 64 << 10,
        size_bytes_max: 1 << 20,
        pool_segments: 1,
        reserve_bytes: 0,
        group_bytes_max: 16 << 10,
        staged_bytes_max: 64 << 10,
        tail_cache_bytes: if settings & 4 == 0 { 0 } else { 64 << 10 },
        compression: if settings & 1 == 0 { Compression::None } else { Compression::Lz4 },
        ..Config::default()
    }
}

fn key() -> StreamKey {
    StreamKey::new(&[9; STREAM_KEY_BYTES])
}

/// The payload of a record: what stream and place it belongs to, and enough of it to be worth compressing.
fn payload(shard: ShardKey, number: u64) -> Vec<u8> {
    let line = format!("{}/{} {number} the boiler is warm;", shard.stream, shard.shard);
    line.repeat(1 + usize::try_from(number % 7).unwrap_or(0) * 4).into_bytes()
}

/// The files of a journal with records in several shards, the settings deciding how and whether it was closed.
fn written(settings: u8, sets: u8) -> Files {
    let disk = SimDisk::new(8);
    let (core, _) = Core::open_on(disk.clone(), config(settings), NOW_MS, 7).expect("an empty journal opens");
    core.keys().set(SEALED, KEY_ID, key());
    core.keys().seal_with(SEALED, Some(KEY_ID));
    let mut numbers = [0_u64; STREAMS as usize + 1];
    for round in 0..sets {
        let mut set = AppendSet::new();
        for stream in 1..=STREAMS {
            let shard = ShardKey { stream, shard: 0 };
            set.batch(shard);
            for _ in 0..=round % 5 {
                let number = &mut numbers[stream as usize];
                *number += 1;
                set.record(b"key", &payload(shard, *number));
            }
        }
        set.put(format!("k{}", round % 3).as_bytes(), &[round; 9], None);
        if core.append(&set, NOW_MS + u64::from(round)).is_err() || core.commit().is_err() {
            break;
        }
        while settings & 8 != 0 && core.maintain(NOW_MS + u64::from(round)) {}
    }
    if settings & 2 != 0 {
        core.close(NOW_MS);
    }
    drop(core);
    disk.image()
}

/// Damages the files; whether checksums were made right behind it.
fn damage(files: &mut Files, cursor: &mut Cursor<'_>) -> bool {
    let mut forged = false;
    while !cursor.is_empty() && !files.is_empty() {
        let (kind, file, place) =
            (cursor.u8(), usize::from(cursor.u8()) % files.len(), usize::from(cursor.u16()));
        let bytes = &mut files[file].1;
        // Fields of headers stand at the beginning of blocks, so damage does too, one time in two.
        let at =
            if kind & 0x80 == 0 { place % bytes.len().max(1) } else { place % 32 * BLOCK + place / 32 % 128 };
        let Some(room) = bytes.len().checked_sub(at).filter(|&room| room > 0) else { continue };
        match kind % 8 {
            0 => bytes[at] ^= 1 << (cursor.u8() % 8),
            1 | 2 => {
                let count = usize::from(kind >> 3) % 12 + 1;
                let new = cursor.bytes(count.min(room));
                bytes[at..at + new.len()].copy_from_slice(new);
            }
            3 => bytes[at..at + room.min(BLOCK)].fill(0),
            // A write that went astray: one block where another belongs.
            4 => {
                let (from, to) = (at / BLOCK * BLOCK, usize::from(cursor.u8()) * BLOCK);
                if from + BLOCK <= bytes.len() && to + BLOCK <= bytes.len() {
                    bytes.copy_within(from..from + BLOCK, to);
                }
            }
            5 => {
                forged = true;
                headwater_journal::fuzzing::forge(&mut bytes[at / BLOCK * BLOCK..]);
            }
            6 => rename(files, file, cursor),
            _ => bytes.truncate(at),
        }
    }
    forged
}

fn rename(files: &mut Files, file: usize, cursor: &mut Cursor<'_>) {
    let number = u64::from(cursor.u32()) << 32 | u64::from(cursor.u32());
    let name = match cursor.u8() % 5 {
        0 => format!("{:016x}.seg", number % 8),
        1 => format!("{number:016x}.seg"),
        2 => format!("{number:016x}.pool"),
        3 => format!("snapshot-{}", number % 2),
        _ => return drop(files.remove(file)),
    };
    if files.iter().all(|(taken, _)| *taken != name) {
        files[file].0 = name;
    }
}

fn disk_of(files: &Files) -> SimDisk {
    let disk = SimDisk::new(9);
    for (name, bytes) in files {
        let file = disk.create(name, bytes.len() as u64).expect("the disk has room");
        file.write_at(&blocks(bytes), 0).expect("the disk works");
        file.sync().expect("the disk works");
    }
    disk.sync_dir().expect("the disk works");
    disk
}

fn blocks(bytes: &[u8]) -> Blocks {
    let mut blocks = Blocks::from(bytes);
    blocks.pad();
    blocks
}

/// Opens and reads what an input makes.
///
/// # Panics
/// When a claim of this module does not hold.
pub fn run(input: &[u8]) {
    let mut cursor = Cursor(input);
    let (settings, sets) = (cursor.u8(), cursor.u8() % 48);
    let mut files = written(settings, sets);
    let forged = damage(&mut files, &mut cursor);
    let disk = disk_of(&files);
    // Twice: what the first start made of the damage, the second finds.
    for start in 0..2 {
        match Core::open_on(disk.clone(), config(settings), NOW_MS, 11 + start) {
            Ok((core, _)) => {
                core.keys().set(SEALED, KEY_ID, key());
                core.keys().seal_with(SEALED, Some(KEY_ID));
                read(&core, forged);
                goes_on(&core, start);
            }
            Err(OpenError::Version { .. }) if forged => return,
            Err(error) => panic!("damage stops a start: {error}"),
        }
    }
}

fn read(core: &Core<SimDisk>, forged: bool) {
    for shard in core.shards() {
        let Ok(page) = core.read(shard, 0, ReadLimits { records: 10_000, bytes: 1 << 20 }) else { continue };
        for run in &page.runs {
            if shard.stream == 0 || forged && run.sealed_with().is_none() {
                continue;
            }
            assert!(shard.shard == 0 && (1..=STREAMS).contains(&shard.stream), "{shard:?} was never written");
            for record in run {
                let was = record.data == payload(shard, record.sequence) || record.data == AFTER;
                assert!(was, "{shard:?} {} was never written", record.sequence);
            }
        }
    }
    for (key, _) in core.meta_list(b"") {
        assert!(
            forged || key.starts_with(b"k") || key.first() == Some(&0),
            "{} was never written",
            key.escape_ascii()
        );
    }
}

/// What is written after a start.
const AFTER: &[u8] = b"written after the damage";

/// A journal that opened takes records and gives them back, unless it is full.
fn goes_on(core: &Core<SimDisk>, start: u64) {
    let shard = ShardKey { stream: SEALED, shard: 0 };
    let mut set = AppendSet::new();
    set.batch(shard);
    set.record(b"key", AFTER);
    let Ok(appended) = core.append(&set, NOW_MS) else { return };
    if core.commit().is_err() {
        return;
    }
    // Far more than there is to do: a card must not be written for ever.
    assert!((0..1_000).any(|_| !core.maintain(NOW_MS + start)), "upkeep does not end");
    let first = appended.firsts[0];
    let page = core.read(shard, first, ReadLimits { records: 10, bytes: 1 << 20 }).expect("can be read");
    let given: Vec<_> = page.records().map(|record| (record.sequence, record.data)).collect();
    assert_eq!(given, [(first, AFTER)], "what was written after the damage");
}
