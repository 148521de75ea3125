//! What is known of a stream: the definition kept in the metadata store, and the stream's state made from it.
//!
//! In: stored bytes. Out: [`Definition`] and [`StreamState`]. Invariant: the definition is the commit point of every change:
//! what it does not name (a layout of another version, say) does not count.
//! Not here: shards (shards, layout), changing definitions (control), storing them (registry).
//!
//! Metadata keys of a stream, its number in decimal: `s/d/{name}` its definition; `s/l/{number}/{version}/{chunk}` the layout
//! of a resharded one; and what other rooms keep under `s/{kind}/{number}/`, of the kinds in [`KINDS`]. All of it goes with the
//! stream.

pub(crate) use crate::shards::{Shard, ShardMap};

use crate::hash::HashKey;
use crate::limits;
use crate::names::{StreamName, StreamNumber};
use crate::reshard::Plan;
use crate::settings::{Changes, Distribution, StreamSettings};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A stream as it is stored: JSON under the metadata key `s/d/{name}`. Members are only ever added, with defaults.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// The engine's number of the stream.
    pub number: u32,
    /// The stream's name.
    pub name: String,
    /// When it was created, UTC ms since 1970.
    pub created_ms: u64,
    /// Whether it can be used.
    pub status: StreamStatus,
    /// How its capacity is said to be managed.
    pub mode: StreamMode,
    /// How long records can be read.
    pub retention_hours: u32,
    /// Largest record in KiB, partition key included.
    pub record_kib_max: u32,
    /// Its tags.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// Its shards.
    pub layout: Layout,
    /// What else it is set to.
    #[serde(default, skip_serializing_if = "StreamSettings::is_default")]
    pub settings: StreamSettings,
    /// Until when the state `CREATING`, `UPDATING` or `DELETING` is shown, UTC ms since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
    /// The reshard that has begun and must be finished, also by the next start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reshard: Option<Reshard>,
    /// Records that arrived before this time stay unreadable, however long retention is now: they had expired when it was
    /// made longer. UTC ms since 1970.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub readable_from_ms: u64,
    /// When the number of shards was set during the last day.
    #[serde(default, skip_serializing_if = "Changes::is_empty")]
    pub resizes: Changes,
}

impl Definition {
    /// How long records can be read, in milliseconds.
    #[must_use]
    pub fn retention_ms(&self) -> u64 {
        u64::from(self.retention_hours) * 3_600_000
    }

    /// The arrival time of the oldest record that can be read now, UTC ms since 1970, when retention allows records from
    /// `retained_ms` on.
    #[must_use]
    pub fn horizon_ms(&self, retained_ms: u64, now_ms: u64) -> u64 {
        // What is still to come was said by a clock that was wrong.
        let readable = Some(self.readable_from_ms).filter(|&from_ms| from_ms <= now_ms);
        retained_ms.max(readable.unwrap_or(0))
    }

    /// Largest record in bytes, partition key included.
    #[must_use]
    pub fn record_bytes_max(&self) -> usize {
        (self.record_kib_max as usize * 1024).min(limits::RECORD_BYTES_CEILING)
    }
}

/// State of a stream as the API names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum StreamStatus {
    /// Being made; cannot be used yet.
    Creating,
    /// In use.
    Active,
    /// In use while its shards change.
    Updating,
    /// Being removed; a start finishes what a crash interrupted.
    Deleting,
}

impl StreamStatus {
    /// The word of the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            StreamStatus::Creating => "CREATING",
            StreamStatus::Active => "ACTIVE",
            StreamStatus::Updating => "UPDATING",
            StreamStatus::Deleting => "DELETING",
        }
    }

    /// Whether records can be put and read.
    #[must_use]
    pub fn is_usable(self) -> bool {
        matches!(self, StreamStatus::Active | StreamStatus::Updating)
    }
}

/// Who decides on the number of shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum StreamMode {
    /// The user.
    Provisioned,
    /// The engine.
    OnDemand,
}

impl StreamMode {
    /// The word of the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            StreamMode::Provisioned => "PROVISIONED",
            StreamMode::OnDemand => "ON_DEMAND",
        }
    }
}

/// Where the shards of a stream are described.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Here: shards 0 upwards over even parts of the space, never split or merged.
    Even {
        /// How many.
        shards: u32,
    },
    /// In values of their own, see `layout`.
    Stored {
        /// Which of the layouts under this stream's keys counts; another one after every change.
        version: u32,
        /// In how many values it is.
        chunks: u32,
    },
}

/// A reshard under way: stored before the first shard is closed, gone with the layout it makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reshard {
    /// What is done.
    pub plan: Plan,
    /// When it began: the time at which shards end and begin, UTC ms since 1970.
    pub at_ms: u64,
}

/// A stream at one moment.
#[derive(Debug)]
pub struct StreamState {
    /// Its definition.
    pub definition: Definition,
    /// Version of the definition in the metadata store.
    pub version: u64,
    /// Its shards.
    pub shards: Arc<ShardMap>,
    /// Records that were spread so far.
    spread: AtomicUsize,
}

impl StreamState {
    pub(crate) fn new(definition: Definition, version: u64, shards: Arc<ShardMap>) -> Self {
        StreamState { definition, version, shards, spread: AtomicUsize::new(0) }
    }

    /// A hash key of the open shard whose turn it is, when the stream distributes its records itself.
    pub(crate) fn spread(&self) -> Option<HashKey> {
        if self.definition.settings.distribution != Distribution::Auto {
            return None;
        }
        Some(self.shards.open_start(self.spread.fetch_add(1, Ordering::Relaxed)))
    }

    pub(crate) fn number(&self) -> StreamNumber {
        StreamNumber(self.definition.number)
    }
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

/// Metadata key of the definition of a stream.
pub(crate) fn definition_key(name: &StreamName) -> Vec<u8> {
    [DEFINITIONS, name.as_str().as_bytes()].concat()
}

/// Prefix of what one kind of metadata keeps of one stream. `kind` is one of [`KINDS`].
pub(crate) fn prefix_of(kind: &[u8], stream: StreamNumber) -> Vec<u8> {
    [kind, stream.0.to_string().as_bytes(), b"/"].concat()
}

/// Kinds of metadata that belong to a stream and are removed with it: layouts, consumers, wrapped keys, policies.
pub(crate) const KINDS: [&[u8]; 4] = [LAYOUTS, CONSUMERS, b"s/k/", b"s/p/"];
/// Kind of metadata that registered consumers are, a value each.
pub(crate) const CONSUMERS: &[u8] = b"s/c/";
/// Kind of metadata that layouts are.
pub(crate) const LAYOUTS: &[u8] = b"s/l/";
/// Prefix of all definitions.
pub(crate) const DEFINITIONS: &[u8] = b"s/d/";
/// Key of the number the next stream gets, eight bytes little-endian.
pub(crate) const NEXT_NUMBER: &[u8] = b"s/next";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::ShardId;
    use crate::reshard::Step;

    fn definition(shards: u32) -> Definition {
        Definition {
            number: 7,
            name: "telemetry".into(),
            created_ms: 1_700_000_000_000,
            status: StreamStatus::Active,
            mode: StreamMode::Provisioned,
            retention_hours: 24,
            record_kib_max: 1024,
            tags: BTreeMap::new(),
            layout: Layout::Even { shards },
            settings: StreamSettings::default(),
            until_ms: None,
            reshard: None,
            readable_from_ms: 0,
            resizes: Changes::default(),
        }
    }

    #[test]
    fn stored_definitions_read_as_version_1_wrote_them() {
        // If this fails, the code is wrong: such bytes are on disks.
        let stored = r#"{"number":7,"name":"telemetry","created_ms":1700000000000,"status":"ACTIVE","mode":"PROVISIONED","retention_hours":24,"record_kib_max":1024,"layout":{"even":{"shards":4}}}"#;
        assert_eq!(serde_json::to_string(&definition(4)).unwrap(), stored);
        assert_eq!(serde_json::from_str::<Definition>(stored).unwrap(), definition(4));
        assert_eq!(StreamMode::OnDemand.as_str(), serde_json::to_value(StreamMode::OnDemand).unwrap());
    }

    #[test]
    fn stored_reshards_read_as_version_2_wrote_them() {
        // If this fails, the code is wrong: such bytes are on disks.
        let stored = r#"{"number":7,"name":"telemetry","created_ms":1700000000000,"status":"UPDATING","mode":"PROVISIONED","retention_hours":24,"record_kib_max":1024,"layout":{"stored":{"version":3,"chunks":2}},"until_ms":9,"reshard":{"plan":{"steps":[{"split":{"shard":2,"at":"170141183460469231731687303715884105728"}},{"merge":{"shard":0,"adjacent":1}}]},"at_ms":8},"readable_from_ms":5,"resizes":[6]}"#;
        let split = Step::Split { shard: ShardId(2), at: HashKey(1 << 127) };
        let merge = Step::Merge { shard: ShardId(0), adjacent: ShardId(1) };
        let mut resharded = Definition {
            status: StreamStatus::Updating,
            layout: Layout::Stored { version: 3, chunks: 2 },
            until_ms: Some(9),
            reshard: Some(Reshard { plan: Plan::Steps(vec![split, merge]), at_ms: 8 }),
            readable_from_ms: 5,
            ..definition(4)
        };
        resharded.resizes.add(6);
        assert_eq!(serde_json::to_string(&resharded).unwrap(), stored);
        assert_eq!(serde_json::from_str::<Definition>(stored).unwrap(), resharded);
        assert_eq!(serde_json::to_string(&Plan::Resize { shards: 9 }).unwrap(), r#"{"resize":{"shards":9}}"#);
    }

    #[test]
    fn what_had_expired_stays_so_when_retention_grows() {
        let day_ms = 86_400_000;
        let mut definition = definition(1);
        assert_eq!(definition.horizon_ms(9 * day_ms, 10 * day_ms), 9 * day_ms);
        definition.retention_hours = 48;
        definition.readable_from_ms = 9 * day_ms;
        assert_eq!(definition.horizon_ms(8 * day_ms, 10 * day_ms), 9 * day_ms);
        assert_eq!(definition.horizon_ms(10 * day_ms, 12 * day_ms), 10 * day_ms);
        // A clock that was ahead when retention grew hides nothing once it is right.
        assert_eq!(definition.horizon_ms(6 * day_ms, 8 * day_ms), 6 * day_ms);
    }
}
