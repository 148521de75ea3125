//! The words of refusals, as the service has them.

use super::*;
use crate::api::model;
use serde_json::json;

fn outcome(value: Value, members: &'static [Member]) -> Result<(), String> {
    let Value::Object(map) = value else { panic!("an object") };
    check(&map, members).map_err(|error| error.message)
}

fn refused(value: Value, members: &'static [Member], message: &str) {
    assert_eq!(outcome(value, members), Err(message.to_owned()));
}

#[test]
fn absent_and_wrong_members_are_named_with_their_paths() {
    refused(
        json!({ "StreamName": "x", "Records": [{ "Data": "" }, { "PartitionKey": "" }] }),
        model::PUT_RECORDS,
        "2 validation errors detected: Value null at 'records.2.member.data' failed to satisfy constraint: Member must not \
         be null; Value '' at 'records.2.member.partitionKey' failed to satisfy constraint: Member must have length greater \
         than or equal to 1",
    );
    refused(
        json!({ "QueueARN": "arn:aws:kinesis:r:000000000000:queue/q", "QueueAttributes": { "DeadLetterConfiguration": {
            "TargetType": "X", "MaxReceiveCount": 1001 } } }),
        model::UPDATE_QUEUE,
        "2 validation errors detected: Value 'X' at 'queueAttributes.deadLetterConfiguration.targetType' failed to satisfy \
         constraint: Member must satisfy enum value set: [BUILT_IN, NONE]; Value '1001' at \
         'queueAttributes.deadLetterConfiguration.maxReceiveCount' failed to satisfy constraint: Member must have value less \
         than or equal to 1000",
    );
}

#[test]
fn texts_in_lists_and_maps_are_named_at_the_list_or_map() {
    refused(
        json!({ "StreamName": "x", "ShardLevelMetrics": ["ALL", "Some"] }),
        model::ENABLE_ENHANCED_MONITORING,
        "1 validation error detected: Value '[ALL, Some]' at 'shardLevelMetrics' failed to satisfy constraint: Member must \
         satisfy constraint: [Member must satisfy enum value set: [IncomingBytes, IncomingRecords, OutgoingBytes, \
         OutgoingRecords, WriteProvisionedThroughputExceeded, ReadProvisionedThroughputExceeded, IteratorAgeMilliseconds, \
         ALL]]",
    );
    refused(
        json!({ "StreamName": "x", "TagKeys": ["a", ""] }),
        model::REMOVE_TAGS_FROM_STREAM,
        "1 validation error detected: Value '[a, ]' at 'tagKeys' failed to satisfy constraint: Member must satisfy \
         constraint: [Member must have length less than or equal to 128, Member must have length greater than or equal to 1]",
    );
    refused(
        json!({ "StreamName": "x", "Tags": { "": "v" } }),
        model::ADD_TAGS_TO_STREAM,
        "1 validation error detected: Value '{=v}' at 'tags' failed to satisfy constraint: Map keys must satisfy \
         constraint: [Member must have length less than or equal to 128, Member must have length greater than or equal to 1]",
    );
}

#[test]
fn maps_and_lists_with_patterns_show_them() {
    const NAME: Text = Text {
        min: 1,
        max: 4,
        pattern: Some(Pattern { text: "[a-z]+", fits: |text| text.bytes().all(|b| b.is_ascii_lowercase()) }),
        options: &[],
    };
    const TABLE: &[Member] = &[Member {
        name: "Map",
        shape: Shape::Map { key: &NAME, value: &NAME, min: 0, max: 9 },
        required: false,
    }];
    let all = "[Member must have length less than or equal to 4, Member must have length greater than or equal to 1, Member \
               must satisfy regular expression pattern: [a-z]+]";
    refused(
        json!({ "Map": { "a": "1" } }),
        TABLE,
        &format!(
            "1 validation error detected: Value '{{a=1}}' at 'map' failed to satisfy constraint: Map value must satisfy constraint: {all}"
        ),
    );
    refused(
        json!({ "Map": { "A": "b" } }),
        TABLE,
        &format!(
            "1 validation error detected: Value '{{A=b}}' at 'map' failed to satisfy constraint: Map keys must satisfy constraint: {all}"
        ),
    );
    assert_eq!(outcome(json!({ "Map": { "a": "b" } }), TABLE), Ok(()));
}

#[test]
fn no_more_than_ten_violations_are_named() {
    let records: Vec<_> = (0..20).map(|_| json!({})).collect();
    let message = outcome(json!({ "Records": records }), model::PUT_RECORDS).unwrap_err();
    assert!(message.starts_with("10 validation errors detected: "), "{message}");
    assert_eq!(message.matches("Member must not be null").count(), 10);
}

#[test]
fn values_of_other_types_are_refused_in_the_words_of_the_service() {
    for (value, message) in [
        (json!({ "StreamName": 1 }), "class java.math.BigDecimal can not be converted to an String"),
        (json!({ "StreamName": [] }), "Start of list found where not expected"),
        (json!({ "StreamName": {} }), "Start of structure or map found where not expected."),
        (json!({ "Records": {} }), "Start of structure or map found where not expected."),
        (json!({ "Records": 1 }), "Expected list or null"),
        (json!({ "Records": [true] }), "Expected null"),
        (json!({ "DryRun": "yes" }), "'YES' can not be converted to an Boolean"),
        (json!({ "DryRun": 1 }), "class java.math.BigDecimal can not be converted to an Boolean"),
        (json!({ "Records": [{ "Data": true }] }), "class java.lang.Boolean can not be converted to a Blob"),
    ] {
        refused(value, model::PUT_RECORDS, message);
    }
    refused(json!({ "Tags": "x" }), model::ADD_TAGS_TO_STREAM, "Expected map or null");
    refused(
        json!({ "Timestamp": "x" }),
        model::GET_SHARD_ITERATOR,
        "class java.lang.String can not be converted to an Double",
    );
}

#[test]
fn numbers_lose_their_fraction_and_never_wrap() {
    for (text, value) in [
        ("1.9", 1),
        ("-1.9", -1),
        ("1e3", 1_000),
        ("1e300", i64::MAX),
        ("-1e300", i64::MIN),
        ("18446744073709551615", i64::MAX),
    ] {
        assert_eq!(whole(&serde_json::from_str(text).unwrap()), value, "{text}");
    }
}
