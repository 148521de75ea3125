"""Settings of streams and of the account, policies and tags by ARN."""

import json

from support import arn_of, fresh, loose, refused, test


def on_demand(kinesis, **more):
    import uuid

    name = "s-" + uuid.uuid4().hex[:12]
    kinesis.create_stream(StreamName=name, StreamModeDetails={"StreamMode": "ON_DEMAND"}, **more)
    return name


def summary(kinesis, name):
    return kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]


def mode(kinesis, name, mode, **more):
    return kinesis.update_stream_mode(StreamARN=arn_of(name), StreamModeDetails={"StreamMode": mode}, **more)


def settled(kinesis, name):
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 9})


@test
def a_stream_changes_its_mode_and_keeps_its_shards(kinesis):
    name = fresh(kinesis, 3)
    mode(kinesis, name, "ON_DEMAND")
    settled(kinesis, name)
    found = summary(kinesis, name)
    assert found["StreamModeDetails"] == {"StreamMode": "ON_DEMAND"} and found["OpenShardCount"] == 3
    mode(kinesis, name, "ON_DEMAND")
    settled(kinesis, name)
    mode(kinesis, name, "PROVISIONED")
    settled(kinesis, name)
    assert summary(kinesis, name)["StreamModeDetails"] == {"StreamMode": "PROVISIONED"}
    refused("ResourceNotFoundException", kinesis.update_stream_mode, "nope", StreamARN=arn_of("nope"),
            StreamModeDetails={"StreamMode": "ON_DEMAND"})
    refused("ValidationException", loose(kinesis).update_stream_mode, "enum value set: [PROVISIONED, ON_DEMAND]",
            StreamARN=arn_of(name), StreamModeDetails={"StreamMode": "X"})


@test
def a_raised_record_size_takes_larger_records_and_no_larger_ones(kinesis):
    name = fresh(kinesis)
    put = lambda data_bytes: dict(StreamName=name, Data=b"x" * data_bytes, PartitionKey="k")
    refused("ValidationException", kinesis.put_record, "less than or equal to", **put(1 << 20))
    kinesis.put_record(**put((1 << 20) - 1))
    kinesis.update_max_record_size(StreamARN=arn_of(name), MaxRecordSizeInKiB=10_240)
    settled(kinesis, name)
    assert summary(kinesis, name)["MaxRecordSizeInKiB"] == 10_240
    kinesis.put_record(**put((10 << 20) - 1))
    refused("ValidationException", kinesis.put_record, "less than or equal to", **put(10 << 20))
    # The whole of a PutRecords has the same limit as one record.
    rest = [{"Data": b"y" * (5 << 20), "PartitionKey": "k"}] * 2
    refused("InvalidArgumentException", kinesis.put_records, "10 MB", StreamName=name, Records=rest)
    rest = [{"Data": b"y" * ((5 << 20) - 1), "PartitionKey": "k"}] * 2
    assert kinesis.put_records(StreamName=name, Records=rest)["FailedRecordCount"] == 0
    at = kinesis.get_shard_iterator(StreamName=name, ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON")
    at, sizes = at["ShardIterator"], []
    while len(sizes) < 3:
        page = kinesis.get_records(ShardIterator=at)
        sizes.append([len(record["Data"]) for record in page["Records"]])
        at = page["NextShardIterator"]
    # Whatever does not fit into what is left of 10 MiB waits for the next call.
    assert sizes == [[(1 << 20) - 1], [(10 << 20) - 1], [(5 << 20) - 1] * 2], sizes
    for kib in (1_023, 10_241):
        refused("ValidationException", loose(kinesis).update_max_record_size, str(kib), StreamARN=arn_of(name),
                MaxRecordSizeInKiB=kib)
    refused("InvalidArgumentException", kinesis.update_max_record_size, "StreamARN", MaxRecordSizeInKiB=2_048)


@test
def records_of_an_auto_stream_need_no_key_and_spread_over_all_shards(kinesis):
    name = on_demand(kinesis)
    refused("ValidationException", loose(kinesis).put_record, "partitionKey", StreamName=name, Data=b"x")
    kinesis.update_stream_record_distribution_strategy(StreamARN=arn_of(name), RecordDistributionStrategy="AUTO")
    settled(kinesis, name)
    assert summary(kinesis, name)["RecordDistributionStrategy"] == "AUTO"
    used = [kinesis.put_record(StreamName=name, Data=b"a", PartitionKey="same", ExplicitHashKey="0")["ShardId"] for _ in range(8)]
    assert sorted(set(used)) == [f"shardId-{i:012}" for i in range(4)] and used[:4] == used[4:], used
    answer = kinesis.put_records(StreamName=name, Records=[{"Data": b"b"} for _ in range(100)])
    placed = [record["ShardId"] for record in answer["Records"]]
    assert answer["FailedRecordCount"] == 0 and all(placed.count(shard) == 25 for shard in set(placed)) and len(set(placed)) == 4
    for shard in set(placed):
        at = kinesis.get_shard_iterator(StreamName=name, ShardId=shard, ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
        records = kinesis.get_records(ShardIterator=at)["Records"]
        # A key that was given comes back, one that was not is not made up.
        assert [record.get("PartitionKey") for record in records] == ["same"] * 2 + [None] * 25, records
    refused("InvalidArgumentException", kinesis.update_stream_mode, "AUTO", StreamARN=arn_of(name),
            StreamModeDetails={"StreamMode": "PROVISIONED"})
    kinesis.update_stream_record_distribution_strategy(StreamARN=arn_of(name), RecordDistributionStrategy="USER_PARTITION_KEY")
    refused("ValidationException", loose(kinesis).put_records, "records.1.member.partitionKey", StreamName=name, Records=[{"Data": b"x"}])
    provisioned = fresh(kinesis)
    refused("InvalidArgumentException", kinesis.update_stream_record_distribution_strategy, "PROVISIONED",
            StreamARN=arn_of(provisioned), RecordDistributionStrategy="AUTO")
    made = on_demand(kinesis, RecordDistributionStrategy="AUTO")
    assert summary(kinesis, made)["RecordDistributionStrategy"] == "AUTO"


@test
def the_account_is_committed_and_warm_throughput_comes_with_it(kinesis):
    # Alone on its server: no other test may look at the account meanwhile.
    assert kinesis.describe_account_settings()["MinimumThroughputBillingCommitment"] == {"Status": "DISABLED"}
    name = on_demand(kinesis)
    refused("InvalidArgumentException", kinesis.update_stream_warm_throughput, "MinimumThroughputBillingCommitment",
            StreamName=name, WarmThroughputMiBps=4)
    assert "WarmThroughput" not in summary(kinesis, name)
    made = kinesis.update_account_settings(MinimumThroughputBillingCommitment={"Status": "ENABLED"})
    made = made["MinimumThroughputBillingCommitment"]
    assert made["Status"] == "ENABLED" and (made["EarliestAllowedEndAt"] - made["StartedAt"]).total_seconds() == 86_400
    assert kinesis.describe_account_settings()["MinimumThroughputBillingCommitment"] == made
    answer = kinesis.update_stream_warm_throughput(StreamName=name, WarmThroughputMiBps=4)
    assert answer["StreamName"] == name and answer["StreamARN"] == arn_of(name)
    assert answer["WarmThroughput"] == {"TargetMiBps": 4, "CurrentMiBps": 4}
    settled(kinesis, name)
    assert summary(kinesis, name)["WarmThroughput"] == {"TargetMiBps": 4, "CurrentMiBps": 4}
    warm = on_demand(kinesis, WarmThroughputMiBps=6)
    assert summary(kinesis, warm)["WarmThroughput"] == {"TargetMiBps": 6, "CurrentMiBps": 6}
    refused("InvalidArgumentException", kinesis.update_stream_warm_throughput, "10240", StreamName=name, WarmThroughputMiBps=10_241)
    refused("InvalidArgumentException", kinesis.update_stream_warm_throughput, "ON_DEMAND", StreamName=fresh(kinesis),
            WarmThroughputMiBps=1)
    ended = kinesis.update_account_settings(MinimumThroughputBillingCommitment={"Status": "DISABLED"})
    assert ended["MinimumThroughputBillingCommitment"]["Status"] == "ENABLED_UNTIL_EARLIEST_ALLOWED_END"


@test
def tags_go_by_arn_and_by_name_to_the_same_stream(kinesis):
    name = fresh(kinesis)
    kinesis.tag_resource(ResourceARN=arn_of(name), Tags={"where": "hall 7", "who": "ä@b+c=d/e:f._-%"})
    kinesis.add_tags_to_stream(StreamName=name, Tags={"where": "hall 8"})
    tags = kinesis.list_tags_for_resource(ResourceARN=arn_of(name))["Tags"]
    assert tags == [{"Key": "where", "Value": "hall 8"}, {"Key": "who", "Value": "ä@b+c=d/e:f._-%"}]
    kinesis.untag_resource(ResourceARN=arn_of(name), TagKeys=["who", "none"])
    assert kinesis.list_tags_for_stream(StreamName=name)["Tags"] == tags[:1]
    for wrong in ({"a;b": ""}, {"a": "b\u0000"}, {"aws:x": "y"}, {"AWS:x": "y"}):
        refused("InvalidArgumentException", kinesis.tag_resource, "tag", ResourceARN=arn_of(name), Tags=wrong)
        refused("InvalidArgumentException", kinesis.add_tags_to_stream, "tag", StreamName=name, Tags=wrong)
    refused("InvalidArgumentException", kinesis.tag_resource, "more than 50 tags", ResourceARN=arn_of(name),
            Tags={str(i): "" for i in range(50)})
    for call, more in ((kinesis.tag_resource, {"Tags": {"a": "b"}}), (kinesis.untag_resource, {"TagKeys": ["a"]}),
                       (kinesis.list_tags_for_resource, {})):
        for gone in (arn_of("nope"), arn_of(name) + "/consumer/nope:1", arn_of(name).replace("000000000000", "111111111111")):
            refused("ResourceNotFoundException", call, "not found", ResourceARN=gone, **more)


@test
def a_policy_is_kept_as_it_was_put_until_it_is_deleted(kinesis):
    name = fresh(kinesis)
    arn = arn_of(name)
    assert kinesis.get_resource_policy(ResourceARN=arn)["Policy"] == "{}"
    refused("ResourceNotFoundException", kinesis.delete_resource_policy, "No resource policy found", ResourceARN=arn)
    statement = {"Sid": "1", "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam::111111111111:root"},
                 "Action": ["kinesis:GetRecords", "kinesis:DescribeStream*"], "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]}, indent=2)
    kinesis.put_resource_policy(ResourceARN=arn, Policy=policy)
    assert kinesis.get_resource_policy(ResourceARN=arn)["Policy"] == policy
    other = json.dumps({"Version": "2012-10-17", "Statement": statement})
    kinesis.put_resource_policy(ResourceARN=arn, Policy=other)
    for wrong in ("", "{", "[]", json.dumps({"Version": "2012-10-17", "Statement": {**statement, "Resource": arn_of("x")}})):
        refused("InvalidArgumentException", kinesis.put_resource_policy, "not valid", ResourceARN=arn, Policy=wrong)
    assert kinesis.get_resource_policy(ResourceARN=arn)["Policy"] == other
    kinesis.delete_resource_policy(ResourceARN=arn)
    assert kinesis.get_resource_policy(ResourceARN=arn)["Policy"] == "{}"
    kinesis.put_resource_policy(ResourceARN=arn, Policy=other)
    kinesis.delete_stream(StreamName=name)
    refused("ResourceNotFoundException", kinesis.get_resource_policy, name, ResourceARN=arn)
    kinesis.get_waiter("stream_not_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 9})
    kinesis.create_stream(StreamName=name, ShardCount=1)
    settled(kinesis, name)
    assert kinesis.get_resource_policy(ResourceARN=arn)["Policy"] == "{}"


@test
def consumers_have_tags_and_policies_of_their_own(kinesis):
    name = fresh(kinesis)
    register = lambda: kinesis.register_stream_consumer(StreamARN=arn_of(name), ConsumerName="board")["Consumer"]["ConsumerARN"]
    arn = register()
    kinesis.tag_resource(ResourceARN=arn, Tags={"a": "1", "b": "2"})
    kinesis.untag_resource(ResourceARN=arn, TagKeys=["b", "none"])
    assert kinesis.list_tags_for_resource(ResourceARN=arn)["Tags"] == [{"Key": "a", "Value": "1"}]
    assert kinesis.list_tags_for_resource(ResourceARN=arn_of(name))["Tags"] == []
    refused("InvalidArgumentException", kinesis.tag_resource, "consumer board", ResourceARN=arn, Tags={str(i): "" for i in range(50)})
    policy = lambda resource: json.dumps({"Version": "2012-10-17", "Statement": {
        "Effect": "Allow", "Principal": "*", "Action": "kinesis:SubscribeToShard", "Resource": resource}})
    kinesis.put_resource_policy(ResourceARN=arn, Policy=policy(arn))
    assert kinesis.get_resource_policy(ResourceARN=arn)["Policy"] == policy(arn)
    assert kinesis.get_resource_policy(ResourceARN=arn_of(name))["Policy"] == "{}"
    refused("InvalidArgumentException", kinesis.put_resource_policy, "not the resource", ResourceARN=arn, Policy=policy(arn_of(name)))
    kinesis.delete_resource_policy(ResourceARN=arn)
    refused("ResourceNotFoundException", kinesis.delete_resource_policy, "No resource policy", ResourceARN=arn)
    kinesis.put_resource_policy(ResourceARN=arn, Policy=policy(arn))
    kinesis.deregister_stream_consumer(ConsumerARN=arn)
    refused("ResourceNotFoundException", kinesis.get_resource_policy, "not found", ResourceARN=arn)
    again = register()
    assert kinesis.get_resource_policy(ResourceARN=again)["Policy"] == "{}"
    assert kinesis.list_tags_for_resource(ResourceARN=again)["Tags"] == []
