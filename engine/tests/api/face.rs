//! What the HTTP face answers to what no SDK sends, and to browsers.

use crate::support::{Answer, Client, Server};
use std::io::{BufRead, Read, Write};

const SIGNED: &str = "X-Amz-Date: 20260101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, \
                      Signature=0\r\n";
const LIST: &str =
    "Content-Type: application/x-amz-json-1.1\r\nX-Amz-Target: Kinesis_20131202.ListStreams\r\n";

fn ask(client: &mut Client, method: &str, target: &str, headers: &str, body: &str) -> Answer {
    let head =
        format!("{method} {target} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {}\r\n\r\n", body.len());
    let socket = client.socket.get_mut();
    socket.write_all(head.as_bytes()).unwrap();
    socket.write_all(body.as_bytes()).unwrap();
    client.receive()
}

fn header<'a>(answer: &'a Answer, name: &str) -> Option<&'a str> {
    let of = |line: &'a str| line.split_once(':').filter(|(found, _)| found.eq_ignore_ascii_case(name));
    answer.head.lines().find_map(of).map(|(_, value)| value.trim())
}

#[test]
fn browsers_may_ask_and_read_as_with_aws() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut client = server.client();
    let asks = "Origin: http://page\r\nAccess-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: \
                x-amz-target,authorization\r\n";
    let preflight = ask(&mut client, "OPTIONS", "/", asks, "");
    assert_eq!((preflight.status, preflight.body.len()), (200, 0));
    assert_eq!(header(&preflight, "access-control-allow-origin"), Some("*"));
    assert_eq!(header(&preflight, "access-control-allow-methods"), Some("POST"));
    assert_eq!(header(&preflight, "access-control-allow-headers"), Some("x-amz-target,authorization"));
    assert_eq!(header(&preflight, "access-control-max-age"), Some("172800"));
    assert_eq!(header(&preflight, "x-amz-id-2"), None);
    let answer = ask(&mut client, "POST", "/", &format!("Origin: http://page\r\n{LIST}{SIGNED}"), "{}");
    assert_eq!(answer.status, 200);
    assert_eq!(header(&answer, "access-control-allow-origin"), Some("*"));
    assert!(header(&answer, "access-control-expose-headers").unwrap().contains("x-amzn-RequestId"));
    assert_eq!(header(&answer, "x-amz-id-2").unwrap().len(), 96);
    // Without an origin there is no browser to tell.
    let answer = ask(&mut client, "POST", "/", &format!("{LIST}{SIGNED}"), "{}");
    assert_eq!((answer.status, header(&answer, "access-control-allow-origin")), (200, None));
    assert_eq!(ask(&mut client, "OPTIONS", "/", "", "").status, 403);
    server.stop();
}

#[test]
fn what_is_no_call_is_answered_as_aws_does() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let target = "X-Amz-Target: Kinesis_20131202.ListStreams\r\n";
    let denied = "Unable to determine service/operation name to be authorized";
    for (method, headers, status, contains) in [
        ("GET", "".into(), 403, denied),
        ("PUT", format!("{LIST}{SIGNED}"), 403, denied),
        ("DELETE", format!("{LIST}{SIGNED}"), 403, denied),
        ("POST", SIGNED.to_owned(), 403, denied),
        (
            "POST",
            format!("Content-Type: text/plain\r\n{target}{SIGNED}"),
            404,
            "<UnknownOperationException/>",
        ),
        ("POST", format!("{target}{SIGNED}"), 404, "<UnknownOperationException/>"),
        (
            "POST",
            format!("Content-Type: application/json\r\n{target}{SIGNED}"),
            200,
            "coral.service#UnknownOperation",
        ),
        (
            "POST",
            format!("Content-Type: application/x-amz-json-1.1\r\n{SIGNED}"),
            400,
            "UnknownOperationException",
        ),
        ("POST", format!("{}{SIGNED}", LIST.replace("1.1", "1.1; charset=utf-8")), 200, "StreamNames"),
    ] {
        // What is refused by its head may end its connection with the body unread.
        let answer = ask(&mut server.client(), method, "/any/path", &headers, "{}");
        let text = String::from_utf8_lossy(&answer.body);
        assert!(
            answer.status == status && text.contains(contains),
            "{method} {headers}: {} {text}",
            answer.status
        );
        assert!(header(&answer, "x-amz-id-2").is_some());
    }
    server.stop();
}

#[test]
fn a_head_request_is_refused_without_a_body_and_the_connection_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut client = server.client();
    client.socket.get_mut().write_all(b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        client.socket.read_line(&mut head).unwrap();
    }
    assert!(head.starts_with("HTTP/1.1 403"), "{head}");
    assert_eq!(ask(&mut client, "POST", "/", &format!("{LIST}{SIGNED}"), "{}").status, 200);
    server.stop();
}

#[test]
fn a_client_that_waits_to_be_asked_for_its_body_is_asked() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut client = server.client();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: x\r\n{LIST}{SIGNED}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    );
    client.socket.get_mut().write_all(head.as_bytes()).unwrap();
    let mut go_on = [0; 25];
    client.socket.read_exact(&mut go_on).unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    client.socket.get_mut().write_all(b"{}").unwrap();
    assert_eq!(client.receive().status, 200);
    // What is refused whatever its body is: nobody asks for the body.
    let head =
        format!("POST / HTTP/1.1\r\nHost: x\r\n{LIST}Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    let mut client = server.client();
    client.socket.get_mut().write_all(head.as_bytes()).unwrap();
    let answer = client.receive();
    assert_eq!(
        (answer.status, answer.json()["__type"].as_str()),
        (400, Some("MissingAuthenticationTokenException"))
    );
    server.stop();
}

#[test]
fn signatures_may_be_in_the_query_and_have_to_be_whole() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut client = server.client();
    let query =
        "/?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a&X-Amz-SignedHeaders=host&X-Amz-Signature=0";
    let whole = format!("{query}&X-Amz-Date=20260101T000000Z");
    assert_eq!(ask(&mut client, "POST", &whole, LIST, "{}").status, 200);
    for (target, headers, kind) in [
        ("/", LIST.to_owned(), "MissingAuthenticationTokenException"),
        (query, LIST.to_owned(), "IncompleteSignatureException"),
        (&whole, format!("{LIST}{SIGNED}"), "InvalidSignatureException"),
        (
            "/",
            format!("{LIST}Authorization: AWS4-HMAC-SHA256 Credential=a\r\n"),
            "IncompleteSignatureException",
        ),
    ] {
        let answer = ask(&mut server.client(), "POST", target, &headers, "{}");
        assert_eq!((answer.status, answer.json()["__type"].as_str()), (400, Some(kind)));
    }
    server.stop();
}

#[test]
fn half_a_body_ends_its_connection_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    for _ in 0..50 {
        let mut client = server.client();
        let head =
            format!("POST / HTTP/1.1\r\nHost: x\r\n{LIST}{SIGNED}Content-Length: 1000\r\n\r\n{{\"Limit\"");
        client.socket.get_mut().write_all(head.as_bytes()).unwrap();
        client.socket.get_mut().shutdown(std::net::Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        // Nothing, or a refusal: the client has not said what it wants.
        client.socket.read_to_end(&mut rest).unwrap();
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(ask(&mut server.client(), "POST", "/", &format!("{LIST}{SIGNED}"), "{}").status, 200);
    server.stop();
}
