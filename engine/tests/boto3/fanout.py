"""Consumers, and what is pushed to them."""

import time

from support import arn_of, call, client_of, fresh, loose, refused, test

SHARD = "shardId-000000000000"


def consumer_of(kinesis, name, consumer="board", **more):
    return kinesis.register_stream_consumer(StreamARN=arn_of(name), ConsumerName=consumer, **more)["Consumer"]


def subscribe(kinesis, consumer, kind="TRIM_HORIZON", shard=SHARD, **more):
    answer = kinesis.subscribe_to_shard(
        ConsumerARN=consumer["ConsumerARN"], ShardId=shard, StartingPosition={"Type": kind, **more}
    )
    return answer["EventStream"]


def events(stream, count):
    """So many events; the stream is closed then."""
    found = []
    for event in stream:
        found.append(event["SubscribeToShardEvent"])
        if len(found) == count:
            break
    stream.close()
    return found


def put(kinesis, name, *texts):
    return [
        kinesis.put_record(StreamName=name, PartitionKey="k", Data=text.encode())["SequenceNumber"] for text in texts
    ]


def texts(found):
    return [record["Data"].decode() for event in found for record in event["Records"]]


@test
def a_consumer_is_described_as_it_was_registered(kinesis):
    name = fresh(kinesis)
    before = int(time.time())
    made = consumer_of(kinesis, name, Tags={"room": "boiler"})
    created = int(made["ConsumerCreationTimestamp"].timestamp())
    assert before <= created <= time.time() + 1
    assert made["ConsumerARN"] == f"{arn_of(name)}/consumer/board:{created}"
    assert (made["ConsumerName"], made["ConsumerStatus"]) == ("board", "ACTIVE")
    for address in (
        {"ConsumerARN": made["ConsumerARN"]},
        {"StreamARN": arn_of(name), "ConsumerName": "board"},
        {"StreamARN": arn_of(name), "ConsumerName": "board", "ConsumerARN": made["ConsumerARN"]},
    ):
        described = kinesis.describe_stream_consumer(**address)["ConsumerDescription"]
        assert described == {**made, "StreamARN": arn_of(name)}, described


@test
def a_name_is_taken_once_a_stream_and_free_again_after_deregistration(kinesis):
    name, other = fresh(kinesis), fresh(kinesis)
    first = consumer_of(kinesis, name)
    refused("ResourceInUseException", kinesis.register_stream_consumer, "board", StreamARN=arn_of(name), ConsumerName="board")
    consumer_of(kinesis, other)
    kinesis.deregister_stream_consumer(ConsumerARN=first["ConsumerARN"])
    second = consumer_of(kinesis, name)
    assert second["ConsumerARN"] != first["ConsumerARN"], "a consumer registered anew is another"
    refused("ResourceNotFoundException", kinesis.describe_stream_consumer, ConsumerARN=first["ConsumerARN"])
    kinesis.deregister_stream_consumer(StreamARN=arn_of(name), ConsumerName="board")
    refused("ResourceNotFoundException", kinesis.describe_stream_consumer, StreamARN=arn_of(name), ConsumerName="board")
    assert kinesis.list_stream_consumers(StreamARN=arn_of(name))["Consumers"] == []


@test
def a_stream_has_twenty_consumers_at_most(kinesis):
    name = fresh(kinesis)
    for i in range(20):
        consumer_of(kinesis, name, f"c-{i:02}")
    refused("LimitExceededException", kinesis.register_stream_consumer, "20", StreamARN=arn_of(name), ConsumerName="one-more")
    kinesis.deregister_stream_consumer(StreamARN=arn_of(name), ConsumerName="c-07")
    consumer_of(kinesis, name, "one-more")


@test
def consumers_are_listed_by_name_a_page_at_a_time(kinesis):
    name = fresh(kinesis)
    names = [f"c-{i}" for i in range(7)]
    for consumer in reversed(names):
        consumer_of(kinesis, name, consumer)
    pages = list(
        kinesis.get_paginator("list_stream_consumers").paginate(
            StreamARN=arn_of(name), PaginationConfig={"PageSize": 3}
        )
    )
    assert [[c["ConsumerName"] for c in page["Consumers"]] for page in pages] == [names[:3], names[3:6], names[6:]]
    created = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamCreationTimestamp"]
    listed = kinesis.list_stream_consumers(StreamARN=arn_of(name), StreamCreationTimestamp=created)
    assert len(listed["Consumers"]) == 7 and "NextToken" not in listed
    refused("ResourceNotFoundException", kinesis.list_stream_consumers, StreamARN=arn_of(name), StreamCreationTimestamp=1)
    token = pages[0]["NextToken"]
    refused("InvalidArgumentException", kinesis.list_stream_consumers, StreamARN=arn_of(name), NextToken="x")
    refused("InvalidArgumentException", kinesis.list_stream_consumers, StreamARN=arn_of(fresh(kinesis)), NextToken=token)
    refused("InvalidArgumentException", kinesis.list_stream_consumers, "together",
            StreamARN=arn_of(name), NextToken=token, StreamCreationTimestamp=created)


@test
def a_consumer_that_is_not_there_is_named(kinesis):
    name = fresh(kinesis)
    made = consumer_of(kinesis, name)
    other = consumer_of(kinesis, name, "other")
    gone = made["ConsumerARN"][:-1] + ("1" if made["ConsumerARN"][-1] != "1" else "2")
    for operation in (kinesis.describe_stream_consumer, kinesis.deregister_stream_consumer):
        refused("ResourceNotFoundException", operation, "not found", ConsumerARN=gone)
        refused("ResourceNotFoundException", operation, "nobody", StreamARN=arn_of(name), ConsumerName="nobody")
        refused("ResourceNotFoundException", operation, StreamARN=arn_of("no-such-stream"), ConsumerName="board")
        refused("InvalidArgumentException", operation, ConsumerName="board")
        refused("InvalidArgumentException", operation)
        refused("InvalidArgumentException", operation, ConsumerARN=made["ConsumerARN"], ConsumerName="other")
        refused("InvalidArgumentException", operation, ConsumerARN=other["ConsumerARN"], StreamARN=arn_of(fresh(kinesis)))
    refused("ResourceNotFoundException", kinesis.register_stream_consumer, StreamARN=arn_of("no-such-stream"), ConsumerName="x")
    refused("ResourceNotFoundException", kinesis.list_stream_consumers, StreamARN=arn_of("no-such-stream"))
    refused("ValidationException", loose(kinesis).register_stream_consumer, "consumerName", StreamARN=arn_of(name))
    refused("ValidationException", kinesis.register_stream_consumer, "consumerName", StreamARN=arn_of(name), ConsumerName="a b")


@test
def records_before_and_after_the_call_are_pushed_in_order(kinesis):
    name = fresh(kinesis)
    numbers = put(kinesis, name, "1", "2", "3")
    stream = subscribe(kinesis, consumer_of(kinesis, name))
    iterator = iter(stream)
    first = next(iterator)["SubscribeToShardEvent"]
    assert texts([first]) == ["1", "2", "3"]
    assert [record["SequenceNumber"] for record in first["Records"]] == numbers
    assert first["MillisBehindLatest"] == 0 and "ChildShards" not in first
    assert all(record["PartitionKey"] == "k" for record in first["Records"])
    put(kinesis, name, "4")
    begun = time.time()
    second = next(iterator)["SubscribeToShardEvent"]
    assert texts([second]) == ["4"]
    assert time.time() - begun < 2, "pushed, not polled"
    stream.close()


@test
def an_idle_subscription_says_where_it_is_and_stays_alive(kinesis):
    name = fresh(kinesis)
    put(kinesis, name, "before")
    begun = time.time()
    found = events(subscribe(kinesis, consumer_of(kinesis, name), "LATEST"), 2)
    assert 4 < time.time() - begun < 15
    assert texts(found) == []
    assert all(event["MillisBehindLatest"] == 0 for event in found)
    # The number of an empty event is one to go on from, at or after it, without a gap or a repeat.
    put(kinesis, name, "after")
    for i, kind in enumerate(("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER")):
        number = found[i]["ContinuationSequenceNumber"]
        consumer = consumer_of(kinesis, name, f"again-{i}")
        assert texts(events(subscribe(kinesis, consumer, kind, SequenceNumber=number), 1)) == ["after"]
        got = kinesis.get_shard_iterator(
            StreamName=name, ShardId=SHARD, ShardIteratorType=kind, StartingSequenceNumber=number
        )["ShardIterator"]
        assert [r["Data"] for r in kinesis.get_records(ShardIterator=got)["Records"]] == [b"after"]


@test
def a_subscription_goes_on_where_the_last_one_ended(kinesis):
    name = fresh(kinesis)
    seen, number, kind = [], None, "TRIM_HORIZON"
    for i in range(4):
        put(kinesis, name, f"{i}a", f"{i}b")
        consumer = consumer_of(kinesis, name, f"c-{i}")
        more = {"SequenceNumber": number} if number else {}
        found = events(subscribe(kinesis, consumer, kind, **more), 1)
        seen += texts(found)
        number, kind = found[-1]["ContinuationSequenceNumber"], ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER")[i % 2]
    assert seen == [f"{i}{half}" for i in range(4) for half in "ab"]


@test
def all_five_positions_begin_where_they_say(kinesis):
    name = fresh(kinesis)
    numbers = put(kinesis, name, "1", "2")
    time.sleep(0.05)
    between = time.time()
    time.sleep(0.05)
    put(kinesis, name, "3")
    cases = {
        "TRIM_HORIZON": ({}, ["1", "2", "3"]),
        "AT_SEQUENCE_NUMBER": ({"SequenceNumber": numbers[1]}, ["2", "3"]),
        "AFTER_SEQUENCE_NUMBER": ({"SequenceNumber": numbers[1]}, ["3"]),
        "AT_TIMESTAMP": ({"Timestamp": between}, ["3"]),
        "LATEST": ({}, []),
    }
    for kind, (more, expected) in cases.items():
        consumer = consumer_of(kinesis, name, kind)
        assert texts(events(subscribe(kinesis, consumer, kind, **more), 1)) == expected, kind


@test
def positions_are_checked_as_those_of_iterators(kinesis):
    name, other = fresh(kinesis, 2), fresh(kinesis)
    made = consumer_of(kinesis, name)
    number = kinesis.put_record(StreamName=name, PartitionKey="k", Data=b"x", ExplicitHashKey="0")["SequenceNumber"]
    foreign = put(kinesis, other, "x")[0]

    def position(code, contains="", shard=SHARD, **starting):
        refused(code, loose(kinesis).subscribe_to_shard, contains,
                ConsumerARN=made["ConsumerARN"], ShardId=shard, StartingPosition=starting)

    position("InvalidArgumentException", "no StartingSequenceNumber", Type="AT_SEQUENCE_NUMBER")
    position("InvalidArgumentException", "StartingSequenceNumber", Type="LATEST", SequenceNumber=number)
    position("InvalidArgumentException", "timestamp", Type="AT_TIMESTAMP")
    position("InvalidArgumentException", "greater", Type="AT_TIMESTAMP", Timestamp=time.time() + 1000)
    position("InvalidArgumentException", "did not come from", Type="AT_SEQUENCE_NUMBER", SequenceNumber=foreign)
    position("InvalidArgumentException", "encodes", "shardId-000000000001", Type="AT_SEQUENCE_NUMBER", SequenceNumber=number)
    position("InvalidArgumentException", "invalid", Type="AT_SEQUENCE_NUMBER", SequenceNumber="7")
    position("ResourceNotFoundException", "shardId-000000000009", "shardId-000000000009", Type="LATEST")
    position("ValidationException", "startingPosition.type", Type="NEVER")
    position("ValidationException", "startingPosition.type")
    gone = made["ConsumerARN"].replace("/board:", "/nobody:")
    refused("ResourceNotFoundException", kinesis.subscribe_to_shard, "not found",
            ConsumerARN=gone, ShardId=SHARD, StartingPosition={"Type": "LATEST"})
    # A refused call is no call: the consumer can subscribe at once.
    events(subscribe(kinesis, made), 1)


@test
def a_dry_run_says_what_would_have_been_and_does_nothing(kinesis):
    name = fresh(kinesis)
    made = consumer_of(kinesis, name)
    asked = {"ConsumerARN": made["ConsumerARN"], "ShardId": SHARD, "StartingPosition": {"Type": "LATEST"}, "DryRun": True}
    refused("DryRunOperationException", kinesis.subscribe_to_shard, **asked)
    refused("DryRunOperationException", kinesis.subscribe_to_shard, **asked)
    stream = subscribe(kinesis, made)
    refused("ResourceInUseException", kinesis.subscribe_to_shard, **asked)
    stream.close()


@test
def a_second_call_is_refused_for_five_seconds_and_then_takes_over(kinesis):
    name = fresh(kinesis)
    made = consumer_of(kinesis, name)
    begun = time.time()
    first = iter(stream := subscribe(kinesis, made))
    next(first)
    refused("ResourceInUseException", kinesis.subscribe_to_shard, "Another active subscription exists for this consumer",
            ConsumerARN=made["ConsumerARN"], ShardId=SHARD, StartingPosition={"Type": "LATEST"})
    time.sleep(max(0, begun + 5.2 - time.time()))
    second = subscribe(kinesis, made)
    try:
        for _ in first:
            pass
        raise AssertionError("the first subscription ended without a reason")
    except Exception as error:  # botocore's EventStreamError
        assert error.response["Error"]["Code"] == "ResourceInUseException", error
        assert "Another active subscription" in error.response["Error"]["Message"]
    put(kinesis, name, "to the second")
    assert texts(events(second, 2)) == ["to the second"]
    stream.close()


@test
def subscriptions_end_with_their_consumer_and_with_their_stream(kinesis):
    for how in ("consumer", "stream"):
        name = fresh(kinesis)
        made = consumer_of(kinesis, name)
        stream = iter(subscribe(kinesis, made))
        next(stream)
        if how == "consumer":
            kinesis.deregister_stream_consumer(ConsumerARN=made["ConsumerARN"])
        else:
            kinesis.delete_stream(StreamName=name, EnforceConsumerDeletion=True)
        try:
            list(stream)
            raise AssertionError("ended without a reason")
        except Exception as error:
            assert error.response["Error"]["Code"] == "ResourceNotFoundException", (how, error)
        refused("ResourceNotFoundException", kinesis.describe_stream_consumer, ConsumerARN=made["ConsumerARN"])


@test
def large_records_come_whole_and_large_backlogs_in_bounded_events(kinesis):
    name = fresh(kinesis)
    sizes = [700_000, 700_000, 1_000_000, 10]
    for i, size in enumerate(sizes):
        kinesis.put_record(StreamName=name, PartitionKey="k", Data=bytes([65 + i]) * size)
    found = events(subscribe(kinesis, consumer_of(kinesis, name)), 3)
    records = [record for event in found for record in event["Records"]]
    assert [len(record["Data"]) for record in records] == sizes
    assert [len(event["Records"]) for event in found] == [1, 1, 2]
    assert found[0]["MillisBehindLatest"] > 0 and found[2]["MillisBehindLatest"] == 0


@test
def streams_with_consumers_are_deleted_only_when_that_is_said(kinesis):
    name = fresh(kinesis)
    consumer_of(kinesis, name)
    summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    assert summary["ConsumerCount"] == 1
    refused("ResourceInUseException", kinesis.delete_stream, "EnforceConsumerDeletion", StreamName=name)
    refused("ResourceInUseException", kinesis.delete_stream, StreamName=name, EnforceConsumerDeletion=False)
    kinesis.delete_stream(StreamName=name, EnforceConsumerDeletion=True)


def to_the_end(stream):
    found = [event["SubscribeToShardEvent"] for event in stream]
    assert all("ContinuationSequenceNumber" in event and "ChildShards" not in event for event in found[:-1])
    assert "ContinuationSequenceNumber" not in found[-1], "there is nothing to continue at a shard's end"
    assert found[-1]["Records"] == [] and found[-1]["MillisBehindLatest"] == 0
    return texts(found), found[-1]["ChildShards"]


@test
def a_split_ends_a_subscription_with_the_children(kinesis):
    name = fresh(kinesis)
    made = consumer_of(kinesis, name)
    iterator = iter(subscribe(kinesis, made))
    put(kinesis, name, "1", "2")
    seen = []
    while seen != ["1", "2"]:
        seen += texts([next(iterator)["SubscribeToShardEvent"]])
    kinesis.split_shard(StreamName=name, ShardToSplit=SHARD, NewStartingHashKey=str(2**127))
    begun = time.time()
    rest, children = to_the_end(iterator)
    assert rest == [] and time.time() - begun < 3, "told at once, not by the next keep-alive"
    assert [child["ShardId"] for child in children] == ["shardId-000000000001", "shardId-000000000002"]
    assert all(child["ParentShards"] == [SHARD] for child in children)
    assert children[0]["HashKeyRange"] == {"StartingHashKey": "0", "EndingHashKey": str(2**127 - 1)}
    assert children[1]["HashKeyRange"] == {"StartingHashKey": str(2**127), "EndingHashKey": str(2**128 - 1)}


@test
def a_closed_shard_is_read_to_its_end_from_wherever_it_begins(kinesis):
    name = fresh(kinesis, 2)
    number = kinesis.put_record(StreamName=name, PartitionKey="k", ExplicitHashKey="0", Data=b"1")["SequenceNumber"]
    kinesis.put_record(StreamName=name, PartitionKey="k", ExplicitHashKey="0", Data=b"2")
    kinesis.merge_shards(StreamName=name, ShardToMerge=SHARD, AdjacentShardToMerge="shardId-000000000001")
    cases = {
        "TRIM_HORIZON": ({}, ["1", "2"]),
        "AT_SEQUENCE_NUMBER": ({"SequenceNumber": number}, ["1", "2"]),
        "AFTER_SEQUENCE_NUMBER": ({"SequenceNumber": number}, ["2"]),
        "LATEST": ({}, []),
    }
    for kind, (more, expected) in cases.items():
        found, children = to_the_end(subscribe(kinesis, consumer_of(kinesis, name, kind), kind, **more))
        assert found == expected, kind
        assert [(child["ShardId"], child["ParentShards"]) for child in children] == [
            ("shardId-000000000002", [SHARD, "shardId-000000000001"])]
    # The other parent, which never held a record, has the same child; and the child goes on.
    other = consumer_of(kinesis, name, "other")
    found, children = to_the_end(subscribe(kinesis, other, shard="shardId-000000000001"))
    assert found == [] and children[0]["ShardId"] == "shardId-000000000002"
    put(kinesis, name, "3")
    assert texts(events(subscribe(kinesis, other, shard="shardId-000000000002"), 1)) == ["3"]


@test
def every_record_of_a_resharding_stream_is_pushed_once_and_in_order(kinesis):
    name = fresh(kinesis)
    made = consumer_of(kinesis, name)
    for i in range(60):
        put(kinesis, name, str(i))
        if i in (19, 39):
            shards = [s for s in kinesis.list_shards(StreamName=name)["Shards"]
                      if "EndingSequenceNumber" not in s["SequenceNumberRange"]]
            kinesis.update_shard_count(StreamName=name, TargetShardCount=2 * len(shards), ScalingType="UNIFORM_SCALING")
            kinesis.get_waiter("stream_exists").wait(StreamName=name)
    # One key: its records are in one line of descent, whose shards follow each other.
    seen, todo, done = [], [SHARD], set()
    open_shards = {s["ShardId"] for s in kinesis.list_shards(StreamName=name)["Shards"]
                   if "EndingSequenceNumber" not in s["SequenceNumberRange"]}
    while todo:
        shard = todo.pop(0)
        if shard in done:
            continue
        done.add(shard)
        if shard in open_shards:
            seen += texts(events(subscribe(kinesis, made, shard=shard), 1))
            continue
        found, children = to_the_end(subscribe(kinesis, made, shard=shard))
        seen += found
        todo += [child["ShardId"] for child in children]
    assert seen == [str(i) for i in range(60)], seen
