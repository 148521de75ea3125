"""Known traffic over the Kinesis API, then the page of metrics, read as Prometheus reads it, has exactly its numbers.

Run by metrics.rs against a gateway with AWS's limits:  metrics.py KINESIS_ENDPOINT METRICS_URL
"""

import collections
import sys
import time
import urllib.request

import boto3
from botocore.config import Config
from prometheus_client.parser import text_string_to_metric_families

LOW, HIGH = "0", str(2**128 - 1)
SHARDS = ["shardId-000000000000", "shardId-000000000001"]


def scrape(url):
    """All samples as {name: {labels: value}}, and the type and help of each family."""
    with urllib.request.urlopen(url) as answer:
        text = answer.read().decode()
    samples, families = collections.defaultdict(dict), {}
    for family in text_string_to_metric_families(text):
        assert family.name not in families, f"{family.name} is there twice"
        families[family.name] = family
        for sample in family.samples:
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in samples[sample.name], sample
            samples[sample.name][labels] = sample.value
    return samples, families


def record(hash_key, data):
    return {"Data": data, "PartitionKey": "key", "ExplicitHashKey": hash_key}


def put_until_throttled(kinesis, stream, counted):
    while not counted["throttled"]:
        answer = kinesis.put_records(StreamName=stream, Records=[record(LOW, b"12345")] * 400 + [record(HIGH, b"1")])
        failed = answer["FailedRecordCount"]
        counted["put_records"] += 1
        counted["throttled"] += failed
        counted["low"] += 400 - failed
        counted["high"] += 1


def read_until_throttled(kinesis, stream, counted):
    at = kinesis.get_shard_iterator(StreamName=stream, ShardId=SHARDS[0], ShardIteratorType="TRIM_HORIZON")["ShardIterator"]
    while not counted["reads_throttled"]:
        try:
            page = kinesis.get_records(ShardIterator=at, Limit=10)
            counted["reads"] += 1
            counted["read"] += len(page["Records"])
            at = page["NextShardIterator"]
        except kinesis.exceptions.ProvisionedThroughputExceededException:
            counted["reads_throttled"] += 1


def subscribe(kinesis, arn):
    consumer = kinesis.register_stream_consumer(StreamARN=arn, ConsumerName="app")["Consumer"]["ConsumerARN"]
    while kinesis.describe_stream_consumer(ConsumerARN=consumer)["ConsumerDescription"]["ConsumerStatus"] != "ACTIVE":
        time.sleep(0.1)
    start = {"Type": "TRIM_HORIZON"}
    events = kinesis.subscribe_to_shard(ConsumerARN=consumer, ShardId=SHARDS[1], StartingPosition=start)["EventStream"]
    count = 0
    for event in events:
        count += len(event["SubscribeToShardEvent"]["Records"])
        if event["SubscribeToShardEvent"]["MillisBehindLatest"] == 0:
            break
    events.close()
    return count


def main(endpoint, url):
    kinesis = boto3.client(
        "kinesis",
        "us-east-1",
        endpoint_url=endpoint,
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"max_attempts": 0}),
    )
    kinesis.create_stream(StreamName="s", ShardCount=2)
    kinesis.create_stream(StreamName="quiet.stream", ShardCount=1)
    counted = collections.Counter()
    kinesis.enable_enhanced_monitoring(StreamName="s", ShardLevelMetrics=["ALL"])
    for _ in range(3):
        kinesis.put_record(StreamName="s", PartitionKey="key", Data=b"12", ExplicitHashKey=LOW)
    put_until_throttled(kinesis, "s", counted)
    read_until_throttled(kinesis, "s", counted)
    pushed = subscribe(kinesis, "arn:aws:kinesis:us-east-1:000000000000:stream/s")
    assert pushed == counted["high"], (pushed, counted)

    samples, families = scrape(url)
    low, high, throttled = counted["low"], counted["high"], counted["throttled"]
    bytes_put = low * 8 + high * 4
    # The first records read are the three of PutRecord, of five bytes with their keys, then those of eight.
    bytes_read = 3 * 5 + (counted["read"] - 3) * 8
    of_stream = {
        "incoming_bytes_total": bytes_put + 15,
        "incoming_records_total": low + high + 3,
        "put_record_bytes_total": 15,
        "put_record_success_total": 3,
        "put_record_latency_milliseconds_count": 3,
        "put_records_bytes_total": bytes_put,
        "put_records_success_total": counted["put_records"],
        "put_records_latency_milliseconds_count": counted["put_records"],
        "put_records_total_records_total": low + high + throttled,
        "put_records_successful_records_total": low + high,
        "put_records_failed_records_total": 0,
        "put_records_throttled_records_total": throttled,
        "write_provisioned_throughput_exceeded_total": throttled,
        "get_records_records_total": counted["read"],
        "get_records_bytes_total": bytes_read,
        "get_records_success_total": counted["reads"],
        "get_records_latency_milliseconds_count": counted["reads"] + 1,
        "read_provisioned_throughput_exceeded_total": 1,
        "subscribe_to_shard_success_total": 1,
        "subscribe_to_shard_rate_exceeded_total": 0,
    }
    for name, value in of_stream.items():
        found = samples[f"kinesis_{name}"][(("stream", "s"),)]
        assert found == value, (name, found, value)
        assert samples[f"kinesis_{name}"][(("stream", "quiet.stream"),)] == 0, name
    of_shards = {
        "incoming_bytes_total": (low * 8 + 15, high * 4),
        "incoming_records_total": (low + 3, high),
        "outgoing_bytes_total": (bytes_read, pushed * 4),
        "outgoing_records_total": (counted["read"], pushed),
        "write_provisioned_throughput_exceeded_total": (throttled, 0),
        "read_provisioned_throughput_exceeded_total": (1, 0),
    }
    for name, values in of_shards.items():
        found = samples[f"kinesis_shard_{name}"]
        expected = {(("shard", shard), ("stream", "s")): value for shard, value in zip(SHARDS, values)}
        assert found == expected, (name, found, expected)
    assert len(samples["kinesis_shard_iterator_age_milliseconds"]) == 2
    consumer = (("consumer", "app"), ("stream", "s"))
    assert samples["kinesis_subscribe_to_shard_event_records_total"] == {consumer: pushed}
    assert samples["kinesis_subscribe_to_shard_event_bytes_total"] == {consumer: pushed * 4}
    assert samples["kinesis_subscribe_to_shard_event_success_total"][consumer] >= 1
    assert consumer in samples["kinesis_subscribe_to_shard_event_millis_behind_latest"]
    assert samples["kinesis_get_records_iterator_age_milliseconds"][(("stream", "s"),)] > 0

    # The parser strips `_total` from the names of counters.
    ours = {name: family for name, family in families.items() if name.startswith("kinesis_")}
    assert len(ours) == 21 + 7 + 4, sorted(ours)
    for name, family in ours.items():
        gauge = "iterator_age" in name or "behind_latest" in name
        expected = "gauge" if gauge else "summary" if name.endswith("latency_milliseconds") else "counter"
        assert family.type == expected, (name, family.type)
        assert family.documentation, name
    kinesis.delete_stream(StreamName="s", EnforceConsumerDeletion=True)
    samples, _ = scrape(url)
    assert (("stream", "s"),) not in samples["kinesis_incoming_bytes_total"]
    assert "kinesis_shard_incoming_bytes_total" not in samples


main(*sys.argv[1:])
