"""What others make of the same input: signatures and endpoints by botocore, aggregates by aws_kinesis_agg.

    python generate.py             writes signatures.json, endpoints.json and aggregates.json beside itself
    python generate.py sign        reads cases of signatures from standard input, writes them back signed
    python generate.py disaggregate    reads aggregates in hex from standard input, writes their records

The files are checked in: a test that fails against them found a mistake of ours, or a new release of theirs.
"""

import base64
import datetime
import json
import os
import random
import sys

KEYS = [
    ("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", None),
    ("ASIAEXAMPLE", "8dHf+/slashes//and==signs", "FQoGZXIvYXdzE//////////token+with/signs==" * 20),
]


def sign(case):
    import botocore.auth
    import botocore.awsrequest
    import botocore.credentials

    moment = datetime.datetime.strptime(case["time"], "%Y%m%dT%H%M%SZ")
    botocore.auth.get_current_datetime = lambda remove_tzinfo=True: moment
    url = "https://" + case["headers"]["host"] + case["path"]
    headers = {name: value for name, value in case["headers"].items() if name != "host"}
    request = botocore.awsrequest.AWSRequest(
        method=case["method"], url=url, headers=headers, data=bytes.fromhex(case["body"])
    )
    credentials = botocore.credentials.Credentials(case["id"], case["secret"], case["token"])
    botocore.auth.SigV4Auth(credentials, case["service"], case["region"]).add_auth(request)
    assert request.headers["X-Amz-Date"] == case["time"], "the clock of botocore could not be set"
    return dict(case, authorization=request.headers["Authorization"])


def signatures():
    chance = random.Random(5)
    cases = []
    for number in range(60):
        key = KEYS[number % 2]
        region = chance.choice(["us-east-1", "eu-central-1", "cn-north-1", "us-gov-west-1"])
        service = chance.choice(["kinesis", "kinesis", "sts"])
        headers = {"host": f"{service}.{region}.amazonaws.com", "content-type": "application/x-amz-json-1.1"}
        if service == "kinesis":
            headers["x-amz-target"] = "Kinesis_20131202.PutRecords"
        if number % 5 == 0:
            headers["host"] = "127.0.0.1:4567"
        if number % 7 == 0:
            headers["x-amz-more"] = "a   value \t with  blanks"
        path = chance.choice(["/", "/", "/base/path", "/a%20b/%C3%A9~_-.", "/a:b@c"])
        cases.append(
            {
                "id": key[0],
                "secret": key[1],
                "token": key[2],
                "region": region,
                "service": service,
                "method": "POST",
                "path": path,
                "time": datetime.datetime.fromtimestamp(
                    chance.randrange(4_000_000_000), datetime.timezone.utc
                ).strftime("%Y%m%dT%H%M%SZ"),
                "headers": headers,
                "body": chance.randbytes(chance.choice([0, 1, 63, 64, 65, 300])).hex(),
            }
        )
    return [sign(case) for case in cases]


def endpoints():
    import botocore.session

    session = botocore.session.Session()
    found = []
    regions = ["us-east-1", "eu-west-1", "ap-southeast-4", "cn-north-1", "cn-northwest-1", "us-gov-west-1", "us-gov-east-1"]
    for service in ["kinesis", "sts"]:
        for region in regions:
            for fips in [False, True]:
                for dual in [False, True]:
                    config = botocore.config.Config(use_fips_endpoint=fips, use_dualstack_endpoint=dual)
                    client = session.create_client(
                        service, region_name=region, config=config, aws_access_key_id="a", aws_secret_access_key="b"
                    )
                    host = client.meta.endpoint_url.removeprefix("https://")
                    found.append({"service": service, "region": region, "fips": fips, "dual_stack": dual, "host": host})
    return found


def aggregates():
    from aws_kinesis_agg.aggregator import RecordAggregator

    chance = random.Random(7)
    cases = []
    for _ in range(8):
        aggregator = RecordAggregator(1_000_000)
        records = []
        for _ in range(chance.randrange(1, 60)):
            key = chance.choice(["a", "device-%d" % chance.randrange(1_000), "k" * 256])
            explicit = chance.choice([None, str(chance.randrange(2**128)), "0"])
            data = chance.randbytes(chance.choice([0, 1, 100, 126, 127, 128, 129, 300]))
            assert aggregator.add_user_record(key, data, explicit) is None
            records.append({"key": key, "hash": explicit, "data": data.hex()})
        _, _, data = aggregator.clear_and_get().get_contents()
        cases.append({"records": records, "bytes": data.hex()})
    return cases


def disaggregate(aggregate):
    from aws_kinesis_agg.deaggregator import deaggregate_records

    record = {
        "eventID": "shardId-000000000000:1",
        "kinesis": {
            "kinesisSchemaVersion": "1.0",
            "partitionKey": "outer",
            "sequenceNumber": "1",
            "data": base64.b64encode(bytes.fromhex(aggregate)).decode(),
            "approximateArrivalTimestamp": 1.0,
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "arn",
        "awsRegion": "us-east-1",
        "eventSourceARN": "arn",
    }
    found = []
    for user in deaggregate_records([record]):
        kinesis = user["kinesis"]
        data = base64.b64decode(kinesis["data"]).hex()
        found.append({"key": kinesis["partitionKey"], "hash": kinesis.get("explicitHashKey"), "data": data})
    return found


def main():
    if sys.argv[1:] == ["sign"]:
        json.dump([sign(case) for case in json.load(sys.stdin)], sys.stdout)
    elif sys.argv[1:] == ["disaggregate"]:
        json.dump([disaggregate(aggregate) for aggregate in json.load(sys.stdin)], sys.stdout)
    else:
        beside = os.path.dirname(os.path.abspath(__file__))
        for name, make in [("signatures", signatures), ("endpoints", endpoints), ("aggregates", aggregates)]:
            with open(os.path.join(beside, name + ".json"), "w") as file:
                json.dump(make(), file, indent=0, sort_keys=True)
                file.write("\n")


if __name__ == "__main__":
    main()
