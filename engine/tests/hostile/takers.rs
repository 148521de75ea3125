//! Clients that ask for much and take nothing of it.

use crate::server::{Client, Server};
use headwater_engine::limits::{REPLY_BYTES_IN_FLIGHT_MAX, REPLY_BYTES_MAX};
use std::io::Write;

/// Replies in flight, once more for pages they are written from, and what an idle server has.
const MIB_MAX: u64 = ((2 * REPLY_BYTES_IN_FLIGHT_MAX as u64) >> 20) + 120;

/// Twelve megabytes of records, and an iterator at their beginning.
fn filled() -> (Server, String) {
    let server = Server::with_stream();
    let mut client = server.client();
    let data = "QUJD".repeat(300_000);
    for _ in 0..12 {
        client.call("PutRecord", &format!(r#"{{"StreamName":"s","Data":"{data}","PartitionKey":"k"}}"#));
    }
    let asked = r#"{"StreamName":"s","ShardId":"0","ShardIteratorType":"TRIM_HORIZON"}"#;
    let iterator = client.call("GetShardIterator", asked)["ShardIterator"].as_str().unwrap().to_owned();
    (server, format!(r#"{{"ShardIterator":"{iterator}"}}"#))
}

#[test]
fn readers_that_take_nothing_of_large_answers_leave_room_for_others() {
    let (server, asked) = filled();
    let waiting: Vec<Client> = (0..100)
        .map(|_| {
            let mut client = server.client();
            client.send("GetRecords", asked.as_bytes());
            client
        })
        .collect();
    for _ in 0..5 {
        server.serves_others();
    }
    // One that does read gets an answer, or is told to slow down, when the room for answers is gone for too long.
    let mut client = server.client();
    client.send("GetRecords", asked.as_bytes());
    let (status, body) = client.receive().unwrap();
    let slow =
        String::from_utf8_lossy(&body[..body.len().min(200)]).contains("ProvisionedThroughputExceeded");
    assert!(status == 200 && body.len() < REPLY_BYTES_MAX || status == 400 && slow, "{status}");
    drop(waiting);
    server.stays_well(MIB_MAX);
}

#[test]
fn http2_streams_without_a_window_leave_room_for_others() {
    let (server, asked) = filled();
    let mut peers = Vec::new();
    for _ in 0..4 {
        let mut socket = Client::connect(server.address).0;
        // SETTINGS_INITIAL_WINDOW_SIZE 0: nothing of any answer can be sent.
        let mut frames = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
        frames.extend(frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]));
        for stream in (1..200).step_by(2) {
            frames.extend(frame(1, 4, stream, &fields()));
            frames.extend(frame(0, 1, stream, asked.as_bytes()));
        }
        socket.write_all(&frames).unwrap();
        peers.push(socket);
    }
    for _ in 0..5 {
        server.serves_others();
    }
    drop(peers);
    server.stays_well(MIB_MAX);
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of a `GetRecords`, without compression (RFC 7541, 6.2.2).
fn fields() -> Vec<u8> {
    let mut fields = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/"),
        ("content-type", "application/x-amz-json-1.1"),
        ("x-amz-target", "Kinesis_20131202.GetRecords"),
        ("x-amz-date", "20260101T000000Z"),
        ("authorization", "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0"),
    ] {
        fields.push(0);
        for text in [name, value] {
            fields.push(u8::try_from(text.len()).unwrap());
            fields.extend_from_slice(text.as_bytes());
        }
    }
    fields
}
