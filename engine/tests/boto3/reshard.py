"""Splitting, merging and resizing: shards that end and begin, and how readers find their way."""

import hashlib
import time
import uuid

from support import arn_of, fresh, iterator, loose, refused, test

TOP = 2**128
FIRST, SECOND = "shardId-000000000000", "shardId-000000000001"


def split(kinesis, name, shard=FIRST, at=TOP // 2):
    kinesis.split_shard(StreamName=name, ShardToSplit=shard, NewStartingHashKey=str(at))


def resize(kinesis, name, count):
    return kinesis.update_shard_count(StreamName=name, TargetShardCount=count, ScalingType="UNIFORM_SCALING")


def shards_of(kinesis, name):
    return {s["ShardId"]: s for s in kinesis.list_shards(StreamName=name)["Shards"]}


def ranges(shards):
    """The open shards' ranges, in order; they must cover the space."""
    found = sorted((int(s["HashKeyRange"]["StartingHashKey"]), int(s["HashKeyRange"]["EndingHashKey"]))
                   for s in shards.values() if "EndingSequenceNumber" not in s["SequenceNumberRange"])
    assert found[0][0] == 0 and found[-1][1] == TOP - 1
    assert all(a[1] + 1 == b[0] for a, b in zip(found, found[1:])), found
    return found


def read_to_end(kinesis, at):
    """Everything of a closed shard, and the children it names."""
    records = []
    while True:
        page = kinesis.get_records(ShardIterator=at, Limit=7)
        records += page["Records"]
        if "NextShardIterator" not in page:
            return records, page["ChildShards"]
        assert "ChildShards" not in page
        at = page["NextShardIterator"]


@test
def a_split_closes_the_shard_and_opens_two_children(kinesis):
    name = fresh(kinesis)
    old = [kinesis.put_record(StreamName=name, Data=b"%d" % i, PartitionKey=f"k{i}") for i in range(20)]
    split(kinesis, name, at=TOP // 4)
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 3})
    shards = shards_of(kinesis, name)
    assert list(shards) == [f"shardId-{i:012}" for i in range(3)]
    assert ranges(shards) == [(0, TOP // 4 - 1), (TOP // 4, TOP - 1)]
    for child in ("shardId-000000000001", "shardId-000000000002"):
        assert shards[child]["ParentShardId"] == FIRST and "AdjacentParentShardId" not in shards[child]
    end = int(shards[FIRST]["SequenceNumberRange"]["EndingSequenceNumber"])
    assert end >= max(int(put["SequenceNumber"]) for put in old)
    summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    assert summary["OpenShardCount"] == 2 and summary["StreamStatus"] == "ACTIVE"
    for i in range(20):
        put = kinesis.put_record(StreamName=name, Data=b"", PartitionKey=f"k{i}")
        hash_key = int(hashlib.md5(f"k{i}".encode()).hexdigest(), 16)
        assert put["ShardId"] == ("shardId-000000000001" if hash_key < TOP // 4 else "shardId-000000000002")
        assert int(put["SequenceNumber"]) > end, "numbers go on across the split"


@test
def a_closed_shard_is_read_to_its_end_and_names_its_children(kinesis):
    name = fresh(kinesis)
    for i in range(20):
        kinesis.put_record(StreamName=name, Data=b"%d" % i, PartitionKey="k")
    before = iterator(kinesis, name)
    split(kinesis, name)
    for at in (before, iterator(kinesis, name)):
        records, children = read_to_end(kinesis, at)
        assert [r["Data"] for r in records] == [b"%d" % i for i in range(20)]
        assert children == [
            {"ShardId": "shardId-000000000001", "ParentShards": [FIRST],
             "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": str(TOP // 2 - 1)}},
            {"ShardId": "shardId-000000000002", "ParentShards": [FIRST],
             "HashKeyRange": {"StartingHashKey": str(TOP // 2), "EndingHashKey": str(TOP - 1)}},
        ]
    assert read_to_end(kinesis, iterator(kinesis, name, kind="LATEST"))[0] == []
    end = shards_of(kinesis, name)[FIRST]["SequenceNumberRange"]["EndingSequenceNumber"]
    at = iterator(kinesis, name, kind="AT_SEQUENCE_NUMBER", StartingSequenceNumber=end)
    records, children = read_to_end(kinesis, at)
    assert records == [] and len(children) == 2


@test
def a_merge_joins_two_neighbours_and_both_name_the_child(kinesis):
    name = fresh(kinesis, 3)
    for i in range(30):
        kinesis.put_record(StreamName=name, Data=b"%d" % i, PartitionKey=f"k{i}")
    kinesis.merge_shards(StreamARN=arn_of(name), ShardToMerge=FIRST, AdjacentShardToMerge=SECOND)
    shards = shards_of(kinesis, name)
    child = shards["shardId-000000000003"]
    assert child["ParentShardId"] == FIRST and child["AdjacentParentShardId"] == SECOND
    assert len(ranges(shards)) == 2 and child["HashKeyRange"]["StartingHashKey"] == "0"
    for parent in (FIRST, SECOND):
        _, children = read_to_end(kinesis, iterator(kinesis, name, parent))
        assert [(c["ShardId"], c["ParentShards"]) for c in children] == [("shardId-000000000003", [FIRST, SECOND])]
    # The other order is a merge too.
    kinesis.merge_shards(StreamName=name, ShardToMerge="shardId-000000000003", AdjacentShardToMerge="shardId-000000000002")
    assert ranges(shards_of(kinesis, name)) == [(0, TOP - 1)]


@test
def a_resize_makes_even_shards_and_says_from_how_many(kinesis):
    name = fresh(kinesis, 2)
    answer = resize(kinesis, name, 4)
    assert {k: answer[k] for k in ("StreamName", "CurrentShardCount", "TargetShardCount", "StreamARN")} == {
        "StreamName": name, "CurrentShardCount": 2, "TargetShardCount": 4, "StreamARN": arn_of(name)}
    assert ranges(shards_of(kinesis, name)) == [(TOP // 4 * i, TOP // 4 * (i + 1) - 1) for i in range(4)]
    for count in (3, 6, 5, 1, 40):
        resize(kinesis, name, count)
        found = ranges(shards_of(kinesis, name))
        assert len(found) == count
        assert all(abs((end - start + 1) - TOP // count) < 2**30 for start, end in found)
        summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
        assert summary["OpenShardCount"] == count
    for shard in shards_of(kinesis, name).values():
        assert len({shard.get("ParentShardId"), shard.get("AdjacentParentShardId")} - {None}) <= 2


@test
def four_shards_become_five_as_in_aws(kinesis):
    name = fresh(kinesis, 4)
    resize(kinesis, name, 5)
    assert len(shards_of(kinesis, name)) == 15, "short-lived shards are counted in AWS too"


@test
def shards_of_a_resharded_stream_are_paged(kinesis):
    name = fresh(kinesis, 60)
    resize(kinesis, name, 120)
    ids = [f"shardId-{i:012}" for i in range(180)]
    pages = kinesis.get_paginator("describe_stream").paginate(StreamName=name, PaginationConfig={"PageSize": 50})
    assert [s["ShardId"] for page in pages for s in page["StreamDescription"]["Shards"]] == ids
    page = kinesis.list_shards(StreamName=name, MaxResults=50, ShardFilter={"Type": "AT_LATEST"})
    found = page["Shards"]
    while "NextToken" in page:
        page = kinesis.list_shards(NextToken=page["NextToken"], MaxResults=50)
        found += page["Shards"]
    assert [s["ShardId"] for s in found] == ids[60:]


@test
def splits_that_make_no_sense_are_refused(kinesis):
    name = fresh(kinesis, 2)
    ask = lambda shard=FIRST, at="9", **more: dict(StreamName=name, ShardToSplit=shard, NewStartingHashKey=at, **more)
    call, bad = kinesis.split_shard, loose(kinesis).split_shard
    for at in ("0", "1", str(TOP // 2 - 1), str(TOP // 2), str(TOP - 1), str(TOP)):
        message = refused("InvalidArgumentException", call, **ask(at=at))["Message"]
        assert "is not both greater than one plus the shard's StartingHashKey 0 and less than the shard's EndingHashKey" in message
    missing = f"Could not find shard shardId-000000000009 in stream {name} under account 000000000000."
    refused("ResourceNotFoundException", call, missing, **ask("shardId-000000000009"))
    refused("ResourceNotFoundException", call, "Could not find shard nonsense", **ask("nonsense"))
    refused("ResourceNotFoundException", call, "not found", StreamName="absent", ShardToSplit=FIRST, NewStartingHashKey="9")
    refused("ValidationException", bad, "'newStartingHashKey'", **ask(at="09"))
    refused("ValidationException", bad, "'shardToSplit'", StreamName=name, NewStartingHashKey="9")
    refused("InvalidArgumentException", call, "Either StreamName or StreamARN", ShardToSplit=FIRST, NewStartingHashKey="9")
    split(kinesis, name, at=9)
    refused("InvalidArgumentException", call, f"Shard {FIRST} in stream {name} under account 000000000000 has already been "
            "merged or split, and thus is not eligible for merging or splitting.", **ask())
    assert len(shards_of(kinesis, name)) == 4


@test
def merges_that_make_no_sense_are_refused(kinesis):
    name = fresh(kinesis, 4)
    ask = lambda a, b: dict(StreamName=name, ShardToMerge=f"shardId-{a:012}", AdjacentShardToMerge=f"shardId-{b:012}")
    call = kinesis.merge_shards
    for a, b in ((0, 2), (0, 0), (3, 0)):
        refused("InvalidArgumentException", call, "are not an adjacent pair of shards eligible for merging", **ask(a, b))
    refused("ResourceNotFoundException", call, "Could not find shard shardId-000000000008", **ask(0, 8))
    refused("ResourceNotFoundException", call, "not found", **dict(ask(0, 1), StreamName="absent"))
    refused("ValidationException", loose(kinesis).merge_shards, "'adjacentShardToMerge'", StreamName=name, ShardToMerge=FIRST)
    call(**ask(0, 1))
    refused("InvalidArgumentException", call, "has already been merged or split", **ask(1, 2))


@test
def resizes_that_make_no_sense_are_refused(kinesis):
    name = fresh(kinesis)
    ask = dict(StreamName=name, TargetShardCount=2, ScalingType="UNIFORM_SCALING")
    bad = loose(kinesis).update_shard_count
    refused("ValidationException", bad, "'targetShardCount'", **dict(ask, TargetShardCount=0))
    refused("ValidationException", bad, "'scalingType'", **dict(ask, ScalingType="X"))
    refused("ValidationException", bad, "'scalingType'", StreamName=name, TargetShardCount=2)
    refused("LimitExceededException", bad, "10000", **dict(ask, TargetShardCount=10001))
    refused("ResourceNotFoundException", bad, "not found", **dict(ask, StreamName="absent"))
    assert len(shards_of(kinesis, name)) == 1


@test
def shards_of_on_demand_streams_are_not_the_clients(kinesis):
    name = "s-" + uuid.uuid4().hex[:12]
    kinesis.create_stream(StreamName=name, StreamModeDetails={"StreamMode": "ON_DEMAND"})
    message = f"Request is invalid. Stream {name} under account 000000000000 is in On-Demand mode."
    refused("ValidationException", kinesis.split_shard, message, StreamName=name, ShardToSplit=FIRST, NewStartingHashKey="9")
    refused("ValidationException", kinesis.merge_shards, message, StreamName=name, ShardToMerge=FIRST, AdjacentShardToMerge=SECOND)
    refused("ValidationException", kinesis.update_shard_count, message, StreamName=name, TargetShardCount=2,
            ScalingType="UNIFORM_SCALING")


@test
def filters_go_by_when_shards_were_open(kinesis):
    name = fresh(kinesis)
    time.sleep(1.1)
    before = time.time()
    time.sleep(1.1)
    split(kinesis, name)
    time.sleep(1.1)
    of = lambda **more: [int(s["ShardId"][-3:]) for s in kinesis.list_shards(StreamName=name, ShardFilter=more)["Shards"]]
    assert of(Type="FROM_TRIM_HORIZON") == [0, 1, 2] and of(Type="AT_TRIM_HORIZON") == [0]
    assert of(Type="AT_LATEST") == [1, 2] and of(Type="AFTER_SHARD_ID", ShardId=FIRST) == [1, 2]
    assert of(Type="AT_TIMESTAMP", Timestamp=before) == [0] and of(Type="AT_TIMESTAMP", Timestamp=time.time()) == [1, 2]
    assert of(Type="FROM_TIMESTAMP", Timestamp=before) == [0, 1, 2] and of(Type="FROM_TIMESTAMP", Timestamp=time.time()) == [1, 2]


@test
def limits_count_what_reshards_open(kinesis):
    before = kinesis.describe_limits()["OpenShardCount"]
    name = fresh(kinesis)
    split(kinesis, name)
    assert kinesis.describe_limits()["OpenShardCount"] == before + 2
