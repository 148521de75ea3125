//! A stream that is resharded while somebody reads it, and what that reader must have seen in the end.
//! In: a live stream. Out: its open shards, the changes, and of a list of numbers which are missing or repeated.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::kinesis::Kinesis;
use crate::wait_until;

/// How long a change may take until the stream is ACTIVE again.
const CHANGE_PATIENCE: Duration = Duration::from_secs(30);

/// A shard that takes records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// `shardId-000000000000`.
    pub id: String,
    /// The first hash key.
    pub start: u128,
    /// The last hash key.
    pub end: u128,
}

/// The shards that take records, in the order of their hash keys.
///
/// # Panics
/// When the stream does not exist.
pub fn open_shards(kinesis: &mut Kinesis, stream: &str) -> Vec<Open> {
    let list =
        kinesis.must("ListShards", &json!({ "StreamName": stream, "ShardFilter": { "Type": "AT_LATEST" } }));
    let key = |shard: &Value, name: &str| {
        let text = shard["HashKeyRange"][name].as_str().expect("a shard has a range");
        text.parse().expect("a hash key is a number")
    };
    let shards = list["Shards"].as_array().expect("ListShards answers with Shards");
    let mut open: Vec<Open> = shards
        .iter()
        .map(|shard| Open {
            id: shard["ShardId"].as_str().expect("a shard has an id").to_owned(),
            start: key(shard, "StartingHashKey"),
            end: key(shard, "EndingHashKey"),
        })
        .collect();
    open.sort_by_key(|shard| shard.start);
    open
}

/// Splits the first open shard in its middle, merges the last two, doubles the number of shards, and pauses after each.
///
/// # Panics
/// When a change is refused or does not end.
pub fn split_merge_and_double(kinesis: &mut Kinesis, stream: &str, mut pause: impl FnMut()) {
    let first = open_shards(kinesis, stream).swap_remove(0);
    let middle = first.start + (first.end - first.start) / 2 + 1;
    let split =
        json!({ "StreamName": stream, "ShardToSplit": first.id, "NewStartingHashKey": middle.to_string() });
    change(kinesis, stream, "SplitShard", &split);
    pause();
    let open = open_shards(kinesis, stream);
    let [.., left, right] = open.as_slice() else { panic!("{open:?} are too few to merge") };
    let merge = json!({ "StreamName": stream, "ShardToMerge": left.id, "AdjacentShardToMerge": right.id });
    change(kinesis, stream, "MergeShards", &merge);
    pause();
    let doubled = 2 * open_shards(kinesis, stream).len();
    let count =
        json!({ "StreamName": stream, "TargetShardCount": doubled, "ScalingType": "UNIFORM_SCALING" });
    change(kinesis, stream, "UpdateShardCount", &count);
    pause();
    assert_eq!(open_shards(kinesis, stream).len(), doubled);
}

fn change(kinesis: &mut Kinesis, stream: &str, operation: &str, arguments: &Value) {
    kinesis.must(operation, arguments);
    let active = wait_until(CHANGE_PATIENCE, || {
        let summary = kinesis.must("DescribeStreamSummary", &json!({ "StreamName": stream }));
        summary["StreamDescriptionSummary"]["StreamStatus"] == "ACTIVE"
    });
    assert!(active, "{stream} is not ACTIVE {CHANGE_PATIENCE:?} after {operation}");
}

/// Of the numbers 0 to `count` that were put: which a reader missed, and which it saw more than once.
#[must_use]
pub fn missing_and_repeated(seen: &[u64], count: u64) -> (Vec<u64>, Vec<u64>) {
    let mut times: BTreeMap<u64, usize> = BTreeMap::new();
    for number in seen {
        *times.entry(*number).or_default() += 1;
    }
    let missing = (0..count).filter(|number| !times.contains_key(number)).collect();
    let repeated = times.into_iter().filter(|(_, times)| *times > 1).map(|(number, _)| number).collect();
    (missing, repeated)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_missing_or_there_twice_is_seen() {
        assert_eq!(missing_and_repeated(&[2, 0, 1], 3), (vec![], vec![]));
        assert_eq!(missing_and_repeated(&[2, 0], 3), (vec![1], vec![]));
        assert_eq!(missing_and_repeated(&[2, 0, 1, 0], 3), (vec![], vec![0]));
    }
}
