//! What happens when as much waits for a sink as may.
//!
//! In: bytes that wait, as the journal counts them. Out: a stream that takes no records for a while, or records that the sink does
//! without. Invariant: every loss is counted in the ledger, and written down where dead letters are.

use super::{Carrier, events};
use crate::forward::counters::reason_name;
use crate::forward::settings::WhenFull;
use headwater_engine::ShardId;
use headwater_engine::storage::Position;
use headwater_relay::{DropReason, Ledger, Offset, SourceId};

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
        // What was lost before the start was written down then. What the first look does without is news.
        if self.noted.is_none() {
            self.noted = Some(self.sources.ledger(&self.forwarding).dropped);
        }
        let waiting: Vec<Waiting> = self.sources.all().filter_map(|shard| self.waiting(shard)).collect();
        let bytes: u64 = waiting.iter().map(|shard| shard.bytes).sum();
        // Below this it is over: a stream that opens and closes with every record helps nobody.
        let enough = max / 10 * 9;
        match self.tools.settings.when_full {
            WhenFull::Block => {
                let is_held = if self.is_held_back { bytes > enough } else { bytes > max };
                if is_held != self.is_held_back {
                    tracing::warn!(
                        sink = self.tools.settings.name, stream = %self.stream.name(), waiting_bytes = bytes, is_held,
                        "stream takes no records while too much waits for a sink"
                    );
                    self.is_held_back = is_held;
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
        }
    }

    fn waiting(&self, shard: ShardId) -> Option<Waiting> {
        let from = self.forwarding.progress(SourceId(shard.0))?.checkpoint.0;
        let (_, waiting) = self.forwarding.ledger(SourceId(shard.0))?;
        let bytes = self.bytes_from(shard, from);
        Some(Waiting { shard, from, tail: from.saturating_add(waiting), bytes })
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
        let told = self.forwarding.handle_dropped(source, Offset(low), DropReason::Quota);
        debug_assert!(told.is_ok(), "a known source");
    }

    /// Writes down what was lost since this was asked last: loss is data.
    pub(super) fn note_losses(&mut self, ledger: &Ledger) {
        let before = *self.noted.get_or_insert(ledger.dropped);
        for ((reason, count), before) in DropReason::ALL.iter().zip(ledger.dropped).zip(before) {
            let lost = count.saturating_sub(before);
            if lost == 0 {
                continue;
            }
            let reason = reason_name(*reason);
            tracing::error!(
                sink = self.tools.settings.name, stream = %self.stream.name(), reason, count = lost,
                "records are lost to a sink"
            );
            if self.tools.letters.is(&self.stream) {
                // A record of the loss would be the next that is lost.
                continue;
            }
            let letter = serde_json::json!({
                "kind": "dropped",
                "sink": self.tools.settings.name,
                "stream": self.stream.name().as_str(),
                "reason": reason,
                "count": lost,
            });
            let letter = (self.stream.name().to_string(), letter.to_string().into_bytes());
            self.noting += 1;
            self.tasks.spawn(events::note(self.tools.clone(), letter));
        }
        self.noted = Some(ledger.dropped);
    }

    /// Lets the stream go at the end.
    pub(super) fn let_go(&mut self) {
        if std::mem::take(&mut self.is_held_back) {
            self.tools.engine.hold_back(&self.stream, &self.tools.settings.name, false);
        }
    }
}
