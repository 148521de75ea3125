//! The one durable log: segments, groups, runs per shard, group commit, recovery, trim.
