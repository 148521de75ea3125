#!/usr/bin/env python3
"""Reads every record of a stream from its beginning, then follows it; prints one JSON line per record.

    python3 kinesis_consumer.py --endpoint http://127.0.0.1:4567 --stream readings

Start as many as you like: each reads everything, none takes anything away from another.
"""

import argparse
import json
import sys
import time

import boto3

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--endpoint", help="URL of the Kinesis API; without it, Amazon's")
parser.add_argument("--stream", required=True)
parser.add_argument("--count", type=int, help="end after this many records; without it, follow until Ctrl-C")
parser.add_argument("--patience-s", type=float, default=60, help="with --count: give up after this many seconds")
args = parser.parse_args()

kinesis = boto3.client(
    "kinesis",
    endpoint_url=args.endpoint,
    region_name="us-east-1",
    aws_access_key_id="test",
    aws_secret_access_key="test",
) if args.endpoint else boto3.client("kinesis")

iterators = {}
for shard in kinesis.list_shards(StreamName=args.stream)["Shards"]:
    iterators[shard["ShardId"]] = kinesis.get_shard_iterator(
        StreamName=args.stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]

seen = 0
started = time.monotonic()
while iterators:
    found = 0
    for shard_id, iterator in list(iterators.items()):
        page = kinesis.get_records(ShardIterator=iterator, Limit=1000)
        for record in page["Records"]:
            print(json.dumps({
                "shard": shard_id,
                "sequence": record["SequenceNumber"],
                "key": record["PartitionKey"],
                "arrived": record["ApproximateArrivalTimestamp"].isoformat(),
                "data": record["Data"].decode(),
            }), flush=True)
            found += 1
        if page.get("NextShardIterator"):
            iterators[shard_id] = page["NextShardIterator"]
        else:
            del iterators[shard_id]  # the shard is closed and read to its end
    seen += found
    if args.count is not None and seen >= args.count:
        sys.exit(0 if seen == args.count else f"{seen} records, expected {args.count}")
    if args.count is not None and time.monotonic() - started > args.patience_s:
        sys.exit(f"{seen} of {args.count} records after {args.patience_s} s")
    if not found:
        time.sleep(0.2)
