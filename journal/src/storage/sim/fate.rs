//! Fates drawn from a seed.
//!
//! In: a seed, how much is pending, one change at a time. Out: what becomes of it.
//! Always: the same fates for the same seed and the same questions.
//! Not here: applying them (`names`, `content`).

use super::chance::Chance;
use super::{Fate, Pending};

/// Fates for a cut drawn from `seed`. Whole-disk patterns first (all, none, a prefix), because chance alone almost never gives
/// them when much is pending, and they are what happens most.
pub(super) fn seeded_fates(seed: u64, pending: u64) -> impl FnMut(Pending<'_>) -> Fate {
    let mut chance = Chance::new(seed);
    let pattern = chance.below(6);
    let prefix = chance.below(pending + 1);
    let mut asked = 0;
    move |change| {
        asked += 1;
        match pattern {
            0 => Fate::Lost,
            1 => Fate::Kept,
            2 if asked <= prefix => Fate::Kept,
            2 if asked == prefix + 1 => seeded_fate(&mut chance, change.len / 512),
            2 => Fate::Lost,
            _ => seeded_fate(&mut chance, change.len / 512),
        }
    }
}

/// The fate of one change: of a write of so many sectors, or of a directory change, which has none.
pub(super) fn seeded_fate(chance: &mut Chance, sectors: u64) -> Fate {
    match chance.below(6) {
        0 | 1 => Fate::Kept,
        2 | 3 => Fate::Lost,
        4 => Fate::Head { sectors: chance.below(sectors + 1) },
        _ => Fate::Sectors { mask: chance.next() },
    }
}
