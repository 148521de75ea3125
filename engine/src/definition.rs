//! What is known of a stream: the definition kept in the metadata store, and the shard map made from it.
//!
//! In: stored bytes. Out: [`Definition`] and [`ShardMap`]. Invariant: the ranges of the open shards cover the hash-key
//! space without a gap or an overlap, so every key has exactly one open shard.
//! Not here: changing definitions (control), storing them (registry).

use crate::hash::{HashKey, HashRange, split_evenly};
use crate::limits;
use crate::names::{ShardId, StreamName, StreamNumber};
use crate::settings::StreamSettings;
use crate::storage::Position;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

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
}

impl Definition {
    /// How long records can be read, in milliseconds.
    #[must_use]
    pub fn retention_ms(&self) -> u64 {
        u64::from(self.retention_hours) * 3_600_000
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

/// The shards of a stream, in the shortest form that describes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Shards 0 upwards over even parts of the space, never split or merged.
    Even {
        /// How many.
        shards: u32,
    },
}

/// One shard of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its id.
    pub id: ShardId,
    /// Reshards behind it: 0 for the shards a stream is created with.
    pub generation: u32,
    /// The hash keys it takes.
    pub range: HashRange,
    /// The shard it came from.
    pub parent: Option<ShardId>,
    /// The second shard it came from, after a merge.
    pub adjacent_parent: Option<ShardId>,
    /// When it was opened, UTC ms since 1970.
    pub opened_ms: u64,
    /// Set when it takes no more records.
    pub closed: Option<Closed>,
}

/// How a shard ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// When, UTC ms since 1970.
    pub at_ms: u64,
    /// Position after its last record.
    pub end: Position,
}

/// All shards of a stream and the way from a hash key to the open one that takes it.
#[derive(Debug, Clone)]
pub struct ShardMap {
    shards: Vec<Shard>,
    /// Open shards by first hash key: (first key, index into `shards`).
    open: Vec<(HashKey, usize)>,
}

impl ShardMap {
    /// The map of a definition.
    #[must_use]
    pub fn new(definition: &Definition) -> Self {
        let Layout::Even { shards } = definition.layout;
        let shards: Vec<Shard> = (0..)
            .zip(split_evenly(shards.max(1)))
            .map(|(id, range)| Shard {
                id: ShardId(id),
                generation: 0,
                range,
                parent: None,
                adjacent_parent: None,
                opened_ms: definition.created_ms,
                closed: None,
            })
            .collect();
        let mut open: Vec<_> = (0..shards.len())
            .filter(|&i| shards[i].closed.is_none())
            .map(|i| (shards[i].range.start, i))
            .collect();
        open.sort_unstable_by_key(|&(start, _)| start);
        ShardMap { shards, open }
    }

    /// The open shard that takes `key`.
    #[must_use]
    pub fn route(&self, key: HashKey) -> &Shard {
        let after = self.open.partition_point(|&(start, _)| start <= key);
        // Invariant: the first open range starts at 0, so at least one start is not above any key.
        &self.shards[self.open[after.saturating_sub(1)].1]
    }

    /// All shards that can still be read, by id.
    #[must_use]
    pub fn all(&self) -> &[Shard] {
        &self.shards
    }

    /// One shard.
    #[must_use]
    pub fn get(&self, id: ShardId) -> Option<&Shard> {
        self.shards.binary_search_by_key(&id, |shard| shard.id).ok().map(|i| &self.shards[i])
    }

    /// How many shards take records.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.open.len()
    }
}

/// A stream at one moment.
#[derive(Debug)]
pub struct StreamState {
    /// Its definition.
    pub definition: Definition,
    /// Version of the definition in the metadata store.
    pub version: u64,
    /// Its shards.
    pub shards: ShardMap,
}

impl StreamState {
    pub(crate) fn new(definition: Definition, version: u64) -> Self {
        let shards = ShardMap::new(&definition);
        StreamState { definition, version, shards }
    }

    pub(crate) fn number(&self) -> StreamNumber {
        StreamNumber(self.definition.number)
    }
}

/// Metadata key of the definition of a stream.
pub(crate) fn definition_key(name: &StreamName) -> Vec<u8> {
    [DEFINITIONS, name.as_str().as_bytes()].concat()
}

/// Prefix of all definitions.
pub(crate) const DEFINITIONS: &[u8] = b"s/d/";
/// Key of the number the next stream gets, eight bytes little-endian.
pub(crate) const NEXT_NUMBER: &[u8] = b"s/next";

#[cfg(test)]
mod tests {
    use super::*;

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
    fn every_key_has_exactly_one_open_shard() {
        for shards in [1, 2, 3, 7, 100] {
            let map = ShardMap::new(&definition(shards));
            for i in 0..1_000_u128 {
                let key = HashKey((u128::MAX / 999).wrapping_mul(i));
                let holders: Vec<_> = map.all().iter().filter(|s| s.range.contains(key)).collect();
                assert_eq!(holders.len(), 1);
                assert_eq!(map.route(key).id, holders[0].id);
            }
            assert_eq!(map.get(ShardId(shards - 1)).unwrap().range.end.0, u128::MAX);
            assert!(map.get(ShardId(shards)).is_none());
        }
    }
}
