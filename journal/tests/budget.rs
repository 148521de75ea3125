//! What is written a day, and what a budget changes: fewer commits, later acknowledgements, and nothing else.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use headwater_journal::limits::BUDGET_LINGER_MAX;
use headwater_journal::storage::{Fate, SimDisk};
use headwater_journal::{
    AppendError, AppendSet, BudgetStanding, Config, Core, Counters, Journal, ReadLimits, ShardKey, Storage,
};

const NOW: u64 = 1_790_000_000_000;
const HOUR_MS: u64 = 3_600_000;
const SHARD: ShardKey = ShardKey { stream: 1, shard: 0 };
const ALL: ReadLimits = ReadLimits { records: 1_000_000, bytes: 1 << 30 };

fn config(bytes_a_day: u64) -> Config {
    Config {
        segment_bytes: 256 << 10,
        pool_segments: 2,
        size_bytes_max: 16 << 20,
        reserve_bytes: 0,
        group_bytes_max: 64 << 10,
        staged_bytes_max: 128 << 10,
        write_budget: NonZeroU64::new(bytes_a_day),
        ..Config::default()
    }
}

fn set(data: &[u8]) -> AppendSet {
    let mut set = AppendSet::new();
    set.batch(SHARD);
    set.record(b"device", data);
    set
}

fn records<S: Storage>(core: &Core<S>) -> Vec<u64> {
    let page = core.read(SHARD, 0, ALL).expect("reads");
    assert!(page.gaps.is_empty() && page.next >= page.end);
    page.records().map(|record| String::from_utf8_lossy(record.data).parse().expect("a number")).collect()
}

fn upkeep<S: Storage>(core: &Core<S>, now_ms: u64) {
    for _ in 0..1_000 {
        core.commit().expect("commits");
        if !core.maintain(now_ms) {
            return;
        }
    }
    panic!("upkeep does not come to an end");
}

/// Cuts the power in the moment in which a commit is told, once that is wanted, and notes which one it was.
#[derive(Default)]
struct Cut {
    wanted: AtomicBool,
    told: Mutex<Option<(u64, SimDisk)>>,
}

/// Forty records, one every 30 ms, each to be acknowledged, and a power cut. Gives what was counted for them and how long commits lingered.
fn publish(bytes_a_day: u64) -> (Counters, Duration) {
    let disk = SimDisk::new(9);
    let (core, _) = Core::open_on(disk.clone(), config(bytes_a_day), NOW, 1).expect("opens");
    let journal = Journal::start(core);
    let cut = Arc::new(Cut::default());
    let (hears, cut_disk) = (Arc::clone(&cut), disk.clone());
    journal.on_commit(Box::new(move |outcome| {
        // The cut itself is an error that is heard here too.
        if let (Ok(ticket), true) = (outcome, hears.wanted.load(Ordering::SeqCst)) {
            let mut told = hears.told.lock().expect("no panic");
            told.get_or_insert_with(|| (ticket.0, cut_disk.power_cut_with(|_| Fate::Lost)));
        }
    }));
    // Opens the first segment; upkeep makes the next one, and both are in what was written.
    let first = journal.append(&set(b"0"), NOW).expect("appends");
    journal.wait(first.ticket).expect("durable");
    std::thread::sleep(Duration::from_millis(1_200));
    let before = journal.counters();
    let mut tickets = vec![first.ticket.0];
    for number in 1..=40_u64 {
        tickets.push(journal.append(&set(number.to_string().as_bytes()), NOW).expect("appends").ticket.0);
        std::thread::sleep(Duration::from_millis(30));
    }
    let (linger, after, durable) = (journal.write_budget().linger, journal.counters(), journal.durable().0);
    let waited = tickets.iter().filter(|ticket| **ticket > durable).count();
    assert_eq!(waited > 0, bytes_a_day < u64::MAX, "{waited} wait for a commit that lingers");
    // All that no sync covered is gone, and nothing of what was acknowledged.
    cut.wanted.store(true, Ordering::SeqCst);
    tickets.push(journal.append(&set(b"41"), NOW).expect("appends").ticket.0);
    let begun = Instant::now();
    let (told, disk) = loop {
        if let Some(told) = cut.told.lock().expect("no panic").take() {
            break told;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "nothing is told");
        std::thread::sleep(Duration::from_millis(5));
    };
    let acknowledged = tickets.iter().filter(|ticket| **ticket <= told).count() as u64;
    assert!(acknowledged > 1, "{told}");
    let (core, recovery) = Core::open_on(disk, config(bytes_a_day), NOW, 2).expect("opens");
    assert!(recovery.is_clean());
    let there = records(&core);
    assert!(there.len() as u64 >= acknowledged, "{} of {acknowledged} acknowledged are there", there.len());
    assert!(there.iter().copied().eq(0..there.len() as u64), "in order");
    let counted = Counters {
        groups: after.groups - before.groups,
        bytes_written: after.bytes_written - before.bytes_written,
        ..Counters::default()
    };
    (counted, linger)
}

#[test]
fn a_budget_makes_commits_fewer_and_larger_and_acknowledges_nothing_before_its_sync() {
    let (free, no_linger) = publish(u64::MAX);
    assert_eq!(no_linger, Duration::ZERO);
    // Two segments of 256 KiB were written whole: two thirds of what this budget takes at once.
    let (held, linger) = publish(6_400_000);
    assert!(linger > Duration::from_millis(100) && linger <= BUDGET_LINGER_MAX, "{linger:?}");
    assert!(free.groups >= 20, "{free:?}");
    assert!(held.groups >= 1 && held.groups * 3 <= free.groups, "{held:?} {free:?}");
    assert!(held.bytes_written * 2 <= free.bytes_written, "{held:?} {free:?}");
}

/// Until commits linger as long as they may.
fn await_exceeded(journal: &Journal) {
    let begun = Instant::now();
    while journal.write_budget().linger < BUDGET_LINGER_MAX {
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", journal.write_budget());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_group_that_is_full_does_not_linger_and_a_stop_does_not_wait() {
    let dir = tempfile::tempdir().expect("makes a directory");
    let (journal, _) = Journal::open(dir.path(), config(1), NOW).expect("opens");
    await_exceeded(&journal);
    assert_eq!(journal.write_budget().standing, BudgetStanding::Exceeded);
    journal.on_commit(Box::new(|_| {}));
    // Upkeep comes by each second, and its commits wait like all others.
    let groups = journal.counters().groups;
    for _ in 0..35 {
        journal.append(&set(b"small"), NOW).expect("appends");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(journal.counters().groups - groups <= 2, "{}", journal.counters().groups - groups);
    journal.wait(journal.barrier()).expect("durable");
    // Half of what may be in a group, without anybody being refused for it.
    let begun = Instant::now();
    let half = journal.append(&set(&[b'x'; 40 << 10]), NOW).expect("appends");
    journal.wait(half.ticket).expect("durable");
    assert!(begun.elapsed() < BUDGET_LINGER_MAX / 2, "{:?}", begun.elapsed());
    let (begun, groups) = (Instant::now(), journal.counters().groups);
    // More than may wait at once: at one group every four seconds this would be refused, or take minutes.
    let data = vec![b'x'; 16 << 10];
    let append = || {
        loop {
            match journal.append(&set(&data), NOW) {
                Ok(appended) => return appended.ticket,
                // What any journal says to whoever is faster than its disk.
                Err(error) => assert!(matches!(error, AppendError::Busy { .. }), "{error}"),
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    let newest = (0..60).fold(append(), |_, _| append());
    journal.wait(newest).expect("durable");
    assert!(begun.elapsed() < 4 * BUDGET_LINGER_MAX, "{:?}", begun.elapsed());
    assert!(journal.counters().groups - groups >= 10);
    // A stop does not wait for a commit that lingers.
    journal.append(&set(b"last"), NOW).expect("appends");
    let begun = Instant::now();
    journal.close();
    assert!(begun.elapsed() < BUDGET_LINGER_MAX / 2, "{:?}", begun.elapsed());
}

#[test]
fn a_change_that_somebody_waits_for_does_not_linger_and_takes_along_what_does() {
    let dir = tempfile::tempdir().expect("makes a directory");
    let (journal, _) = Journal::open(dir.path(), config(1), NOW).expect("opens");
    await_exceeded(&journal);
    journal.on_commit(Box::new(|_| {}));
    journal.wait(journal.barrier()).expect("durable");
    let before = journal.counters();
    let record = journal.append(&set(b"0"), NOW).expect("appends");
    std::thread::sleep(Duration::from_millis(300));
    assert!(journal.durable() < record.ticket, "it lingers");
    // What an operation on a stream takes: some changes, each after the one before is durable.
    let begun = Instant::now();
    for number in 0..5_u8 {
        let mut change = AppendSet::new();
        change.put(b"definition", &[number], None);
        let changed = journal.append_at_once(&change, NOW).expect("appends");
        journal.wait(changed.ticket).expect("durable");
    }
    assert!(begun.elapsed() < BUDGET_LINGER_MAX / 2, "{:?}", begun.elapsed());
    assert!(journal.durable() >= record.ticket, "in the same group");
    let after = journal.counters();
    assert!(after.groups - before.groups <= 6 && after.bytes_written > before.bytes_written, "{after:?}");
    // And records linger again: at most one commit more was hurried.
    std::thread::sleep(Duration::from_millis(100));
    let hurried = journal.append(&set(b"1"), NOW).expect("appends");
    std::thread::sleep(Duration::from_millis(300));
    let lingers = journal.append(&set(b"2"), NOW).expect("appends");
    std::thread::sleep(Duration::from_millis(300));
    assert!(journal.durable() < lingers.ticket, "{hurried:?}");
    journal.close();
}

#[test]
fn what_was_written_is_remembered_over_closes_and_crashes_and_costs_no_group() {
    let (with, without) = (SimDisk::new(1), SimDisk::new(1));
    let day = |disk: &SimDisk, bytes: u64| {
        let (core, _) = Core::open_on(disk.clone(), config(bytes), NOW, 5).expect("opens");
        for number in 0..200_u64 {
            core.append(&set(number.to_string().as_bytes()), NOW).expect("appends");
            core.commit().expect("commits");
            upkeep(&core, NOW + number * 1_000);
        }
        core
    };
    let (core, free) = (day(&with, 10_000_000), day(&without, 0));
    assert_eq!(core.counters().groups, free.counters().groups, "its state goes along with records");
    assert_eq!(free.write_budget().bytes_a_day, None);
    assert_eq!(free.write_budget().day_bytes, free.counters().bytes_written, "counted without a budget too");
    let before = core.write_budget();
    assert!(before.linger > Duration::ZERO, "{before:?}");
    // Killed: at least as much as was written counts, and hardly more.
    let killed = with.kill();
    let (core, _) = Core::open_on(killed.clone(), config(10_000_000), NOW + 200_000, 6).expect("opens");
    let after = core.write_budget();
    assert!(after.linger >= before.linger, "{after:?} {before:?}");
    assert!(after.day_bytes <= before.day_bytes && before.day_bytes - after.day_bytes <= 200_000);
    core.append(&set(b"1"), NOW + 201_000).expect("appends");
    upkeep(&core, NOW + 201_000);
    let before = core.write_budget();
    core.close(NOW + 201_000);
    let (core, _) = Core::open_on(killed.clone(), config(10_000_000), NOW + 201_000, 7).expect("opens");
    assert!(core.write_budget().day_bytes >= before.day_bytes, "closed: nothing is forgotten");
    drop(core);
    let (core, _) = Core::open_on(killed, config(10_000_000), NOW + 25 * HOUR_MS, 8).expect("opens");
    assert_eq!((core.write_budget().linger, core.write_budget().day_bytes), (Duration::ZERO, 0));
}

#[test]
fn an_idle_journal_with_a_budget_writes_nothing_also_over_restarts() {
    let disk = SimDisk::new(2);
    let (core, _) = Core::open_on(disk.clone(), config(1_000_000), NOW, 5).expect("opens");
    core.append(&set(b"1"), NOW).expect("appends");
    upkeep(&core, NOW);
    // Once after the last record it is written down how much time went by.
    upkeep(&core, NOW + 2 * HOUR_MS);
    upkeep(&core, NOW + 2 * HOUR_MS);
    let before = core.counters();
    for tick in 0..2_000 {
        upkeep(&core, NOW + 2 * HOUR_MS + tick * 60_000);
    }
    assert_eq!(core.counters(), before);
    core.close(NOW + 40 * HOUR_MS);
    let bytes = |disk: &SimDisk| disk.counters().bytes_written;
    let (mut disk, mut written) = (disk, Vec::new());
    for seed in 0..4 {
        let before = bytes(&disk);
        let (core, _) = Core::open_on(disk.clone(), config(1_000_000), NOW + 41 * HOUR_MS, 6).expect("opens");
        for tick in 0..100 {
            upkeep(&core, NOW + 41 * HOUR_MS + tick * 1_000);
        }
        core.close(NOW + 42 * HOUR_MS);
        written.push(bytes(&disk) - before);
        disk = disk.power_cut(seed);
    }
    // What an opening writes again as it was, and no more with every start.
    assert!(written[1..].iter().all(|bytes| *bytes <= 16 << 10), "{written:?}");
}

#[test]
fn what_is_written_is_at_most_13_tenths_of_the_payload_and_8_kib_a_commit() {
    for (commits, records, bytes) in
        [(3_000, 1, 20), (600, 100, 200), (60, 400, 1_000), (300, 1, 100 << 10), (1_000, 3, 4_000)]
    {
        let config = Config {
            segment_bytes: 1 << 20,
            size_bytes_max: 32 << 20,
            reserve_bytes: 0,
            ..Config::default()
        };
        let (core, _) = Core::open_on(SimDisk::new(4), config, NOW, 5).expect("opens");
        let data = vec![b'x'; bytes];
        let run = |from: u64, commits: u64| {
            for commit in from..from + commits {
                let now_ms = NOW + commit * 1_000;
                let mut set = AppendSet::new();
                set.batch(SHARD);
                (0..records).for_each(|_| set.record(b"device-17", &data));
                let first = core.append(&set, now_ms).expect("appends").firsts[0];
                // Older ones make room, so that files are used again: a gateway on any day but its first.
                core.trim(SHARD, first.saturating_sub(commits / 4 * records));
                upkeep(&core, now_ms);
            }
            core.counters()
        };
        let before = run(0, commits);
        let after = run(commits, commits);
        let written = after.bytes_written - before.bytes_written;
        let payload = after.bytes_received - before.bytes_received;
        assert_eq!(after.groups - before.groups, commits, "a commit is a group");
        let most = payload * 13 / 10 + commits * (8 << 10);
        assert!(written <= most, "{commits} x {records} x {bytes}: {written} of {most} for {payload}");
        assert_eq!(after.bytes_zeroed, before.bytes_zeroed, "{commits} x {records} x {bytes}");
    }
}
