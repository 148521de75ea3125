#!/usr/bin/env python3
"""Puts JSON readings on a stream and prints the shard each one landed on.

    python3 kinesis_producer.py --endpoint http://127.0.0.1:4567 --stream readings --create --count 10

Against Amazon Kinesis the same file runs without --endpoint and with real credentials.
"""

import argparse
import json
import time

import boto3

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--endpoint", help="URL of the Kinesis API; without it, Amazon's")
parser.add_argument("--stream", required=True)
parser.add_argument("--create", action="store_true", help="create the stream first, with two shards")
parser.add_argument("--count", type=int, default=10)
parser.add_argument("--first", type=int, default=0, help="the number of the first reading")
parser.add_argument("--pause-ms", type=int, default=0, help="milliseconds between two readings")
args = parser.parse_args()

kinesis = boto3.client(
    "kinesis",
    endpoint_url=args.endpoint,
    region_name="us-east-1",
    aws_access_key_id="test",
    aws_secret_access_key="test",
) if args.endpoint else boto3.client("kinesis")

if args.create:
    kinesis.create_stream(StreamName=args.stream, ShardCount=2)
    kinesis.get_waiter("stream_exists").wait(StreamName=args.stream, WaiterConfig={"Delay": 1, "MaxAttempts": 30})

for number in range(args.first, args.first + args.count):
    sensor = f"sensor-{number % 5}"
    reading = {"sensor": sensor, "number": number, "celsius": 20 + number % 7, "at": time.time()}
    answer = kinesis.put_record(StreamName=args.stream, Data=json.dumps(reading), PartitionKey=sensor)
    print(number, answer["ShardId"], answer["SequenceNumber"], flush=True)
    time.sleep(args.pause_ms / 1000)
