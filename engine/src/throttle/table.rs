//! The rates of control calls, with their source.
//!
//! Three sources: the model's documentation of the operation ([`model`]), the developer guide's "Quotas and limits"
//! ([`guide`]), and where both are silent five a second, as most of their neighbours have ([`chosen`]). Not here: calls
//! that carry records, whose rates are per shard (limits), and limits on a rolling day, which survive a restart (operations).

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

/// One limit of one operation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    pub(super) operation: &'static str,
    pub(super) per: Per,
    /// Calls a second.
    pub(super) rate: Rate,
}

/// What an undocumented control call gets.
const CHOSEN: u32 = 5;

/// The limit of each operation that has one, by operation.
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
    chosen("UpdateStreamMode"),
    chosen("UpdateStreamRecordDistributionStrategy"),
    model("UpdateStreamWarmThroughput", Account, 5),
];

/// The limit of an operation, if it has one.
pub(super) fn of(operation: &str) -> Option<&'static Row> {
    ROWS.binary_search_by_key(&operation, |row| row.operation).ok().map(|place| &ROWS[place])
}

/// The model's documentation of the operation says so.
const fn model(operation: &'static str, per: Per, per_second: u32) -> Row {
    Row { operation, per, rate: Rate::per_second(per_second) }
}

/// The developer guide's table of control-plane limits says so.
const fn guide(operation: &'static str, per: Per, per_second: u32) -> Row {
    Row { operation, per, rate: Rate::per_second(per_second) }
}

/// Nothing says so.
const fn chosen(operation: &'static str) -> Row {
    Row { operation, per: Account, rate: Rate::per_second(CHOSEN) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::model::OPERATIONS;

    #[test]
    fn the_table_is_sorted_and_names_operations_that_can_be_throttled() {
        assert!(ROWS.windows(2).all(|pair| pair[0].operation < pair[1].operation));
        for row in ROWS {
            let declared = OPERATIONS.iter().find(|declared| declared.name == row.operation).unwrap();
            assert!(declared.errors.contains(&"LimitExceededException"), "{}", row.operation);
        }
        assert_eq!(of("DescribeStream").map(|row| row.rate), Some(Rate::per_second(10)));
        assert!(of("PutRecords").is_none() && of("").is_none());
    }

    #[test]
    fn every_call_that_declares_the_error_has_a_limit() {
        let elsewhere = ["SubscribeToShard"];
        for declared in OPERATIONS.iter().filter(|d| d.errors.contains(&"LimitExceededException")) {
            let absent = declared.name.ends_with("Channel") || declared.name.ends_with("Channels");
            assert!(
                absent || elsewhere.contains(&declared.name) || of(declared.name).is_some(),
                "{}",
                declared.name
            );
        }
    }
}
