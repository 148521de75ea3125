//! Memory stays bounded whatever the backlog. Alone in its process, because it looks at the process.

use headwater_journal::{AppendError, AppendSet, Config, Journal, ReadLimits, ShardKey};

const NOW: u64 = 1_790_000_000_000;

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS")).expect("is there").to_owned();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<usize>().ok()).expect("a number") * 1024
}

#[test]
fn a_backlog_of_many_times_the_caches_fits_into_little_memory() {
    let dir = tempfile::tempdir().expect("makes a directory");
    let config = Config { reserve_bytes: 0, ..Config::small() };
    let (journal, _) = Journal::open(dir.path(), config, NOW).expect("opens");
    let before = resident_bytes();
    let mut set = AppendSet::new();
    for round in 0..1200u64 {
        set.clear();
        for shard in 0..20 {
            set.batch(ShardKey { stream: 1, shard });
            for _ in 0..20 {
                set.record(b"key", &[0x5a; 200]);
            }
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
    assert!(stored > 90 << 20, "{stored}");
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
    assert_eq!(records, 1200 * 20 * 20);
    let grown = resident_bytes().saturating_sub(before);
    // Staged sets, group buffers, tail, run tables and read buffers of the small configuration, twice over.
    assert!(grown < 24 << 20, "{grown} bytes for a backlog of {stored}");
    journal.close();
}
