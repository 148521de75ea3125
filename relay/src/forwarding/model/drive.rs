//! The shell of the model: asks until there is nothing to do, and checks every answer.

use std::collections::{BTreeMap, BTreeSet};

use super::{Flying, Life};
use crate::forwarding::{Call, DeadReason, DrainOrder, SourceId};

impl Life {
    pub(super) fn drive(&mut self) {
        let now_ms = self.world.now_ms;
        let context = self.context();
        // The disk takes its time, and a crash may come before.
        let stores = self.is_quiet || (self.doomed.is_none() && !self.world.seeded.once_in(3));
        loop {
            let mut is_idle = true;
            while let Some(read) = self.forwarding.poll_read() {
                is_idle = false;
                self.world.check_read(&read, &context);
                self.meet("child read", !self.world.shards[read.source.0 as usize].parents.is_empty());
                let (records, next) = self.world.read(&read);
                self.forwarding.handle_records(&read, &records, next, now_ms).expect("as asked for");
            }
            while let Some(call) = self.forwarding.poll_call(now_ms) {
                is_idle = false;
                self.check_call(&call);
                self.meet("aggregate", call.entries.len() < call.records.len());
                self.meet("two calls", !self.flying.is_empty());
                self.trace = self.trace.rotate_left(7) ^ call.size_bytes ^ (call.records.len() as u64) << 32;
                self.flying.push(Flying { call, outcomes: None });
            }
            while let Some(dead) = self.forwarding.poll_dead_letter() {
                let id = self.stored(&dead.record).id;
                self.world.dead.insert(id);
                let reason = match dead.reason {
                    DeadReason::Rejected => "rejected",
                    DeadReason::Failed { .. } => "failed",
                    DeadReason::TooLarge { .. } => "too large",
                };
                self.meet(reason, true);
                self.forwarding.handle_dead_letter_stored(dead.record).expect("given out");
                is_idle = false;
            }
            while stores && let Some(due) = self.forwarding.poll_progress(now_ms) {
                is_idle = false;
                self.world.check_progress(due.source, &due.progress, &context);
                self.meet("done range", !due.progress.done.is_empty());
                self.meet("set aside above", !due.progress.set_aside.is_empty());
                // Storing may be lost with a crash, but not once others were told.
                self.world.shards[due.source.0 as usize].stored = due.progress;
                self.forwarding.handle_progress_stored(due.source, due.version, now_ms).expect("known");
            }
            if is_idle {
                return;
            }
        }
    }

    fn check_call(&mut self, call: &Call) {
        let context = self.context();
        let calls = self.config.calls;
        assert!(call.entries.len() <= calls.records_max, "CALL: {} entries: {context}", call.entries.len());
        assert!(
            call.entries.len() == 1 || call.size_bytes <= calls.bytes_max,
            "CALL: {} bytes: {context}",
            call.size_bytes
        );
        assert!(self.flying.len() < calls.in_flight_max, "CALL: too many: {context}");
        let is_newest = self.config.drain.order == DrainOrder::Newest;
        let mut lanes: BTreeMap<usize, (u64, usize)> = BTreeMap::new();
        for flying in &self.flying {
            for id in self.ids(&flying.call) {
                lanes.insert(id.lane, (id.seq, usize::MAX));
            }
        }
        let mut shards: BTreeSet<_> = self
            .flying
            .iter()
            .flat_map(|flying| flying.call.entries.iter().map(|entry| entry.target))
            .collect();
        let mut size_bytes = 0;
        for (number, entry) in call.entries.iter().enumerate() {
            let refs = &call.records[entry.records.clone()];
            let range = self
                .world
                .targets
                .iter()
                .find(|target| target.id == entry.target)
                .expect("of the present map");
            for record in refs {
                let stored = self.stored(record);
                let key = stored.record.lane;
                assert!(range.first <= key && key <= range.last, "ROUTE: {:?}: {context}", stored.id);
                let before = lanes.insert(stored.id.lane, (stored.id.seq, number));
                let follows = before.is_none_or(|(seq, entry)| entry == number && seq < stored.id.seq);
                assert!(follows || is_newest, "LANE: {:?} beside {before:?}: {context}", stored.id);
            }
            if self.config.packing.is_some() {
                assert!(shards.insert(entry.target), "LANE: two aggregates of {:?}: {context}", entry.target);
                assert!(
                    refs.len() == 1 || entry.size_bytes <= 1_000,
                    "PACK: {} bytes: {context}",
                    entry.size_bytes
                );
                let is_alone = refs.iter().any(|record| self.stored(record).record.is_packed);
                assert!(!is_alone || refs.len() == 1, "PACK: an aggregate in an aggregate: {context}");
            } else {
                assert_eq!(refs.len(), 1, "LANE: one record an entry: {context}");
            }
            size_bytes += entry.size_bytes;
            let config = self.config.clone();
            self.world.check_rate(entry.target, entry.size_bytes, &config, &context);
        }
        assert_eq!(size_bytes, call.size_bytes, "CALL: {context}");
    }

    pub(super) fn check(&mut self) {
        let context = self.context();
        let state = self.forwarding.drain_state(self.world.now_ms);
        let memory = self.config.memory;
        let told_losses = self.drops;
        assert!(state.held_records <= memory.records_max + told_losses, "MEMORY: {state:?}: {context}");
        assert!(state.held_bytes <= memory.bytes_max as u64 + 909, "MEMORY: {state:?}: {context}");
        let mut waiting = 0;
        for index in 0..self.world.shards.len() {
            let id = SourceId(u32::try_from(index).expect("few"));
            let (ledger, found) = self.forwarding.ledger(id).expect("known");
            assert_eq!(ledger.check(found), Ok(()), "LEDGER: source {index}: {context}");
            assert_eq!(ledger.stored, self.world.shards[index].tail().0, "LEDGER: {context}");
            waiting += found;
        }
        assert_eq!(state.waiting_records, waiting);
    }
}
