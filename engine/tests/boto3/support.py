"""What the tests of all subjects use: clients, fresh streams, refusals, reading to the end.

A test is a function named by its claim, marked with `test`; it gets a client and makes its own streams.
"""

import json
import urllib.error
import urllib.request
import uuid

import boto3
import botocore.exceptions
from botocore.config import Config

TESTS = []


def test(function):
    TESTS.append(function)
    return function


def client_of(endpoint, **config):
    return boto3.client(
        "kinesis",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"max_attempts": 0}, **config),
    )


def fresh(kinesis, shards=1):
    name = "s-" + uuid.uuid4().hex[:12]
    kinesis.create_stream(StreamName=name, ShardCount=shards)
    return name


def arn_of(name):
    return f"arn:aws:kinesis:us-east-1:000000000000:stream/{name}"


def refused(code, call, contains="", **arguments):
    """Asserts that the call is refused with this code and a message that contains a text."""
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as error:
        found = error.response["Error"]
        assert found["Code"] == code, (found, code)
        assert contains in found.get("Message", ""), (found, contains)
        assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        assert error.response["ResponseMetadata"].get("RequestId"), error.response
        return found
    raise AssertionError(f"{call.__name__} {arguments} was not refused with {code}")


def loose(kinesis):
    """A client that does not check parameters itself, so that the engine has to."""
    return client_of(kinesis.meta.endpoint_url, parameter_validation=False)


def iterator(kinesis, name, shard="shardId-000000000000", kind="TRIM_HORIZON", **more):
    return kinesis.get_shard_iterator(StreamName=name, ShardId=shard, ShardIteratorType=kind, **more)["ShardIterator"]


def drain(kinesis, at, limit=10000):
    records, behind = [], []
    while True:
        page = kinesis.get_records(ShardIterator=at, Limit=limit)
        records += page["Records"]
        behind.append(page["MillisBehindLatest"])
        at = page["NextShardIterator"]
        if page["MillisBehindLatest"] == 0:
            return records, behind, at


def call(kinesis, operation, body, headers=None, method="POST", drop=()):
    """A request that no SDK would send."""
    head = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": f"Kinesis_20131202.{operation}",
            "X-Amz-Date": "20260101T000000Z",
            "Authorization": "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0", **(headers or {})}
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = {name: value for name, value in head.items() if name not in drop}
    request = urllib.request.Request(kinesis.meta.endpoint_url, data=data, headers=head, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return json.loads(answer.read() or b"{}")
    except urllib.error.HTTPError as error:
        text = error.read().decode()
        assert error.headers["x-amzn-requestid"], "every answer has an id"
        return error.code, json.loads(text) if text.startswith("{") else text
