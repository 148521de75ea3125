//! The budget against journals that write now much, now little.

use super::*;

const MB: u64 = 1_000_000;
const SECOND_MS: u64 = 1_000;
const HOUR_MS: u64 = 3_600_000;
const NOW_MS: u64 = 1_790_000_000_000;
/// What one commit of little data writes.
const COMMIT: u64 = 4_096;

fn limit(bytes: u64) -> Option<NonZeroU64> {
    NonZeroU64::new(bytes)
}

/// A journal that gets `per_hour` small records, spread evenly, and commits them as the budget says.
struct Life {
    budget: Budget,
    now_ms: u64,
    written: u64,
    committed_ms: u64,
    /// Written so far, each second.
    history: Vec<u64>,
}

impl Life {
    fn new(bytes_a_day: u64) -> Self {
        let budget = Budget::resume(limit(bytes_a_day), None, NOW_MS);
        Self { budget, now_ms: NOW_MS, written: 0, committed_ms: NOW_MS, history: vec![0] }
    }

    /// Runs for `hours`: each second `records` come of `bytes` each, and as many commits are made as the lingering allows.
    fn run(&mut self, hours: u64, records: u64, bytes: u64) {
        for _ in 0..hours * 3_600 {
            self.now_ms += SECOND_MS;
            let linger_ms = self.budget.linger_ms().max(1);
            let commits = match records {
                0 => 0,
                _ if linger_ms <= SECOND_MS => records.min(SECOND_MS / linger_ms),
                _ => u64::from(self.now_ms - self.committed_ms >= linger_ms),
            };
            if commits > 0 {
                self.committed_ms = self.now_ms;
            }
            self.written += commits * COMMIT + records * bytes;
            self.budget.look(self.now_ms, self.written);
            self.history.push(self.written);
        }
    }

    /// Most bytes of any 24 hours.
    fn worst_day(&self) -> u64 {
        let day = 24 * 3_600;
        let until = |at: usize| self.history[at] - self.history[at.saturating_sub(day)];
        (0..self.history.len()).map(until).max().unwrap()
    }
}

#[test]
fn no_day_takes_more_than_a_budget_that_can_be_held() {
    for (budget, records, bytes) in [(300 * MB, 20, 100), (150 * MB, 5, 0), (1_000 * MB, 100, 10)] {
        let mut life = Life::new(budget);
        life.run(60, records, bytes);
        let worst = life.worst_day();
        // A look comes a second late, so a second's writing may be too much.
        assert!(worst <= budget + 100 * COMMIT, "{worst} of {budget}");
        assert!(worst > budget * 8 / 10, "{worst} of {budget} is far from what may be written");
        assert!(life.budget.linger_ms() > 0 && life.budget.linger_ms() <= ms(BUDGET_LINGER_MAX));
        assert_ne!(life.budget.report().standing, Standing::Exceeded, "{budget}");
    }
}

#[test]
fn bursts_within_the_budget_of_a_day_cost_nothing() {
    let mut life = Life::new(300 * MB);
    for _ in 0..3 {
        // 18 MB in an hour, less than half the bucket, and quiet then.
        life.run(1, 1, 1_000);
        assert_eq!(life.budget.linger_ms(), 0);
        life.run(23, 0, 0);
    }
    assert_eq!(life.budget.report().standing, Standing::Holds);
}

#[test]
fn lingering_rises_to_its_limit_and_ends_when_there_is_room_again() {
    let mut life = Life::new(100 * MB);
    life.run(3, 100, 100);
    assert_eq!(life.budget.linger_ms(), ms(BUDGET_LINGER_MAX));
    let before = life.budget.linger_ms();
    life.run(5, 0, 0);
    let later = life.budget.linger_ms();
    assert!(later > 0 && later < before, "{later}");
    // Two buckets are the most that is owed: they run out in two sevenths of a day.
    life.run(2, 0, 0);
    assert_eq!(life.budget.linger_ms(), 0);
}

#[test]
fn lingering_does_not_waver_around_its_beginning() {
    let mut budget = Budget::resume(limit(80 * MB), None, NOW_MS);
    let (mut now_ms, mut written, mut changes, mut before) = (NOW_MS, 5 * MB, 0, 0);
    budget.look(now_ms, written);
    // One commit a time, and as long as that takes to run out: level with the point where lingering begins.
    for _ in 0..1_000 {
        written += COMMIT;
        budget.look(now_ms, written);
        changes += u64::from((budget.linger_ms() == 0) != (before == 0));
        before = budget.linger_ms();
        now_ms += COMMIT * PARTS * DAY_MS / (80 * MB * (PARTS - 1));
        budget.look(now_ms, written);
        changes += u64::from((budget.linger_ms() == 0) != (before == 0));
        before = budget.linger_ms();
    }
    assert_eq!(changes, 1);
}

#[test]
fn a_budget_that_cannot_be_held_is_said_and_so_is_one_that_is_nearly_spent() {
    let mut life = Life::new(100 * MB);
    assert_eq!(life.budget.report().standing, Standing::Holds);
    life.run(2, 1_000, 100);
    let report = life.budget.report();
    assert_eq!((report.standing, report.linger), (Standing::Exceeded, BUDGET_LINGER_MAX));
    life.run(20, 0, 0);
    assert_eq!(life.budget.report().standing, Standing::Exceeded, "the day is not over");
    life.run(5, 0, 0);
    assert_eq!(life.budget.report().standing, Standing::Holds);

    let mut life = Life::new(100 * MB);
    // Each hour 3.5 MB: 84 % of the budget, which needs no lingering that anybody notices.
    for _ in 0..24 {
        life.written += 3_500_000;
        life.run(1, 0, 0);
    }
    let report = life.budget.report();
    assert_eq!(report.standing, Standing::Near, "{report:?}");
    life.run(3, 0, 0);
    assert_eq!(life.budget.report().standing, Standing::Near, "what is near ends later than it begins");
    life.run(4, 0, 0);
    assert_eq!(life.budget.report().standing, Standing::Holds);
}

/// Starts anew from what was stored.
fn restarted(stored: &Stored, bytes_a_day: u64, now_ms: u64) -> Budget {
    let stored = Stored::decode(&stored.encode()).expect("what was encoded");
    Budget::resume(limit(bytes_a_day), Some(stored), now_ms)
}

#[test]
fn a_loop_of_restarts_is_no_way_around_it() {
    let (budget, mut now_ms, mut written) = (80 * MB, NOW_MS, 0);
    let mut life = Budget::resume(limit(budget), None, now_ms);
    for starts in 1.. {
        assert!(life.wants_store(), "the first records of a life carry the state");
        // Killed after as much as a state is ahead.
        let stored = life.store().unwrap();
        written += ahead(limit(budget).unwrap());
        now_ms += SECOND_MS;
        life = restarted(&stored, budget, now_ms);
        if life.linger_ms() == ms(BUDGET_LINGER_MAX) {
            break;
        }
        assert!(starts < 20, "{written} bytes and no lingering");
    }
    assert!(written >= budget / PARTS, "no more counts than was written: {written}");
}

#[test]
fn a_restart_goes_on_where_the_life_before_ended_and_time_off_counts() {
    let mut life = Life::new(80 * MB);
    life.run(1, 1_000, 3);
    life.budget.store();
    let (stored, before) = (life.budget.store_at_end().unwrap(), life.budget.report());
    let after = restarted(&stored, 80 * MB, life.now_ms);
    assert_eq!(after.report(), before);
    let later = restarted(&stored, 80 * MB, life.now_ms + 12 * HOUR_MS);
    assert_eq!(later.linger_ms(), 0);
    assert_eq!(later.report().day_bytes, before.day_bytes, "it is the same day");
    let tomorrow = restarted(&stored, 80 * MB, life.now_ms + 25 * HOUR_MS);
    assert_eq!(tomorrow.report().day_bytes, 0);
    assert_eq!(Stored::decode(&[9, 9]), None);
    assert_eq!(Stored::decode(&[]), None);
}

#[test]
fn a_clock_that_is_behind_or_ahead_gives_no_more_and_ends_well() {
    let mut life = Life::new(80 * MB);
    life.run(2, 1_000, 100);
    life.budget.store();
    let stored = life.budget.store_at_end().unwrap();
    // Kept time forgot an hour, or all of it.
    for now_ms in [life.now_ms - HOUR_MS, 0] {
        let mut behind = restarted(&stored, 80 * MB, now_ms);
        assert_eq!(behind.linger_ms(), ms(BUDGET_LINGER_MAX), "nothing ran out");
        behind.look(now_ms + 24 * HOUR_MS, 0);
        assert_eq!(behind.linger_ms(), 0);
    }
    // Looks that come in the wrong order, and from the end of time.
    let mut budget = restarted(&stored, 80 * MB, life.now_ms);
    budget.look(life.now_ms - HOUR_MS, 7);
    budget.look(life.now_ms, 3);
    assert_eq!(budget.linger_ms(), ms(BUDGET_LINGER_MAX));
    budget.look(u64::MAX, u64::MAX);
    assert_eq!(budget.report().standing, Standing::Exceeded);
    assert!(budget.linger_ms() <= ms(BUDGET_LINGER_MAX));
    let mut vast = Budget::resume(limit(u64::MAX), None, 0);
    vast.look(u64::MAX, u64::MAX);
    assert!(vast.linger_ms() <= ms(BUDGET_LINGER_MAX));
}

#[test]
fn another_budget_counts_at_once_and_none_never_lingers() {
    let mut life = Life::new(80 * MB);
    life.run(3, 1_000, 100);
    assert!(life.budget.linger_ms() > 0);
    life.budget.set(limit(80_000 * MB));
    assert_eq!(life.budget.linger_ms(), 0, "there is room");
    assert_eq!(life.budget.report().standing, Standing::Holds);
    life.budget.set(limit(MB));
    assert_eq!(life.budget.linger_ms(), ms(BUDGET_LINGER_MAX));
    life.budget.set(None);
    life.run(1, 1_000, 1_000);
    let report = life.budget.report();
    assert_eq!((report.linger, report.standing), (Duration::ZERO, Standing::Holds));
    assert!(report.day_bytes > 3_000 * MB, "it is counted all the same");
    assert!(!life.budget.wants_store() && life.budget.store_at_end().is_none());
}
