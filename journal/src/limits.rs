//! Every limit of the journal, with its reason.

use std::time::Duration;

use crate::blocks::BLOCK_BYTES;

/// Longest record key. Kinesis allows partition keys of 256 characters, up to 4 bytes each in UTF-8.
pub const KEY_BYTES_MAX: usize = 1024;

/// Longest record payload: Kinesis' largest record (10 MiB) would need groups that do not fit a 4 MiB segment of an SD card, so the
/// segment decides below this; see [`set_bytes_max`].
pub const DATA_BYTES_MAX: usize = 10 << 20;

/// Longest metadata value: it is kept in memory and written again with every snapshot.
pub const VALUE_BYTES_MAX: usize = 64 << 10;

/// Largest set in any segment: bounds the memory of one append, and holds Kinesis' largest PutRecords (10 MiB).
pub const SET_BYTES_MAX: usize = 16 << 20;

/// Smallest segment: header, one group, footer and trailer, with room for a set worth having.
pub const SEGMENT_BYTES_MIN: u64 = 64 << 10;

/// Largest segment: offsets inside one are 32 bits, and a start after a crash reads at most one whole (about 1 s per GB).
pub const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// Largest length a run may claim, as stored and as read, checked before memory is reserved for it.
pub const RUN_BYTES_MAX: usize = SET_BYTES_MAX * 2;

/// Shortest run that compression is tried on: below, a group's padding to 4 KiB eats whatever is saved.
pub const COMPRESS_BYTES_MIN: usize = 256;

/// Part of a run that compression must save, one in so many: less is not worth unpacking it at every read.
pub const COMPRESS_GAIN_MIN: usize = 16;

/// Keys made for one segment that are kept at once, about 0.6 KiB each: one per sealed stream and segment that is read or written.
pub const RUN_KEYS_MAX: usize = 1024;

/// Bytes one read from disk takes at most when runs are merged: from here on a device reads at full bandwidth.
pub const READ_BYTES_MAX: usize = 1 << 20;

/// Bytes of neighbours' runs that are read along rather than skipped: about what a device reads in the time of one more request.
pub const READ_HOLE_BYTES: usize = 64 << 10;

/// Run tables of sealed segments kept in memory.
pub const TABLE_CACHE_BYTES: usize = 4 << 20;

/// Segments that only the journal's own writes (metadata, copies that free other segments) may take when the disk is full.
pub const RESERVE_SEGMENTS: u64 = 1;

/// A segment with less than this share of its bytes wanted is worth copying forward under space pressure.
pub const COPY_LIVE_PERCENT: u64 = 25;

/// Bytes of live runs copied forward in one upkeep step, so that copying never crowds out appends.
pub const COPY_BYTES_STEP: usize = 1 << 20;

/// Known lost ranges that are reported one by one; later ones are counted only.
pub const LOST_RANGES_MAX: usize = 10_000;

/// Difference of what went by and what the wall clock says from which on it was set and does not just run unevenly. Far below the
/// shortest retention, far above what a second of upkeep, a leap second or a slow answer make.
pub const CLOCK_JUMP_MS: u64 = 60_000;

/// Longest time between two looks at the clocks that is believed, 20 years: upkeep looks once a second, and no machine is on for longer
/// with nobody looking.
pub const CLOCK_LOOK_MS_MAX: u64 = 20 * 365 * 24 * 3_600_000;

/// How often it is looked whether the machine's clock was synchronised, until it was.
pub const CLOCK_ASKED_EVERY_MS: u64 = 5_000;

/// How often the time that went by is written down, if anything else was written since. A crash forgets at most this much of it before
/// the last write, and records are kept so much longer.
pub const CLOCK_STORED_EVERY_MS: u64 = 3_600_000;

/// Times off that are remembered one by one, until no segment is left from before them. With more the oldest two become one, and
/// what lies between them is kept for longer.
pub const TIMES_OFF_MAX: usize = 16;

/// Longest that a commit lingers for a write budget. Whoever waits for an acknowledgement waits for this and two flushes, of which a slow
/// card makes a second: together below the 6 s after which Kinesis' own producer library sends a request again, the shortest patience of any
/// client we know. At one commit each 4 s a gateway that always has something to write takes at least 88 MB a day.
pub const BUDGET_LINGER_MAX: Duration = Duration::from_secs(4);

/// Shortest that a commit lingers for a write budget, if it does: below, records of different publishers hardly meet.
pub const BUDGET_LINGER_MIN: Duration = Duration::from_millis(10);

/// How long readers of an open journal wait for what the disk does not give back, before it counts as lost: longer than a controller
/// takes to reset and a network disk to come back, shorter than the flash of devices lasts while a required sink stands still.
pub const UNREAD_PATIENCE: Duration = Duration::from_secs(300);

/// How often an opening tries again meanwhile: a try reads what has no footer, a second's work.
pub const UNREAD_TRIED_EVERY: Duration = Duration::from_secs(5);

/// Places that are waited for at once. A disk that gives back less than that is gone, and then everything waits.
pub const UNREAD_PLACES_MAX: usize = 4_096;

/// Largest set that fits a segment of `segment_bytes`: half of it, so that a segment is never filled by its footer and one group's waste.
#[must_use]
pub const fn set_bytes_max(segment_bytes: u64) -> usize {
    let half = segment_bytes / 2;
    // Fits: SET_BYTES_MAX is far below 2^32.
    if half < SET_BYTES_MAX as u64 { half as usize } else { SET_BYTES_MAX }
}

const _: () = assert!(SEGMENT_BYTES_MIN.is_multiple_of(BLOCK_BYTES as u64));
const _: () = assert!(SEGMENT_BYTES_MIN >= 8 * BLOCK_BYTES as u64);
const _: () = assert!(SEGMENT_BYTES_MAX < u32::MAX as u64);
const _: () = assert!(DATA_BYTES_MAX < SET_BYTES_MAX);
const _: () = assert!(VALUE_BYTES_MAX > KEY_BYTES_MAX);
