//! Retention goes by the clock of whoever opened the journal, wherever in time that is, and by the time that goes by where it jumps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use headwater_journal::storage::SimDisk;
use headwater_journal::{AppendError, AppendSet, Clock, Config, Core, Journal, Moment, ReadLimits, ShardKey};

const SHARD: ShardKey = ShardKey { stream: 1, shard: 0 };
const HOUR_MS: u64 = 3_600_000;
/// In 2001: for the machine's clock everything from then is too old.
const LONG_AGO_MS: u64 = 1_000_000_000_000;

fn first(journal: &Journal) -> u64 {
    journal.bounds(SHARD).expect("has records").first
}

#[test]
fn records_expire_by_the_clock_of_the_opener() {
    let dir = tempfile::tempdir().expect("a directory");
    let config =
        Config { segment_bytes: 64 << 10, size_bytes_max: 1 << 20, reserve_bytes: 0, ..Config::small() };
    let config = Config { group_bytes_max: 16 << 10, staged_bytes_max: 64 << 10, ..config };
    let (now_ms, looks) = (Arc::new(AtomicU64::new(LONG_AGO_MS)), Arc::new(AtomicU64::new(0)));
    let clock = {
        let (now_ms, looks) = (Arc::clone(&now_ms), Arc::clone(&looks));
        Clock::new(move || {
            looks.fetch_add(1, Ordering::Relaxed);
            now_ms.load(Ordering::Relaxed)
        })
    };
    let (journal, _) = Journal::open_with(dir.path(), config, clock).expect("opens");
    journal.retain(SHARD.stream, Some(HOUR_MS));
    // Two segments are full, a third is open.
    for _ in 0..40 {
        let mut set = AppendSet::new();
        set.batch(SHARD);
        set.record(b"key", b"data");
        let appended = loop {
            match journal.append(&set, LONG_AGO_MS) {
                // The next segment is not made yet: a slow disk, and no matter here.
                Err(AppendError::Busy { .. }) => std::thread::sleep(Duration::from_millis(2)),
                appended => break appended.expect("appends"),
            }
        };
        journal.wait(appended.ticket).expect("commits");
    }
    // Upkeep has looked at least twice since, once a second.
    let before = looks.load(Ordering::Relaxed);
    let begun = Instant::now();
    while looks.load(Ordering::Relaxed) < before + 3 {
        assert!(begun.elapsed() < Duration::from_secs(20), "upkeep does not look at this clock");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(first(&journal), 1, "expired by another clock");
    now_ms.fetch_add(2 * HOUR_MS, Ordering::Relaxed);
    let begun = Instant::now();
    while first(&journal) == 1 {
        assert!(begun.elapsed() < Duration::from_secs(20), "did not expire");
        std::thread::sleep(Duration::from_millis(20));
    }
    journal.close();
}

/// 2027-01-15.
const NOW_MS: u64 = 1_800_000_000_000;
const AGE_MS: u64 = 24 * HOUR_MS;

/// A machine whose clock somebody sets, with a journal on it.
struct Machine {
    disk: SimDisk,
    core: Core<SimDisk>,
    moment: Moment,
}

impl Machine {
    fn open(disk: &SimDisk) -> impl Fn(Moment) -> Core<SimDisk> + '_ {
        |moment| {
            let config = Config {
                segment_bytes: 64 << 10,
                size_bytes_max: 8 << 20,
                reserve_bytes: 0,
                ..Config::small()
            };
            let config = Config { group_bytes_max: 16 << 10, staged_bytes_max: 64 << 10, ..config };
            Core::open_at(disk.clone(), config, moment, moment.wall_ms).expect("opens").0
        }
    }

    fn new(moment: Moment) -> Self {
        let disk = SimDisk::new(1);
        let core = Self::open(&disk)(moment);
        core.retain(SHARD.stream, Some(AGE_MS));
        Self { disk, core, moment }
    }

    /// Off for as long as nobody knows, then on with this clock. A cut leaves what was synced.
    fn boot(&mut self, is_cut: bool, wall_ms: u64, is_certain: bool) {
        self.run(1);
        if is_cut {
            self.disk = self.disk.kill();
        } else {
            self.core.close(self.moment.wall_ms);
        }
        self.moment = Moment { wall_ms, uptime_ms: 5_000, is_certain };
        self.core = Self::open(&self.disk)(self.moment);
        self.run(1);
    }

    fn run(&mut self, ms: u64) {
        self.moment.wall_ms += ms;
        self.moment.uptime_ms += ms;
        self.upkeep();
    }

    fn set(&mut self, wall_ms: u64, is_certain: bool) {
        (self.moment.wall_ms, self.moment.is_certain) = (wall_ms, is_certain);
        self.upkeep();
    }

    fn upkeep(&self) {
        self.core.commit().expect("commits");
        while self.core.maintain_at(self.moment) {}
        self.core.commit().expect("commits");
    }

    fn put(&self) -> u64 {
        let mut set = AppendSet::new();
        set.batch(SHARD);
        set.record(b"key", &[7; 2_000]);
        let appended = self.core.append(&set, self.moment.wall_ms).expect("appends");
        self.core.commit().expect("commits");
        appended.firsts[0]
    }

    /// Fills more than one segment; returns the sequence of the first.
    fn fill(&self) -> u64 {
        let first = self.put();
        for _ in 1..40 {
            self.put();
        }
        self.upkeep();
        first
    }

    fn first(&self) -> u64 {
        self.core.bounds(SHARD).expect("has records").first
    }
}

#[test]
fn a_jump_of_the_wall_clock_expires_nothing_and_keeps_nothing_for_ever() {
    for set_ms in [NOW_MS + 400 * 24 * HOUR_MS, NOW_MS - 3 * HOUR_MS, 1_000] {
        let mut machine = Machine::new(Moment { wall_ms: NOW_MS, uptime_ms: 0, is_certain: true });
        machine.fill();
        machine.run(HOUR_MS);
        machine.set(set_ms, true);
        let after = machine.fill();
        for _ in 0..22 {
            machine.put();
            machine.run(HOUR_MS);
        }
        assert_eq!(machine.first(), 1, "{set_ms}: after 23 hours");
        machine.boot(true, machine.moment.wall_ms, false);
        assert_eq!(machine.first(), 1, "{set_ms}: after a cut");
        // A cut may forget an hour.
        machine.run(3 * HOUR_MS);
        assert!(machine.first() > 1, "{set_ms}: the first segment is older than a day");
        for _ in 0..26 {
            machine.run(HOUR_MS);
        }
        assert!(machine.first() >= after, "{set_ms}: all before the jump is older than a day");
    }
}

#[test]
fn a_board_without_a_clock_keeps_its_backlog_over_starts_in_1970_and_expires_it_when_it_learns_the_time() {
    let mut machine = Machine::new(Moment { wall_ms: NOW_MS, uptime_ms: 0, is_certain: true });
    machine.fill();
    let off = machine.fill();
    // Off for two hours; in 1970; NTP after two minutes.
    machine.boot(true, 9_000, false);
    machine.fill();
    machine.run(120_000);
    machine.set(NOW_MS + 2 * HOUR_MS, true);
    machine.run(HOUR_MS);
    assert_eq!(machine.first(), 1, "three hours old, an age is a day");
    // Off for a month, without the time again; what came since stays, what is a month old goes.
    machine.boot(false, 9_000, false);
    let since = machine.fill();
    machine.run(60_000);
    assert_eq!(machine.first(), 1, "nobody knows how long it was off");
    machine.set(NOW_MS + 30 * 24 * HOUR_MS, true);
    machine.run(60_000);
    assert!(machine.first() >= off && machine.first() <= since, "{} {off} {since}", machine.first());
    let limits = ReadLimits { records: 1_000, bytes: 1 << 20 };
    assert_eq!(machine.core.read(SHARD, since, limits).expect("reads").records().count(), 40);
    assert_eq!(machine.core.horizon_ms(AGE_MS), 0, "arrivals in 1970 do not tell");
    machine.run(AGE_MS);
    assert_eq!(machine.core.horizon_ms(AGE_MS), machine.moment.wall_ms - AGE_MS);
}

#[test]
fn nothing_is_written_about_a_clock_that_is_right() {
    let mut machine = Machine::new(Moment { wall_ms: NOW_MS, uptime_ms: 0, is_certain: true });
    machine.fill();
    machine.boot(false, NOW_MS + HOUR_MS, true);
    let before = machine.disk.counters();
    machine.run(HOUR_MS);
    machine.run(HOUR_MS);
    assert_eq!(machine.disk.counters(), before);
}
