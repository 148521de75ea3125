//! The rates of control calls, with their source.
//!
//! Three sources: the model's documentation of the operation ([`model`]), the developer guide's "Quotas and limits"
//! ([`guide`]), and where both are silent five a second, as most of their neighbours have ([`chosen`]). Not here: calls
//! that carry records, whose rates are per shard (limits).

use super::bucket::Rate;
use Per::{Account, Stream};

/// Whose calls are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Per {
    /// All of the account.
    Account,
    /// Those that name one stream.
    Stream,
}

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Limit {
    /// Calls a second.
    Second(Rate),
    /// Calls that succeeded in any 24 hours.
    Day(u32),
}

/// One limit of one operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) operation: &'static str,
    pub(super) per: Per,
    pub(super) limit: Limit,
}

/// 24 hours.
pub(super) const DAY_MS: u64 = 86_400_000;

/// What an undocumented control call gets.
const CHOSEN: u32 = 5;

/// All limits, by operation.
pub(super) static ROWS: &[Row] = &[
    model("AddTagsToStream", Account, 5),
    chosen("CreateQueue"),
    model("CreateStream", Account, 5),
    guide("DecreaseStreamRetentionPeriod", Stream, 5),
    chosen("DeleteQueue"),
    chosen("DeleteResourcePolicy"),
    model("DeleteStream", Account, 5),
    model("DeregisterStreamConsumer", Stream, 5),
    model("DescribeAccountSettings", Account, 5),
    model("DescribeLimits", Account, 1),
    chosen("DescribeQueue"),
    model("DescribeStream", Account, 10),
    model("DescribeStreamConsumer", Stream, 20),
    model("DescribeStreamSummary", Account, 20),
    guide("DisableEnhancedMonitoring", Stream, 5),
    guide("EnableEnhancedMonitoring", Stream, 5),
    chosen("GetResourcePolicy"),
    guide("IncreaseStreamRetentionPeriod", Stream, 5),
    chosen("ListQueues"),
    model("ListShards", Stream, 1_000),
    model("ListStreamConsumers", Stream, 5),
    model("ListStreams", Account, 5),
    chosen("ListTagsForResource"),
    model("ListTagsForStream", Account, 5),
    model("MergeShards", Account, 5),
    chosen("PutResourcePolicy"),
    model("RegisterStreamConsumer", Account, 5),
    model("RemoveTagsFromStream", Account, 5),
    model("SplitShard", Account, 5),
    chosen("StartStreamEncryption"),
    chosen("StopStreamEncryption"),
    chosen("TagResource"),
    chosen("UntagResource"),
    model("UpdateAccountSettings", Account, 5),
    chosen("UpdateMaxRecordSize"),
    chosen("UpdateQueue"),
    model("UpdateShardCount", Account, 10),
    day("UpdateShardCount", 10),
    chosen("UpdateStreamMode"),
    chosen("UpdateStreamRecordDistributionStrategy"),
    model("UpdateStreamWarmThroughput", Account, 5),
];

/// The limits of one operation.
pub(super) fn of(operation: &str) -> &'static [Row] {
    let start = ROWS.partition_point(|row| row.operation < operation);
    let rows = &ROWS[start..];
    &rows[..rows.partition_point(|row| row.operation == operation)]
}

/// The model's documentation of the operation says so.
const fn model(operation: &'static str, per: Per, per_second: u32) -> Row {
    Row { operation, per, limit: Limit::Second(Rate::per_second(per_second)) }
}

/// The developer guide's table of control-plane limits says so.
const fn guide(operation: &'static str, per: Per, per_second: u32) -> Row {
    Row { operation, per, limit: Limit::Second(Rate::per_second(per_second)) }
}

/// Nothing says so.
const fn chosen(operation: &'static str) -> Row {
    Row { operation, per: Account, limit: Limit::Second(Rate::per_second(CHOSEN)) }
}

/// The model or the guide gives a number for a rolling day, per stream.
const fn day(operation: &'static str, count: u32) -> Row {
    Row { operation, per: Stream, limit: Limit::Day(count) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::model::OPERATIONS;

    #[test]
    fn the_table_is_sorted_and_names_operations_that_can_be_throttled() {
        assert!(ROWS.windows(2).all(|pair| pair[0].operation <= pair[1].operation));
        for row in ROWS {
            let declared = OPERATIONS.iter().find(|declared| declared.name == row.operation).unwrap();
            assert!(declared.errors.contains(&"LimitExceededException"), "{}", row.operation);
        }
        assert_eq!(of("UpdateShardCount").len(), 2);
        assert!(of("PutRecords").is_empty() && of("Zzz").is_empty() && of("").is_empty());
    }

    #[test]
    fn every_call_that_declares_the_error_has_a_limit() {
        let elsewhere = ["SubscribeToShard"];
        for declared in OPERATIONS.iter().filter(|d| d.errors.contains(&"LimitExceededException")) {
            let absent = declared.name.ends_with("Channel") || declared.name.ends_with("Channels");
            assert!(
                absent || elsewhere.contains(&declared.name) || !of(declared.name).is_empty(),
                "{}",
                declared.name
            );
        }
    }
}
