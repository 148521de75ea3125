//! Clients that are silent or send a byte now and then, in virtual time: the server in this process, on a clock that jumps to
//! the next timer whenever nobody has anything to do.

use crate::server::head;
use headwater_engine::limits::{BODY_TIMEOUT, HEADER_TIMEOUT};
use headwater_engine::{Engine, EngineConfig};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

/// What the journal's threads and the machine may add to a wait.
const MORE: Duration = Duration::from_secs(10);

/// Runs a client against a server whose time is virtual.
fn in_virtual_time<F: Future<Output = ()>>(client: impl FnOnce(SocketAddr) -> F) {
    let dir = tempfile::tempdir().unwrap();
    let journal = headwater_journal::Config {
        segment_bytes: 1 << 20,
        reserve_bytes: 0,
        ..headwater_journal::Config::small()
    };
    let (engine, _) = Engine::open(EngineConfig { journal, ..EngineConfig::new(dir.path()) }).unwrap();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = engine.clone();
        tokio::spawn(async move { served.http(listener, std::future::pending()).await });
        client(address).await;
    });
}

/// Everything the server says until it closes.
async fn said(socket: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let _ = socket.read_to_end(&mut said).await;
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn half_a_body_then_silence_is_told_that_it_took_too_long() {
    in_virtual_time(|address| async move {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let begun = Instant::now();
        let request = format!("{}Content-Length: 1000\r\n\r\n{{\"Stre", head("PutRecord"));
        socket.write_all(request.as_bytes()).await.unwrap();
        let said = said(&mut socket).await;
        assert!(said.starts_with("HTTP/1.1 408") && said.contains("RequestTimeoutException"), "{said}");
        let waited = begun.elapsed();
        assert!(waited >= BODY_TIMEOUT && waited < BODY_TIMEOUT + HEADER_TIMEOUT + MORE, "{waited:?}");
    });
}

#[test]
fn a_body_of_one_byte_a_second_is_not_waited_for() {
    in_virtual_time(|address| async move {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let begun = Instant::now();
        let request = format!("{}Content-Length: 100000\r\n\r\n", head("PutRecord"));
        socket.write_all(request.as_bytes()).await.unwrap();
        let (mut reading, mut writing) = socket.into_split();
        let dripping = tokio::spawn(async move {
            while writing.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let mut answer = [0; 12];
        reading.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 408");
        let waited = begun.elapsed();
        assert!(waited >= BODY_TIMEOUT && waited < BODY_TIMEOUT + MORE, "{waited:?}");
        dripping.abort();
    });
}

#[test]
fn a_head_that_does_not_end_is_not_waited_for() {
    for start in [&b""[..], b"P", b"PR", b"POST / HTTP/1.1\r\nHost: x\r\n", b"PRI * HTTP/2.0\r\n"] {
        in_virtual_time(|address| async move {
            let mut socket = TcpStream::connect(address).await.unwrap();
            let begun = Instant::now();
            socket.write_all(start).await.unwrap();
            let said = said(&mut socket).await;
            let waited = begun.elapsed();
            assert!(waited < 2 * HEADER_TIMEOUT + MORE, "{start:?}: {waited:?}");
            assert!(!said.contains(" 200 "), "{start:?}: {said}");
        });
    }
}

#[test]
fn a_head_of_one_byte_a_second_is_not_waited_for() {
    in_virtual_time(|address| async move {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let begun = Instant::now();
        for byte in head("ListStreams").bytes().cycle() {
            if socket.write_all(&[byte]).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(begun.elapsed() < HEADER_TIMEOUT + MORE, "still listened to");
        }
    });
}

#[test]
fn who_goes_in_the_middle_of_the_first_word_is_let_go_at_once() {
    in_virtual_time(|address| async move {
        for start in [&b"P"[..], b"PR"] {
            let mut socket = TcpStream::connect(address).await.unwrap();
            let begun = Instant::now();
            socket.write_all(start).await.unwrap();
            socket.shutdown().await.unwrap();
            assert_eq!(said(&mut socket).await, "");
            assert!(begun.elapsed() < Duration::from_secs(3), "{start:?}: {:?}", begun.elapsed());
        }
    });
}
