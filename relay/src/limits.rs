//! Every limit of the forwarding, with its reason.

/// Records in one PutRecords: the service's limit.
pub const CALL_RECORDS_MAX: usize = 500;

/// Data and keys of one PutRecords together: the service's limit.
pub const CALL_BYTES_MAX: u64 = 10 << 20;

/// Data and key of one record where the target does not say what it takes: the service's limit before it could be raised.
pub const RECORD_BYTES_MAX: u64 = 1 << 20;

/// What one target shard takes in a second, in bytes: the service's limit.
pub const SHARD_BYTES_PER_S: u64 = 1 << 20;

/// What one target shard takes in a second, in records: the service's limit.
pub const SHARD_RECORDS_PER_S: u64 = 1_000;

/// What a target shard's bucket holds, as a time at its rate: one call of 500 records to one shard, and never more than one and a half
/// seconds' worth in any second.
pub const SHARD_BURST_MS: u64 = 500;

/// What the bucket of the link holds, as a time at its rate: a live record never waits longer for a call that is on the way before it.
pub const LINK_BURST_MS: u64 = 250;

/// The least the bucket of the link holds, in bytes: below this a call is mostly its own headers.
pub const LINK_BURST_BYTES_MIN: u64 = 16 << 10;

/// A bucket that ran dry fills to one part in this many of what it holds before it is used again, so that calls stay large.
pub const REFILL_PARTS: u64 = 4;

/// The least number of records in memory: with fewer a read could not be asked for, as each record may come with a loss before it.
pub const MEMORY_RECORDS_MIN: usize = 8;

/// Source shards of one forwarding: an account of the service has 20,000 shards at most, a box has dozens.
pub const SOURCES_MAX: usize = 20_000;

/// Parents of a shard: a merge has two.
pub const PARENTS_MAX: usize = 2;

/// Shards of a target: far above what one stream gets.
pub const TARGETS_MAX: usize = 20_000;

/// Regions of one source shard: with `newest` one more for each outage that found the one before not drained, and one for each time
/// that the newest were passed over, or the oldest left out behind what is in memory, while older ones still wait; ten of these fit into a
/// bound that is kept by a tenth. Sixteen fit into a stored progress of a few hundred bytes; with more, live data waits in line again. The
/// sixteenth is made only by leaving out, and not read before another is done: so the oldest unread can be left out at any time.
pub const REGIONS_MAX: usize = 16;

/// A region reads on while it holds less than this many times what is free: one live source gets 8/9 of the memory, ten get 8/81 each.
pub const LIVE_SHARE_OF_FREE: u64 = 8;

/// As [`LIVE_SHARE_OF_FREE`] for backlog: all backlogs together leave room for live data.
pub const BACKLOG_SHARE_OF_FREE: u64 = 2;

/// A read is not asked for with less room than one part in this many of the memory, so that reads stay large.
pub const READ_ROOM_PARTS: u64 = 64;

/// Source shards that one question for a read looks at: those without room are looked at again by the next question.
pub const READ_LOOKS_MAX: usize = 16;

/// Lanes under suspicion that one question for a call looks at.
pub const SUSPECT_LOOKS_MAX: usize = 16;

/// While a live record came within this many ms, the last call slot is kept for live data.
pub const LIVE_RECENT_MS: u64 = 10_000;

/// So many times the tries are left to a record whose target shard takes nothing else either. That is most likely the target's fault, as
/// when the disk of an engine is full, and may last for days; but a lane that nobody stands beside must not wait for ever. With twenty
/// tries and the usual pauses it is a week.
pub const ALONE_FACTOR: u16 = 1_000;

/// Longest pause of a record that fails while its target shard takes others, in ms: behind it memory fills, and twenty tries are over in
/// a minute.
pub const WITNESSED_PAUSE_MAX_MS: u64 = 5_000;

/// Over how long rates are averaged, in ms: long enough for an ETA that does not jump with each call.
pub const METER_MS: u64 = 15_000;

const _: () = assert!(SHARD_BURST_MS * SHARD_RECORDS_PER_S / 1_000 >= CALL_RECORDS_MAX as u64);
