"""Putting and reading records."""

import datetime
import hashlib
import time
import uuid

from support import arn_of, call, drain, fresh, iterator, loose, refused, test


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
