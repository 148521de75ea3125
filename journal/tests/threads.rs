//! The journal with its threads, on real files and on a disk that fails.

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use headwater_journal::storage::{Fault, Operation, SimDisk, SimFile};
use headwater_journal::{
    AppendError, AppendSet, Config, Core, Durability, Journal, OpenError, ReadLimits, ShardKey, State,
    Storage, Ticket,
};

const NOW: u64 = 1_790_000_000_000;
const SHARD: ShardKey = ShardKey { stream: 1, shard: 0 };
const ALL: ReadLimits = ReadLimits { records: 1_000_000, bytes: 1 << 30 };

fn config() -> Config {
    Config { segment_bytes: 1 << 20, size_bytes_max: 64 << 20, reserve_bytes: 0, ..Config::small() }
}

fn open(dir: &Path, config: Config) -> Journal {
    let (journal, recovery) = Journal::open(dir, config, NOW).expect("opens");
    assert!(recovery.is_clean(), "{recovery:?}");
    journal
}

fn set(data: &[u8]) -> AppendSet {
    let mut set = AppendSet::new();
    set.batch(SHARD);
    set.record(b"", data);
    set
}

/// Eight threads append and wait; every acknowledged record is there, once, in order of its sequence, also after reopening.
#[test]
fn many_writers_share_flushes_and_lose_nothing() {
    let dir = tempfile::tempdir().expect("makes a directory");
    let journal = open(dir.path(), config());
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    journal.on_commit(Box::new(move |outcome| listener.lock().unwrap().push(outcome.expect("commits"))));
    let threads: Vec<_> = (0..8u64)
        .map(|writer| {
            let journal = journal.clone();
            std::thread::spawn(move || {
                let mut acknowledged = Vec::new();
                for number in 0..200u64 {
                    let text = format!("{writer}/{number}");
                    let appended = journal.append(&set(text.as_bytes()), NOW).expect("appends");
                    journal.wait(appended.ticket).expect("durable");
                    assert!(journal.durable() >= appended.ticket);
                    acknowledged.push((appended.firsts[0], text));
                }
                acknowledged
            })
        })
        .collect();
    let mut acknowledged: Vec<_> =
        threads.into_iter().flat_map(|thread| thread.join().expect("does not panic")).collect();
    acknowledged.sort();
    // Listeners are called after the waiters were woken.
    let patience = std::time::Instant::now() + Duration::from_secs(20);
    while told.lock().unwrap().last() != Some(&journal.durable()) && std::time::Instant::now() < patience {
        std::thread::yield_now();
    }
    let told: Vec<Ticket> = told.lock().unwrap().clone();
    assert!(told.is_sorted() && told.last() == Some(&journal.durable()), "tickets rise and reach the end");
    let counters = journal.counters();
    assert!(counters.flushes < 1600 + 50, "flushes are shared or at least not repeated: {counters:?}");
    let found = |journal: &Journal| -> Vec<(u64, String)> {
        let page = journal.read(SHARD, 0, ALL).expect("reads");
        page.records()
            .map(|record| (record.sequence, String::from_utf8_lossy(record.data).into_owned()))
            .collect()
    };
    assert_eq!(found(&journal), acknowledged);
    assert!(matches!(Journal::open(dir.path(), config(), NOW), Err(OpenError::Io { .. })), "locked");
    journal.close();
    assert_eq!(found(&open(dir.path(), config())), acknowledged);
}

#[test]
fn nobody_needs_to_wait_for_data_to_become_durable() {
    let dir = tempfile::tempdir().expect("makes a directory");
    for linger in [Duration::ZERO, Duration::from_millis(5)] {
        let journal = open(dir.path(), Config { linger, ..config() });
        let (sender, receiver) = std::sync::mpsc::channel();
        let sender = Mutex::new(sender);
        journal.on_commit(Box::new(move |outcome| {
            sender.lock().unwrap().send(outcome.expect("commits")).unwrap_or_default()
        }));
        let appended = journal.append(&set(b"alone"), NOW).expect("appends");
        // The journal's own metadata may be a group before it.
        while receiver.recv_timeout(Duration::from_secs(20)).expect("the commit thread flushes")
            < appended.ticket
        {}
        let appended = journal.append(&set(b"waited for"), NOW).expect("appends");
        journal.wait(appended.ticket).expect("durable");
        journal.close();
    }
}

#[test]
fn a_closed_journal_leaves_its_directory_and_opens_without_reading_a_segment_whole() {
    let dir = tempfile::tempdir().expect("makes a directory");
    let journal = open(dir.path(), config());
    let other = journal.clone();
    journal.append(&set(b"last words"), NOW).expect("appends");
    assert!(Journal::open(dir.path(), config(), NOW).is_err(), "it is in use");
    journal.close();
    assert!(matches!(other.append(&set(b"too late"), NOW), Err(AppendError::Failed(_))));
    assert!(matches!(other.state(), State::Failed { .. }));
    let (journal, recovery) = Journal::open(dir.path(), config(), NOW).expect("nobody waits for clones");
    drop(other);
    assert!(Journal::open(dir.path(), config(), NOW).is_err(), "it is in use again, whoever is gone");
    assert_eq!((recovery.segments, recovery.segments_scanned), (1, 0));
    assert_eq!(
        journal.read(SHARD, 0, ALL).expect("reads").records().next().expect("is there").data,
        b"last words"
    );
}

#[test]
fn after_a_failed_sync_nothing_is_written_or_acknowledged_until_reopened() {
    for operation in [Operation::Sync, Operation::Write] {
        let disk = SimDisk::new(3);
        let (core, _) = Core::open_on(disk.clone(), config(), NOW, 1).expect("opens");
        let journal = Journal::start(core);
        let heard = Arc::new(Mutex::new(Vec::new()));
        let listener = Arc::clone(&heard);
        journal.on_commit(Box::new(move |outcome| {
            listener.lock().unwrap().push(outcome.map_err(|failed| failed.reason))
        }));
        let first = journal.append(&set(b"kept"), NOW).expect("appends");
        journal.wait(first.ticket).expect("durable");
        disk.fail_operation(operation, 0, Fault::Error);
        let second = journal.append(&set(b"refused"), NOW).expect("staging does not touch the disk");
        let failed = journal.wait(second.ticket).expect_err("the device failed");
        assert!(failed.reason.contains("group"), "{failed}");
        assert_eq!(journal.durable(), first.ticket);
        let before = disk.counters();
        assert!(matches!(journal.append(&set(b"refused"), NOW), Err(AppendError::Failed(_))));
        assert!(journal.commit().is_err());
        assert!(!journal.maintain(NOW + 1_000_000));
        assert!(matches!(journal.state(), State::Failed { .. }));
        assert_eq!(disk.counters().syncs, before.syncs, "a failed sync is never tried again");
        assert_eq!(disk.counters().writes, before.writes);
        let patience = std::time::Instant::now() + Duration::from_secs(20);
        while heard.lock().unwrap().iter().all(Result::is_ok) && std::time::Instant::now() < patience {
            std::thread::yield_now();
        }
        assert_eq!(heard.lock().unwrap().iter().filter(|outcome| outcome.is_err()).count(), 1, "told once");
        drop(journal);
        let (core, _) = Core::open_on(disk.power_cut(5), config(), NOW, 2).expect("opens");
        let page = core.read(SHARD, 0, ALL).expect("reads");
        assert_eq!(page.records().next().expect("is there").data, b"kept");
        core.append(&set(b"goes on"), NOW).expect("appends");
        core.commit().expect("commits");
    }
}

#[test]
fn durability_by_interval_syncs_when_it_is_due() {
    let disk = SimDisk::new(4);
    let durability = Durability::Interval(Duration::from_secs(1));
    let (core, _) = Core::open_on(disk.clone(), Config { durability, ..config() }, NOW, 1).expect("opens");
    core.append(&set(b"first"), NOW).expect("appends");
    core.commit().expect("commits");
    let before = disk.counters().syncs;
    for step in 0..10 {
        core.append(&set(b"more"), NOW + step * 50).expect("appends");
        core.commit().expect("commits");
    }
    assert_eq!(disk.counters().syncs, before, "not due");
    core.maintain(NOW + 1500);
    assert!(disk.counters().syncs > before);
}

#[test]
fn too_much_staged_is_busy_and_too_large_is_said() {
    let disk = SimDisk::new(5);
    let small = Config { staged_bytes_max: 64 << 10, group_bytes_max: 16 << 10, ..config() };
    let (core, _) = Core::open_on(disk, small, NOW, 1).expect("opens");
    let mut staged = 0;
    let refused = loop {
        match core.append(&set(&[1; 1000]), NOW) {
            Ok(_) => staged += 1000,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, AppendError::Busy { limit_bytes: 65536, .. }), "{refused}");
    assert!((50_000..66_000).contains(&staged), "{staged}");
    core.commit().expect("commits");
    core.append(&set(&[1; 1000]), NOW).expect("room again");
    let refused = core.append(&set(&vec![1; 600 << 10]), NOW).expect_err("more than half a segment");
    assert!(matches!(refused, AppendError::TooLarge { .. }), "{refused}");
    let mut own = AppendSet::new();
    own.batch(ShardKey { stream: 0, shard: 0 });
    own.record(b"", b"");
    assert!(matches!(core.append(&own, NOW), Err(AppendError::Refused { .. })));
}

/// A disk that remembers which threads made files.
struct Watched {
    disk: SimDisk,
    makers: Arc<Mutex<Vec<std::thread::ThreadId>>>,
}

impl Storage for Watched {
    type File = SimFile;

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn open(&self, name: &str) -> io::Result<SimFile> {
        self.disk.open(name)
    }

    fn create(&self, name: &str, len: u64) -> io::Result<SimFile> {
        self.makers.lock().expect("not poisoned").push(std::thread::current().id());
        self.disk.create(name, len)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
}

/// Appends as fast as they are taken, over many segments, on a thread that makes none of their files; all find room.
#[test]
fn an_append_never_makes_a_segment_file() {
    let makers = Arc::new(Mutex::new(Vec::new()));
    let storage = Watched { disk: SimDisk::new(6), makers: Arc::clone(&makers) };
    let (core, _) = Core::open_on(storage, config(), NOW, 1).expect("opens");
    let journal = Journal::start(core);
    makers.lock().unwrap().clear();
    let (set, mut busy, mut appended) = (set(&noise(60_000)), 0, 0);
    let patience = std::time::Instant::now() + Duration::from_secs(60);
    while appended < 200 {
        assert!(std::time::Instant::now() < patience, "{appended} appended, {busy} refused");
        match journal.append(&set, NOW) {
            Ok(_) => appended += 1,
            Err(AppendError::Busy { .. }) => {
                busy += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            Err(error) => panic!("{error} after {appended}"),
        }
    }
    journal.commit().expect("commits");
    let makers = makers.lock().unwrap().clone();
    assert!(makers.len() > 5, "200 sets of 60 kB fill segments of 1 MiB, {} were made", makers.len());
    assert!(!makers.contains(&std::thread::current().id()), "{busy} refused");
    assert_eq!(journal.bounds(SHARD).expect("is there").end, 201);
    journal.close();
}

#[test]
fn a_journal_without_threads_does_nothing_until_it_is_told() {
    let disk = SimDisk::new(8);
    let (core, _) = Journal::open_on(disk.clone(), config(), NOW, 1).expect("opens");
    let journal = Journal::unattended(core);
    assert!(!journal.is_attended());
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    journal.on_commit(Box::new(move |outcome| listener.lock().unwrap().push(outcome.expect("commits"))));
    let ticket = journal.append(&set(b"waits"), NOW).expect("appends").ticket;
    let before = disk.counters();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!((disk.counters(), told.lock().unwrap().len()), (before, 0));
    assert!(journal.durable() < ticket);
    journal.commit().expect("commits");
    assert_eq!(*told.lock().unwrap(), [ticket]);
    // Files are made by upkeep here too: an append that needs one is told to come again.
    let (set, mut busy) = (set(&noise(60_000)), 0);
    for _ in 0..100 {
        while let Err(error) = journal.append(&set, NOW) {
            assert!(matches!(error, AppendError::Busy { .. }), "{error}");
            busy += 1;
            journal.commit().expect("commits");
            while journal.maintain(NOW) {}
        }
    }
    assert!(busy > 0);
    journal.close();
    let (core, recovery) = Journal::open_on(disk.kill(), config(), NOW, 2).expect("opens");
    assert!(recovery.is_clean(), "{recovery:?}");
    assert_eq!(core.bounds(SHARD).expect("is there").end, 102);
}

/// Bytes that do not pack.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state >> 56).to_le_bytes()[0]
    };
    (0..count).map(|_| next()).collect()
}
