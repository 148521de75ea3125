//! Giving records to a receiver: first those that are visible again, then new ones, shard by shard in turn.

use super::lanes::Lane;
use super::{Ask, Claimed, Entry, QueueCore, Side, Undo};
use crate::names::ShardId;
use crate::storage::Position;

impl QueueCore {
    /// Gives visible records of one side to a receiver, up to what it asks for.
    pub(crate) fn claim(&mut self, now_ms: u64, ask: &Ask) -> Vec<Claimed> {
        let mut taken = Taken { claimed: Vec::new(), bytes: 0, is_full: false, ask: *ask };
        for id in self.rotation() {
            let before = taken.claimed.len();
            self.settle_shard(id, now_ms);
            self.claim_visible(id, now_ms, &mut taken);
            if ask.side == Side::Live && self.is_deliverable(id) {
                self.claim_fresh(id, now_ms, &mut taken);
            }
            if taken.claimed.len() > before {
                self.turn = Some(id);
            }
            if taken.claimed.len() >= ask.records || taken.is_full {
                break;
            }
        }
        taken.claimed
    }

    fn claim_visible(&mut self, id: ShardId, now_ms: u64, taken: &mut Taken) {
        let Some(shard) = self.shards.get(&id) else { return };
        let lane = if taken.ask.side == Side::Dead { Lane::Dead } else { Lane::Normal };
        let left = taken.ask.records.saturating_sub(taken.claimed.len());
        let visible: Vec<Position> = shard.visible(lane, now_ms).take(left).collect();
        for position in visible {
            let Some(mut entry) = self.entry(id, position) else { continue };
            if !taken.fits(entry.bytes) {
                return;
            }
            entry.serial = entry.serial.saturating_add(1);
            entry.until_ms = now_ms.saturating_add(taken.ask.timeout_ms);
            self.set_entry(id, position, Some(entry));
            taken.claimed.push(Claimed { shard: id, position, entry });
        }
    }

    /// New records. Those whose retention is over are passed by, and done.
    fn claim_fresh(&mut self, id: ShardId, now_ms: u64, taken: &mut Taken) {
        while taken.claimed.len() < taken.ask.records && !self.is_full() {
            let Some(shard) = self.shards.get_mut(&id) else { return };
            let Some(fresh) = shard.next_ready() else { return };
            let expired = fresh.time_ms < taken.ask.not_before_ms;
            if !expired && !taken.fits(fresh.bytes) {
                return;
            }
            let before = shard.take_ready();
            self.undo.push(Undo::Fresh { shard: id, fresh, frontier: before, expired });
            self.dirty.header(id);
            if expired {
                self.tally.expired += 1;
                continue;
            }
            let entry = Entry {
                until_ms: now_ms.saturating_add(taken.ask.timeout_ms),
                first_ms: now_ms,
                bytes: fresh.bytes,
                serial: 1,
                forgiven: 0,
                dead: false,
            };
            self.set_entry(id, fresh.position, Some(entry));
            taken.claimed.push(Claimed { shard: id, position: fresh.position, entry });
        }
    }
}

/// What a claim has so far.
struct Taken {
    claimed: Vec<Claimed>,
    bytes: usize,
    is_full: bool,
    ask: Ask,
}

impl Taken {
    fn fits(&mut self, bytes: u32) -> bool {
        let all = self.bytes + bytes as usize;
        self.is_full = !self.claimed.is_empty() && all > self.ask.bytes;
        if !self.is_full {
            self.bytes = all;
        }
        !self.is_full
    }
}
