use super::*;
use crate::bytes::splitmix;

const HOUR_MS: u64 = 3_600_000;
const DAY_MS: u64 = 24 * HOUR_MS;
/// 2027-01-15.
const NOW: u64 = 1_800_000_000_000;
const AGE_MS: u64 = 7 * DAY_MS;

fn moment(wall_ms: u64, uptime_ms: u64, is_certain: bool) -> Moment {
    Moment { wall_ms, uptime_ms, is_certain }
}

/// A life that begins at `NOW` by a certain clock, with segment 5 as its first; uptime 0.
fn certain() -> KeptTime {
    KeptTime::resume(None, Some(NOW), moment(NOW, 0, true), 5)
}

#[test]
fn a_clock_that_is_right_is_kept_time() {
    let mut kept = certain();
    assert_eq!(kept.look(moment(NOW + DAY_MS, DAY_MS, true)), None);
    assert_eq!((kept.now_ms(), kept.horizon_ms(AGE_MS)), (NOW + DAY_MS, NOW + DAY_MS - AGE_MS));
    assert_eq!(kept.take_changed(), None, "nothing to write");
    // Off for a month: the next start knows.
    let next = KeptTime::resume(None, Some(NOW), moment(NOW + 31 * DAY_MS, 3, true), 6);
    assert_eq!((next.age_ms(4, NOW), next.horizon_ms(AGE_MS)), (31 * DAY_MS, NOW + 24 * DAY_MS));
    assert!(next.clock_state(AGE_MS).is_certain && next.state().is_certain);
}

#[test]
fn a_jump_either_way_moves_nothing_and_arrivals_tell_again_an_age_later() {
    for by_ms in [-3 * 3_600_000i64, 80 * 365 * 24 * 3_600_000i64] {
        let mut kept = certain();
        let wall = |uptime_ms: u64| NOW.saturating_add(uptime_ms).saturating_add_signed(by_ms);
        kept.look(moment(NOW + HOUR_MS, HOUR_MS, true));
        assert_eq!(kept.look(moment(wall(HOUR_MS), HOUR_MS, true)), Some(by_ms));
        assert_eq!(
            (kept.now_ms(), kept.age_ms(4, NOW), kept.horizon_ms(AGE_MS)),
            (NOW + HOUR_MS, HOUR_MS, 0)
        );
        assert_eq!(kept.clock_state(AGE_MS).jumped_by_ms, Some(by_ms));
        let stored = kept.take_changed().expect("the next life must know");
        kept.look(moment(wall(HOUR_MS + AGE_MS - 1), HOUR_MS + AGE_MS - 1, true));
        assert_eq!(kept.horizon_ms(AGE_MS), 0);
        kept.look(moment(wall(HOUR_MS + AGE_MS), HOUR_MS + AGE_MS, true));
        assert_eq!(kept.horizon_ms(AGE_MS), wall(HOUR_MS));
        assert_eq!(kept.clock_state(AGE_MS).jumped_by_ms, None);
        // The next start takes neither the jump nor the way back for time off.
        for wall_ms in [wall(9 * DAY_MS), NOW + 9 * DAY_MS] {
            let stored = Stored::decode(&stored.encode());
            let next = KeptTime::resume(stored, Some(NOW), moment(wall_ms, 0, true), 6);
            assert!(next.now_ms() <= NOW + 9 * DAY_MS, "{wall_ms}");
        }
    }
}

#[test]
fn a_board_that_boots_in_1970_neither_expires_its_backlog_nor_keeps_it_for_ever() {
    // Off for a month; segments 1 to 4 are from before, the last of them closed when it went off.
    let (begun, off_ms) = (NOW, 30 * DAY_MS);
    let mut kept = KeptTime::resume(None, Some(begun), moment(9_000, 9_000, false), 5);
    assert_eq!((kept.now_ms(), kept.horizon_ms(AGE_MS)), (begun, 0));
    kept.look(moment(129_000, 129_000, false));
    assert_eq!((kept.age_ms(4, begun), kept.clock_state(AGE_MS).is_certain), (120_000, false));
    // Segment 5 was closed at this moment. Then NTP comes: what is a month old is a month old, what is new is not.
    let closed_ms = kept.now_ms();
    kept.look(moment(begun + off_ms + 121_000, 130_000, true));
    assert_eq!(kept.age_ms(4, begun), off_ms + 121_000 - HOUR_MS, "up to an hour of it is not certain");
    assert_eq!((kept.age_ms(5, closed_ms), kept.horizon_ms(AGE_MS)), (1_000, 0));
    // The next start, a day off, with all of it written down.
    let stored = Stored::decode(&kept.take_changed().expect("changed").encode());
    let next = KeptTime::resume(stored, Some(closed_ms), moment(begun + off_ms + DAY_MS, 0, true), 7);
    assert_eq!(
        (next.age_ms(4, begun), next.age_ms(5, closed_ms)),
        (off_ms + DAY_MS - HOUR_MS, DAY_MS - 120_000)
    );
}

#[test]
fn a_clock_that_nobody_vouches_for_sets_nothing_on() {
    // It comes up in 2099, and runs there for a month.
    let mut kept = KeptTime::resume(None, Some(NOW), moment(4_080_000_000_000, 0, false), 5);
    kept.look(moment(4_080_000_000_000 + 30 * DAY_MS, 30 * DAY_MS, false));
    assert_eq!(kept.age_ms(4, NOW), 30 * DAY_MS);
    // The life after goes on where this one ended, and a start that was not told of the end where it was last written down.
    assert!(!kept.state().is_certain);
    let stored = Stored::decode(&kept.state().encode());
    let mut next = KeptTime::resume(stored, Some(NOW), moment(0, 0, false), 6);
    assert_eq!(next.now_ms(), NOW + 30 * DAY_MS);
    // Right at last: the day between the two lives counts for what is from before the first of them.
    next.look(moment(NOW + 31 * DAY_MS, 0, true));
    let off_ms = DAY_MS - HOUR_MS;
    assert_eq!((next.age_ms(4, NOW), next.age_ms(5, NOW + 30 * DAY_MS)), (30 * DAY_MS + off_ms, 0));
}

#[test]
fn a_clock_that_counts_from_another_moment_makes_nothing_old() {
    // Opened by the boot clock, kept by somebody who takes UTC for both.
    let mut kept = KeptTime::resume(None, Some(NOW), moment(NOW, 90_000, true), 5);
    assert_eq!(kept.look(Moment::certain(NOW + 1_000)), None);
    assert_eq!(kept.age_ms(4, NOW), 0);
    kept.look(Moment::certain(NOW + 61_000));
    assert_eq!(kept.age_ms(4, NOW), 60_000);
}

#[test]
fn what_is_stored_is_read_and_nonsense_is_not() {
    let state = Stored {
        kept_ms: 1,
        lead_ms: -2,
        steady_ms: 3,
        is_certain: false,
        young_from: 4,
        jump: Some(Jump { by_ms: -5, at_ms: 6 }),
        offs: vec![Off { before_segment: 7, ms: 8 }, Off { before_segment: 9, ms: 10 }],
    };
    let bytes = state.encode();
    assert_eq!(Stored::decode(&bytes), Some(state));
    for len in 0..50 {
        assert_eq!(Stored::decode(&bytes[..len]), None, "{len}");
    }
    assert_eq!(Stored::decode(&[2; 66]), None);
}

/// What really went on, and what of it a life and its disk know.
struct World {
    chance: u64,
    /// The time of the world, and for how long the machine was on.
    true_ms: u64,
    on_ms: u64,
    boot_true_ms: u64,
    /// Wall clock minus the time of the world.
    error_ms: i128,
    is_vouched: bool,
    kept: KeptTime,
    stored: Option<Stored>,
    segments: Vec<Opened>,
    open: bool,
    lives: u64,
    /// Time on at the last look, and what of kept time was forgotten between two lives.
    seen_on_ms: u64,
    forgotten_ms: u64,
}

/// A segment: kept time in its header; time on at its opening; wall clock and true time of its records.
struct Opened {
    kept_ms: u64,
    on_ms: u64,
    arrivals: Vec<(u64, u64)>,
}

impl World {
    fn new(seed: u64) -> Self {
        let kept = KeptTime::resume(None, None, moment(NOW, 0, false), 1);
        let mut world = Self {
            chance: seed,
            true_ms: NOW,
            on_ms: 0,
            boot_true_ms: NOW,
            error_ms: 0,
            is_vouched: false,
            kept,
            stored: None,
            segments: Vec::new(),
            open: false,
            lives: 1,
            seen_on_ms: 0,
            forgotten_ms: 0,
        };
        world.store();
        world
    }

    fn below(&mut self, bound: u64) -> u64 {
        splitmix(&mut self.chance) % bound
    }

    fn moment(&self) -> Moment {
        let wall_ms = clamped(i128::from(self.true_ms) + self.error_ms);
        moment(wall_ms, self.true_ms - self.boot_true_ms, self.is_vouched)
    }

    fn store(&mut self) {
        if let Some(state) = self.kept.take_changed() {
            self.stored = Stored::decode(&state.encode());
            assert!(self.stored.is_some());
        }
    }

    fn look(&mut self) {
        self.seen_on_ms = self.on_ms;
        self.kept.look(self.moment());
        self.store();
        let stored_ms = self.stored.as_ref().map_or(0, |stored| stored.kept_ms);
        if self.kept.now_ms() - stored_ms >= CLOCK_STORED_EVERY_MS {
            self.stored = Some(self.kept.state().clone());
        }
    }

    fn step(&mut self) {
        match self.below(12) {
            0..5 => {
                let ms = 1 + self
                    .below([60_000, HOUR_MS, 12 * HOUR_MS][usize::from(!self.chance.is_multiple_of(3))]);
                (self.true_ms, self.on_ms) = (self.true_ms + ms, self.on_ms + ms);
            }
            5 | 6 => {
                // A record, in a new segment when it is the life's first.
                if !self.open {
                    self.roll();
                }
                let arrival = (self.moment().wall_ms, self.true_ms);
                self.segments.last_mut().unwrap().arrivals.push(arrival);
            }
            7 => self.roll(),
            8 => {
                // Nobody vouches for a clock that is wrong; only afterwards it may be set.
                self.look();
                self.error_ms = self.error();
            }
            9 => {
                (self.error_ms, self.is_vouched) = (0, true);
            }
            _ => self.restart(),
        }
        if self.below(4) > 0 {
            self.look();
        }
    }

    fn roll(&mut self) {
        self.look();
        let (kept_ms, on_ms) = (self.kept.now_ms(), self.on_ms);
        self.segments.push(Opened { kept_ms, on_ms, arrivals: Vec::new() });
        self.open = true;
    }

    fn error(&mut self) -> i128 {
        match self.below(5) {
            0 => 0,
            1 => -3 * i128::from(HOUR_MS),
            2 => -i128::from(self.true_ms) + 1_000,
            3 => i128::from(self.below(10_000 * DAY_MS)),
            _ => -i128::from(self.below(100 * DAY_MS)),
        }
    }

    /// A crash or an end; off for a moment or for long; a clock that is right, in 1970, or where it stopped.
    fn restart(&mut self) {
        self.look();
        if self.below(2) == 0 {
            self.stored = Some(self.kept.state().clone());
        }
        let wall_before = i128::from(self.true_ms) + self.error_ms;
        let off_ms =
            1 + self.below([1_000, 2 * HOUR_MS, 60 * DAY_MS][usize::try_from(self.chance % 3).unwrap()]);
        self.true_ms += off_ms;
        self.boot_true_ms = self.true_ms;
        self.error_ms = match self.below(4) {
            0 => 0,
            1 => wall_before - i128::from(self.true_ms),
            2 => 1_000 - i128::from(self.true_ms),
            _ => self.error(),
        };
        self.is_vouched = self.error_ms == 0 && self.below(2) == 0;
        self.open = false;
        self.lives += 1;
        let newest_ms = self.segments.iter().map(|segment| segment.kept_ms).max();
        let next = self.segments.len() as u64 + 1;
        let before_ms = self.kept.now_ms();
        self.kept = KeptTime::resume(self.stored.clone(), newest_ms, self.moment(), next);
        self.forgotten_ms += before_ms.saturating_sub(self.kept.now_ms());
        self.store();
    }

    /// The promise, said as plainly as can be: nothing goes before its age, by the time of the world; and whatever was closed for that
    /// age of time with the machine on goes.
    fn check(&self) {
        for (segment, next) in (1..).zip(self.segments.windows(2)) {
            let [opened, closed] = next else { unreachable!() };
            let age_ms = self.kept.age_ms(segment, closed.kept_ms);
            // Clocks that differ by less than a jump are one line.
            let slack_ms = 2 * CLOCK_JUMP_MS * self.lives;
            if let Some(&(_, stored_ms)) = opened.arrivals.last() {
                let true_ms = self.true_ms - stored_ms;
                assert!(age_ms <= true_ms + slack_ms, "segment {segment}: {age_ms} of {true_ms}");
            }
            let horizon_ms = self.kept.horizon_ms(AGE_MS);
            for &(arrival_ms, stored_ms) in &opened.arrivals {
                let is_hidden = arrival_ms < horizon_ms;
                assert!(!is_hidden || self.true_ms - stored_ms + slack_ms >= AGE_MS, "segment {segment}");
            }
            // But for what crashes forgot of it.
            let on_ms = self.seen_on_ms.saturating_sub(closed.on_ms + self.forgotten_ms);
            assert!(age_ms + slack_ms >= on_ms, "segment {segment}: {age_ms} of {on_ms} on");
        }
    }
}

#[test]
fn whatever_clocks_do_nothing_goes_before_its_age() {
    for seed in 0..3_000 {
        let mut world = World::new(seed);
        for _ in 0..60 {
            world.step();
            world.check();
        }
    }
}
