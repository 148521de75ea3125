//! Seeded chance and the faults it or a script brings. Not here: what a fault does to a file or a name.

/// SplitMix64: one add and two multiplications, so that chance costs nothing beside a step.
#[derive(Clone, Debug)]
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// 0 to `bound` - 1; 0 when `bound` is 0. The bias of the remainder does not matter for faults.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(super) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// What the disk is asked to do. All but [`Operation::Read`] and [`Operation::Open`] are steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// `Storage::open`.
    Open,
    /// `Storage::create`.
    Create,
    /// `Storage::rename`.
    Rename,
    /// `Storage::remove`.
    Remove,
    /// `Storage::sync_dir`.
    SyncDir,
    /// `StorageFile::read_at`.
    Read,
    /// `StorageFile::write_at`.
    Write,
    /// `StorageFile::sync`.
    Sync,
}

impl Operation {
    /// Whether it changes something and so counts as a step.
    pub(super) fn is_step(self) -> bool {
        !matches!(self, Self::Open | Self::Read)
    }
}

/// What goes wrong at an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// EIO. By the seed: a write left nothing, a part or all of itself; a sync kept its writes pending, or forgot them while
    /// readers still see them, or forgot and reverted them; a creation left nothing or a shorter file; a rename or removal
    /// happened or not; a directory sync left its changes pending.
    Error,
    /// EIO after the first sectors of a write. As [`Fault::Error`] for other operations.
    ShortWrite,
    /// ENOSPC; nothing happened.
    NoSpace,
    /// The power goes during the operation. Everything fails from here on, until [`super::SimDisk::power_cut`].
    PowerOff,
}

/// Faults to come: scripted ones first, else by a rate.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    script: Vec<Planned>,
    /// One operation in so many fails; 0 is never.
    pub(super) one_in: u64,
}

#[derive(Clone, Debug)]
struct Planned {
    on: Option<Operation>,
    skip: u64,
    fault: Fault,
}

impl Faults {
    pub(super) fn plan(&mut self, on: Option<Operation>, skip: u64, fault: Fault) {
        self.script.push(Planned { on, skip, fault });
    }

    /// The fault this operation meets. Each planned fault happens once.
    pub(super) fn next(&mut self, operation: Operation, chance: &mut Chance) -> Option<Fault> {
        let mut hit = None;
        for (index, planned) in self.script.iter_mut().enumerate() {
            let counts = planned.on.map_or(operation.is_step(), |on| on == operation);
            if !counts {
                continue;
            }
            if planned.skip == 0 && hit.is_none() {
                hit = Some(index);
            } else {
                planned.skip = planned.skip.saturating_sub(1);
            }
        }
        if let Some(index) = hit {
            return Some(self.script.remove(index).fault);
        }
        if self.one_in == 0 || !operation.is_step() || !chance.one_in(self.one_in) {
            return None;
        }
        Some(match chance.below(6) {
            0 => Fault::NoSpace,
            1 => Fault::ShortWrite,
            _ => Fault::Error,
        })
    }
}
