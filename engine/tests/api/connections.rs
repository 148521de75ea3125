//! Connections: protocols, limits, the end.

use crate::support::{Client, Server};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2;
use hyper::{Request, body::Bytes};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

#[test]
fn http2_by_prior_knowledge_shares_the_port_with_http1() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    server.client().call("CreateStream", &json!({ "StreamName": "s", "ShardCount": 1 }));
    let address = server.address;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let socket = tokio::net::TcpStream::connect(address).await.unwrap();
        let (client, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(socket)).await.unwrap();
        tokio::spawn(connection);
        // Twenty at once in one connection, one of them larger than a window.
        let calls = (0..20).map(|i| {
            let mut client = client.clone();
            tokio::spawn(async move {
                let data = "QUFB".repeat(if i == 7 { 300_000 } else { 10 });
                let body = json!({ "StreamName": "s", "Data": data, "PartitionKey": "k" }).to_string();
                let request = Request::post(format!("http://{address}/"))
                    .header("content-type", "application/x-amz-json-1.1")
                    .header("x-amz-target", "Kinesis_20131202.PutRecord")
                    .header("x-amz-date", "20260101T000000Z")
                    .header(
                        "authorization",
                        "AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature=0",
                    );
                let answer =
                    client.send_request(request.body(Full::new(Bytes::from(body))).unwrap()).await.unwrap();
                let status = answer.status();
                let body = answer.into_body().collect().await.unwrap().to_bytes();
                (status.as_u16(), serde_json::from_slice::<Value>(&body).unwrap())
            })
        });
        let calls: Vec<_> = calls.collect();
        for call in calls {
            let (status, body) = call.await.unwrap();
            assert_eq!(status, 200, "{body}");
        }
    });
    // A peer that does not answer the server's goodbye would be waited for.
    drop(runtime);
    let mut client = server.client();
    let iterator = client.iterator("s", "TRIM_HORIZON");
    assert_eq!(client.drain(iterator).len(), 20);
    server.stop();
}

#[test]
fn one_connection_serves_many_requests_also_sent_ahead() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut client = server.client();
    for _ in 0..10 {
        client.send("ListStreams", b"{}");
    }
    for _ in 0..10 {
        let answer = client.receive();
        assert_eq!(answer.status, 200);
        assert!(answer.head.to_ascii_lowercase().contains("content-type: application/x-amz-json-1.1"));
    }
    server.stop();
}

#[test]
fn a_body_that_is_too_large_is_refused_before_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut socket = TcpStream::connect(server.address).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: \
                Kinesis_20131202.PutRecords\r\nX-Amz-Date: x\r\nAuthorization: AWS4 Credential=a, SignedHeaders=b, \
                Signature=c\r\nContent-Length: 99999999\r\n\r\n";
    socket.write_all(head.as_bytes()).unwrap();
    let mut answer = [0; 4096];
    let count = socket.read(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer[..count]);
    assert!(
        answer.starts_with("HTTP/1.1 413") && answer.contains("RequestEntityTooLargeException"),
        "{answer}"
    );
    server.stop();
}

#[test]
fn nonsense_on_the_socket_hurts_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    for garbage in [
        &b"\x00\xff\xfe"[..],
        b"PRI",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        b"GET",
        b"\r\n\r\n\r\n",
        &[b'a'; 70_000],
    ] {
        let mut socket = TcpStream::connect(server.address).unwrap();
        // The server may have closed already.
        let _ = socket.write_all(garbage);
    }
    // Half a body, then gone.
    let mut half = Client::connect(server.address);
    let head = "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: \
                Kinesis_20131202.PutRecord\r\nX-Amz-Date: x\r\nAuthorization: AWS4 Credential=a, SignedHeaders=b, \
                Signature=c\r\nContent-Length: 1000\r\n\r\n{\"Stre";
    half.socket.get_mut().write_all(head.as_bytes()).unwrap();
    drop(half);
    server.client().call("ListStreams", &json!({}));
    server.stop();
}

#[test]
fn the_end_waits_for_requests_and_not_for_idle_connections() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let idle: Vec<_> = (0..5)
        .map(|_| {
            let mut client = server.client();
            client.call("ListStreams", &json!({}));
            client
        })
        .collect();
    let begun = Instant::now();
    let address = server.address;
    server.stop();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    for mut client in idle {
        assert_eq!(client.socket.get_mut().read(&mut [0]).unwrap_or(0), 0, "closed by the server");
    }
    assert!(TcpStream::connect(address).is_err());
}
