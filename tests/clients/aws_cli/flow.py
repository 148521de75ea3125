"""The AWS CLI's main flows: flow.py AWS ENDPOINT DIRECTORY, where AWS is the program of either version.

Each step is one run of the program, with nothing but an endpoint and dummy credentials added. DIRECTORY takes the files it reads.
"""

import base64
import json
import os
import pathlib
import re
import subprocess
import sys

AWS, ENDPOINT, DIRECTORY = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
VERSION = int(re.match(r"aws-cli/(\d)", subprocess.run([AWS, "--version"], capture_output=True, text=True).stdout)[1])
ENVIRONMENT = dict(
    os.environ, AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_DEFAULT_REGION="us-east-1", AWS_PAGER="",
    AWS_CONFIG_FILE="/dev/null", AWS_SHARED_CREDENTIALS_FILE="/dev/null", AWS_EC2_METADATA_DISABLED="true")
# The control: with it one record that the flow says it put is another one, and the flow must find that out.
CONTROL = bool(os.environ.get("HEADWATER_CONTROL"))
STREAM = "cli"


def run(*arguments):
    command = [AWS, "--endpoint-url", ENDPOINT, "--output", "json", "kinesis", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=120)


def aws(*arguments):
    """What the command printed, read as JSON; nothing when it prints nothing."""
    done = run(*arguments)
    assert done.returncode == 0, f"aws kinesis {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
    return json.loads(done.stdout) if done.stdout.strip() else None


def refused(code, *arguments):
    done = run(*arguments)
    operation = "".join(word.capitalize() for word in arguments[0].split("-"))
    wording = f"An error occurred ({code}) when calling the {operation} operation"
    assert done.returncode == (255 if VERSION == 1 else 254), (done.returncode, done.stderr)
    assert wording in done.stderr, done.stderr


def same(found, expected):
    assert found == expected, f"{found!r}, expected {expected!r}"


def file(name, content):
    path = DIRECTORY / name
    path.write_bytes(content)
    return path


def encoded(data):
    return base64.b64encode(data).decode()


def blob(data):
    """How data is given on the command line: the first version takes it as it is, the second in base64."""
    return data.decode() if VERSION == 1 else encoded(data)


def read(shard):
    """The records of a shard from its beginning, and the children it names at its end."""
    at = aws("get-shard-iterator", "--stream-name", STREAM, "--shard-id", shard, "--shard-iterator-type", "TRIM_HORIZON")
    page = aws("get-records", "--shard-iterator", at["ShardIterator"])
    if page["Records"] and page.get("NextShardIterator"):
        more = aws("get-records", "--shard-iterator", page["NextShardIterator"])
        same(more["Records"], [])
        page.update(NextShardIterator=more.get("NextShardIterator"), ChildShards=more.get("ChildShards"))
    for record in page["Records"]:
        assert record["SequenceNumber"].isdigit() and record["ApproximateArrivalTimestamp"], record
    found = [base64.b64decode(record["Data"]) for record in page["Records"]]
    return found, [child["ShardId"] for child in page.get("ChildShards") or []]


def shards(*more):
    listed = aws("list-shards", "--stream-name", STREAM, *more)["Shards"]
    return [shard["ShardId"] for shard in listed]


def streams_are_made_waited_for_and_paged():
    for name in (STREAM, "cli-a", "cli-b"):
        aws("create-stream", "--stream-name", name, "--shard-count", "1")
    aws("wait", "stream-exists", "--stream-name", STREAM)
    names, token = [], []
    while token is not None:
        page = aws("list-streams", "--max-items", "2", *token)
        names += page["StreamNames"]
        token = ["--starting-token", page["NextToken"]] if "NextToken" in page else None
    assert {STREAM, "cli-a", "cli-b"} <= set(names) and len(names) == len(set(names)), names
    same(sorted(aws("list-streams", "--page-size", "1")["StreamNames"]), sorted(names))
    summary = aws("describe-stream-summary", "--stream-name", STREAM)["StreamDescriptionSummary"]
    same((summary["StreamStatus"], summary["OpenShardCount"]), ("ACTIVE", 1))
    limits = aws("describe-limits")
    assert limits["ShardLimit"] >= limits["OpenShardCount"] >= 3, limits
    aws("delete-stream", "--stream-name", "cli-b")
    aws("wait", "stream-not-exists", "--stream-name", "cli-b")


def data_arrives_as_each_version_takes_it():
    put = lambda *how: aws("put-record", "--stream-name", STREAM, "--partition-key", "k", *how)["SequenceNumber"]
    numbers = [put("--data", blob(b"control" if CONTROL else b"as text"))]
    numbers.append(put("--data", "fileb://" + str(file("raw", b"\x00\xff raw"))))
    if VERSION == 2:
        numbers.append(put("--cli-binary-format", "raw-in-base64-out", "--data", "as version 1"))
    else:
        numbers.append(put("--data", "file://" + str(file("text", b"as version 1"))))
    assert numbers == sorted(numbers, key=int), numbers
    records = [{"Data": blob(b"one of a file"), "PartitionKey": "k"}, {"Data": blob(b"two of a file"), "PartitionKey": "l"}]
    path = file("records.json", json.dumps(records).encode())
    same(aws("put-records", "--stream-name", STREAM, "--records", f"file://{path}")["FailedRecordCount"], 0)
    path = file("call.json", json.dumps({"StreamName": STREAM, "Records": [dict(records[0], Data=blob(b"a whole call"))]}).encode())
    same(aws("put-records", "--cli-input-json", f"file://{path}")["FailedRecordCount"], 0)
    found, _ = read("shardId-000000000000")
    same(found, [b"as text", b"\x00\xff raw", b"as version 1", b"one of a file", b"two of a file", b"a whole call"])


def tags_are_set_and_taken_away():
    aws("add-tags-to-stream", "--stream-name", STREAM, "--tags", "site=north,line=4")
    aws("remove-tags-from-stream", "--stream-name", STREAM, "--tag-keys", "line")
    same(aws("list-tags-for-stream", "--stream-name", STREAM)["Tags"], [{"Key": "site", "Value": "north"}])


def shards_are_split_merged_and_resized():
    parent, low, high, whole = (f"shardId-{n:012}" for n in range(4))
    aws("split-shard", "--stream-name", STREAM, "--shard-to-split", parent, "--new-starting-hash-key", str(2**127))
    aws("wait", "stream-exists", "--stream-name", STREAM)
    same(shards(), [parent, low, high])
    same(read(parent)[1], [low, high])
    aws("put-record", "--stream-name", STREAM, "--partition-key", "k", "--explicit-hash-key", "0", "--data", blob(b"low"))
    same(read(low)[0], [b"low"])
    aws("merge-shards", "--stream-name", STREAM, "--shard-to-merge", low, "--adjacent-shard-to-merge", high)
    aws("wait", "stream-exists", "--stream-name", STREAM)
    same(read(low), ([b"low"], [whole]))
    same(shards("--shard-filter", "Type=AT_LATEST"), [whole])
    page = aws("list-shards", "--stream-name", STREAM, "--max-results", "3", "--no-paginate")
    rest = aws("list-shards", "--next-token", page["NextToken"], "--no-paginate")
    same([shard["ShardId"] for shard in page["Shards"] + rest["Shards"]], [parent, low, high, whole])
    answer = aws("update-shard-count", "--stream-name", STREAM, "--target-shard-count", "2", "--scaling-type", "UNIFORM_SCALING")
    same((answer["CurrentShardCount"], answer["TargetShardCount"]), (1, 2))
    aws("wait", "stream-exists", "--stream-name", STREAM)
    same(len(shards("--shard-filter", "Type=AT_LATEST")), 2)


def consumers_are_registered_and_paged():
    arn = aws("describe-stream-summary", "--stream-name", STREAM)["StreamDescriptionSummary"]["StreamARN"]
    for name in ("one", "two"):
        aws("register-stream-consumer", "--stream-arn", arn, "--consumer-name", name)
    page = aws("list-stream-consumers", "--stream-arn", arn, "--max-items", "1")
    rest = aws("list-stream-consumers", "--stream-arn", arn, "--starting-token", page["NextToken"])
    same(sorted(consumer["ConsumerName"] for consumer in page["Consumers"] + rest["Consumers"]), ["one", "two"])
    aws("deregister-stream-consumer", "--stream-arn", arn, "--consumer-name", "one")


def refusals_say_what_and_end_the_program():
    refused("ResourceNotFoundException", "describe-stream", "--stream-name", "absent")
    refused("ResourceInUseException", "create-stream", "--stream-name", STREAM, "--shard-count", "1")
    refused("InvalidArgumentException", "get-records", "--shard-iterator", "AAAA")


for test in (
    streams_are_made_waited_for_and_paged,
    data_arrives_as_each_version_takes_it,
    tags_are_set_and_taken_away,
    refusals_say_what_and_end_the_program,
    shards_are_split_merged_and_resized,
    consumers_are_registered_and_paged,
):
    test()
    print(f"ok {test.__name__}", flush=True)
print("6 tests, 0 failed")
