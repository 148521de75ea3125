//! More connections than are served at once.

use crate::server::{Client, Server};
use headwater_engine::limits::CONNECTIONS_MAX;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;
use tokio::task::JoinSet;

/// What an idle server has, and 20 KiB for each connection.
const MIB_MAX: u64 = 100;

/// Set in the process that a test here runs in.
const ALONE: &str = "HEADWATER_HOSTILE_ALONE";

/// Files this process may have open, beside those of the test itself.
fn files_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    line.split_whitespace().nth(3).unwrap().parse::<usize>().unwrap_or(usize::MAX).saturating_sub(100)
}

/// Runs a test in a process of its own, which may open as many files as the machine lets it: the others here need some too.
fn alone(name: &str, test: fn()) {
    if std::env::var_os(ALONE).is_some() {
        if files_max() > CONNECTIONS_MAX + 10 {
            return test();
        }
        return skip(name);
    }
    let outcome = Command::new("sh")
        .args(["-c", "ulimit -n $(ulimit -Hn) 2>/dev/null; exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("crowd::{name}"), "--nocapture"])
        .env(ALONE, "1")
        .output()
        .unwrap();
    let said = [outcome.stdout, outcome.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    assert!(outcome.status.success() && said[0].contains("1 passed"), "{}", said.concat());
}

/// Says so in the file that `tests/run` counts skips from: a test that did not run must not look as if it had passed.
fn skip(name: &str) {
    let line =
        format!("SKIPPED hostile::{name}: {} files cannot hold {CONNECTIONS_MAX} connections\n", files_max());
    if let Some(file) = std::env::var_os("HEADWATER_SKIPS") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

#[test]
fn who_comes_when_all_places_are_taken_waits_and_is_served_when_one_is_free() {
    alone("who_comes_when_all_places_are_taken_waits_and_is_served_when_one_is_free", one_too_many);
}

fn one_too_many() {
    let server = Server::with_stream();
    let mut idle: Vec<TcpStream> =
        (0..CONNECTIONS_MAX).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    let mut late = Client::connect(server.address);
    late.send("ListStreams", b"{}");
    late.0.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
    assert!(late.0.read(&mut [0; 0]).is_ok() && late.0.peek(&mut [0]).is_err(), "served beyond the limit");
    drop(idle.pop());
    late.0.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    assert_eq!(late.receive().map(|(status, _)| status), Some(200));
    drop((late, idle));
    server.stays_well(MIB_MAX);
}

#[test]
fn ten_thousand_opens_with_nothing_sent_are_bounded_and_pass() {
    alone("ten_thousand_opens_with_nothing_sent_are_bounded_and_pass", ten_thousand);
}

fn ten_thousand() {
    let server = Server::with_stream();
    let address = server.address;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut opens = JoinSet::new();
        for _ in 0..10_000.min(files_max()) {
            // Those that find no place in the kernel's queue go on trying, and are never served.
            opens.spawn(async move {
                let socket = tokio::net::TcpStream::connect(address).await;
                tokio::time::sleep(Duration::from_secs(3)).await;
                drop(socket);
            });
        }
        tokio::time::sleep(Duration::from_secs(3)).await;
        opens.shutdown().await;
    });
    drop(runtime);
    // Thousands that have gone are taken from the queue one by one, and found closed.
    let mut client = server.client();
    client.send("ListStreams", b"{}");
    assert_eq!(client.receive().map(|(status, _)| status), Some(200));
    server.stays_well(MIB_MAX);
}
