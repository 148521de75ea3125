//! Bodies and heads that are too large, too deep or too long.

use crate::server::{Client, Server, head};
use headwater_engine::limits::{BODY_BYTES_MAX, HEADER_BYTES_MAX};
use std::io::Write;
use std::time::{Duration, Instant};

/// What an idle server has, three of the largest bodies and what is read from them.
const MIB_MAX: u64 = 160;

#[test]
fn json_that_is_deep_wide_or_numerous_is_refused_soon_and_takes_little() {
    let server = Server::with_stream();
    let deep = |open: &str, close: &str| {
        format!(r#"{{"StreamName":"s","X":{}{}}}"#, open.repeat(100_000), close.repeat(100_000))
    };
    let members = |count: u32| {
        let members: Vec<String> = (0..count).map(|i| format!(r#""{i:x}":1"#)).collect();
        format!("{{{}}}", members.join(","))
    };
    let digits = "9".repeat(1_000_000);
    let records = vec![r#"{"Data":"","PartitionKey":"k"}"#; 200_000].join(",");
    let bodies = [
        ("deep arrays", deep("[", "]")),
        ("deep objects", deep(r#"{"a":"#, "").replacen(r#""a":}"#, r#""a":0}"#, 1)),
        ("arrays without an end", "[".repeat(1_000_000)),
        ("a million members", members(1_000_000)),
        ("a hundred thousand members", members(100_000)),
        ("a long number", format!(r#"{{"StreamName":"s","Limit":{digits}}}"#)),
        ("a long fraction", format!(r#"{{"StreamName":"s","Limit":0.{digits}}}"#)),
        ("a large exponent", r#"{"StreamName":"s","Limit":1e999999999999}"#.to_owned()),
        ("200,000 records", format!(r#"{{"StreamName":"s","Records":[{records}]}}"#)),
        ("a long name", format!(r#"{{"StreamName":"{}"}}"#, "x".repeat(5_000_000))),
        ("a name of escapes", format!(r#"{{"StreamName":"{}"}}"#, r"\u0000".repeat(500_000))),
    ];
    for (what, body) in &bodies {
        for operation in ["PutRecords", "PutRecord", "CreateStream", "TagResource"] {
            let begun = Instant::now();
            let (status, error) = server.client().refused(operation, body.as_bytes());
            let words = ["SerializationException", "ValidationException", "InvalidArgumentException"];
            assert!(
                status == 400 && words.contains(&&*error),
                "{what}: {operation} answers {status} {error}"
            );
            assert!(
                begun.elapsed() < Duration::from_secs(4),
                "{what}: {operation} took {:?}",
                begun.elapsed()
            );
        }
    }
    server.stays_well(MIB_MAX);
}

#[test]
fn a_body_that_was_not_announced_ends_at_the_limit() {
    let server = Server::with_stream();
    let piece = vec![b' '; 1 << 20];
    let mut senders = Vec::new();
    for _ in 0..3 {
        let mut client = server.client();
        let piece = piece.clone();
        senders.push(std::thread::spawn(move || {
            let head = format!("{}Transfer-Encoding: chunked\r\n\r\n", head("PutRecords"));
            client.0.write_all(head.as_bytes()).unwrap();
            let mut sent = 0;
            // Three times the limit; the server need not take it all.
            while sent < 3 * BODY_BYTES_MAX {
                let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat();
                if client.0.write_all(&chunk).is_err() {
                    break;
                }
                sent += piece.len();
            }
            assert!(sent < 3 * BODY_BYTES_MAX, "all of it was taken");
            // The answer is there, unless what was still under way has reset the connection.
            client.receive().is_none_or(|(status, _)| status == 413)
        }));
    }
    server.serves_others();
    assert!(senders.into_iter().all(|sender| sender.join().unwrap()));
    server.stays_well(MIB_MAX);
}

#[test]
fn heads_without_an_end_are_not_kept() {
    let server = Server::with_stream();
    let field = |i: usize| format!("X-Field-{i}: {}\r\n", "x".repeat(100));
    for more in [HEADER_BYTES_MAX / 100 + 50, 20_000] {
        let mut client = server.client();
        let mut fields = head("ListStreams");
        (0..more).for_each(|i| fields += &field(i));
        let _ = client.0.write_all(fields.as_bytes());
        let answer = client.receive();
        assert!(answer.as_ref().is_none_or(|(status, _)| *status == 431), "{answer:?}");
    }
    // One field, one line, one target that never end.
    for start in ["GET /", "POST / HTTP/1.1\r\nHost: ", "POST / HTTP/1.1\r\nX"] {
        let mut client = server.client();
        let endless = [start.as_bytes(), &vec![b'a'; 8 << 20]].concat();
        let _ = client.0.write_all(&endless);
        let answer = client.receive();
        assert!(answer.as_ref().is_none_or(|(status, _)| matches!(status, 400 | 414 | 431)), "{answer:?}");
    }
    server.stays_well(MIB_MAX);
}

#[test]
fn lengths_that_lie_or_contradict_each_other_are_refused() {
    let server = Server::with_stream();
    for lengths in [
        "Content-Length: 2\r\nContent-Length: 3\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 99999999999999999999999\r\n",
        "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: gzip\r\n",
    ] {
        let mut client = Client::connect(server.address);
        // A second request behind it, which must not be served as one of another length.
        let both =
            format!("{}{lengths}\r\n{{}}{}Content-Length: 2\r\n\r\n{{}}", head("ListStreams"), head("Nope"));
        let _ = client.0.write_all(both.as_bytes());
        let first = client.receive().map(|(status, _)| status);
        assert!(first.is_none_or(|status| matches!(status, 400 | 413)), "{lengths}: {first:?}");
        let second = client.receive();
        assert!(second.is_none(), "{lengths}: goes on with {second:?}");
    }
    server.stays_well(MIB_MAX);
}
