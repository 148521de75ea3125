"""Drives every operation of the engine, and the errors a client can provoke, with boto3.

Run by tests/kinesis_boto3.rs:  kinesis_boto3.py ENDPOINT [test name ...]
Each test is a function named by its claim; it gets a client and makes its own streams.
"""

import datetime
import hashlib
import json
import sys
import time
import traceback
import urllib.error
import urllib.request
import uuid

import boto3
import botocore.exceptions
from botocore.config import Config

TESTS = []


def test(function):
    TESTS.append(function)
    return function


def client_of(endpoint, **config):
    return boto3.client(
        "kinesis",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 0}, **config),
    )


def fresh(kinesis, shards=1):
    name = "s-" + uuid.uuid4().hex[:12]
    kinesis.create_stream(StreamName=name, ShardCount=shards)
    return name


def arn_of(name):
    return f"arn:aws:kinesis:us-east-1:000000000000:stream/{name}"


def refused(code, call, contains="", **arguments):
    """Asserts that the call is refused with this code and a message that contains a text."""
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as error:
        found = error.response["Error"]
        assert found["Code"] == code, (found, code)
        assert contains in found.get("Message", ""), (found, contains)
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert error.response["ResponseMetadata"].get("RequestId"), error.response
        return found
    raise AssertionError(f"{call.__name__} {arguments} was not refused with {code}")


def loose(kinesis):
    """A client that does not check parameters itself, so that the engine has to."""
    return client_of(kinesis.meta.endpoint_url, parameter_validation=False)


def iterator(kinesis, name, shard="shardId-000000000000", kind="TRIM_HORIZON", **more):
    return kinesis.get_shard_iterator(StreamName=name, ShardId=shard, ShardIteratorType=kind, **more)["ShardIterator"]


def drain(kinesis, at, limit=10000):
    records, behind = [], []
    while True:
        page = kinesis.get_records(ShardIterator=at, Limit=limit)
        records += page["Records"]
        behind.append(page["MillisBehindLatest"])
        at = page["NextShardIterator"]
        if page["MillisBehindLatest"] == 0:
            return records, behind, at


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
def describe_stream_pages_through_shards(kinesis):
    name = fresh(kinesis, 250)
    first = kinesis.describe_stream(StreamName=name, Limit=10000)["StreamDescription"]
    assert len(first["Shards"]) == 100 and first["HasMoreShards"]
    pages = kinesis.get_paginator("describe_stream").paginate(StreamName=name, PaginationConfig={"PageSize": 60})
    shards = [s["ShardId"] for page in pages for s in page["StreamDescription"]["Shards"]]
    assert shards == [f"shardId-{i:012}" for i in range(250)]
    last = kinesis.describe_stream(StreamName=name, ExclusiveStartShardId="shardId-000000000249")
    assert last["StreamDescription"]["Shards"] == [] and not last["StreamDescription"]["HasMoreShards"]
    refused("ValidationException", loose(kinesis).describe_stream, "'limit'", StreamName=name, Limit=0)


@test
def list_shards_pages_and_filters(kinesis):
    name = fresh(kinesis, 7)
    ids = [f"shardId-{i:012}" for i in range(7)]
    of = lambda **more: [s["ShardId"] for s in kinesis.list_shards(StreamName=name, **more)["Shards"]]
    assert of() == ids
    # botocore's paginator repeats StreamName beside NextToken, which AWS refuses; so do we.
    page = kinesis.list_shards(StreamName=name, MaxResults=3)
    paged = [s["ShardId"] for s in page["Shards"]]
    while "NextToken" in page:
        page = kinesis.list_shards(NextToken=page["NextToken"], MaxResults=3)
        paged += [s["ShardId"] for s in page["Shards"]]
    assert paged == ids
    assert of(ExclusiveStartShardId=ids[4]) == ids[5:]
    for kind in ("AT_TRIM_HORIZON", "FROM_TRIM_HORIZON", "AT_LATEST"):
        assert of(ShardFilter={"Type": kind}) == ids
    now = datetime.datetime.now(datetime.timezone.utc)
    for kind in ("AT_TIMESTAMP", "FROM_TIMESTAMP"):
        assert of(ShardFilter={"Type": kind, "Timestamp": now}) == ids
    assert of(ShardFilter={"Type": "AFTER_SHARD_ID", "ShardId": ids[2]}) == ids[3:]
    token = kinesis.list_shards(StreamName=name, MaxResults=2)["NextToken"]
    refused("InvalidArgumentException", kinesis.list_shards, "NextToken", StreamName=name, NextToken=token)
    refused("InvalidArgumentException", kinesis.list_shards, "NextToken", NextToken="bogus")
    refused("InvalidArgumentException", kinesis.list_shards, "Timestamp", StreamName=name, ShardFilter={"Type": "AT_TIMESTAMP"})
    created = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamCreationTimestamp"]
    assert of(StreamCreationTimestamp=created) == ids
    refused("ResourceNotFoundException", kinesis.list_shards, StreamName=name, StreamCreationTimestamp=1)


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
def records_come_back_in_order_with_what_was_put(kinesis):
    name = fresh(kinesis)
    before = time.time()
    numbers = []
    for i in range(20):
        answer = kinesis.put_record(StreamName=name, Data=f"r{i}".encode(), PartitionKey=f"k\u00e4\"{i}")
        assert answer["ShardId"] == "shardId-000000000000" and len(answer["SequenceNumber"]) == 56
        numbers.append(int(answer["SequenceNumber"]))
    assert numbers == sorted(set(numbers))
    records, behind, at = drain(kinesis, iterator(kinesis, name), limit=7)
    assert [r["Data"] for r in records] == [f"r{i}".encode() for i in range(20)]
    assert [r["PartitionKey"] for r in records] == [f"k\u00e4\"{i}" for i in range(20)]
    assert [int(r["SequenceNumber"]) for r in records] == numbers
    for record in records:
        assert before - 1 <= record["ApproximateArrivalTimestamp"].timestamp() <= time.time() + 1
    assert behind[-1] == 0 and all(ms >= 1 for ms in behind[:-1]) and len(behind) == 3
    page = kinesis.get_records(ShardIterator=at)
    assert page["Records"] == [] and page["MillisBehindLatest"] == 0 and page["NextShardIterator"]


@test
def millis_behind_latest_is_the_age_of_the_last_record_read(kinesis):
    name = fresh(kinesis)
    kinesis.put_record(StreamName=name, Data=b"a", PartitionKey="k")
    kinesis.put_record(StreamName=name, Data=b"b", PartitionKey="k")
    time.sleep(1.2)
    at = iterator(kinesis, name)
    page = kinesis.get_records(ShardIterator=at, Limit=1)
    assert 1_150 <= page["MillisBehindLatest"] <= 30_000, page["MillisBehindLatest"]
    assert kinesis.get_records(ShardIterator=page["NextShardIterator"], Limit=1)["MillisBehindLatest"] == 0


@test
def every_iterator_type_begins_where_it_says(kinesis):
    name = fresh(kinesis)
    put = lambda data: kinesis.put_record(StreamName=name, Data=data, PartitionKey="k")["SequenceNumber"]
    read = lambda kind, **more: [r["Data"] for r in drain(kinesis, iterator(kinesis, name, kind=kind, **more))[0]]
    latest_of_empty = iterator(kinesis, name, kind="LATEST")
    numbers = [put(b"0"), put(b"1")]
    time.sleep(0.05)
    between = datetime.datetime.now(datetime.timezone.utc)
    time.sleep(0.05)
    numbers += [put(b"2")]
    latest = iterator(kinesis, name, kind="LATEST")
    numbers += [put(b"3")]
    assert read("TRIM_HORIZON") == [b"0", b"1", b"2", b"3"]
    assert [r["Data"] for r in drain(kinesis, latest)[0]] == [b"3"]
    assert [r["Data"] for r in drain(kinesis, latest_of_empty)[0]] == [b"0", b"1", b"2", b"3"]
    for i, number in enumerate(numbers):
        assert read("AT_SEQUENCE_NUMBER", StartingSequenceNumber=number) == [b"%d" % j for j in range(i, 4)]
        assert read("AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=number) == [b"%d" % j for j in range(i + 1, 4)]
    start = kinesis.describe_stream(StreamName=name)["StreamDescription"]["Shards"][0]["SequenceNumberRange"]
    assert read("AT_SEQUENCE_NUMBER", StartingSequenceNumber=start["StartingSequenceNumber"]) == [b"0", b"1", b"2", b"3"]
    assert read("AT_TIMESTAMP", Timestamp=datetime.datetime(2001, 1, 1)) == [b"0", b"1", b"2", b"3"]
    # botocore sends whole seconds; the fraction is what tells records apart.
    raw = call(kinesis, "GetShardIterator", {"StreamName": name, "ShardId": "shardId-000000000000",
                                             "ShardIteratorType": "AT_TIMESTAMP", "Timestamp": between.timestamp()})
    assert [r["Data"] for r in drain(kinesis, raw["ShardIterator"])[0]] == [b"2", b"3"]


@test
def get_shard_iterator_refuses_what_makes_no_sense(kinesis):
    name, other = fresh(kinesis, 2), fresh(kinesis)
    shard = "shardId-000000000000"
    ask = lambda kind, shard=shard, **more: dict(StreamName=name, ShardId=shard, ShardIteratorType=kind, **more)
    get = kinesis.get_shard_iterator
    number = kinesis.put_record(StreamName=name, Data=b"", PartitionKey="k", ExplicitHashKey="0")["SequenceNumber"]
    foreign = kinesis.put_record(StreamName=other, Data=b"", PartitionKey="k")["SequenceNumber"]
    refused("InvalidArgumentException", get, "Request specified AT_SEQUENCE_NUMBER and no StartingSequenceNumber.",
            **ask("AT_SEQUENCE_NUMBER"))
    refused("InvalidArgumentException", get, "Request specified LATEST and also a StartingSequenceNumber.",
            **ask("LATEST", StartingSequenceNumber=number))
    refused("InvalidArgumentException", get, "is invalid because it did not come from this stream.",
            **ask("AT_SEQUENCE_NUMBER", StartingSequenceNumber=foreign))
    refused("InvalidArgumentException", get, "It encodes shardId-000000000000, while it was used in a call to a shard with "
            "shardId-000000000001", **ask("AT_SEQUENCE_NUMBER", "shardId-000000000001", StartingSequenceNumber=number))
    refused("InvalidArgumentException", get, "StartingSequenceNumber 5 used in GetShardIterator",
            **ask("AT_SEQUENCE_NUMBER", StartingSequenceNumber="5"))
    refused("InvalidArgumentException", get, "timestampInMillis", **ask("AT_TIMESTAMP"))
    refused("InvalidArgumentException", get, "cannot be greater than", **ask("AT_TIMESTAMP", Timestamp=time.time() + 900))
    refused("ResourceNotFoundException", get, "Shard shardId-000000000009 in stream", **ask("LATEST", "shardId-000000000009"))
    refused("ResourceNotFoundException", get, "Could not find shard nonsense", **ask("LATEST", "nonsense"))
    refused("ValidationException", loose(kinesis).get_shard_iterator, "[AFTER_SEQUENCE_NUMBER, LATEST, AT_TIMESTAMP, "
            "AT_SEQUENCE_NUMBER, TRIM_HORIZON]", **ask("SOMEWHERE"))
    refused("ValidationException", loose(kinesis).get_shard_iterator, "'startingSequenceNumber'",
            **ask("AT_SEQUENCE_NUMBER", StartingSequenceNumber="01"))
    refused("InvalidArgumentException", kinesis.get_records, "Invalid ShardIterator.", ShardIterator="AAAA")
    refused("ValidationException", loose(kinesis).get_records, "'limit'", ShardIterator="AAAA", Limit=10001)


@test
def put_records_places_every_record_by_its_hash_key(kinesis):
    name = fresh(kinesis, 4)
    keys = [f"key-{i}" for i in range(500)]
    records = [{"Data": k.encode(), "PartitionKey": k} for k in keys]
    records[7]["ExplicitHashKey"] = "0"
    records[8]["ExplicitHashKey"] = str(2**128 - 1)
    answer = kinesis.put_records(StreamName=name, Records=records)
    assert answer["FailedRecordCount"] == 0 and len(answer["Records"]) == 500
    expected = {}
    for i, (key, result) in enumerate(zip(keys, answer["Records"])):
        hash_key = int(records[i].get("ExplicitHashKey", int(hashlib.md5(key.encode()).hexdigest(), 16)))
        shard = f"shardId-{min(hash_key // (2**128 // 4), 3):012}"
        assert result["ShardId"] == shard, (key, result)
        assert "ErrorCode" not in result
        expected.setdefault(shard, []).append((result["SequenceNumber"], key.encode()))
    numbers = [r["SequenceNumber"] for r in answer["Records"]]
    assert len(set(numbers)) == 500
    for shard, placed in expected.items():
        read, _, _ = drain(kinesis, iterator(kinesis, name, shard), limit=33)
        assert [(r["SequenceNumber"], r["Data"]) for r in read] == placed


@test
def put_record_checks_its_input(kinesis):
    name = fresh(kinesis)
    put, bad = kinesis.put_record, loose(kinesis).put_record
    refused("ValidationException", bad, "Value null at 'data'", StreamName=name, PartitionKey="k")
    refused("ValidationException", bad, "Value null at 'partitionKey'", StreamName=name, Data=b"")
    refused("ValidationException", bad, "'partitionKey' failed to satisfy constraint: Member must have length less than or "
            "equal to 256", StreamName=name, Data=b"", PartitionKey="k" * 257)
    refused("ValidationException", bad, "'explicitHashKey'", StreamName=name, Data=b"", PartitionKey="k", ExplicitHashKey="x")
    refused("InvalidArgumentException", put, "ExplicitHashKey must be in the range: [0, 2^128-1]", StreamName=name, Data=b"",
            PartitionKey="k", ExplicitHashKey=str(2**128))
    refused("ValidationException", put, "1048576", StreamName=name, Data=bytes(1 << 20), PartitionKey="k")
    assert put(StreamName=name, Data=bytes((1 << 20) - 1), PartitionKey="k")["ShardId"]
    refused("InvalidArgumentException", put, "Either StreamName or StreamARN", Data=b"", PartitionKey="k")
    refused("InvalidArgumentException", put, "does not match", StreamName=name, StreamARN=arn_of("other"), Data=b"", PartitionKey="k")
    refused("ResourceNotFoundException", put, "not found", StreamARN=arn_of(name).replace("us-east-1", "eu-west-1"),
            Data=b"", PartitionKey="k")
    refused("ValidationException", bad, "'streamARN'", StreamARN="arn:x", Data=b"", PartitionKey="k")
    refused("DryRunOperationException", put, StreamName=name, Data=b"", PartitionKey="k", DryRun=True)
    assert put(StreamName=name, StreamARN=arn_of(name), Data=b"", PartitionKey="\u00e4" * 256)["ShardId"]
    assert len(drain(kinesis, iterator(kinesis, name))[0]) == 2


@test
def sequence_number_for_ordering_must_be_one_that_was_given(kinesis):
    name, other = fresh(kinesis), fresh(kinesis)
    put = lambda **more: kinesis.put_record(StreamName=name, Data=b"", PartitionKey="k", **more)["SequenceNumber"]
    first = put()
    second = put(SequenceNumberForOrdering=first)
    assert int(second) > int(first)
    wrong = "ExclusiveMinimumSequenceNumber"
    for number in ("0", str(int(second) + 2**80), "49590338271490256608559692538361571095921575989136588898"):
        refused("InvalidArgumentException", kinesis.put_record, wrong, StreamName=name, Data=b"", PartitionKey="k",
                SequenceNumberForOrdering=number)
    foreign = kinesis.put_record(StreamName=other, Data=b"", PartitionKey="k")["SequenceNumber"]
    refused("InvalidArgumentException", kinesis.put_record, wrong, StreamName=name, Data=b"", PartitionKey="k",
            SequenceNumberForOrdering=foreign)


@test
def put_records_checks_its_input(kinesis):
    name = fresh(kinesis)
    bad = loose(kinesis).put_records
    one = {"Data": b"x", "PartitionKey": "k"}
    refused("ValidationException", bad, "Member must have length less than or equal to 500", StreamName=name, Records=[one] * 501)
    refused("ValidationException", bad, "Member must have length greater than or equal to 1", StreamName=name, Records=[])
    refused("ValidationException", bad, "'records.2.member.partitionKey'", StreamName=name,
            Records=[one, {"Data": b"x", "PartitionKey": ""}])
    refused("ValidationException", bad, "'records.2.member.data'", StreamName=name,
            Records=[one, {"Data": bytes(1 << 20), "PartitionKey": "k"}])
    refused("InvalidArgumentException", bad, "Records size exceeds 10 MB limit", StreamName=name,
            Records=[{"Data": bytes(1_000_000), "PartitionKey": "k"}] * 11)
    refused("InvalidArgumentException", bad, "ExplicitHashKey", StreamName=name, Records=[dict(one, ExplicitHashKey=str(2**128))])
    refused("DryRunOperationException", bad, StreamName=name, Records=[one], DryRun=True)
    refused("ResourceNotFoundException", bad, StreamName="absent", Records=[one])
    answer = bad(StreamName=name, Records=[{"Data": bytes(1_000_000), "PartitionKey": "k"}] * 10)
    assert answer["FailedRecordCount"] == 0
    page = kinesis.get_records(ShardIterator=iterator(kinesis, name))
    assert len(page["Records"]) == 10
    kinesis.put_records(StreamName=name, Records=[{"Data": bytes(1_000_000), "PartitionKey": "k"}] * 10)
    page = kinesis.get_records(ShardIterator=iterator(kinesis, name))
    assert sum(len(r["Data"]) for r in page["Records"]) <= 10 << 20 and page["MillisBehindLatest"] > 0
    assert len(drain(kinesis, iterator(kinesis, name))[0]) == 20


@test
def streams_can_allow_larger_records(kinesis):
    name = "s-" + uuid.uuid4().hex[:12]
    kinesis.create_stream(StreamName=name, ShardCount=1, MaxRecordSizeInKiB=4096)
    data = bytes(range(256)) * (15 << 10)
    kinesis.put_record(StreamName=name, Data=data, PartitionKey="k")
    records, _, _ = drain(kinesis, iterator(kinesis, name))
    assert [r["Data"] for r in records] == [data]
    refused("ValidationException", kinesis.put_record, "4194304", StreamName=name, Data=bytes(4 << 20), PartitionKey="k")


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
def tags_are_set_listed_and_removed(kinesis):
    name = fresh(kinesis)
    kinesis.add_tags_to_stream(StreamName=name, Tags={"b": "2", "a": "1"})
    kinesis.add_tags_to_stream(StreamName=name, Tags={"b": "3", "c": ""})
    of = lambda **more: kinesis.list_tags_for_stream(StreamName=name, **more)
    assert of()["Tags"] == [{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "3"}, {"Key": "c", "Value": ""}]
    page = of(Limit=1, ExclusiveStartTagKey="a")
    assert page["Tags"] == [{"Key": "b", "Value": "3"}] and page["HasMoreTags"]
    kinesis.remove_tags_from_stream(StreamName=name, TagKeys=["a", "b", "none"])
    assert of()["Tags"] == [{"Key": "c", "Value": ""}] and not of()["HasMoreTags"]
    refused("InvalidArgumentException", kinesis.add_tags_to_stream, "more than 50 tags", StreamName=name,
            Tags={str(i): "" for i in range(50)})
    refused("ValidationException", loose(kinesis).add_tags_to_stream, "Map keys", StreamName=name, Tags={"k" * 129: ""})


@test
def limits_count_open_shards(kinesis):
    before = kinesis.describe_limits()
    fresh(kinesis, 6)
    after = kinesis.describe_limits()
    assert after["OpenShardCount"] == before["OpenShardCount"] + 6 and after["ShardLimit"] >= 500


@test
def operations_that_are_absent_say_so(kinesis):
    refused("UnsupportedOperationException", kinesis.split_shard, "SplitShard", StreamName="x", ShardToSplit="shardId-0",
            NewStartingHashKey="1")


def call(kinesis, operation, body, headers=None, method="POST", drop=()):
    """A request that no SDK would send."""
    head = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"Kinesis_20131202.{operation}",
            "X-Amz-Date": "20260101T000000Z",
            "Authorization": "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0", **(headers or {})}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = {name: value for name, value in head.items() if name not in drop}
    request = urllib.request.Request(kinesis.meta.endpoint_url, data=data, headers=head, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        assert error.headers["x-amzn-requestid"], "every answer has an id"
        return error.code, json.loads(text) if text.startswith("{") else text


@test
def what_is_no_request_is_refused_as_aws_does(kinesis):
    serialization = (400, {"__type": "SerializationException"})
    assert call(kinesis, "ListStreams", b"") == serialization
    assert call(kinesis, "ListStreams", b"{") == serialization
    assert call(kinesis, "ListStreams", b"[]") == serialization
    assert call(kinesis, "ListStreams", b"[" * 100_000) == serialization
    assert call(kinesis, "PutRecords", b'{"Records":[' + b"0," * 5_000_000 + b"0]}") == serialization
    assert call(kinesis, "Nonsense", {}) == (400, {"__type": "UnknownOperationException"})
    assert call(kinesis, "x", {}, {"X-Amz-Target": "DynamoDB_20120810.ListTables"}) == (400, {"__type": "UnknownOperationException"})
    code, text = call(kinesis, "ListStreams", {}, {"Content-Type": "text/plain"})
    assert code == 404 and "UnknownOperationException" in text
    code, text = call(kinesis, "ListStreams", {}, method="PUT")
    assert code == 403 and "AccessDeniedException" in text
    code, error = call(kinesis, "ListStreams", {}, drop=("Authorization",))
    assert code == 400 and error == {"__type": "MissingAuthenticationTokenException", "message": "Missing Authentication Token"}
    code, error = call(kinesis, "ListStreams", {}, {"Authorization": "AWS4-HMAC-SHA256 Credential=a"}, drop=("X-Amz-Date",))
    assert error["__type"] == "IncompleteSignatureException" and "'Signature'" in error["message"]
    code, error = call(kinesis, "ListStreams", {"Limit": "1"})
    assert (code, error) == (400, {"__type": "SerializationException",
                                   "message": "class java.lang.String can not be converted to an Integer"})
    for data, why in (("a", "multiple of 4"), ("a$==", "Invalid Base64 character: '$'"), ("aB==", "last non-pad")):
        code, error = call(kinesis, "PutRecord", {"StreamName": "x", "PartitionKey": "k", "Data": data})
        assert code == 400 and error["__type"] == "SerializationException" and why in error["message"], error
    assert call(kinesis, "ListStreams", {"Limit": 1, "Unknown": {"deep": [1, 2]}, "NextToken": None})["StreamNames"] is not None


@test
def escapes_in_requests_mean_what_json_says(kinesis):
    name = fresh(kinesis)
    body = ('{"StreamName":"%s","Records":[{"Data":"aGk\\u003d","PartitionKey":"tab\\t\\u00e4"},'
            '{"PartitionKey":"plain","Data":"\\/\\/8="}]}' % name).encode()
    assert call(kinesis, "PutRecords", body)["FailedRecordCount"] == 0
    records, _, _ = drain(kinesis, iterator(kinesis, name))
    assert [(r["PartitionKey"], r["Data"]) for r in records] == [("tab\t\u00e4", b"hi"), ("plain", b"\xff\xff")]


def main():
    endpoint, wanted = sys.argv[1], sys.argv[2:]
    failed = 0
    for function in TESTS:
        if wanted and function.__name__ not in wanted:
            continue
        try:
            function(client_of(endpoint))
            print(f"ok {function.__name__}", flush=True)
        except Exception:  # noqa: BLE001 - a failed test must not stop the others
            failed += 1
            print(f"FAILED {function.__name__}\n{traceback.format_exc()}", flush=True)
    print(f"{len(TESTS)} tests, {failed} failed", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
