"""What is a request, and what is answered to what is none."""

from support import call, drain, fresh, iterator, refused, test


@test
def operations_that_are_absent_say_so(kinesis):
    refused("UnsupportedOperationException", kinesis.list_channels, "ListChannels")


@test
def what_is_no_request_is_refused_as_aws_does(kinesis):
    serialization = (400, {"__type": "SerializationException"})
    assert call(kinesis, "ListStreams", b"") == serialization
    assert call(kinesis, "ListStreams", b"{") == serialization
    assert call(kinesis, "ListStreams", b"[]") == serialization
    assert call(kinesis, "ListStreams", b"[" * 100_000) == serialization
    assert call(kinesis, "PutRecords", b'{"Records":[' + b"0," * 5_000_000 + b"0]}") == serialization
    assert call(kinesis, "Nonsense", {}) == (400, {"__type": "UnknownOperationException"})
    assert call(kinesis, "x", {}, {"X-Amz-Target": "DynamoDB_20120810.ListTables"}) == (400, {"__type": "UnknownOperationException"})
    code, text = call(kinesis, "ListStreams", {}, {"Content-Type": "text/plain"})
    assert code == 404 and "UnknownOperationException" in text
    code, text = call(kinesis, "ListStreams", {}, method="PUT")
    assert code == 403 and "AccessDeniedException" in text
    code, error = call(kinesis, "ListStreams", {}, drop=("Authorization",))
    assert code == 400 and error == {"__type": "MissingAuthenticationTokenException", "message": "Missing Authentication Token"}
    code, error = call(kinesis, "ListStreams", {}, {"Authorization": "AWS4-HMAC-SHA256 Credential=a"}, drop=("X-Amz-Date",))
    assert error["__type"] == "IncompleteSignatureException" and "'Signature'" in error["message"]
    code, error = call(kinesis, "ListStreams", {"Limit": "1"})
    assert (code, error) == (400, {"__type": "SerializationException",
                                   "message": "class java.lang.String can not be converted to an Integer"})
    for data, why in (("a", "multiple of 4"), ("a$==", "Invalid Base64 character: '$'"), ("aB==", "last non-pad")):
        code, error = call(kinesis, "PutRecord", {"StreamName": "x", "PartitionKey": "k", "Data": data})
        assert code == 400 and error["__type"] == "SerializationException" and why in error["message"], error
    assert call(kinesis, "ListStreams", {"Limit": 1, "Unknown": {"deep": [1, 2]}, "NextToken": None})["StreamNames"] is not None


@test
def escapes_in_requests_mean_what_json_says(kinesis):
    name = fresh(kinesis)
    body = ('{"StreamName":"%s","Records":[{"Data":"aGk\\u003d","PartitionKey":"tab\\t\\u00e4"},'
            '{"PartitionKey":"plain","Data":"\\/\\/8="}]}' % name).encode()
    assert call(kinesis, "PutRecords", body)["FailedRecordCount"] == 0
    records, _, _ = drain(kinesis, iterator(kinesis, name))
    assert [(r["PartitionKey"], r["Data"]) for r in records] == [("tab\t\u00e4", b"hi"), ("plain", b"\xff\xff")]
