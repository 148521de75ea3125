//! Limits of the routes, each with its reason.

use std::time::Duration;

/// Levels of a topic or filter. A topic is at most 65,535 bytes; AWS IoT stops at 8 levels, the deepest trees in
/// the field (Sparkplug, UNS) use under 16.
pub const LEVELS_MAX: usize = 32;

/// Characters of a stream name, as in the Kinesis API.
pub const STREAM_NAME_CHARS_MAX: usize = 128;

/// Characters of a partition key, as in the Kinesis API.
pub const PARTITION_KEY_CHARS_MAX: usize = 256;

/// Routes in one configuration. Every publish may be held against all of them.
pub const ROUTES_MAX: usize = 1_000;

/// Boots whose marks are kept for one device. A device that restarts sends what its flash still holds of the boot
/// before; eight covers a device in a boot loop that gets through now and then.
pub const BOOTS_PER_DEVICE_MAX: usize = 8;

/// Separate ranges of sequence numbers kept for one boot. A device sends in order, so one is the rule; a range
/// more appears for each hole (a batch sent to the dead letters, a second path to the gateway).
pub const RANGES_PER_BOOT_MAX: usize = 4;

/// Channel tables (hellos) kept for one device: the present firmware's and those that its unsent data may need.
pub const SCHEMAS_PER_DEVICE_MAX: usize = 4;

/// Topics without a route that are remembered by name; more are counted together.
pub const UNMATCHED_TOPICS_MAX: usize = 100;

/// Bytes of such a topic that are remembered.
pub const UNMATCHED_TOPIC_BYTES_MAX: usize = 256;

/// Payload bytes that a dead letter keeps. Base64 makes 4 of 3 bytes, and the letter must fit into the smallest
/// record any stream takes (1 MiB) with room for topic, client and reason.
pub const DEAD_LETTER_PAYLOAD_BYTES_MAX: usize = 512 * 1024;

/// Bytes of topic and of client id that a dead letter keeps.
pub const DEAD_LETTER_NAME_BYTES_MAX: usize = 1_024;

const _: () = assert!(
    DEAD_LETTER_PAYLOAD_BYTES_MAX / 3 * 4 + 2 * 6 * DEAD_LETTER_NAME_BYTES_MAX < 1024 * 1024,
    "a dead letter fits into a record even when every character of its names is escaped"
);

/// 2024-01-01. A clock that says less was never set, whatever is said of it.
pub const CLOCK_SANE_FROM_MS: u64 = 1_704_067_200_000;

/// How far ahead of this machine a device's clock may be before it is taken to be wrong: more than any time zone set by mistake, so that a
/// gateway that is some hours behind doubts no device that is right.
pub const DEVICE_AHEAD_MS_MAX: u64 = 86_400_000;

/// Streams at which routes create no more. Names may come from topics, and a client must not fill the metadata with
/// them; the Kinesis API itself still creates streams.
pub const STREAMS_MAX: usize = 1_000;

/// How long a stream that the engine has no room for is not tried again; its publishes go to the dead letters. A try
/// costs a logged warning, and what waits for it holds up its client.
pub const REFUSED_FOR: Duration = Duration::from_secs(60);

/// Batch buffers kept for reuse: as many calls as can run at once on a small machine.
pub(crate) const IDLE_SCRATCH_MAX: usize = 8;
