//! Streams and their shards over time.

use super::SHARDS_PER_STREAM_MAX;
use std::time::Duration;

/// Most splits and merges in one plan: they are kept in the stream's definition while it is carried out, 64 KiB at most.
pub const RESHARD_STEPS_MAX: usize = 256;
/// Shards of one stream, closed ones included whose records can be read: five times the open ones it may have. More are
/// refused until closed ones have expired; together they take about 3 MB of metadata.
pub const SHARDS_LISTED_MAX: usize = 5 * SHARDS_PER_STREAM_MAX as usize;
/// Highest id of a shard. AWS's ids have twelve digits, and it reads them as 32-bit integers.
pub const SHARD_ID_MAX: u32 = i32::MAX as u32;
/// Calls of `UpdateShardCount` in a rolling day. Model: its documentation. Kept to by the profile `aws` only.
pub const RESIZES_PER_DAY_MAX: usize = 10;
/// How often closed shards are looked for that have expired: retention is in hours.
pub const UPKEEP_INTERVAL: Duration = Duration::from_secs(30);
/// How long a write waits for a reshard of its stream. One takes a few flushes, on a slow card a second each.
pub const RESHARD_WAIT: Duration = Duration::from_secs(10);
/// Longest time that the states CREATING, UPDATING and DELETING may be set to last: nobody waits longer.
pub const TRANSITION_MAX: Duration = Duration::from_secs(3_600);
/// Pause before a change that failed half-way is taken up again. Writes to shards that are ending wait meanwhile, up to
/// [`RESHARD_WAIT`].
pub const CHANGE_RETRY: Duration = Duration::from_millis(500);
