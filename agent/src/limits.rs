//! Every bound of the agent, with its reason. What an operator may change is in the configuration; these are the
//! edges of what can be configured, and the bounds nobody should have to think about.

use headwater_telemetry::limits::{BODY_BYTES_MAX, FRAME_BYTES_MAX};

/// Devices the agent remembers (births and marks). About 2 KiB each, so 8 MiB at most. The one that was silent longest makes room.
pub const DEVICES_MAX: usize = 4096;

/// Boots of one device whose last spooled place is remembered, the most recently used ones. A device has batches of a
/// few boots in flash at once; a repeat of an older boot is spooled twice and dropped at the gateway.
pub const BOOTS_MAX: usize = 4;

/// Births of one device that are kept for publishing at each connection, one a schema, the newest ones. Batches of
/// an older schema may still wait in the spool when a device has a new firmware.
pub const BIRTHS_MAX: usize = 3;

/// Offers of one batch after which a hole before it is accepted on a link that damages frames. Until then it is
/// refused, because the missing batch was probably among the damaged frames and will be sent again.
pub const HOLE_OFFERS_MAX: u32 = 3;

/// Bytes read from a link at once: some ten frames, so that one append serves a burst.
pub const READ_BYTES_MAX: usize = 4096;

/// Acks of one link that wait for a sync. A device has few batches on the way; beyond this the link is not read.
pub const ACKS_PENDING_MAX: usize = 256;

/// Open TCP links. Each costs about 6 KiB.
pub const CONNECTIONS_MAX: usize = 4096;

/// How long writing an answer to a device may take before its link is given up.
pub const WRITE_TIMEOUT_MS: u64 = 5_000;

/// How often a device that speaks without a Hello is asked to identify itself.
pub const IDENTIFY_EVERY_MS: u64 = 2_000;

/// How long a device on a line that was open before has for saying who it is, before it is asked.
pub const ASK_AFTER_MS: u64 = 3_000;

/// How often it is asked, with twice the pause each time: three minutes in all. What never answers is no device of ours.
pub const ASKS_MAX: u32 = 6;

/// How long to wait before trying again to append when the spool is full.
pub const FULL_RETRY_MS: u64 = 250;

/// Commands of one device that wait for their results: as many as a device remembers of those it did.
pub const COMMANDS_PENDING_MAX: usize = 8;

/// After how long a command without a result is sent again. A device writes it to flash before it answers.
pub const COMMAND_RETRY_MS: u64 = 3_000;

/// Times a command is sent before it is given up; whoever gave it may give it again.
pub const COMMAND_SENDS_MAX: u32 = 5;

/// Devices whose commands are asked for in one SUBSCRIBE; the gateway takes 256 filters in a packet.
pub const FILTERS_PER_PACKET_MAX: usize = 64;

/// Serial ports of one link with patterns: more than any USB tree of a small computer has.
pub const PORTS_MAX: usize = 64;

/// How often a link with patterns looks for new ports: a folder is read, nothing is written.
pub const PORTS_EVERY_MS: u64 = 1_000;

/// How often the host is asked whether its clock is set, while it is not and once it is.
pub const CLOCK_ASKED_EVERY_MS: (u64, u64) = (15_000, 600_000);

/// Records read from the spool at once, ahead of the window.
pub const AHEAD_RECORDS_MAX: usize = 256;

/// Bytes read from the spool at once, ahead of the window. At least one record.
pub const AHEAD_BYTES_MAX: usize = 256 * 1024;

/// Room for reading from the gateway: hundreds of answers at once.
pub const UPLINK_READ_BYTES: usize = 4096;

/// Bytes waiting to be written to the gateway, beyond which no more is taken from the window: a few packets of TCP, so that what was asked
/// for while one write was under way goes with the next.
pub const UPLINK_WRITE_BYTES_MAX: usize = 64 * 1024;

/// How often the checkpoint is written when it moved. A crash sends at most this much again.
pub const CHECKPOINT_EVERY_MS: u64 = 1_000;

/// How long `stop` waits for records in flight to be acked, and for the broker to take the DISCONNECT.
pub const DRAIN_MS: u64 = 2_000;

/// How long rejected records are kept aside: a month, long enough for a person to come back from holiday.
pub const DEAD_LETTER_AGE_MS: u64 = 30 * 24 * 3600 * 1000;

/// Connections to the status port at once: a scraper, a health check and a few people.
pub const STATUS_CONNECTIONS_MAX: usize = 16;

/// Bytes of a request head on the status port.
pub const STATUS_HEAD_BYTES_MAX: usize = 2048;

/// How long a request on the status port may take.
pub const STATUS_TIMEOUT_MS: u64 = 5_000;

/// Before this (2024-01-01) the host clock has not been set: a Raspberry Pi without a battery starts in the past. Its
/// time is then told to devices as estimated.
pub const CLOCK_SANE_FROM_MS: u64 = 1_704_067_200_000;

// A read buffer smaller than a frame would still work, but an append would serve less than a batch.
const _: () = assert!(READ_BYTES_MAX >= FRAME_BYTES_MAX);
const _: () = assert!(AHEAD_BYTES_MAX >= BODY_BYTES_MAX);
