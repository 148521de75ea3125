//! What a stream is set to beyond its shards: how records are spread, how much it is scaled for, when it was changed, and
//! which key seals it.
//!
//! In and out: the member `settings` of a stored definition. Members are only ever added, with defaults, and a stream that
//! was never set to anything stores none of it. Not here: changing settings (operations), the keys themselves (keys).

use serde::{Deserialize, Serialize};

/// Milliseconds of the rolling day that AWS's limits on changes speak of.
const DAY_MS: u64 = 86_400_000;

/// How records are distributed over the open shards.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Distribution {
    /// By the hash of the partition key, which every record needs.
    #[default]
    UserPartitionKey,
    /// Evenly; partition keys and explicit hash keys are kept and ignored.
    Auto,
}

impl Distribution {
    /// The word of the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Distribution::UserPartitionKey => "USER_PARTITION_KEY",
            Distribution::Auto => "AUTO",
        }
    }

    /// The strategy of this word.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Distribution::UserPartitionKey, Distribution::Auto].into_iter().find(|it| it.as_str() == text)
    }
}

/// With which key a stream seals what is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// The master key as the client named it: what descriptions show.
    pub key_id: String,
    /// The stream's own key, wrapped by that master key, that new records are sealed with.
    pub key: u16,
}

/// Settings of a stream, as they are stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StreamSettings {
    /// How records are spread.
    #[serde(skip_serializing_if = "is_default")]
    pub distribution: Distribution,
    /// Write throughput in MiB/s that an on-demand stream was asked to be ready for; 0 when none was.
    #[serde(skip_serializing_if = "is_default")]
    pub warm_mib: u32,
    /// Set while records are sealed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// Number of the newest key of the stream, in use or not; 0 before the first.
    #[serde(skip_serializing_if = "is_default")]
    pub newest_key: u16,
    /// When the mode was changed during the last day, UTC ms since 1970.
    #[serde(skip_serializing_if = "Changes::is_empty")]
    pub mode_changes: Changes,
    /// When a key was applied during the last day.
    #[serde(skip_serializing_if = "Changes::is_empty")]
    pub key_changes: Changes,
    /// When encryption was stopped during the last day.
    #[serde(skip_serializing_if = "Changes::is_empty")]
    pub stop_changes: Changes,
    /// Metrics kept per shard, as the API names them, in the model's order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub shard_level_metrics: Vec<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl StreamSettings {
    /// Whether nothing was ever set.
    #[must_use]
    pub fn is_default(&self) -> bool {
        is_default(self)
    }
}

/// Times of changes within a rolling day, oldest first: what limits like "twice in 24 hours" are counted by. Durable with the
/// definition, so that a restart does not begin to count again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Changes(Vec<u64>);

impl Changes {
    /// Most times kept: more than any limit counts.
    const KEPT: usize = 32;

    /// Whether there was none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there were in the day before `now_ms`. What is still to come was noted by a clock that was ahead, and does not count.
    #[must_use]
    pub fn within_a_day(&self, now_ms: u64) -> usize {
        self.0.iter().filter(|&&at_ms| is_within_a_day(at_ms, now_ms)).count()
    }

    /// Adds one and forgets those that no longer count.
    pub fn add(&mut self, now_ms: u64) {
        self.0.retain(|&at_ms| is_within_a_day(at_ms, now_ms));
        if self.0.len() == Self::KEPT {
            self.0.remove(0);
        }
        self.0.push(now_ms);
    }
}

fn is_within_a_day(at_ms: u64, now_ms: u64) -> bool {
    now_ms.checked_sub(at_ms).is_some_and(|ago_ms| ago_ms < DAY_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_counts_for_a_day_and_is_then_forgotten() {
        let mut changes = Changes::default();
        changes.add(1_000);
        changes.add(2_000);
        assert_eq!(changes.within_a_day(2_000), 2);
        assert_eq!(changes.within_a_day(1_000 + DAY_MS), 1);
        assert_eq!(changes.within_a_day(1_500), 1, "a clock that was put back");
        changes.add(2_000 + DAY_MS);
        assert_eq!(changes, Changes(vec![2_000 + DAY_MS]));
        (0..100).for_each(|_| changes.add(3_000 + DAY_MS));
        assert_eq!(changes.0.len(), Changes::KEPT);
    }

    #[test]
    fn settings_are_stored_as_they_were_and_defaults_not_at_all() {
        // If this fails, the code is wrong: such bytes are on disks.
        assert_eq!(serde_json::to_string(&StreamSettings::default()).unwrap(), "{}");
        let stored = r#"{"distribution":"AUTO","warm_mib":8,"encryption":{"key_id":"alias/aws/kinesis","key":2},"newest_key":2,"mode_changes":[7],"key_changes":[8],"stop_changes":[9],"shard_level_metrics":["IncomingBytes"]}"#;
        let settings = StreamSettings {
            distribution: Distribution::Auto,
            warm_mib: 8,
            encryption: Some(Encryption { key_id: "alias/aws/kinesis".into(), key: 2 }),
            newest_key: 2,
            mode_changes: Changes(vec![7]),
            key_changes: Changes(vec![8]),
            stop_changes: Changes(vec![9]),
            shard_level_metrics: vec!["IncomingBytes".into()],
        };
        assert_eq!(serde_json::to_string(&settings).unwrap(), stored);
        assert_eq!(serde_json::from_str::<StreamSettings>(stored).unwrap(), settings);
        for distribution in [Distribution::Auto, Distribution::UserPartitionKey] {
            assert_eq!(Distribution::parse(distribution.as_str()), Some(distribution));
            assert_eq!(serde_json::to_value(distribution).unwrap(), distribution.as_str());
        }
    }
}
