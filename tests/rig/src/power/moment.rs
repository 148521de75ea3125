//! When power goes: at a step of the disk, counted, so that a cut falls between any two of them and not where a timer happens to.

use system_tests::chance::Chance;

/// Something that changes the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Bytes or a length.
    Write,
    /// A file's sync.
    Sync,
    /// A name made, changed or removed.
    Name,
    /// A directory's sync.
    SyncNames,
}

/// Which steps are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aim {
    /// Every one.
    Any,
    /// Syncs of files: the moment at which an acknowledgement is near.
    Syncs,
    /// Names and syncs of directories: rare, so they are aimed at.
    Names,
}

/// A place in the course of steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Which steps are counted.
    pub(crate) aim: Aim,
    /// So many of them pass first.
    pub(crate) skip: u64,
    /// Whether the step has its effect; it is never answered.
    pub(crate) done: bool,
}

impl Moment {
    /// A moment in the course of steady load.
    pub(crate) fn under_load(chance: &mut Chance, names: bool) -> Self {
        let (aim, most) = match chance.between(0, 9) {
            0..=3 => (Aim::Any, 60),
            7..=9 if names => (Aim::Names, 4),
            _ => (Aim::Syncs, 200),
        };
        Self::within(aim, most, chance)
    }

    /// A moment in the steps of a start, of which there are few.
    pub(crate) fn at_start(chance: &mut Chance, names: bool) -> Self {
        let (aim, most) = match chance.between(0, 3) {
            0 | 1 => (Aim::Any, 30),
            2 if names => (Aim::Names, 6),
            _ => (Aim::Syncs, 8),
        };
        Self::within(aim, most, chance)
    }

    fn within(aim: Aim, most: u64, chance: &mut Chance) -> Self {
        // Before a sync there is something to lose, after it there is nothing.
        let done = match aim {
            Aim::Syncs => chance.between(0, 3) == 0,
            Aim::Any | Aim::Names => chance.between(0, 1) == 0,
        };
        Self { aim, skip: chance.between(0, most), done }
    }

    /// Counts a step. True when this is the one.
    pub(crate) fn meets(&mut self, step: Step) -> bool {
        let counted = match self.aim {
            Aim::Any => true,
            Aim::Syncs => step == Step::Sync,
            Aim::Names => matches!(step, Step::Name | Step::SyncNames),
        };
        if counted && self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_steps_aimed_at_are_counted() {
        let mut moment = Moment { aim: Aim::Names, skip: 1, done: false };
        let met = [Step::Write, Step::Name, Step::Sync, Step::SyncNames].map(|step| moment.meets(step));
        assert_eq!(met, [false, false, false, true]);
    }
}
