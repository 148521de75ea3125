//! Whether a set may be staged, and the group that takes it.
//!
//! In: a set, or what a copy takes. Out: a last group with room for all of it, or a refusal.
//! Invariant: a refusal changes nothing that is staged or planned.
//! Not here: the sums (`plan`), staging itself (`stage`), making files (`reclaim`).

use super::plan::Cost;
use super::{Building, Seal, Staged};
use crate::ShardKey;
use crate::core::meta::own;
use crate::error::AppendError;
use crate::format::group::HEAD_BYTES;
use crate::limits::{DATA_BYTES_MAX, KEY_BYTES_MAX, VALUE_BYTES_MAX};
use crate::queue::Stage;
use crate::set::AppendSet;
use crate::types::META_STREAM;

/// Why a set was not staged.
pub(in crate::core) enum Refusal {
    /// A segment file is needed first.
    NeedSegment,
    /// For the caller.
    Error(AppendError),
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        Self::Error(error)
    }
}

/// Whose set it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Records,
    /// A user's metadata without records: may use the reserve.
    Metadata,
    /// The journal's own: may use the reserve, and is never told to wait.
    Own,
}

impl Staged {
    pub(super) fn check(&self, set: &AppendSet) -> Result<(), AppendError> {
        let too_large = |what, found, limit| Err(AppendError::TooLarge { what, found, limit });
        let (key, data) = set.largest();
        if key > KEY_BYTES_MAX {
            return too_large("a record's key", key, KEY_BYTES_MAX);
        }
        if data > DATA_BYTES_MAX {
            return too_large("a record's payload", data, DATA_BYTES_MAX);
        }
        let cost = Cost::of(set, self.seals.sealed_runs(set));
        if cost.group + cost.footer > self.limits.set_bytes_max {
            return too_large("the set", cost.group + cost.footer, self.limits.set_bytes_max);
        }
        for change in &set.changes {
            let (key, value) = (set.key(change), set.value(change).unwrap_or_default());
            if key.len() > KEY_BYTES_MAX {
                return too_large("a metadata key", key.len(), KEY_BYTES_MAX);
            }
            if value.len() > VALUE_BYTES_MAX {
                return too_large("a metadata value", value.len(), VALUE_BYTES_MAX);
            }
            if key.first() == Some(&own::PREFIX) {
                let reason = "metadata keys that begin with byte 0 are the journal's own";
                return Err(AppendError::Refused { shard: ShardKey::META, reason });
            }
        }
        for chunk in &set.chunks {
            if chunk.shard.stream == META_STREAM {
                let reason = "stream 0 is the journal's own";
                return Err(AppendError::Refused { shard: chunk.shard, reason });
            }
            if let Some(Seal { key_id, key: None }) = self.seals.of(chunk.shard.stream) {
                return Err(AppendError::NoKey { shard: chunk.shard, key_id: *key_id });
            }
            if self.any_dropped
                && !self.slots.contains_key(&chunk.shard)
                && self.is_dropped(chunk.shard.stream)
            {
                let reason = "the stream was dropped, its number is never used again";
                return Err(AppendError::Refused { shard: chunk.shard, reason });
            }
        }
        self.meta.check(set)
    }

    /// Whether the stream was dropped, as staged.
    pub(in crate::core) fn is_dropped(&self, stream: u32) -> bool {
        self.meta.get(&own::dropped(stream)).is_some()
    }

    /// Makes sure that the last group of `waiting` can take `cost` more.
    pub(super) fn admit(&mut self, cost: Cost, class: Class) -> Result<(), Refusal> {
        let staged_bytes = self.staged_bytes + cost.group;
        // An empty queue takes any set, or a set larger than the limit would never go in.
        if class != Class::Own && self.staged_bytes > 0 && staged_bytes > self.limits.staged_bytes_max {
            let limit_bytes = self.limits.staged_bytes_max;
            return Err(AppendError::Busy { staged_bytes: self.staged_bytes, limit_bytes }.into());
        }
        let current = self.waiting.back().map_or(0, Building::size);
        if current > 0
            && !self.seals.has_changed()
            && current + cost.group <= self.limits.group_bytes_max
            && self.plan.fits(current + cost.group, cost.footer)
        {
            return Ok(());
        }
        let after = self.plan.after(current);
        let rolls = !after.fits(HEAD_BYTES + cost.group, cost.footer);
        if rolls && !after.may_roll(class != Class::Records) {
            return Err(Refusal::NeedSegment);
        }
        if let Some(closed) = self.waiting.back().map(|group| group.number) {
            self.make_cut(closed);
        }
        self.plan = if rolls { after.rolled() } else { after };
        let number = self.newest() + 1;
        let spare = self.spares.pop().unwrap_or_default();
        let segment = self.plan.segment();
        self.waiting.push_back(Building { number, rolls, segment, ..spare });
        self.seals.group_begun();
        Ok(())
    }
}
