"""One round trip through a gateway that runs: PUBLISH and PutRecords in, GetRecords out, the ledger on its page.

    smoke.py <mqtt port> <kinesis port> <http port> [put|read]

`put` (default: both) writes and waits for what promises that it is durable: PUBACK and HTTP 200. `read` expects it all in the
shards, so that a restart may lie between the two.
"""

import json
import sys
import urllib.request

import boto3
import paho.mqtt.client as mqtt
from botocore.config import Config

COUNT = 20
STREAM = "telemetry"


def publish(port):
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="smoke", protocol=mqtt.MQTTv5)
    client.connect("127.0.0.1", port)
    client.loop_start()
    waiting = [client.publish("site/a/temperature", json.dumps({"mqtt": n}), qos=1) for n in range(COUNT)]
    for message in waiting:
        message.wait_for_publish(30)
        assert message.is_published(), "no PUBACK within 30 s"
    client.disconnect()
    client.loop_stop()


def put(kinesis):
    records = [{"PartitionKey": f"key-{n}", "Data": json.dumps({"api": n})} for n in range(COUNT)]
    answer = kinesis.put_records(StreamName=STREAM, Records=records)
    assert answer["FailedRecordCount"] == 0, answer


def read(kinesis):
    seen = []
    for shard in kinesis.list_shards(StreamName=STREAM)["Shards"]:
        name = {"StreamName": STREAM, "ShardId": shard["ShardId"]}
        iterator = kinesis.get_shard_iterator(ShardIteratorType="TRIM_HORIZON", **name)["ShardIterator"]
        while True:
            page = kinesis.get_records(ShardIterator=iterator)
            seen += [json.loads(record["Data"]) for record in page["Records"]]
            if not page["Records"]:
                break
            iterator = page["NextShardIterator"]
    for source in ("mqtt", "api"):
        numbers = [record[source] for record in seen if source in record]
        assert numbers == list(range(COUNT)), f"{source}: {numbers}"


def health(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=30) as answer:
        return json.load(answer)


def main():
    ports = [int(word) for word in sys.argv[1:4]]
    steps = sys.argv[4:] or ["put", "read"]
    kinesis = boto3.client(
        "kinesis",
        endpoint_url=f"http://127.0.0.1:{ports[1]}",
        region_name="us-east-1",
        aws_access_key_id="x",
        aws_secret_access_key="x",
        config=Config(retries={"total_max_attempts": 1}, read_timeout=30),
    )
    if "put" in steps:
        publish(ports[0])
        put(kinesis)
        ledger = health(ports[2])["ledger"]
        assert ledger["received"] == ledger["stored"] == COUNT, ledger
    if "read" in steps:
        read(kinesis)


main()
