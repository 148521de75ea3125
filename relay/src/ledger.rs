//! The arithmetic of loss: what was stored is somewhere.
//!
//! In: counts. Out: whether they add up: `stored = delivered + waiting + dead-lettered + dropped(reason)`.
//!
//! Always true: what leaves `waiting` is counted once, under one name.
//!
//! Not here: where counts are kept, and what a record is.

/// Why records left the log without being sent. The numbers are stored: they never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DropReason {
    /// They became older than the stream keeps records.
    Age = 0,
    /// The quota of the stream was full and it drops its oldest.
    Quota = 1,
    /// The disk gave them back damaged, or not at all.
    Damage = 2,
    /// Somebody decided to leave them out.
    Skipped = 3,
}

impl DropReason {
    /// Every reason, in the order of [`Ledger::dropped`].
    pub const ALL: [Self; 4] = [Self::Age, Self::Quota, Self::Damage, Self::Skipped];
}

/// Counts of records since forwarding of a source began. Add ledgers to get those of a stream or of a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ledger {
    /// Records the log took.
    pub stored: u64,
    /// Records the target holds, behind the checkpoint or in a done range. What was acked beyond is still waiting: after a crash it
    /// is sent again.
    pub delivered: u64,
    /// Records set aside for good, durable in the dead-letter stream.
    pub dead_lettered: u64,
    /// Records that left the log unsent, by [`DropReason`].
    pub dropped: [u64; DropReason::ALL.len()],
    /// Data and key bytes of `delivered`.
    pub delivered_bytes: u64,
}

/// Number of words of an encoded ledger.
pub const LEDGER_WORDS: usize = 4 + DropReason::ALL.len();

/// A ledger that does not add up: a record is nowhere, or in two places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imbalance {
    /// The ledger in question.
    pub ledger: Ledger,
    /// What was found waiting.
    pub waiting: u64,
}

impl std::fmt::Display for Imbalance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { ledger, waiting } = self;
        write!(
            f,
            "stored {}, expected {}: delivered {} + waiting {waiting} + dead-lettered {} + dropped {}",
            ledger.stored,
            ledger.settled().saturating_add(*waiting),
            ledger.delivered,
            ledger.dead_lettered,
            ledger.dropped_total()
        )
    }
}

impl std::error::Error for Imbalance {}

impl Ledger {
    /// Records dropped for any reason.
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Records that have their end: delivered, set aside or dropped.
    pub fn settled(&self) -> u64 {
        self.delivered.saturating_add(self.dead_lettered).saturating_add(self.dropped_total())
    }

    /// What must be waiting by these counts; `None` when more has ended than was stored.
    pub fn waiting(&self) -> Option<u64> {
        self.stored.checked_sub(self.settled())
    }

    /// Holds these counts against what was found waiting by looking.
    ///
    /// # Errors
    /// They do not add up.
    pub fn check(&self, waiting: u64) -> Result<(), Imbalance> {
        if self.waiting() == Some(waiting) { Ok(()) } else { Err(Imbalance { ledger: *self, waiting }) }
    }

    /// Adds the counts of another source.
    #[must_use]
    pub fn plus(mut self, other: &Self) -> Self {
        self.stored = self.stored.saturating_add(other.stored);
        self.delivered = self.delivered.saturating_add(other.delivered);
        self.dead_lettered = self.dead_lettered.saturating_add(other.dead_lettered);
        self.delivered_bytes = self.delivered_bytes.saturating_add(other.delivered_bytes);
        for (mine, theirs) in self.dropped.iter_mut().zip(other.dropped) {
            *mine = mine.saturating_add(theirs);
        }
        self
    }

    /// The counts in an order that never changes, for whoever stores them. New ones come at the end.
    pub fn to_words(&self) -> [u64; LEDGER_WORDS] {
        let [age, quota, damage, skipped] = self.dropped;
        [self.stored, self.delivered, self.dead_lettered, self.delivered_bytes, age, quota, damage, skipped]
    }

    /// What [`Ledger::to_words`] gave. Missing words are 0, so that older stored ledgers stay readable; further ones are ignored.
    pub fn from_words(words: &[u64]) -> Self {
        let word = |index: usize| words.get(index).copied().unwrap_or(0);
        Self {
            stored: word(0),
            delivered: word(1),
            dead_lettered: word(2),
            delivered_bytes: word(3),
            dropped: [word(4), word(5), word(6), word(7)],
        }
    }

    pub(crate) fn count_dropped(&mut self, reason: DropReason, count: u64) {
        let slot = &mut self.dropped[reason as usize];
        *slot = slot.saturating_add(count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Ledger {
        Ledger { stored: 100, delivered: 60, dead_lettered: 5, dropped: [1, 2, 3, 4], delivered_bytes: 6_000 }
    }

    #[test]
    fn a_ledger_balances_only_when_every_record_is_in_one_place() {
        assert_eq!(ledger().check(25), Ok(()));
        assert_eq!(
            ledger().check(24).unwrap_err().to_string(),
            "stored 100, expected 99: delivered 60 + waiting 24 + dead-lettered 5 + dropped 10"
        );
        let more_went_out_than_came_in = Ledger { stored: 10, ..ledger() };
        assert_eq!(more_went_out_than_came_in.waiting(), None);
        assert!(more_went_out_than_came_in.check(0).is_err());
    }

    #[test]
    fn words_read_back_and_older_ones_too() {
        assert_eq!(Ledger::from_words(&ledger().to_words()), ledger());
        assert_eq!(
            Ledger::from_words(&[100, 60]),
            Ledger { stored: 100, delivered: 60, ..Ledger::default() }
        );
        // The order is stored on disk.
        assert_eq!(ledger().to_words(), [100, 60, 5, 6_000, 1, 2, 3, 4]);
    }

    #[test]
    fn sums_of_ledgers_balance_too() {
        let sum = ledger().plus(&ledger());
        assert_eq!(sum.check(50), Ok(()));
        assert_eq!(sum.dropped, [2, 4, 6, 8]);
    }
}
