//! Memory stays bounded whatever the backlog. Alone in its process, because it looks at the process.

use headwater_journal::{
    AppendError, AppendSet, Compression, Config, Journal, ReadLimits, STREAM_KEY_BYTES, ShardKey, StreamKey,
};

const NOW: u64 = 1_790_000_000_000;

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("is there").to_owned();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<usize>().ok()).expect("a number") * 1024
}

/// Bytes in which nothing repeats, more than a compressor looks back.
fn noise() -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..32 << 10).flat_map(|_| next()).collect()
}

/// Fills a journal with 80 kB a round and reads them; bytes stored, and by how much the process grew.
fn fill_and_read(rounds: u64, compression: Compression, seal: bool) -> (u64, usize) {
    let dir = tempfile::tempdir().expect("makes a directory");
    let config = Config { reserve_bytes: 0, compression, ..Config::small() };
    let (journal, _) = Journal::open(dir.path(), config, NOW).expect("opens");
    if seal {
        journal.keys().set(1, 1, StreamKey::new(&[7; STREAM_KEY_BYTES]));
        journal.keys().seal_with(1, Some(1));
    }
    let before = resident_bytes();
    let (mut set, noise, mut at) = (AppendSet::new(), noise(), 0);
    for round in 0..rounds {
        set.clear();
        for shard in 0..20 {
            set.batch(ShardKey { stream: 1, shard });
            // A third packs.
            (0..20).for_each(|number| {
                at = (at + 200) % (noise.len() - 200);
                set.record(b"key", if number % 3 == 0 { &[0x5a; 200] } else { &noise[at..at + 200] });
            });
        }
        let appended = loop {
            match journal.append(&set, NOW + round) {
                Ok(appended) => break appended,
                Err(AppendError::Busy { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        };
        journal.wait(appended.ticket).expect("durable");
    }
    let stored = journal.counters().bytes_live;
    let mut records = 0;
    for shard in 0..20 {
        let mut from = 0;
        loop {
            let limits = ReadLimits { records: 10_000, bytes: 1 << 20 };
            let page = journal.read(ShardKey { stream: 1, shard }, from, limits).expect("reads");
            records += page.len();
            from = page.next;
            if page.next >= page.end {
                break;
            }
        }
    }
    assert_eq!(records as u64, rounds * 20 * 20);
    let grown = resident_bytes().saturating_sub(before);
    journal.close();
    (stored, grown)
}

#[test]
fn a_backlog_of_many_times_the_caches_fits_into_little_memory() {
    let (stored, grown) = fill_and_read(1200, Compression::None, false);
    assert!(stored > 90 << 20, "{stored}");
    // Staged sets, group buffers, tail, run tables and read buffers of the small configuration, twice over.
    assert!(grown < 24 << 20, "{grown} bytes for a backlog of {stored}");
    // The same again; what packing and opening take beside is a group and a page.
    let (packed, grown) = fill_and_read(600, Compression::Lz4, true);
    assert!(packed < stored * 4 / 10, "{packed} of {stored} stored");
    assert!(grown < 24 << 20, "{grown} bytes for a backlog of {stored} in {packed}");
}
