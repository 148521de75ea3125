//! What happens when as much waits for a sink as may.
//!
//! In: bytes that wait, as the journal counts them. Out: a stream that takes no records for a while, or records that the sink does
//! without. Invariant: every loss is counted in the ledger, and written down where dead letters are.

use super::Carrier;
use crate::forward::settings::WhenFull;
use headwater_engine::ShardId;
use headwater_engine::storage::Position;
use headwater_relay::{DropReason, Offset, SourceId};
use std::collections::BTreeMap;
use std::ops::Range;

/// What a carrier remembers of how much waited.
#[derive(Debug, Default)]
pub(super) struct Quota {
    /// The stream takes no records because of us.
    is_held_back: bool,
    /// New records are passed over.
    is_passing: bool,
    /// Where shards ended at the last look.
    tails: Option<BTreeMap<ShardId, u64>>,
}

/// A shard with what waits in it.
struct Waiting {
    shard: ShardId,
    from: u64,
    tail: u64,
    bytes: u64,
}

impl Carrier {
    /// Looks how much waits, and does what the settings say.
    pub(super) fn mind_quota(&mut self) {
        let max = self.tools.settings.waiting_bytes_max;
        if max == 0 {
            return;
        }
        let waiting: Vec<Waiting> = self.sources.all().filter_map(|shard| self.waiting(shard)).collect();
        let bytes: u64 = waiting.iter().map(|shard| shard.bytes).sum();
        // Below this it is over: a stream that opens and closes with every record helps nobody.
        let enough = max / 10 * 9;
        match self.tools.settings.when_full {
            WhenFull::Block => {
                let is_held = if self.quota.is_held_back { bytes > enough } else { bytes > max };
                if is_held != self.quota.is_held_back {
                    tracing::warn!(
                        sink = self.tools.settings.name, stream = %self.stream.name(), waiting_bytes = bytes, is_held,
                        "stream takes no records while too much waits for a sink"
                    );
                    self.quota.is_held_back = is_held;
                    self.tools.engine.hold_back(&self.stream, &self.tools.settings.name, is_held);
                }
            }
            WhenFull::DropOldest if bytes > max => {
                for shard in &waiting {
                    // Each shard gives up the same part of what it has.
                    let keep = u128::from(shard.bytes) * u128::from(enough) / u128::from(bytes.max(1));
                    self.drop_oldest(shard, u64::try_from(keep).unwrap_or(u64::MAX));
                }
            }
            WhenFull::DropOldest => {}
            WhenFull::DropNewest => self.pass_over_newest(&waiting, max, enough),
        }
    }

    fn waiting(&self, shard: ShardId) -> Option<Waiting> {
        let progress = self.forwarding.progress(SourceId(shard.0))?;
        let (from, origin) = (progress.checkpoint.0, progress.origin.0);
        let (ledger, _) = self.forwarding.ledger(SourceId(shard.0))?;
        let between = |range: &Range<Offset>| {
            self.bytes_from(shard, range.start.0).saturating_sub(self.bytes_from(shard, range.end.0))
        };
        let done: u64 = progress.done.iter().map(between).sum();
        let bytes = self.bytes_from(shard, from).saturating_sub(done);
        Some(Waiting { shard, from, tail: origin.saturating_add(ledger.stored), bytes })
    }

    fn bytes_from(&self, shard: ShardId, from: u64) -> u64 {
        self.tools.engine.bytes_from(&self.stream, shard, Position { position: from, index: 0 })
    }

    /// Does without records of a shard until at most `keep` bytes wait. What is in memory already is sent all the same.
    fn drop_oldest(&mut self, waiting: &Waiting, keep: u64) {
        let (mut low, mut high) = (waiting.from, waiting.tail);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.bytes_from(waiting.shard, middle) > keep { low = middle + 1 } else { high = middle }
        }
        let source = SourceId(waiting.shard.0);
        self.drop_before(source, Offset(low), DropReason::Quota);
    }

    /// Does without what is not read before `to`.
    pub(super) fn drop_before(&mut self, source: SourceId, to: Offset, reason: DropReason) {
        let told = self.forwarding.handle_dropped(source, to, reason);
        debug_assert!(told.is_ok(), "a known source");
        for range in told.unwrap_or_default() {
            self.sources.losses.add(source, reason, range);
        }
    }

    /// Does without what came since this was asked last, as far as more than `max` bytes wait with it; and, once that was so, with all
    /// that comes until `enough` wait. What came before stays: a start does without nothing that it finds.
    fn pass_over_newest(&mut self, waiting: &[Waiting], max: u64, enough: u64) {
        let tails = waiting.iter().map(|shard| (shard.shard, shard.tail)).collect();
        let Some(before) = self.quota.tails.replace(tails) else { return };
        let fresh = |shard: &Waiting| {
            let from = before.get(&shard.shard).map_or(shard.from, |tail| shard.from.max(*tail));
            (shard.shard, from..shard.tail, self.bytes_from(shard.shard, from).min(shard.bytes))
        };
        let fresh: Vec<(ShardId, Range<u64>, u64)> = waiting.iter().map(fresh).collect();
        let came: u64 = fresh.iter().map(|(_, _, bytes)| bytes).sum();
        let older = waiting.iter().map(|shard| shard.bytes).sum::<u64>().saturating_sub(came);
        let was_passing = std::mem::take(&mut self.quota.is_passing);
        let room = if was_passing && older > enough { 0 } else { max.saturating_sub(older) };
        self.quota.is_passing = came > room || (was_passing && older > enough);
        if was_passing != self.quota.is_passing {
            tracing::warn!(
                sink = self.tools.settings.name, stream = %self.stream.name(), waiting_bytes = older, is_passed_over = !was_passing,
                "a sink does without new records while too much waits for it"
            );
        }
        if came <= room {
            return;
        }
        for (shard, range, bytes) in fresh {
            // Each shard keeps the same part of what came to it, the oldest of it.
            let keep = u128::from(bytes) * u128::from(room) / u128::from(came.max(1));
            let keep = u64::try_from(keep).unwrap_or(u64::MAX);
            let (mut low, mut high) = (range.start, range.end);
            while low < high {
                let middle = low + (high - low).div_ceil(2);
                let kept = bytes.saturating_sub(self.bytes_from(shard, middle));
                if kept <= keep { low = middle } else { high = middle - 1 }
            }
            self.pass_over(SourceId(shard.0), Offset(low)..Offset(range.end));
        }
    }

    fn pass_over(&mut self, source: SourceId, range: Range<Offset>) {
        if range.is_empty() {
            return;
        }
        let told = self.forwarding.handle_passed_over(source, range, DropReason::Quota);
        debug_assert!(told.is_ok(), "a known source");
        if let Ok(Some(range)) = told {
            self.sources.losses.add(source, DropReason::Quota, range);
        }
    }

    /// Lets the stream go at the end.
    pub(super) fn let_go(&mut self) {
        if std::mem::take(&mut self.quota.is_held_back) {
            self.tools.engine.hold_back(&self.stream, &self.tools.settings.name, false);
        }
    }
}
