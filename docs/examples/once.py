#!/usr/bin/env python3
"""Reads a stream and prints everything that devices said, once.

    python3 once.py --endpoint http://127.0.0.1:4567 --stream telemetry

Nothing that was acknowledged gets lost on the way to a stream, so after a lost answer or a power cut something may be in it
twice. A repeat carries the same (device, boot, seq) as the first copy, and the records of a device are in order, up to repeats.
So it is enough to remember the last place of each boot of a device: that is `Once`, which you can copy into a program of yours.

    once = Once()
    for shard, record in read(kinesis, "telemetry"):
        entry = json.loads(record["Data"])
        if once.is_new(entry):
            ...

Store `once.marks` (plain JSON) together with your place in the shards, in one transaction if you can: then it also holds over restarts
of your program. It needs the order of a device: read parents before children where shards were split, as `read` does, and do not use
it behind a sink with `drain = { order = "newest" }`. Records of a sink with `aggregate = "kpl"` have to be taken apart first.
"""

import argparse
import json
import sys
import time


class Once:
    """Which records are new. Memory: a number for each of the last boots of each device."""

    # Boots of a device that are remembered. More power cuts than this between a record and its repeat, and the repeat counts as new.
    BOOTS = 32

    def __init__(self, marks=None):
        """`marks`: what an earlier `Once` had in `marks`."""
        self.marks = {} if marks is None else marks

    def is_new(self, entry):
        """Whether this is the first copy of a reading or a gap. What has no (device, boot, seq), a log line for one, is always new."""
        device, boot, last = entry.get("device"), entry.get("boot"), last_seq(entry)
        if device is None or boot is None or last is None:
            return True
        boots, boot = self.marks.setdefault(device, {}), str(boot)
        if last <= boots.get(boot, -1):
            return False
        boots[boot] = last
        if len(boots) > self.BOOTS:
            del boots[next(iter(boots))]  # the one that was seen first
        return True


def last_seq(entry):
    """The last number an entry covers: a reading has one, a gap says how many readings are lost from its first on."""
    if "seq" in entry:
        return entry["seq"]
    if "first" in entry and "count" in entry:
        return entry["first"] + entry["count"] - 1
    return None


def read(kinesis, stream, to_end=False):
    """All records of a stream from its oldest on, as (shard, record); shards only after those they came from. Ends at the end
    of today's records with `to_end`, else follows."""
    known, done, iterators = {}, set(), {}
    is_listed = False
    while iterators or not is_listed:
        if not is_listed:
            known.update((shard["ShardId"], shard) for shard in shards(kinesis, stream))
            for shard in known.keys() - done - iterators.keys():
                parents = {known[shard].get(name) for name in ("ParentShardId", "AdjacentParentShardId")}
                if not (parents & known.keys()) - done:
                    iterators[shard] = kinesis.get_shard_iterator(
                        StreamName=stream, ShardId=shard, ShardIteratorType="TRIM_HORIZON"
                    )["ShardIterator"]
            is_listed = True
        is_quiet = True
        for shard, iterator in list(iterators.items()):
            page = kinesis.get_records(ShardIterator=iterator, Limit=1000)
            for record in page["Records"]:
                is_quiet = False
                yield shard, record
            iterators[shard] = page.get("NextShardIterator")
            is_end = not page["Records"] and page.get("MillisBehindLatest", 0) == 0
            if not iterators[shard] or (to_end and is_end):
                del iterators[shard]
                done.add(shard)
                is_listed = False  # there may be children
        if is_quiet and not to_end:
            time.sleep(0.5)


def shards(kinesis, stream):
    """All shards of a stream, closed ones included."""
    page = kinesis.list_shards(StreamName=stream)
    yield from page["Shards"]
    while page.get("NextToken"):
        page = kinesis.list_shards(NextToken=page["NextToken"])
        yield from page["Shards"]


def main():
    import boto3

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--endpoint", help="URL of the Kinesis API; without it, Amazon's")
    parser.add_argument("--stream", required=True)
    parser.add_argument("--to-end", action="store_true", help="do not follow: end at the end of today's records")
    parser.add_argument("--repeats", action="store_true", help="print repeats too, marked as such")
    args = parser.parse_args()
    kinesis = boto3.client("kinesis", endpoint_url=args.endpoint)
    once = Once()
    for shard, record in read(kinesis, args.stream, args.to_end):
        data = record["Data"].decode()
        is_new = once.is_new(json.loads(data))
        if is_new or args.repeats:
            print(json.dumps({
                "shard": shard,
                "sequence": record["SequenceNumber"],
                "key": record["PartitionKey"],
                "repeat": not is_new,
                "data": data,
            }))
    sys.stdout.flush()


if __name__ == "__main__":
    main()
