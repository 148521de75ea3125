//! The inputs of the operations the engine has, as the service model (2013-12-02) defines them.
//!
//! A table, not behaviour: what a member means is in the operation of the same name.

use super::check::{Member, Pattern, Shape, Text};
use crate::hash::is_decimal;
use crate::limits;
use crate::names::{StreamArn, is_name};

const fn required(name: &'static str, shape: Shape) -> Member {
    Member { name, shape, required: true }
}

const fn optional(name: &'static str, shape: Shape) -> Member {
    Member { name, shape, required: false }
}

const fn text(min: usize, max: usize) -> Text {
    Text { min, max, pattern: None, options: &[] }
}

const fn pattern(min: usize, max: usize, text: &'static str, fits: fn(&str) -> bool) -> Text {
    Text { min, max, pattern: Some(Pattern { text, fits }), options: &[] }
}

const fn options(options: &'static [&'static str]) -> Text {
    Text { min: 0, max: usize::MAX, pattern: None, options }
}

const fn integer(min: i64, max: i64) -> Shape {
    Shape::Integer { min: Some(min), max: Some(max) }
}

fn is_stream_id(text: &str) -> bool {
    let bytes = text.as_bytes();
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    bytes.len() == 24 && bytes[20] == b'-' && bytes[..20].iter().chain(&bytes[21..]).all(plain)
}

const STREAM_NAME: Shape =
    Shape::Text(&pattern(1, limits::STREAM_NAME_CHARS_MAX, "[a-zA-Z0-9_.-]+", is_name));
const STREAM_ARN: Shape =
    Shape::Text(&pattern(1, 2_048, r"arn:aws.*:kinesis:.*:\d{12}:stream/\S+", |text| {
        StreamArn::parse(text).is_ok()
    }));
const STREAM_ID: Shape = Shape::Text(&pattern(1, 24, "[a-z0-9]{20}-[a-z0-9]{3}", is_stream_id));
const SHARD_ID: Shape = Shape::Text(&pattern(1, 128, "[a-zA-Z0-9_.-]+", is_name));
const HASH_KEY: Shape = Shape::Text(&pattern(0, 39, r"0|([1-9]\d{0,38})", |text| is_decimal(text, 39)));
const SEQUENCE_NUMBER: Shape =
    Shape::Text(&pattern(0, 129, r"0|([1-9]\d{0,128})", |text| is_decimal(text, 129)));
const PARTITION_KEY: Shape = Shape::Text(&text(1, limits::PARTITION_KEY_CHARS_MAX));
const DATA: Shape = Shape::Blob { bytes_max: limits::RECORD_BYTES_CEILING };
const NEXT_TOKEN: Shape = Shape::Text(&text(1, 1_048_576));
const TAG_KEY: Text = text(1, limits::TAG_KEY_CHARS_MAX);
const TAG_VALUE: Text = text(0, limits::TAG_VALUE_CHARS_MAX);
const TAGS: Shape = Shape::Map { key: &TAG_KEY, value: &TAG_VALUE, min: 1, max: 200 };
const DRY_RUN: Member = optional("DryRun", Shape::Boolean);

// How a stream is addressed. `StreamId` is in the model, "not implemented, reserved for future use".
const BY_NAME: Member = optional("StreamName", STREAM_NAME);
const BY_ARN: Member = optional("StreamARN", STREAM_ARN);
const BY_ID: Member = optional("StreamId", STREAM_ID);

pub(crate) const CREATE_STREAM: &[Member] = &[
    required("StreamName", STREAM_NAME),
    optional("ShardCount", Shape::Integer { min: Some(1), max: None }),
    optional(
        "StreamModeDetails",
        Shape::Structure(&[required("StreamMode", Shape::Text(&options(&["PROVISIONED", "ON_DEMAND"])))]),
    ),
    optional("Tags", TAGS),
    optional("WarmThroughputMiBps", Shape::Integer { min: Some(0), max: None }),
    optional("MaxRecordSizeInKiB", integer(1_024, 10_240)),
    optional("RecordDistributionStrategy", Shape::Text(&options(&["AUTO", "USER_PARTITION_KEY"]))),
];

pub(crate) const DELETE_STREAM: &[Member] =
    &[BY_NAME, optional("EnforceConsumerDeletion", Shape::Boolean), BY_ARN, BY_ID];

pub(crate) const DESCRIBE_STREAM: &[Member] = &[
    BY_NAME,
    optional("Limit", integer(1, 10_000)),
    optional("ExclusiveStartShardId", SHARD_ID),
    BY_ARN,
    BY_ID,
];

pub(crate) const DESCRIBE_STREAM_SUMMARY: &[Member] = &[BY_NAME, BY_ARN, BY_ID];

pub(crate) const DESCRIBE_LIMITS: &[Member] = &[];

pub(crate) const LIST_STREAMS: &[Member] = &[
    optional("Limit", integer(1, 10_000)),
    optional("ExclusiveStartStreamName", STREAM_NAME),
    optional("NextToken", NEXT_TOKEN),
];

pub(crate) const LIST_SHARDS: &[Member] = &[
    BY_NAME,
    optional("NextToken", NEXT_TOKEN),
    optional("ExclusiveStartShardId", SHARD_ID),
    optional("MaxResults", integer(1, 10_000)),
    optional("StreamCreationTimestamp", Shape::Timestamp),
    optional(
        "ShardFilter",
        Shape::Structure(&[
            required("Type", Shape::Text(&options(&SHARD_FILTERS))),
            optional("ShardId", SHARD_ID),
            optional("Timestamp", Shape::Timestamp),
        ]),
    ),
    BY_ARN,
    BY_ID,
];

const SHARD_FILTERS: [&str; 6] =
    ["AFTER_SHARD_ID", "AT_TRIM_HORIZON", "FROM_TRIM_HORIZON", "AT_LATEST", "AT_TIMESTAMP", "FROM_TIMESTAMP"];

pub(crate) const PUT_RECORD: &[Member] = &[
    BY_NAME,
    required("Data", DATA),
    // Optional in the model for streams that distribute records themselves; all of ours need it.
    required("PartitionKey", PARTITION_KEY),
    optional("ExplicitHashKey", HASH_KEY),
    optional("SequenceNumberForOrdering", SEQUENCE_NUMBER),
    BY_ARN,
    BY_ID,
    DRY_RUN,
];

const PUT_RECORDS_ENTRY: Shape = Shape::Structure(&[
    required("Data", DATA),
    optional("ExplicitHashKey", HASH_KEY),
    required("PartitionKey", PARTITION_KEY),
]);

pub(crate) const PUT_RECORDS: &[Member] = &[
    required("Records", Shape::List { member: &PUT_RECORDS_ENTRY, min: 1, max: limits::PUT_RECORDS_MAX }),
    BY_NAME,
    BY_ARN,
    BY_ID,
    DRY_RUN,
];

pub(crate) const GET_SHARD_ITERATOR: &[Member] = &[
    BY_NAME,
    required("ShardId", SHARD_ID),
    required(
        "ShardIteratorType",
        // In the order AWS's answers name them.
        Shape::Text(&options(&[
            "AFTER_SEQUENCE_NUMBER",
            "LATEST",
            "AT_TIMESTAMP",
            "AT_SEQUENCE_NUMBER",
            "TRIM_HORIZON",
        ])),
    ),
    optional("StartingSequenceNumber", SEQUENCE_NUMBER),
    optional("Timestamp", Shape::Timestamp),
    BY_ARN,
    BY_ID,
    DRY_RUN,
];

pub(crate) const GET_RECORDS: &[Member] = &[
    required("ShardIterator", Shape::Text(&text(1, 512))),
    optional("Limit", integer(1, 10_000)),
    BY_ARN,
    BY_ID,
    DRY_RUN,
];

pub(crate) const CHANGE_RETENTION: &[Member] =
    &[BY_NAME, required("RetentionPeriodHours", Shape::Integer { min: None, max: None }), BY_ARN, BY_ID];

pub(crate) const ADD_TAGS_TO_STREAM: &[Member] = &[BY_NAME, required("Tags", TAGS), BY_ARN, BY_ID];

pub(crate) const LIST_TAGS_FOR_STREAM: &[Member] = &[
    BY_NAME,
    optional("ExclusiveStartTagKey", Shape::Text(&TAG_KEY)),
    optional("Limit", integer(1, 50)),
    BY_ARN,
    BY_ID,
];

pub(crate) const REMOVE_TAGS_FROM_STREAM: &[Member] = &[
    BY_NAME,
    required("TagKeys", Shape::List { member: &Shape::Text(&TAG_KEY), min: 1, max: 50 }),
    BY_ARN,
    BY_ID,
];
