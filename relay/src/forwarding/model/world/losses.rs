//! What the world does without: the oldest of a shard, or the newest.

use std::ops::Range;

use super::World;
use crate::Offset;

impl World {
    /// The log gives up what is oldest.
    pub(in super::super) fn drop_oldest(&mut self, index: usize) -> Offset {
        let tail = self.shards[index].tail().0;
        let first = self.shards[index].first;
        let to = first + self.seeded.up_to(tail - first);
        self.shards[index].first = to;
        for stored in &self.shards[index].records[..usize::try_from(to).expect("small")] {
            if !self.is_seen(stored.id) {
                self.dropped.insert(stored.id);
            }
        }
        Offset(to)
    }

    /// The newest of a shard are done without.
    pub(in super::super) fn pass_over(&mut self, index: usize, range: Range<u64>) {
        for offset in range {
            let id = self.shards[index].records[usize::try_from(offset).expect("small")].id;
            if !self.has_end(id) {
                self.dropped.insert(id);
                self.shards[index].passed.insert(offset);
            }
        }
    }

    /// After a crash nobody knows what was passed over and not stored: it waits again. How many are these?
    pub(in super::super) fn put_back(&mut self) -> usize {
        let mut count = 0;
        for shard in &mut self.shards {
            let stored = &shard.stored;
            let is_stored = |offset: u64| {
                let offset = Offset(offset);
                offset < stored.checkpoint || stored.done.iter().any(|range| range.contains(&offset))
            };
            for offset in shard.passed.extract_if(.., |offset| !is_stored(*offset)) {
                if offset >= shard.first {
                    self.dropped.remove(&shard.records[usize::try_from(offset).expect("small")].id);
                    count += 1;
                }
            }
        }
        count
    }
}
