"""CREATING, UPDATING and DELETING, on a server that shows them for half a second."""

import time
import uuid

from support import iterator, refused, test


def state(kinesis, name):
    return kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamStatus"]


def created(kinesis, **more):
    name = "s-" + uuid.uuid4().hex[:12]
    kinesis.create_stream(StreamName=name, **(more or {"ShardCount": 1}))
    return name


def active(kinesis, name):
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 5})
    return name


@test
def a_stream_is_creating_then_active(kinesis):
    name = created(kinesis, ShardCount=2, Tags={"a": "b"})
    assert state(kinesis, name) == "CREATING"
    stream = kinesis.describe_stream(StreamName=name)["StreamDescription"]
    assert stream["StreamStatus"] == "CREATING" and name in kinesis.list_streams(Limit=100)["StreamNames"]
    refused("ResourceNotFoundException", kinesis.put_record, StreamName=name, Data=b"", PartitionKey="k")
    refused("ResourceNotFoundException", kinesis.get_shard_iterator, StreamName=name, ShardId="shardId-000000000000",
            ShardIteratorType="LATEST")
    refused("ResourceInUseException", kinesis.create_stream, "already exists", StreamName=name, ShardCount=1)
    not_active = f"Stream {name} under account 000000000000 not ACTIVE"
    refused("ResourceInUseException", kinesis.add_tags_to_stream, not_active, StreamName=name, Tags={"c": "d"})
    refused("ResourceInUseException", kinesis.delete_stream, not_active, StreamName=name)
    active(kinesis, name)
    assert kinesis.list_tags_for_stream(StreamName=name)["Tags"] == [{"Key": "a", "Value": "b"}]
    kinesis.put_record(StreamName=name, Data=b"", PartitionKey="k")


@test
def changes_show_updating_while_records_go_on(kinesis):
    name = active(kinesis, created(kinesis))
    changes = [
        lambda: kinesis.split_shard(StreamName=name, ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127)),
        lambda: kinesis.merge_shards(StreamName=name, ShardToMerge="shardId-000000000001",
                                     AdjacentShardToMerge="shardId-000000000002"),
        lambda: kinesis.update_shard_count(StreamName=name, TargetShardCount=2, ScalingType="UNIFORM_SCALING"),
        lambda: kinesis.increase_stream_retention_period(StreamName=name, RetentionPeriodHours=48),
        lambda: kinesis.decrease_stream_retention_period(StreamName=name, RetentionPeriodHours=24),
    ]
    for number, change in enumerate(changes):
        change()
        assert state(kinesis, name) == "UPDATING", number
        put = kinesis.put_record(StreamName=name, Data=b"%d" % number, PartitionKey="k")
        page = kinesis.get_records(ShardIterator=iterator(kinesis, name, put["ShardId"]))
        assert page["Records"][-1]["Data"] == b"%d" % number
        for again in changes:
            try:
                again()
            except kinesis.exceptions.ResourceInUseException as error:
                assert "not ACTIVE, instead in state UPDATING" in str(error)
            except kinesis.exceptions.InvalidArgumentException:
                pass  # what is wrong with the shards is said first
            else:
                raise AssertionError("two changes at once")
        time.sleep(0.6)
        active(kinesis, name)
    assert kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["OpenShardCount"] == 2


@test
def a_stream_is_deleting_then_gone(kinesis):
    name = active(kinesis, created(kinesis))
    at = iterator(kinesis, name)
    kinesis.delete_stream(StreamName=name)
    assert state(kinesis, name) == "DELETING"
    refused("ResourceInUseException", kinesis.delete_stream, "instead in state DELETING", StreamName=name)
    refused("ResourceInUseException", kinesis.create_stream, "already exists", StreamName=name, ShardCount=1)
    refused("ResourceInUseException", kinesis.split_shard, "instead in state DELETING", StreamName=name,
            ShardToSplit="shardId-000000000000", NewStartingHashKey=str(2**127))
    refused("ResourceNotFoundException", kinesis.put_record, StreamName=name, Data=b"", PartitionKey="k")
    refused("ResourceNotFoundException", kinesis.get_records, ShardIterator=at)
    kinesis.get_waiter("stream_not_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 5})
    active(kinesis, created(kinesis, ShardCount=1))


@test
def no_more_than_five_streams_are_created_at_once(kinesis):
    time.sleep(0.6)
    names = [created(kinesis) for _ in range(5)]
    refused("LimitExceededException", kinesis.create_stream, "CREATING", StreamName="sixth", ShardCount=1)
    for name in names:
        active(kinesis, name)
    active(kinesis, created(kinesis))
