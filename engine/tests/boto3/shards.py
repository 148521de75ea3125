"""Describing and listing shards."""

import datetime

from support import fresh, loose, refused, test


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
