//! The window against a model so plain that it is obviously right, under seeded random calls.

use headwater_relay::{Offset, Outcome, Seeded, Settled, Window, WindowLimits};
use std::collections::BTreeMap;

const RECORDS_MAX: usize = 8;
const BYTES_MAX: usize = 1_000;

/// Every record ever offered with no final outcome, and the highest checkpoint seen.
#[derive(Default)]
struct Model {
    open: BTreeMap<u64, usize>,
    offered: BTreeMap<u64, bool>,
    next: u64,
    checkpoint_seen: u64,
}

impl Model {
    fn checkpoint(&self) -> u64 {
        // The lowest offset of this session without a final outcome, or where reading continues.
        self.offered.iter().find(|(_, is_settled)| !**is_settled).map_or(self.next, |(offset, _)| *offset)
    }

    fn reset(&mut self) {
        self.next = self.checkpoint();
        self.open.clear();
        self.offered.clear();
    }
}

#[test]
fn a_thousand_seeded_runs_agree_with_the_model() {
    for seed in 0..1_000 {
        run(seed);
    }
}

fn run(seed: u64) {
    let mut seeded = Seeded::new(seed);
    let start = seeded.up_to(1_000);
    let limits = WindowLimits { records_max: RECORDS_MAX, bytes_max: BYTES_MAX };
    let mut window = Window::new(limits, Offset(start));
    let mut model = Model { next: start, ..Model::default() };
    let mut must_reset = false;
    for step in 0..300 {
        let context = format!("seed {seed} step {step}");
        match seeded.up_to(9) {
            0..=4 => {
                let offset = model.next + if seeded.once_in(10) { seeded.up_to(5) } else { 0 };
                let size = usize::try_from(seeded.up_to(400)).expect("small");
                let taken = window.offer(Offset(offset), size).is_ok();
                let bytes: usize = model.open.values().sum();
                // The window keeps settled records behind an open one, so the model counts from the oldest open one.
                let held = model.offered.range(model.checkpoint()..).count();
                let fits = held == 0 || (held < RECORDS_MAX && bytes + size <= BYTES_MAX);
                assert_eq!(taken, fits && !must_reset, "{context}");
                if taken {
                    model.open.insert(offset, size);
                    model.offered.insert(offset, false);
                    model.next = offset + 1;
                }
            }
            5..=7 => settle(&mut seeded, &mut window, &mut model, &mut must_reset, &context),
            8 => {
                if must_reset || seeded.once_in(4) {
                    window.reset();
                    model.reset();
                    must_reset = false;
                }
            }
            _ => {
                let to = model.next + seeded.up_to(3);
                window.skip_to(Offset(to));
                model.next = model.next.max(to);
            }
        }
        check(&window, &mut model, &context);
    }
}

fn settle(seeded: &mut Seeded, window: &mut Window, model: &mut Model, must_reset: &mut bool, context: &str) {
    let count = model.open.len() as u64;
    if count == 0 || seeded.once_in(12) {
        assert!(window.handle_outcome(Offset(model.next + 5), Outcome::Acked).is_err(), "{context}");
        return;
    }
    let index = usize::try_from(seeded.up_to(count - 1)).expect("small");
    let offset = *model.open.keys().nth(index).expect("index is below the count");
    let outcome = match seeded.up_to(15) {
        0 => Outcome::Retry,
        1 => Outcome::Rejected,
        _ => Outcome::Acked,
    };
    let settled = window.handle_outcome(Offset(offset), outcome).expect("it is in flight");
    if outcome == Outcome::Retry {
        *must_reset = true;
        assert_eq!(settled, Settled::MustReset, "{context}");
        return;
    }
    let before = model.checkpoint();
    model.open.remove(&offset);
    model.offered.insert(offset, true);
    let after = model.checkpoint();
    let expected = if before == after { Settled::Held } else { Settled::Moved(Offset(after)) };
    assert_eq!(settled, expected, "{context}");
}

fn check(window: &Window, model: &mut Model, context: &str) {
    assert_eq!(window.checkpoint().0, model.checkpoint(), "{context}");
    assert_eq!(window.next().0, model.next, "{context}");
    assert!(window.checkpoint().0 >= model.checkpoint_seen, "the checkpoint moved back: {context}");
    assert!(
        model.open.keys().all(|offset| *offset >= window.checkpoint().0),
        "passed an unacked record: {context}"
    );
    assert!(window.in_flight() <= RECORDS_MAX, "{context}");
    assert_eq!(window.in_flight_bytes(), model.open.values().sum::<usize>(), "{context}");
    model.checkpoint_seen = window.checkpoint().0;
}
