//! Every bound of the device, each with its reason. Those of the wire are in [`headwater_telemetry::limits`].

use headwater_telemetry::limits::{
    BATCH_ENTRIES_MAX, BODY_BYTES_MAX, CHANNELS_MAX, CONFIG_BYTES_MAX, CREDENTIALS_PART_BYTES_MAX,
};

/// Pages of the ring, at least: one being written, one erased or about to be, and one that keeps data meanwhile.
pub const RING_PAGES_MIN: u32 = 3;

/// Refusals of a ring's next page after which it counts as worn and is passed over. A chip that refuses for want of
/// voltage does so for a while; each further page that is tried costs the data on it.
pub const TURNS_MAX: u8 = 3;

/// Bits of the number that counting of starts begins after: half of all boot numbers, so that 2^31 starts are left to count.
pub const BOOTS_FROM_BITS: u32 = 31;

/// Pages of the settings area, at least: the old copy stays until the new one is whole.
pub const AREA_PAGES_MIN: u32 = 2;

/// Smallest erase unit of a flash: a page header and one record of the largest kind fit.
pub const PAGE_BYTES_MIN: usize = 1024;

/// Largest word of a flash: 32 bytes (STM32H7 with ECC); the scratch holds one record padded to it.
pub const WORD_BYTES_MAX: usize = 32;

/// Boots whose lost ends are told apart while nobody listens. Beyond that the two oldest are counted as one: the sum
/// is told under the older one and is never too small; it is too large by what the receiver already had and the device
/// does not know of (lost acks, at most [`DELIVERIES_PER_MARK`] items). 8 entries take 160 bytes of a page header at
/// the most, which fits the smallest page beside a record.
pub const LOSSES_MAX: usize = 8;

/// Boots whose undated batches can be dated later. A boot that learned the time is connected and soon has nothing undated
/// left, so more than one is rare; beyond four, batches of the oldest stay undated. Four keep a page header below 320 bytes.
pub const MARKS_MAX: usize = 4;

/// Deliveries between two marks in flash. A power cut brings back at most this many delivered items, which the
/// receiver drops; a mark costs 16 to 32 bytes, so at 8 a mark is 1 % of what is written.
pub const DELIVERIES_PER_MARK: u32 = 8;

/// Bytes before a record's payload: length, kind, format, checksum.
pub const RECORD_PREFIX_BYTES: usize = 8;

/// Most bytes of a data record's own description: boot, first, count as 32-bit varints, base as a 64-bit one.
pub const META_BYTES_MAX: usize = 5 + 5 + 5 + 10;

/// Most bytes of a record, without padding: that of a batch.
pub const RECORD_BYTES_MAX: usize = RECORD_PREFIX_BYTES + META_BYTES_MAX + BODY_BYTES_MAX;

/// Scratch for one padded record.
pub const SCRATCH_BYTES: usize = RECORD_BYTES_MAX.next_multiple_of(WORD_BYTES_MAX);

/// Most bytes of a ring page's header record: number, oldest, pages, boot, cursor, losses, time marks.
pub const HEADER_BYTES_MAX: usize = RECORD_PREFIX_BYTES
    + 4 * 5
    + (5 + 5 + 5 + 5)
    + (1 + LOSSES_MAX * (5 + 5 + 10))
    + (1 + MARKS_MAX * (5 + 10 + 10 + 1));

/// Milliseconds between two readings of a channel, at least. Ten a second and channel fills a full batch every
/// 2.4 seconds; faster signals are averaged before they are telemetry.
pub const PERIOD_MS_MIN: u32 = 10;

/// Milliseconds between two readings of a channel that may be ordered or configured, at most: a day. Whoever waits longer
/// cannot tell a slow channel from a device that is gone.
pub const PERIOD_MS_MAX: u32 = 86_400_000;

/// Commands that are remembered with their outcomes. A sender has one or two on their way to a device and repeats only the
/// last; with eight, several senders do not push each other out. They are written with each command, in 6 bytes each.
pub const COMMANDS_KEPT: usize = 8;

/// Most bytes of the record of orders: schema, a period for each channel, commands.
pub const ORDERS_BYTES_MAX: usize =
    RECORD_PREFIX_BYTES + 3 + (1 + CHANNELS_MAX * 5) + (1 + COMMANDS_KEPT * (5 + 1));

/// Most bytes of a record with a configuration and the id of its command.
pub const CONFIG_RECORD_BYTES_MAX: usize = RECORD_PREFIX_BYTES + CONFIG_BYTES_MAX + 5;

/// Most bytes of a record in the vault: total, checksum, offset, and a piece.
pub const VAULT_PART_BYTES_MAX: usize = RECORD_PREFIX_BYTES + 3 + 5 + 3 + CREDENTIALS_PART_BYTES_MAX;

/// Milliseconds that a batch may stay open, at the most: what a power cut takes.
pub const BATCH_AGE_MS_MAX: u32 = 3_600_000;

/// Milliseconds after which a sampling loop without anything to do wakes up to say that it is alive: a quarter of the
/// longest watchdog of the smallest chip (RP2040: 8.3 s).
pub const ALIVE_MS: u64 = 2_000;

/// Milliseconds between the answer to a reboot and the reboot: the answer has time to leave.
pub const RESTART_DELAY_MS: u64 = 1_000;

/// Times that a batch is offered to flash before a restart that was asked for; flash that refuses so often refuses for
/// long, and a device that never restarts is worse than one open batch less, which is what a power cut takes as well.
pub const RESTART_TRIES: u8 = 3;

/// Log lines kept until a link is up; older ones go first. Enough for what a start can have to say.
pub const LOGS_MAX: usize = 5;

/// Milliseconds without an answer after which a batch is sent again. An agent on an SD card syncs in less than one
/// second; a radio link may need another.
pub const ACK_TIMEOUT_MS: u64 = 4_000;

/// Times a batch is sent on one connection before the link is given up and greeted anew.
pub const SENDS_MAX: u8 = 3;

/// Milliseconds to wait for the answer to a greeting.
pub const GREETING_TIMEOUT_MS: u64 = 3_000;

/// Milliseconds for a write of one frame; a peer that takes nothing for so long is gone.
pub const WRITE_TIMEOUT_MS: u64 = 10_000;

/// Milliseconds between two time requests on a standing connection: at 50 ppm a clock drifts 30 ms in between.
pub const TIME_REQUEST_MS: u64 = 600_000;

/// Milliseconds after which an answer no longer counts as fresh, as `TimeQuality::Holdover` states.
pub const HOLDOVER_AFTER_MS: u64 = 3_600_000;

/// Round trip of a time request beyond which the half of it is a guess, as `TimeQuality::Estimated` states.
pub const ROUND_TRIP_MS_MAX: u64 = 2_000;

/// Milliseconds to wait after flash refused a batch.
pub const STORE_RETRY_MS: u64 = 1_000;

const _: () = assert!(HEADER_BYTES_MAX.next_multiple_of(WORD_BYTES_MAX) + SCRATCH_BYTES <= PAGE_BYTES_MIN);
const _: () = assert!(HEADER_BYTES_MAX.next_multiple_of(WORD_BYTES_MAX) <= SCRATCH_BYTES);
// The scratch carries every other record as well.
const _: () = assert!(CONFIG_RECORD_BYTES_MAX <= SCRATCH_BYTES);
const _: () = assert!(ORDERS_BYTES_MAX <= SCRATCH_BYTES);
const _: () = assert!(VAULT_PART_BYTES_MAX <= SCRATCH_BYTES);
// A page of settings that was just turned to holds a copy of everything, and takes one more of the largest.
const _: () = assert!(
    2 * (RECORD_PREFIX_BYTES + 5).next_multiple_of(WORD_BYTES_MAX)
        + 2 * CONFIG_RECORD_BYTES_MAX.next_multiple_of(WORD_BYTES_MAX)
        + ORDERS_BYTES_MAX.next_multiple_of(WORD_BYTES_MAX)
        <= PAGE_BYTES_MIN
);
// A merge takes two entries.
const _: () = assert!(LOSSES_MAX >= 2);
const _: () = assert!(BATCH_ENTRIES_MAX > 1);
