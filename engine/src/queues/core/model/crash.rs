//! What is durable, and what a crash leaves of core and truth.

use super::{Place, State, World};
use crate::queues::core::{QueueCore, Receipt, StoredKey};

impl World {
    /// Some of what was staged becomes durable.
    pub(super) fn flush(&mut self, steps: usize) {
        for (stored, truth) in self.staged.drain(..steps) {
            for stored in stored {
                match stored.value {
                    Some(value) => drop(self.stored.insert(stored.key, value)),
                    None => drop(self.stored.remove(&stored.key)),
                }
            }
            self.durable = truth;
        }
    }

    pub(super) fn crash(&mut self) {
        let survived = usize::try_from(self.below(self.staged.len() as u64 + 1)).unwrap();
        self.flush(survived);
        self.staged.clear();
        self.truth = self.durable.clone();
        self.core = QueueCore::new(self.truth.receives_max);
        for (&key, value) in &self.stored {
            assert_eq!(StoredKey::parse(&key.bytes(7)), Some(key));
            assert!(self.core.load(key, value));
        }
        self.core.set_shards(&self.stream.shards);
        self.sweep();
        self.settle();
        self.core.settle(self.now_ms);
        self.compare();
        // Handles of receives that were not durable were never answered.
        let known =
            |receipt: &Receipt| match &self.truth.records[&(receipt.shard.0, receipt.position.position)] {
                State::Fresh => false,
                State::Open(entry) => entry.serial >= receipt.serial,
                State::Done => true,
            };
        let kept: Vec<Receipt> = self.receipts.iter().copied().filter(known).collect();
        self.receipts = kept;
    }

    /// Every open record is open in truth and in the core, with the same entry; acknowledged ones are in neither.
    pub(super) fn compare(&self) {
        let open = |(place, state): (&Place, &State)| match state {
            State::Open(entry) => Some((*place, *entry)),
            _ => None,
        };
        let expected: Vec<_> = self.truth.records.iter().filter_map(open).collect();
        let found: Vec<_> =
            self.core.open().map(|(shard, position, entry)| ((shard.0, position.position), entry)).collect();
        let differs: Vec<_> = found
            .iter()
            .filter(|one| !expected.contains(one))
            .chain(expected.iter().filter(|one| !found.contains(one)))
            .collect();
        assert!(
            found == expected,
            "now {} most {:?} not before {}: {differs:?}",
            self.now_ms,
            self.truth.receives_max,
            self.stream.not_before_ms
        );
    }
}
