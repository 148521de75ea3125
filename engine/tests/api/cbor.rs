//! Requests in CBOR over HTTP, byte by byte as AWS's SDK for Java writes them, and their answers.

use crate::support::{Answer, Server};
use serde_json::json;
use std::io::Write;

/// Sends a body in CBOR.
fn ask(server: &Server, operation: &str, body: &[u8]) -> Answer {
    let mut client = server.client();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-amz-cbor-1.1\r\nX-Amz-Target: \
         Kinesis_20131202.{operation}\r\nX-Amz-Date: 20260101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 \
         Credential=a/b, SignedHeaders=host, Signature=0\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let socket = client.socket.get_mut();
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(body).unwrap();
    let answer = client.receive();
    assert!(answer.head.contains("content-type: application/x-amz-cbor-1.1"), "{}", answer.head);
    answer
}

/// The bytes between two places in an answer.
fn between<'a>(body: &'a [u8], before: &[u8], length: usize) -> &'a [u8] {
    let at = body.windows(before.len()).position(|window| window == before);
    let start = at.unwrap_or_else(|| panic!("{before:x?} is not in {body:x?}")) + before.len();
    &body[start..start + length]
}

#[test]
fn records_put_in_cbor_come_back_in_both_formats() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    server.client().call("CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let many = b"\xbf\x67Records\x9f\xbf\x64Data\x43\x00\xff\x10\x6cPartitionKey\x61a\xff\xff\x6aStreamName\x61s\xff";
    let put = ask(&server, "PutRecords", many);
    assert_eq!(put.status, 200);
    let first = between(&put.body, b"\xbf\x67Records\x9f\xbf\x6eSequenceNumber\x78\x38", 56);
    let around = [
        &b"\xbf\x67Records\x9f\xbf\x6eSequenceNumber\x78\x38"[..],
        first,
        b"\x67ShardId\x74shardId-000000000000\xff\xff\x71FailedRecordCount\x00\xff",
    ];
    assert_eq!(put.body, around.concat());
    let one = b"\xa3\x6aStreamName\x61s\x64Data\x40\x6cPartitionKey\x62\xc3\xa4";
    let put = ask(&server, "PutRecord", one);
    let second = between(&put.body, b"\xbf\x6eSequenceNumber\x78\x38", 56);
    assert!(first < second);

    let mut client = server.client();
    let iterator = client.iterator("s", "TRIM_HORIZON");
    let page = client.call("GetRecords", &json!({ "ShardIterator": iterator }));
    let records = page["Records"].as_array().unwrap();
    assert_eq!((&records[0]["Data"], &records[1]["PartitionKey"]), (&json!("AP8Q"), &json!("ä")));

    let length = u16::try_from(iterator.len()).unwrap().to_be_bytes();
    let get = [&b"\xbf\x6dShardIterator\x79"[..], &length, iterator.as_bytes(), b"\xff"].concat();
    let answer = ask(&server, "GetRecords", &get);
    let time = between(&answer.body, b"\x78\x1bApproximateArrivalTimestamp\xc1\x1b", 8);
    let time_ms = u64::from_be_bytes(time.try_into().unwrap());
    assert_eq!(records[0]["ApproximateArrivalTimestamp"].as_f64().unwrap(), time_ms as f64 / 1_000.0);
    let expected = [
        &b"\xbf\x67Records\x9f\xbf\x6eSequenceNumber\x78\x38"[..],
        first,
        b"\x78\x1bApproximateArrivalTimestamp\xc1\x1b",
        time,
        b"\x64Data\x43\x00\xff\x10\x6cPartitionKey\x61a\xff\xbf\x6eSequenceNumber\x78\x38",
        second,
    ]
    .concat();
    assert_eq!(answer.body[..expected.len()], expected);
    let rest = between(&answer.body, second, 100);
    let after = b"\xff\xff\x71NextShardIterator";
    assert_eq!(between(rest, b"\x64Data\x40\x6cPartitionKey\x62\xc3\xa4", after.len()), after);
    assert!(answer.body.ends_with(b"\x72MillisBehindLatest\x00\xff"));

    // From the time of the first record on, in the milliseconds the SDK writes.
    let at = [
        &b"\xbf\x6aStreamName\x61s\x67ShardId\x610\x71ShardIteratorType\x6cAT_TIMESTAMP\x69Timestamp\xc1\x1b"
            [..],
        time,
        b"\xff",
    ]
    .concat();
    let answer = ask(&server, "GetShardIterator", &at);
    let length = between(&answer.body, b"\xbf\x6dShardIterator\x78", 1)[0];
    let text = &answer.body[answer.body.len() - 1 - usize::from(length)..answer.body.len() - 1];
    assert_eq!(client.drain(String::from_utf8(text.to_vec()).unwrap()).len(), 2);
    server.stop();
}

#[test]
fn errors_come_in_the_format_of_the_request() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    for (operation, body, answer) in [
        ("ListStreams", &b""[..], &b"\xbf\x66__type\x76SerializationException\xff"[..]),
        ("Nonsense", b"\xbf\xff", b"\xbf\x66__type\x78\x19UnknownOperationException\xff"),
        (
            "DeleteStream",
            b"\xa1\x6aStreamName\x64none",
            b"\xbf\x66__type\x78\x19ResourceNotFoundException\x67message\x78\x31Stream none under account 000000000000 not found.\xff",
        ),
    ] {
        let refused = ask(&server, operation, body);
        assert_eq!((refused.status, &refused.body[..]), (400, answer), "{}", String::from_utf8_lossy(&refused.body));
    }
    server.stop();
}

#[test]
fn operations_without_an_output_answer_with_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let created = ask(&server, "CreateStream", b"\xbf\x6aStreamName\x61s\x6aShardCount\x02\xff");
    assert_eq!((created.status, created.body), (200, Vec::new()));
    let listed = ask(&server, "ListStreams", b"\xbf\xff");
    assert!(listed.body.starts_with(b"\xbf\x6bStreamNames\x9f\x61s\xff"), "{:x?}", listed.body);
    server.stop();
}
