//! Every limit of the engine, each with its source or reason.
//!
//! "Model" is the service model of Amazon Kinesis Data Streams, version 2013-12-02; "quota" is a published AWS service quota.

mod fanout;
mod queues;
mod streams;

pub use fanout::*;
pub use queues::*;
pub use streams::*;

use std::time::Duration;

/// Longest stream name, in characters. Model: `StreamName`.
pub const STREAM_NAME_CHARS_MAX: usize = 128;
/// Longest partition key, in characters. Model: `PartitionKey`.
pub const PARTITION_KEY_CHARS_MAX: usize = 256;
/// Most bytes such a key can have: a character is at most four bytes of UTF-8.
pub const PARTITION_KEY_BYTES_MAX: usize = PARTITION_KEY_CHARS_MAX * 4;
/// Largest record, partition key plus data, of a stream that did not raise its limit. Quota: 1 MiB.
pub const RECORD_BYTES_MAX: usize = 1 << 20;
/// Largest record any stream may allow. Model: `Data`, `MaxRecordSizeInKiB`.
pub const RECORD_BYTES_CEILING: usize = 10 << 20;
/// Most records in one `PutRecords`. Model: `PutRecordsRequestEntryList`.
pub const PUT_RECORDS_MAX: usize = 500;
/// Largest `PutRecords` in sum of partition keys and data. Model: documentation of `PutRecords`.
pub const PUT_RECORDS_BYTES_MAX: usize = 10 << 20;
/// Most records in one answer of `GetRecords`, and its default. Model: `GetRecordsInputLimit`.
pub const GET_RECORDS_MAX: usize = 10_000;
/// Most data bytes in one answer of `GetRecords`. Model: documentation of `GetRecords`.
pub const GET_RECORDS_BYTES_MAX: usize = 10 << 20;
/// How long a shard iterator or a paging token can be used. Model: 300 seconds.
pub const TOKEN_AGE_MS_MAX: u64 = 300_000;
/// Most shards one stream may have. AWS allows 10,000 to large accounts (quota of `UpdateShardCount`).
pub const SHARDS_PER_STREAM_MAX: u32 = 10_000;
/// Most open shards of all streams together: what `DescribeLimits` answers. AWS's default is 20,000 in its large regions;
/// an idle shard costs this engine about 100 bytes.
pub const SHARDS_MAX: u32 = 20_000;
/// On-demand streams start with four shards (developer guide: 4 MB/s of writes).
pub const ON_DEMAND_SHARDS: u32 = 4;
/// On-demand streams an account may have. Quota: 50.
pub const ON_DEMAND_STREAMS_MAX: u32 = 50;
/// Default retention. Model: documentation of `CreateStream`, 24 hours; it is also the least.
pub const RETENTION_HOURS_DEFAULT: u32 = 24;
/// Longest retention. Model: documentation of `IncreaseStreamRetentionPeriod`, 365 days.
pub const RETENTION_HOURS_MAX: u32 = 8_760;
/// Shards in one page of `DescribeStream`, whatever `Limit` asks. Model: documentation of `Limit`.
pub const DESCRIBE_STREAM_PAGE: usize = 100;
/// Shards in one page of `ListShards`, whatever `MaxResults` asks. Model: documentation of `MaxResults`.
pub const LIST_SHARDS_PAGE: usize = 1_000;
/// Streams in one page of `ListStreams`, whatever `Limit` asks. Model: documentation of `Limit`.
pub const LIST_STREAMS_PAGE: usize = 100;
/// Tags a stream can carry. Quota: 50.
pub const TAGS_PER_STREAM_MAX: usize = 50;
/// Tags in one page of `ListTagsForStream`. Model: `ListTagsForStreamInputLimit`.
pub const LIST_TAGS_PAGE: usize = 50;
/// Characters of a tag's key. Model: `TagKey`.
pub const TAG_KEY_CHARS_MAX: usize = 128;
/// Characters of a tag's value. Model: `TagValue`.
pub const TAG_VALUE_CHARS_MAX: usize = 256;

/// Largest request body: 10 MiB of records in base64, 500 keys whose every character is escaped, and the JSON around them.
pub const BODY_BYTES_MAX: usize =
    PUT_RECORDS_BYTES_MAX / 3 * 4 + PUT_RECORDS_MAX * (PARTITION_KEY_CHARS_MAX * 12 + 256) + 65_536;
/// Commas and opening brackets in a request body, those in strings included: 500 records of four members whose keys hold
/// nothing else. Bounds what parsing a hostile body takes.
pub const JSON_MARKS_MAX: usize = PUT_RECORDS_MAX * (PARTITION_KEY_CHARS_MAX + 8) + 4_096;
/// Request bodies held at once over all connections; more wait. Four of the largest (60 MB), or 400 of 500 × 200 bytes.
pub const BODY_BYTES_IN_FLIGHT_MAX: usize = 4 * BODY_BYTES_MAX;
/// Answers of `GetRecords` held at once over all connections until their clients took them; more wait.
/// Four of the largest that can be (31 MB: 10 MiB in base64, 10,000 numbers and keys of which every character is escaped);
/// a reply gives back what it did not use as soon as it is written.
pub const REPLY_BYTES_IN_FLIGHT_MAX: usize = 4 * REPLY_BYTES_MAX;
/// Upper bound of one answer of `GetRecords`: data in base64 and, per record, what is written around it, with every
/// character of a key escaped.
pub const REPLY_BYTES_MAX: usize = GET_RECORDS_BYTES_MAX / 3 * 4
    + GET_RECORDS_MAX * (RECORD_REPLY_BYTES + 6 * PARTITION_KEY_CHARS_MAX)
    + 4_096;
/// Bytes around one record in an answer of `GetRecords` apart from data and key.
pub const RECORD_REPLY_BYTES: usize = 192;
/// Connections served at once; further ones wait in the listen queue. One idle connection costs about 20 KiB.
pub const CONNECTIONS_MAX: usize = 1_024;
/// Streams (requests) at once in one HTTP/2 connection. RFC 9113 recommends at least 100.
pub const HTTP2_STREAMS_MAX: u32 = 128;
/// Window of one HTTP/2 stream and of the connection: one PutRecords of 500 × 200 bytes fits six times.
pub const HTTP2_WINDOW_BYTES: u32 = 1 << 20;
/// Header bytes of one request. A signed request has about 1 KiB, a session token up to 4 KiB more.
pub const HEADER_BYTES_MAX: usize = 32 << 10;
/// How long a connection may stay silent before and inside a request head. SDKs keep idle connections for about 60 s.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(75);
/// Header bytes of one HTTP/2 request, as [`HEADER_BYTES_MAX`].
pub const HTTP2_HEADER_BYTES_MAX: u32 = 32 << 10;
/// A silent HTTP/2 connection is asked this often whether its peer is still there,
pub const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(60);
/// and closed when it does not answer for this long.
pub const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long a request body may take, apart from the time its size is given. Also how long one waits for room.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(20);
/// The slowest a request body may come: 1 Mbit/s, below what any network that carries it has.
pub const BODY_BYTES_PER_SECOND_MIN: u64 = 128 << 10;
/// Pause after a failed accept, which would fail again at once.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long connections may finish after the shutdown signal.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a write waits for staging space before its caller is told to slow down. SDKs back off from 50 ms upwards, so
/// a wait of that order spares them a round trip.
pub const BUSY_WAIT: Duration = Duration::from_millis(200);
/// How long a read waits while slow clients hold all of [`REPLY_BYTES_IN_FLIGHT_MAX`], before it is told to slow down.
pub const REPLY_WAIT: Duration = Duration::from_secs(10);
/// Pause between two attempts within [`BUSY_WAIT`]: several commits of a fast disk, one of a slow one.
pub const BUSY_PAUSE: Duration = Duration::from_millis(2);
/// How long a client may take nothing of an answer before its connection is closed: a consumer that hangs must not hold
/// its part of [`REPLY_BYTES_IN_FLIGHT_MAX`] for ever. Longer than any pause of a network that comes back.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(30);
/// Request bodies up to this size have room of their own, [`SMALL_BODY_BYTES_IN_FLIGHT_MAX`], so that they do not wait
/// behind large ones.
pub const SMALL_BODY_BYTES: usize = 16 << 10;
/// Small request bodies held at once over all connections, those of one HTTP/2 connection included; more wait.
pub const SMALL_BODY_BYTES_IN_FLIGHT_MAX: usize = CONNECTIONS_MAX * SMALL_BODY_BYTES;

/// Bytes of a resource policy. Quota of resource-based policies: 20 KB.
pub const POLICY_BYTES_MAX: usize = 20_480;
/// Statements of a resource policy: what 20 KB hold of sensible ones, so that deciding by one stays cheap.
pub const POLICY_STATEMENTS_MAX: usize = 100;
/// Changes of a stream's mode in a rolling day under AWS's limits. Quota: 2.
pub const MODE_CHANGES_A_DAY_MAX: usize = 2;
/// Largest write throughput an on-demand stream can be made ready for. Model: documentation of
/// `UpdateStreamWarmThroughput`, 10 GiB/s.
pub const WARM_MIB_MAX: u32 = 10_240;
/// How long a commitment to a minimum throughput lasts at least, from when it was made: one day.
pub const COMMITMENT_MS_MIN: u64 = 86_400_000;
/// Values of a request in CBOR that are kept, each taking up to 72 bytes: as many as [`JSON_MARKS_MAX`] allows in JSON.
/// A list of 10,000 streams with their formats, the largest in the model, has 90,000.
pub const CBOR_ITEMS_MAX: usize = JSON_MARKS_MAX;
/// Levels of CBOR that is passed over because the model does not know it: as many as the JSON parser takes.
pub const CBOR_DEPTH_MAX: usize = 128;

const _: () =
    assert!(RECORD_BYTES_MAX <= RECORD_BYTES_CEILING && RECORD_BYTES_CEILING <= PUT_RECORDS_BYTES_MAX);
const _: () = assert!(BODY_BYTES_MAX > PUT_RECORDS_BYTES_MAX / 3 * 4);
const _: () = assert!(RETENTION_HOURS_DEFAULT <= RETENTION_HOURS_MAX);
const _: () = assert!(RECORD_BYTES_CEILING <= GET_RECORDS_BYTES_MAX, "every record fits one answer");

// Rates of the limit profile `aws`, per shard unless said otherwise. Those of control calls are in throttle/table.rs.

/// Bytes of keys and data put. Model: documentation of `CreateStream`, 1 MiB a second.
pub const SHARD_PUT_BYTES_PER_SECOND: u32 = 1 << 20;
/// Records put. Model: documentation of `CreateStream`.
pub const SHARD_PUT_RECORDS_PER_SECOND: u32 = 1_000;
/// Bytes of keys and data read by `GetRecords`. Model: its documentation, 2 MiB a second; the five seconds after an answer
/// of 10 MiB follow from it.
pub const SHARD_READ_BYTES_PER_SECOND: u32 = 2 << 20;
/// Calls of `GetRecords`. Model: its documentation.
pub const SHARD_READ_CALLS_PER_SECOND: u32 = 5;
/// Calls of `GetShardIterator`. Model: its documentation.
pub const SHARD_ITERATORS_PER_SECOND: u32 = 5;
/// Calls of `SubscribeToShard`, per consumer and shard. Model: its documentation.
pub const SUBSCRIBE_CALLS_PER_SECOND: u32 = 1;
/// Bytes of keys and data pushed to one consumer. Model: documentation of `RegisterStreamConsumer`, 2 MiB a second.
pub const CONSUMER_BYTES_PER_SECOND: u32 = 2 << 20;
/// Streams that may be in the state CREATING at once. Model: documentation of `CreateStream`.
pub const STREAMS_CREATING_MAX: usize = 5;
/// Buckets of one stream from which on full ones are looked for and forgotten: about 20 KiB of them.
pub const BUCKETS_SWEPT_FROM: usize = 256;

/// Streams with metrics of their own. Each has about 25 time series at whoever scrapes; those of younger streams are added up.
pub const METERED_STREAMS_MAX: usize = 500;
/// Shards with metrics of their own, over all streams, up to seven time series each; those of others are added up.
pub const METERED_SHARDS_MAX: usize = 2_000;

// Encryption.

/// Keys applied to a stream, and times its encryption was stopped, in a rolling day under AWS's limits. Model: documentation of
/// `StartStreamEncryption` and `StopStreamEncryption`.
pub const KEY_CHANGES_A_DAY_MAX: usize = 25;
/// How often the file of master keys is looked at while calls use encrypted streams: a disabled key must stop working soon, and
/// a look costs a system call.
pub const KEY_FILE_LOOK_MS: u64 = 1_000;

// On-demand streams. Loads are in thousandths of what one shard can take.

/// Most shards of an on-demand stream. Quota: 200 MB/s of writes unless more was asked for.
pub const ON_DEMAND_SHARDS_MAX: usize = 200;
/// A shard whose load is above this for a whole measured minute is split: half of what it can take, as AWS does it
/// ("Amazon Kinesis Data Streams on-demand capacity mode now scales up to 1 GB/second ingest capacity", AWS blog, 2023).
pub const SCALING_SPLIT_LOAD: u64 = 500;
/// Neighbours whose highest loads of the last day are together below this are merged: half of what would split them again,
/// so that a load in between leaves them alone.
pub const SCALING_MERGE_LOAD: u64 = 250;
/// Splits in a row that leave nearly all of the load on one side before it is taken for that of one key, which no split
/// can spread. Two keys fall on one side as often with one chance in sixteen.
pub const SCALING_BARREN_SPLITS_MAX: u32 = 4;
/// How often on-demand streams are looked at. AWS decides by the minute.
pub const SCALING_INTERVAL: Duration = Duration::from_secs(60);
