//! What a cut takes: a seed decides for each change that no sync has covered.

use system_tests::chance::Chance;

/// What a disk writes whole or not at all, and so what a write is torn at.
pub(crate) const SECTOR_BYTES: usize = 512;

/// How a cut treats what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// All of it is lost: nothing had left the cache.
    Nothing,
    /// All of it is kept: the cache had just been written, and nobody had been told.
    Everything,
    /// Each sector of each write is kept or lost for itself, and each name; so many of a thousand are kept.
    Sectors(u64),
    /// Writes and names are kept or lost whole, so many of a thousand kept, but one write in eight is torn: only its head is kept.
    Writes(u64),
}

/// The decisions of one cut, in the order in which changes are asked about.
#[derive(Clone, Debug)]
pub(crate) struct Fates {
    chance: Chance,
    mode: Mode,
    sector_bytes: usize,
}

impl Fates {
    /// Decisions that follow from a mode and a seed alone.
    pub(crate) fn new(mode: Mode, seed: u64) -> Self {
        Self { chance: Chance::new(seed), mode, sector_bytes: SECTOR_BYTES }
    }

    /// The same decisions for a disk with larger sectors.
    pub(crate) fn with_sectors(self, sector_bytes: usize) -> Self {
        Self { sector_bytes, ..self }
    }

    /// Decisions of a seed, mode included.
    pub(crate) fn seeded(chance: &mut Chance) -> Self {
        let mode = match chance.between(0, 9) {
            0 | 1 => Mode::Nothing,
            2 => Mode::Everything,
            3..=6 => Mode::Sectors(chance.between(50, 950)),
            _ => Mode::Writes(chance.between(50, 950)),
        };
        Self::new(mode, chance.next_u64())
    }

    /// How this cut treats what was not synced.
    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// What a write is torn at.
    pub(super) fn sector_bytes(&self) -> usize {
        self.sector_bytes
    }

    /// Whether a change of a name is kept.
    pub(super) fn keeps_name(&mut self) -> bool {
        match self.mode {
            Mode::Nothing => false,
            Mode::Everything => true,
            Mode::Sectors(kept) | Mode::Writes(kept) => self.one_of(kept),
        }
    }

    /// Whether a change of a file's length is kept.
    pub(super) fn keeps_length(&mut self) -> bool {
        self.keeps_name()
    }

    /// Which sectors of a write are kept.
    pub(super) fn sectors(&mut self, count: usize) -> Vec<bool> {
        match self.mode {
            Mode::Nothing => vec![false; count],
            Mode::Everything => vec![true; count],
            Mode::Sectors(kept) => (0..count).map(|_| self.one_of(kept)).collect(),
            Mode::Writes(kept) => {
                if self.chance.between(0, 7) == 0 {
                    let torn = self.chance.between(0, count as u64);
                    (0..count as u64).map(|sector| sector < torn).collect()
                } else {
                    vec![self.one_of(kept); count]
                }
            }
        }
    }

    fn one_of(&mut self, kept: u64) -> bool {
        self.chance.between(0, 999) < kept
    }
}
