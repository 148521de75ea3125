//! Limits of queues.

use super::{GET_RECORDS_BYTES_MAX, RECORD_BYTES_CEILING, REPLY_BYTES_MAX};
use std::time::Duration;

/// Records of one receive, and its default. Model: `ReceiveQueueRecordsInputLimit`.
pub const QUEUE_RECEIVE_MAX: usize = 10;
/// Bytes of keys and data in one answer of a receive, as in one of `GetRecords`; the first record is given even when it
/// alone is larger.
pub const QUEUE_RECEIVE_BYTES_MAX: usize = GET_RECORDS_BYTES_MAX;
/// How long a receive waits for its first record unless it says otherwise. Model: documentation of `WaitTimeSeconds`.
pub const QUEUE_WAIT_SECONDS_DEFAULT: u64 = 9;
/// Longest wait of a receive. Model: `ReceiveQueueRecordsWaitTimeSeconds`.
pub const QUEUE_WAIT_MS_MAX: u64 = 20_000;
/// How long a received record is invisible unless queue or receive say otherwise. Model: documentation of
/// `VisibilityTimeoutSeconds`.
pub const QUEUE_VISIBILITY_SECONDS_DEFAULT: u32 = 30;
/// Longest visibility timeout. Model: `VisibilityTimeoutSeconds`. Whatever is hidden for longer after a start was hidden by a clock that was
/// ahead.
pub const QUEUE_VISIBILITY_MS_MAX: u64 = 43_200_000;
/// Receives after which a record becomes a dead letter unless the queue says otherwise. Model: documentation of
/// `DeadLetterConfiguration`.
pub const QUEUE_RECEIVES_DEFAULT: u32 = 6;
/// Consumers and queues together that a stream may have. Model: documentation of `CreateQueue`, On-demand Standard.
pub const QUEUES_PER_STREAM_MAX: usize = 20;
/// The same for accounts with a minimum throughput billing commitment. Model: On-demand Advantage.
pub const QUEUES_PER_STREAM_ADVANTAGE_MAX: usize = 50;
/// Queues of all streams together: each takes about 2 KiB at rest, and [`QUEUE_OPEN_RECORDS_MAX`] at worst.
pub const QUEUES_MAX: usize = 1_000;
/// Queues in one page of `ListQueues` unless `MaxResults` says otherwise, as streams in `ListStreams`.
pub const LIST_QUEUES_PAGE: usize = 100;
/// Queues in one page of `ListQueues`, whatever `MaxResults` asks: 300 bytes each.
pub const LIST_QUEUES_PAGE_MAX: usize = 1_000;
/// Records of one queue that were received and are neither acknowledged nor dead letters: about 150 bytes of memory and 15
/// of metadata each, 3 MB. At this many, no new records are delivered until some are acknowledged. SQS allows 120,000, on
/// larger machines.
pub const QUEUE_IN_FLIGHT_MAX: usize = 20_000;
/// The same with dead letters, which stay for the stream's retention unless someone takes them: 8 MB, and 800 KB of metadata.
pub const QUEUE_OPEN_RECORDS_MAX: usize = 50_000;
/// Receivers that wait at once, over all queues: each holds a connection and about 2 KiB. More are told to slow down.
pub const QUEUE_RECEIVERS_WAITING_MAX: usize = 512;
/// How often a waiting receiver looks by itself, for what nobody tells: new shards, and clocks that were set.
pub const QUEUE_TICK: Duration = Duration::from_millis(250);
/// Records that are read ahead at once: a read decodes whole runs, which up to so many receives then share.
pub const QUEUE_AHEAD_RECORDS: usize = 500;
/// Bytes that are read ahead at once; the first record is read even when it alone is larger.
pub const QUEUE_AHEAD_BYTES: usize = 256 << 10;
/// Bytes read ahead and not received yet, over all queues. Beyond that records are read again when they are received.
pub const QUEUE_AHEAD_BYTES_ALL: usize = 32 << 20;
/// Positions between two records that are read along rather than skipped: a read of its own costs more.
pub const QUEUE_READ_HOLE: u64 = 32;
/// How often the open records of a queue are compared with the stream's retention, which is given in hours.
pub const QUEUE_SWEEP_MS: u64 = 60_000;
/// Pages of a queue that are stored along with a step though they need not be: 8 KB more at most.
pub const QUEUE_LAZY_PAGES: usize = 16;
/// Keys removed in one step when a queue is deleted: fits the smallest segment of a journal.
pub const QUEUE_KEYS_REMOVED: usize = 500;

const _: () = assert!(QUEUE_IN_FLIGHT_MAX <= QUEUE_OPEN_RECORDS_MAX);
const _: () =
    assert!(RECORD_BYTES_CEILING <= QUEUE_RECEIVE_BYTES_MAX && QUEUE_RECEIVE_BYTES_MAX <= REPLY_BYTES_MAX);
const _: () = assert!(QUEUE_AHEAD_BYTES <= QUEUE_AHEAD_BYTES_ALL);
