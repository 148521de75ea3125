"""Making, describing, listing, changing and deleting streams."""

import time
import uuid

from support import arn_of, drain, fresh, iterator, loose, refused, test


@test
def a_created_stream_is_described_and_satisfies_the_waiter(kinesis):
    before = time.time()
    name = fresh(kinesis, 3)
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 3})
    stream = kinesis.describe_stream(StreamName=name)["StreamDescription"]
    assert stream["StreamName"] == name and stream["StreamARN"] == arn_of(name)
    assert stream["StreamStatus"] == "ACTIVE" and stream["HasMoreShards"] is False
    assert stream["RetentionPeriodHours"] == 24 and stream["EncryptionType"] == "NONE"
    assert stream["StreamModeDetails"] == {"StreamMode": "PROVISIONED"}
    assert stream["EnhancedMonitoring"] == [{"ShardLevelMetrics": []}]
    assert before - 2 <= stream["StreamCreationTimestamp"].timestamp() <= time.time() + 2
    shards = stream["Shards"]
    assert [s["ShardId"] for s in shards] == [f"shardId-{i:012}" for i in range(3)]
    step = 2**128 // 3
    for i, shard in enumerate(shards):
        start, end = (int(shard["HashKeyRange"][k]) for k in ("StartingHashKey", "EndingHashKey"))
        assert start == step * i and end == (step * (i + 1) - 1 if i < 2 else 2**128 - 1)
        numbers = shard["SequenceNumberRange"]
        assert len(numbers["StartingSequenceNumber"]) == 56 and "EndingSequenceNumber" not in numbers
    summary = kinesis.describe_stream_summary(StreamARN=arn_of(name))["StreamDescriptionSummary"]
    assert summary["OpenShardCount"] == 3 and summary["ConsumerCount"] == 0
    assert summary["MaxRecordSizeInKiB"] == 1024 and summary["StreamStatus"] == "ACTIVE"


@test
def creating_twice_is_refused(kinesis):
    name = fresh(kinesis)
    refused("ResourceInUseException", kinesis.create_stream, f"Stream {name} under account 000000000000 already exists.",
            StreamName=name, ShardCount=1)


@test
def create_stream_checks_its_input(kinesis):
    bad = loose(kinesis)
    message = ("2 validation errors detected: Value '' at 'streamName' failed to satisfy constraint: Member must satisfy "
               "regular expression pattern: [a-zA-Z0-9_.-]+; Value '' at 'streamName' failed to satisfy constraint: "
               "Member must have length greater than or equal to 1")
    assert refused("ValidationException", bad.create_stream, StreamName="", ShardCount=1)["Message"] == message
    message = ("1 validation error detected: Value '0' at 'shardCount' failed to satisfy constraint: Member must have "
               "value greater than or equal to 1")
    assert refused("ValidationException", bad.create_stream, StreamName="x", ShardCount=0)["Message"] == message
    assert refused("ValidationException", bad.create_stream, ShardCount=1)["Message"] == (
        "1 validation error detected: Value null at 'streamName' failed to satisfy constraint: Member must not be null")
    refused("ValidationException", bad.create_stream, "less than or equal to 128", StreamName="n" * 129, ShardCount=1)
    refused("ValidationException", bad.create_stream, "'streamModeDetails.streamMode' failed to satisfy constraint: Member "
            "must satisfy enum value set: [PROVISIONED, ON_DEMAND]", StreamName="x", StreamModeDetails={"StreamMode": "X"})
    refused("ValidationException", bad.create_stream, "'maxRecordSizeInKiB'", StreamName="x", ShardCount=1, MaxRecordSizeInKiB=1)
    refused("InvalidArgumentException", bad.create_stream, "ShardCount", StreamName="x")
    refused("InvalidArgumentException", bad.create_stream, "ShardCount", StreamName="x", ShardCount=1,
            StreamModeDetails={"StreamMode": "ON_DEMAND"})
    refused("InvalidArgumentException", bad.create_stream, "AUTO", StreamName="x", ShardCount=1, RecordDistributionStrategy="AUTO")
    refused("LimitExceededException", bad.create_stream, "exceed the shard limit", StreamName="x", ShardCount=100000)
    refused("ResourceNotFoundException", kinesis.describe_stream_summary, StreamName="x")


@test
def on_demand_streams_start_with_four_shards(kinesis):
    name = "s-" + uuid.uuid4().hex[:12]
    kinesis.create_stream(StreamName=name, StreamModeDetails={"StreamMode": "ON_DEMAND"}, Tags={"site": "north"})
    summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    assert summary["OpenShardCount"] == 4 and summary["StreamModeDetails"] == {"StreamMode": "ON_DEMAND"}
    assert kinesis.list_tags_for_stream(StreamName=name)["Tags"] == [{"Key": "site", "Value": "north"}]
    assert kinesis.describe_limits()["OnDemandStreamCount"] >= 1


@test
def a_deleted_stream_is_gone_with_its_records_and_iterators(kinesis):
    name = fresh(kinesis)
    kinesis.put_record(StreamName=name, Data=b"old", PartitionKey="k")
    at = iterator(kinesis, name)
    kinesis.delete_stream(StreamARN=arn_of(name))
    kinesis.get_waiter("stream_not_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 3})
    missing = f"Stream {name} under account 000000000000 not found."
    refused("ResourceNotFoundException", kinesis.delete_stream, missing, StreamName=name)
    refused("ResourceNotFoundException", kinesis.describe_stream, missing, StreamName=name)
    refused("ResourceNotFoundException", kinesis.put_record, missing, StreamName=name, Data=b"", PartitionKey="k")
    kinesis.create_stream(StreamName=name, ShardCount=1)
    refused("ResourceNotFoundException", kinesis.get_records, "does not exist", ShardIterator=at)
    assert drain(kinesis, iterator(kinesis, name))[0] == []


@test
def list_streams_pages_both_ways(kinesis):
    names = sorted(fresh(kinesis) for _ in range(5))
    pages = kinesis.get_paginator("list_streams").paginate(PaginationConfig={"PageSize": 2})
    listed = [name for page in pages for name in page["StreamNames"]]
    assert listed == sorted(listed) and set(names) <= set(listed)
    older, after = [], None
    while True:
        page = kinesis.list_streams(Limit=3, **({"ExclusiveStartStreamName": after} if after else {}))
        older += page["StreamNames"]
        if not page["HasMoreStreams"]:
            break
        after = page["StreamNames"][-1]
    assert older == listed
    summary = next(s for s in kinesis.list_streams(Limit=100)["StreamSummaries"] if s["StreamName"] == names[0])
    assert summary["StreamARN"] == arn_of(names[0]) and summary["StreamStatus"] == "ACTIVE"
    refused("InvalidArgumentException", kinesis.list_streams, "NextToken", NextToken="bogus")


@test
def retention_is_changed_within_its_bounds(kinesis):
    name = fresh(kinesis)
    up, down = kinesis.increase_stream_retention_period, kinesis.decrease_stream_retention_period
    hours = lambda: kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["RetentionPeriodHours"]
    up(StreamName=name, RetentionPeriodHours=8760)
    assert hours() == 8760
    down(StreamName=name, RetentionPeriodHours=48)
    assert hours() == 48
    refused("InvalidArgumentException", up, "can not be shorter than existing retention period (48 hours)", StreamName=name,
            RetentionPeriodHours=24)
    refused("InvalidArgumentException", down, "can not be longer than existing", StreamName=name, RetentionPeriodHours=72)
    refused("InvalidArgumentException", up, "Maximum allowed retention period is 8760 hours.", StreamName=name,
            RetentionPeriodHours=8761)
    refused("InvalidArgumentException", down, "Minimum allowed retention period is 24 hours.", StreamName=name,
            RetentionPeriodHours=23)
    refused("ResourceNotFoundException", up, StreamName="absent", RetentionPeriodHours=48)


@test
def limits_count_open_shards(kinesis):
    before = kinesis.describe_limits()
    fresh(kinesis, 6)
    after = kinesis.describe_limits()
    assert after["OpenShardCount"] == before["OpenShardCount"] + 6 and after["ShardLimit"] >= 500
