#!/usr/bin/env python3
"""Reads a stream that was written in the format of the Kinesis Producer Library, takes its records apart with AWS's own library, and
prints each with the word of docs/examples/once.py whether it is new.

    python3 kinesis_unpacked.py --endpoint http://127.0.0.1:4567 --stream telemetry
"""

import argparse
import base64
import json
import pathlib
import sys

import boto3
from aws_kinesis_agg.deaggregator import iter_deaggregate_records

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "docs/examples"))
from once import Once, read

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--endpoint", required=True)
parser.add_argument("--stream", required=True)
args = parser.parse_args()

once = Once()
for shard, record in read(boto3.client("kinesis", endpoint_url=args.endpoint), args.stream, to_end=True):
    for inner in iter_deaggregate_records([record], data_format="Boto3"):
        inner = inner["kinesis"]
        # What was in an aggregate comes in base64, what was a record of its own as it was.
        is_packed = inner.get("aggregated", False)
        data = base64.b64decode(inner["data"]) if is_packed else inner["data"]
        sequence = inner["sequenceNumber"] + (f":{inner['subSequenceNumber']}" if is_packed else "")
        print(json.dumps({
            "shard": shard,
            "sequence": sequence,
            "key": inner["partitionKey"],
            "repeat": not once.is_new(json.loads(data)),
            "data": data.decode(),
        }))
sys.stdout.flush()
