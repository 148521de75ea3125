//! Limits of consumers, their subscriptions, and answers that wait for their clients.

use super::RECORD_BYTES_CEILING;
use std::time::Duration;

/// Consumers and queues a stream can have. Model: documentation of `RegisterStreamConsumer`.
pub const CONSUMERS_PER_STREAM_MAX: usize = 20;
/// The same in an account that is committed to a minimum throughput (on-demand advantage).
pub const CONSUMERS_PER_STREAM_ADVANTAGE_MAX: usize = 50;
/// Consumers that may be CREATING at once. Model: documentation of `RegisterStreamConsumer`.
pub const CONSUMERS_CREATING_MAX: usize = 5;
/// Consumers in one page of `ListStreamConsumers`, whatever `MaxResults` asks. Model: its documentation.
pub const LIST_CONSUMERS_PAGE: usize = 100;
/// A second `SubscribeToShard` of a consumer to a shard is refused for so long after a successful one. Model: its
/// documentation, 5 seconds.
pub const SUBSCRIBE_PAUSE_MS: u64 = 5_000;
/// How long a subscription lasts. Model: documentation of `SubscribeToShard`, 5 minutes.
pub const SUBSCRIPTION_AGE_MS_MAX: u64 = 300_000;
/// An idle subscription gets an event without records this often. AWS documents no number; clients give a silent stream
/// up after 30 s (Netty in the Java SDK) to 35 s (KCL), so one lost in a pause of the machine does not end it.
pub const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// Between the answer to SubscribeToShard and its first event. There are clients that take what one read of the socket gives
/// for one message (lifion-kinesis: of every two shards one stayed stuck); with AWS the two never arrive together.
pub const FIRST_EVENT_PAUSE: Duration = Duration::from_millis(20);
/// Subscriptions at once, those that ended within [`SUBSCRIBE_PAUSE_MS`] included. An idle one costs about 3 KiB.
pub const SUBSCRIPTIONS_MAX: usize = 4_096;
/// Most bytes of keys and data in one event, except that it holds one record at least: half a second of a consumer's
/// 2 MiB/s. AWS documents none. With everything escaped it stays below the 16 MiB that SDKs take as one message.
pub const EVENT_BYTES_MAX: usize = 1 << 20;
/// Most records in one event, as in one answer of `GetRecords`.
pub const EVENT_RECORDS_MAX: usize = 10_000;
/// Events up to this size have room of their own: each subscription holds one at most, so [`SUBSCRIPTIONS_MAX`] bounds
/// them (64 MiB), and pushing what has just arrived never waits behind slow clients.
pub const SMALL_EVENT_BYTES: usize = 16 << 10;
/// Larger events held at once over all subscriptions until their clients took them; more wait. Two of one record of the
/// largest size (28 MB), or about twenty of [`EVENT_BYTES_MAX`].
pub const EVENT_BYTES_IN_FLIGHT_MAX: usize = 2 * (RECORD_BYTES_CEILING / 3 * 4 + (1 << 20));
/// Reads for subscriptions at once: with [`EVENT_BYTES_MAX`], or one record of the largest size, what their pages may take of
/// memory (40 MiB at worst). As many as the cores of a box can do at the same time.
pub const EVENT_READS_MAX: usize = 4;
/// Answers over HTTP/2 go in pieces of this size: what one holds beyond the window its client has opened.
pub const ANSWER_PIECE_BYTES: usize = 64 << 10;
/// How often an HTTP/2 connection looks for answers that its client does not take within [`WRITE_TIMEOUT`](super::WRITE_TIMEOUT).
pub const STALL_PAUSE: Duration = Duration::from_secs(5);

const _: () = assert!(SMALL_EVENT_BYTES < EVENT_BYTES_MAX);
const _: () = assert!(
    RECORD_BYTES_CEILING / 3 * 4 + (64 << 10) <= EVENT_BYTES_IN_FLIGHT_MAX,
    "every record fits the room"
);
const _: () = assert!(SUBSCRIPTION_AGE_MS_MAX > SUBSCRIBE_PAUSE_MS);
