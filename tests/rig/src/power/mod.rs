//! What a seed decides about each cut: when, and what it takes.
//!
//! In: a seed and the number of a cut. Out: a [`Plan`]. Always: a plan depends on nothing else, so that cut 17 of a seed is the same
//! in every run, however fast the machine is.
//! Not here: carrying it out.

mod moment;

use system_tests::chance::Chance;

pub(crate) use self::moment::{Aim, Moment, Step};
use crate::disk::Fates;

/// What the machine is doing when power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It takes records.
    Load,
    /// It starts after a crash without a cut: what had not been synced can be read and is not durable.
    StartAfterKill,
    /// It starts after a cut.
    StartAfterCut,
}

/// One cut.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// What the machine is doing.
    pub(crate) phase: Phase,
    /// Records acknowledged before the moment is waited for.
    pub(crate) acked: u64,
    /// When.
    pub(crate) moment: Moment,
    /// What it takes.
    pub(crate) fates: Fates,
}

impl Plan {
    /// The plan of a cut. `names`: the disk sees names change; an image below a file system sees none.
    pub(crate) fn new(seed: u64, cut: u64, names: bool) -> Self {
        let mut chance = chance(seed, cut);
        let phase = match chance.between(0, 9) {
            0..=5 => Phase::Load,
            6 | 7 => Phase::StartAfterKill,
            _ => Phase::StartAfterCut,
        };
        let moment = match phase {
            Phase::Load => Moment::under_load(&mut chance, names),
            Phase::StartAfterKill | Phase::StartAfterCut => Moment::at_start(&mut chance, names),
        };
        Self { phase, acked: chance.between(100, 1500), moment, fates: Fates::seeded(&mut chance) }
    }
}

/// The chance of one cut, or of one life: apart from all others of the seed.
pub(crate) fn chance(seed: u64, number: u64) -> Chance {
    let mut of_seed = Chance::new(seed);
    Chance::new(of_seed.next_u64() ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_the_same_every_time_and_every_kind_of_cut_is_planned() {
        let plans: Vec<String> = (0..200).map(|cut| format!("{:?}", Plan::new(7, cut, true))).collect();
        let again: Vec<String> = (0..200).map(|cut| format!("{:?}", Plan::new(7, cut, true))).collect();
        assert_eq!(plans, again);
        let kinds =
            ["Load", "StartAfterKill", "StartAfterCut", "Any", "Syncs", "Names", "Nothing", "Everything"];
        for kind in kinds.into_iter().chain(["Sectors", "Writes", "done: true", "done: false"]) {
            assert!(plans.iter().any(|plan| plan.contains(kind)), "no cut of 200 is {kind}");
        }
    }
}
