"""AWS's rate limits and shard-level metrics, against a server that keeps to them.

Rates are per account as well, so tests wait for their turn instead of being surprised by the one before.
"""

import time

from botocore.config import Config

import boto3
from support import arn_of, fresh, iterator, refused, test

LOW, HIGH = "0", str(2**128 - 1)


def record(hash_key, data=b"x"):
    return {"Data": data, "PartitionKey": "k", "ExplicitHashKey": hash_key}


def patient(kinesis, **retries):
    """A client that tries again as boto3 does by itself."""
    return boto3.client(
        "kinesis",
        endpoint_url=kinesis.meta.endpoint_url,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries=retries or {"mode": "standard", "max_attempts": 5}),
    )


def turn(kinesis):
    """A stream of the test's own, when the account may create one again."""
    time.sleep(1.1)
    return fresh(kinesis, 2)


@test
def records_beyond_the_rate_of_their_shard_fail_one_by_one(kinesis):
    name = turn(kinesis)
    begun, throttled = time.monotonic(), 0
    while not throttled:
        answer = kinesis.put_records(StreamName=name, Records=[record(LOW)] * 499 + [record(HIGH)])
        throttled = answer["FailedRecordCount"]
        assert time.monotonic() - begun < 20, "the rate was never reached"
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    failed = [result for result in answer["Records"] if "ErrorCode" in result]
    assert len(failed) == throttled
    for result in failed:
        assert result["ErrorCode"] == "ProvisionedThroughputExceededException"
        expected = f"Rate exceeded for shard shardId-000000000000 in stream {name} under account 000000000000."
        assert result["ErrorMessage"] == expected, result
        assert "SequenceNumber" not in result and "ShardId" not in result
    # The shard that has room takes its record, in the same call.
    assert answer["Records"][-1]["ShardId"] == "shardId-000000000001"


@test
def one_record_beyond_the_rate_is_refused_and_boto3_gets_through_by_itself(kinesis):
    name = turn(kinesis)
    client = kinesis.exceptions.ProvisionedThroughputExceededException
    data = b"x" * 1_000_000
    kinesis.put_record(StreamName=name, PartitionKey="k", Data=data, ExplicitHashKey=LOW)
    try:
        kinesis.put_record(StreamName=name, PartitionKey="k", Data=data, ExplicitHashKey=LOW)
        raise AssertionError("two megabytes in one second were taken")
    except client as error:
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert "Rate exceeded for shard shardId-000000000000" in error.response["Error"]["Message"]
    answer = patient(kinesis).put_record(StreamName=name, PartitionKey="k", Data=data, ExplicitHashKey=LOW)
    assert answer["ResponseMetadata"]["RetryAttempts"] >= 1


@test
def reads_are_five_a_second_and_a_patient_reader_gets_every_record(kinesis):
    name = turn(kinesis)
    for n in range(20):
        kinesis.put_record(StreamName=name, PartitionKey="k", Data=b"%d" % n, ExplicitHashKey=LOW)
    at = iterator(kinesis, name)
    outcomes = []
    for _ in range(8):
        try:
            kinesis.get_records(ShardIterator=at, Limit=1)
            outcomes.append(True)
        except kinesis.exceptions.ProvisionedThroughputExceededException as error:
            assert "Rate exceeded for shard shardId-000000000000" in error.response["Error"]["Message"]
            outcomes.append(False)
    assert outcomes[:5] == [True] * 5 and False in outcomes[5:], outcomes
    reader, data = patient(kinesis, mode="adaptive", max_attempts=10), []
    while len(data) < 20:
        page = reader.get_records(ShardIterator=at, Limit=4)
        data += [int(found["Data"]) for found in page["Records"]]
        at = page["NextShardIterator"]
    assert data == list(range(20))


@test
def an_answer_of_more_than_a_second_is_paid_for_with_its_time(kinesis):
    name = turn(kinesis)
    writer = patient(kinesis, mode="standard", max_attempts=10)
    for _ in range(4):
        writer.put_record(StreamName=name, PartitionKey="k", Data=b"x" * 1_000_000, ExplicitHashKey=LOW)
    at, begun = iterator(kinesis, name), time.monotonic()
    page = kinesis.get_records(ShardIterator=at)
    size = sum(len(found["Data"]) for found in page["Records"])
    assert size >= 2_500_000, "one read gives more than a second's worth"
    while True:
        try:
            kinesis.get_records(ShardIterator=page["NextShardIterator"])
            break
        except kinesis.exceptions.ProvisionedThroughputExceededException:
            time.sleep(0.05)
    waited = time.monotonic() - begun
    assert size / (2 << 20) - 0.01 < waited < size / (2 << 20) + 2, (size, waited)


@test
def control_calls_have_their_rate_and_their_error(kinesis):
    name = turn(kinesis)
    for _ in range(10):
        kinesis.describe_stream(StreamName=name)
    found = refused("LimitExceededException", lambda **a: [kinesis.describe_stream(**a) for _ in range(3)], StreamName=name)
    assert found["Message"] == f"Rate exceeded for stream {name} under account 000000000000."
    for _ in range(5):
        kinesis.list_streams()
    found = refused("LimitExceededException", lambda: [kinesis.list_streams() for _ in range(3)])
    assert found["Message"] == "Rate exceeded for account 000000000000."
    # A stream that does not exist is told first.
    refused("ResourceNotFoundException", kinesis.describe_stream, StreamName=name + "x")


@test
def a_waiter_and_a_paginator_live_with_the_rates(kinesis):
    name = turn(kinesis)
    client = patient(kinesis, mode="standard", max_attempts=10)
    for _ in range(15):
        client.get_waiter("stream_exists").wait(StreamName=name)
    pages = client.get_paginator("list_streams").paginate(PaginationConfig={"PageSize": 1})
    assert name in [found for page in pages for found in page["StreamNames"]]


@test
def shard_level_metrics_are_switched_on_and_off(kinesis):
    name = turn(kinesis)
    answer = kinesis.enable_enhanced_monitoring(StreamName=name, ShardLevelMetrics=["OutgoingBytes", "IncomingBytes"])
    assert answer["CurrentShardLevelMetrics"] == []
    assert answer["DesiredShardLevelMetrics"] == ["IncomingBytes", "OutgoingBytes"]
    assert answer["StreamName"] == name and answer["StreamARN"] == arn_of(name)
    time.sleep(1.1)
    described = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    assert described["EnhancedMonitoring"] == [{"ShardLevelMetrics": ["IncomingBytes", "OutgoingBytes"]}]
    answer = kinesis.enable_enhanced_monitoring(StreamARN=arn_of(name), ShardLevelMetrics=["ALL"])
    assert len(answer["DesiredShardLevelMetrics"]) == 7 and "ALL" not in answer["DesiredShardLevelMetrics"]
    answer = kinesis.disable_enhanced_monitoring(StreamName=name, ShardLevelMetrics=["IncomingBytes"])
    assert len(answer["CurrentShardLevelMetrics"]) == 7 and len(answer["DesiredShardLevelMetrics"]) == 6
    answer = kinesis.disable_enhanced_monitoring(StreamName=name, ShardLevelMetrics=["ALL"])
    assert answer["DesiredShardLevelMetrics"] == []
    refused("ValidationException", kinesis.enable_enhanced_monitoring, StreamName=name, ShardLevelMetrics=["Latency"])
    refused(
        "ResourceNotFoundException",
        kinesis.enable_enhanced_monitoring,
        StreamName=name + "x",
        ShardLevelMetrics=["ALL"],
    )
