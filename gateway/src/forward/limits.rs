//! Every bound of the forwarders, with its reason.

use std::time::Duration;

/// Sinks of one gateway: each holds up to 16 MiB of records a stream while its target is slow.
pub const SINKS_MAX: usize = 16;

/// Calls of one sink and stream on their way at once: at 50 ms a call and 500 records, sixteen are 160,000 records a second.
pub const CALLS_MAX: usize = 16;

/// Largest aggregate with its key: what a KCL takes apart in little memory, and small enough that one lost costs little to send again.
/// (The producer library's own default is 50 KiB.)
pub const AGGREGATE_BYTES_MAX: u64 = 256 << 10;

/// How often streams are looked for that a sink should carry.
pub const STREAMS_EVERY: Duration = Duration::from_secs(1);

/// How often the target's shards are asked for when nothing says that they changed.
pub const LOOK_EVERY: Duration = Duration::from_secs(300);

/// How soon they are asked for again when they could not be had, or something says that they changed.
pub const LOOK_SOON: Duration = Duration::from_secs(2);

/// How often what is shown is brought up to date.
pub const SHOWN_EVERY: Duration = Duration::from_millis(500);

/// Turns of a carrier are at least this far apart when nothing happens: a moment that is over must not spin.
pub const TURN_PAUSE: Duration = Duration::from_millis(1);

/// At the end: how long calls on their way may take, and storing how far they came. What is cut off is sent again.
pub const SETTLE_WITHIN: Duration = Duration::from_secs(3);

/// How long to wait before the log is asked again that could not be read, or took nothing.
pub const LOG_PAUSE: Duration = Duration::from_millis(500);

/// Bytes of a record that its dead letter holds; the letter is a record itself and carries them in base64.
pub const LETTER_PAYLOAD_BYTES_MAX: usize = 700 << 10;

/// Ranges of one shard's losses that a note names: a hundred numbers are 12 KiB.
pub const LOSS_RANGES_MAX: usize = 100;

/// How long a loss that could not be written down waits: for a full disk to be less full.
pub const NOTE_PAUSE: Duration = Duration::from_secs(10);
