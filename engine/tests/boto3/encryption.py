"""Encryption of streams, as a client sees it."""

from support import arn_of, drain, fresh, iterator, loose, refused, test

DEFAULT = "alias/aws/kinesis"


def settled(kinesis, name):
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 9})


@test
def records_say_whether_they_are_encrypted(kinesis):
    name = fresh(kinesis)
    put = lambda data: kinesis.put_record(StreamName=name, Data=data, PartitionKey="k").get("EncryptionType")
    assert put(b"0") is None
    kinesis.start_stream_encryption(StreamName=name, EncryptionType="KMS", KeyId=DEFAULT)
    settled(kinesis, name)
    assert put(b"1") == "KMS"
    many = kinesis.put_records(StreamARN=arn_of(name), Records=[{"Data": b"%d" % i, "PartitionKey": "k"} for i in (2, 3)])
    assert many["EncryptionType"] == "KMS" and many["FailedRecordCount"] == 0
    stream = kinesis.describe_stream(StreamName=name)["StreamDescription"]
    assert (stream["EncryptionType"], stream["KeyId"], stream["StreamStatus"]) == ("KMS", DEFAULT, "ACTIVE")
    summary = kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]
    assert (summary["EncryptionType"], summary["KeyId"]) == ("KMS", DEFAULT)
    kinesis.start_stream_encryption(StreamARN=arn_of(name), EncryptionType="KMS", KeyId=DEFAULT)
    settled(kinesis, name)
    assert put(b"4") == "KMS"
    kinesis.stop_stream_encryption(StreamName=name, EncryptionType="KMS", KeyId=DEFAULT)
    settled(kinesis, name)
    assert put(b"5") is None
    assert "EncryptionType" not in kinesis.put_records(StreamName=name, Records=[{"Data": b"6", "PartitionKey": "k"}])
    records, _, _ = drain(kinesis, iterator(kinesis, name), limit=3)
    assert [(r["Data"], r.get("EncryptionType")) for r in records] == [
        (b"0", None), (b"1", "KMS"), (b"2", "KMS"), (b"3", "KMS"), (b"4", "KMS"), (b"5", None), (b"6", None)]
    stream = kinesis.describe_stream(StreamName=name)["StreamDescription"]
    assert stream["EncryptionType"] == "NONE" and "KeyId" not in stream


@test
def times_are_found_in_encrypted_streams(kinesis):
    name = fresh(kinesis)
    kinesis.start_stream_encryption(StreamName=name, EncryptionType="KMS", KeyId=DEFAULT)
    for i in range(5):
        kinesis.put_record(StreamName=name, Data=b"%d" % i, PartitionKey="k")
    records, _, _ = drain(kinesis, iterator(kinesis, name, kind="AT_TIMESTAMP", Timestamp=0))
    assert [r["Data"] for r in records] == [b"%d" % i for i in range(5)]


@test
def keys_and_arguments_that_cannot_be_used_are_refused(kinesis):
    name = fresh(kinesis)
    start, stop = kinesis.start_stream_encryption, kinesis.stop_stream_encryption
    none = "12345678-1234-4234-8234-123456789012"
    for key, message in (
        ("alias/none", "Alias arn:aws:kms:us-east-1:000000000000:alias/none is not found."),
        ("arn:aws:kms:us-east-1:000000000000:alias/none", "alias/none is not found."),
        (none, f"Key 'arn:aws:kms:us-east-1:000000000000:key/{none}' does not exist"),
        ("arn:aws:kms:eu-west-1:000000000000:alias/aws/kinesis", "Invalid arn"),
        ("anything", "Invalid keyId 'anything'"),
    ):
        refused("KMSNotFoundException", start, message, StreamName=name, EncryptionType="KMS", KeyId=key)
    start(StreamName=name, EncryptionType="KMS", KeyId="arn:aws:kms:us-east-1:000000000000:alias/aws/kinesis")
    for call in (start, stop):
        refused("InvalidArgumentException", call, "KMS", StreamName=name, EncryptionType="NONE", KeyId=DEFAULT)
        refused("ResourceNotFoundException", call, "nope", StreamName="nope", EncryptionType="KMS", KeyId=DEFAULT)
        refused("InvalidArgumentException", call, "does not match", StreamName=name, StreamARN=arn_of("other"),
                EncryptionType="KMS", KeyId=DEFAULT)
        refused("InvalidArgumentException", call, "StreamName or StreamARN", EncryptionType="KMS", KeyId=DEFAULT)
    bad = loose(kinesis)
    refused("ValidationException", bad.start_stream_encryption, "[NONE, KMS]", StreamName=name, EncryptionType="AES", KeyId=DEFAULT)
    refused("ValidationException", bad.start_stream_encryption, "'keyId'", StreamName=name, EncryptionType="KMS", KeyId="")
    refused("ValidationException", bad.stop_stream_encryption, "Value null at 'keyId'", StreamName=name, EncryptionType="KMS")
    kinesis.delete_stream(StreamName=name)
    kinesis.get_waiter("stream_not_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 9})
    refused("ResourceNotFoundException", stop, name, StreamName=name, EncryptionType="KMS", KeyId=DEFAULT)
