//! What of a stream's shards adds up to the ledger of a sink.

use super::Sources;
use headwater_engine::{Engine, StreamHandle};
use headwater_relay::{Forwarding, Ledger, Offset, ProgressDue, SourceId};
use std::sync::Arc;

impl Sources {
    /// The counts of all shards, those that were forgotten included.
    pub(in super::super) fn ledger(&self, forwarding: &Forwarding) -> Ledger {
        let of_known = self.known.keys().filter_map(|shard| forwarding.ledger(SourceId(shard.0)));
        of_known.fold(self.past, |sum, (ledger, _)| sum.plus(&ledger))
    }

    /// Tells how far open shards go by now, and gives the number of records that the stream had before the sink began with it: all that
    /// its shards ever had but those that are in the ledger. None while there are shards that were not followed.
    pub(in super::super) fn catch_up(
        &mut self,
        engine: &Engine,
        stream: &StreamHandle,
        forwarding: &mut Forwarding,
        now_ms: u64,
    ) -> Option<u64> {
        self.seen.as_ref().filter(|seen| Arc::ptr_eq(seen, &stream.state()))?;
        let extents = engine.extents_of(stream);
        for (shard, _) in self.known.iter().filter(|(_, source)| !source.is_closed) {
            if let Some(extent) = extents.get(shard) {
                let told = forwarding.handle_tail(SourceId(shard.0), Offset(extent.end.position), now_ms);
                debug_assert!(told.is_ok(), "a known source");
            }
        }
        let ever: u64 = extents.values().map(|extent| extent.appended).sum();
        ever.checked_sub(self.ledger(forwarding).stored)
    }

    /// Shards with losses that are not written down, and whose progress is not on its way to the disk.
    pub(in super::super) fn not_noted(&self, forwarding: &Forwarding) -> Vec<ProgressDue> {
        let sources = self.known.keys().map(|shard| SourceId(shard.0));
        let quiet = sources.filter(|source| !self.storing.contains_key(source));
        let due = quiet.filter_map(|source| {
            let (ledger, _) = forwarding.ledger(source)?;
            let progress = (ledger.dropped != self.losses.noted(source)).then(|| forwarding.progress(source));
            Some(ProgressDue { source, version: 0, progress: progress?? })
        });
        due.collect()
    }
}
