"""Prints every message of a stream of KPL aggregates, and goes on until it is killed: consumer.py ENDPOINT STREAM."""

import asyncio
import json
import logging
import sys

from kinesis import Consumer
from kinesis.processors import KPLJsonProcessor

ENDPOINT, STREAM = sys.argv[1], sys.argv[2]


async def main():
    consumer = Consumer(
        stream_name=STREAM,
        endpoint_url=ENDPOINT,
        region_name="us-east-1",
        processor=KPLJsonProcessor(),
        sleep_time_no_records=0.1,
        shard_fetch_rate=5,
    )
    # It looks for new shards once a minute, which has no option; a test has no minute.
    consumer._shard_refresh_interval = 1
    async with consumer:
        while True:
            # Iteration ends whenever nothing has come for a while.
            async for message in consumer:
                print("got", json.dumps(message), flush=True)


logging.basicConfig(level=logging.INFO, stream=sys.stderr)
asyncio.run(main())
