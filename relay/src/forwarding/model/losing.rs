//! What left the log unsent, and what a sink does without while too much waits.

use super::Life;
use crate::forwarding::SourceId;
use crate::{DropReason, Offset};

impl Life {
    fn pick_shard(&mut self) -> (usize, SourceId) {
        let index = self.world.pick(self.world.shards.len());
        (index, SourceId(u32::try_from(index).expect("few")))
    }

    /// The oldest leave the log: no start finds them.
    pub(super) fn expire(&mut self) {
        let (index, id) = self.pick_shard();
        let to = self.world.drop_oldest(index);
        self.drops += 1;
        self.forwarding.handle_dropped(id, to, DropReason::Age).expect("known");
    }

    /// A sink for which too much waits does without the oldest, which the log has yet.
    pub(super) fn leave_out(&mut self) {
        let (index, id) = self.pick_shard();
        let (first, tail) = (self.world.shards[index].first, self.world.shards[index].tail().0);
        let to = Offset(first + self.world.seeded.up_to(tail - first));
        let before = self.forwarding.progress(id).expect("known");
        let holds = self.forwarding.drain_state(self.world.now_ms).held_records > 0;
        let left_out = self.forwarding.handle_dropped(id, to, DropReason::Quota).expect("known");
        self.meet("left out", !left_out.is_empty());
        self.meet("left out in vain", left_out.is_empty() && holds && to > before.checkpoint);
        let now = self.forwarding.progress(id).expect("known");
        self.meet("left out behind records in memory", now.done.len() > before.done.len());
        for range in left_out {
            assert!(range.end <= to, "LEFT OUT: {range:?} before {to:?}: {}", self.context());
            self.world.pass_over(index, range.start.0..range.end.0);
        }
        self.doom();
    }

    /// A sink for which too much waits does without the newest.
    pub(super) fn pass_over(&mut self) {
        let (index, id) = self.pick_shard();
        let tail = self.world.shards[index].tail();
        let from = Offset(tail.0 - self.world.seeded.up_to(tail.0.min(30)));
        let passed = self.forwarding.handle_passed_over(id, from..tail, DropReason::Quota).expect("known");
        self.meet("passed over", passed.is_some());
        self.meet("passed over in vain", passed.is_none() && from < tail);
        if let Some(passed) = passed {
            assert!(passed.end == tail, "PASSED: {passed:?} of {from:?}..{tail:?}: {}", self.context());
            self.world.pass_over(index, passed.start.0..passed.end.0);
            self.doom();
        }
    }

    /// Now and then the power fails before that is stored.
    fn doom(&mut self) {
        if self.doomed.is_none() && self.world.seeded.once_in(4) {
            self.doomed = Some(10 + self.world.seeded.up_to(30));
        }
    }
}
