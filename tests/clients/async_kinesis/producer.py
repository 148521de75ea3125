"""Puts numbered messages in KPL aggregates: producer.py ENDPOINT STREAM COUNT."""

import asyncio
import sys

from kinesis import Producer
from kinesis.processors import KPLJsonProcessor

ENDPOINT, STREAM, COUNT = sys.argv[1], sys.argv[2], int(sys.argv[3])
PAUSE_S = 0.02


async def main():
    options = dict(endpoint_url=ENDPOINT, region_name="us-east-1", processor=KPLJsonProcessor(), buffer_time=0.2)
    async with Producer(stream_name=STREAM, **options) as producer:
        for number in range(COUNT):
            await producer.put({"n": number})
            await asyncio.sleep(PAUSE_S)
        await producer.flush()
    print(f"put {COUNT}")


asyncio.run(main())
