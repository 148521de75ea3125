//! What tests do with a gateway in their process, whatever it is there for: ask its pages, crash it, damage its disk.

#![allow(dead_code, reason = "each test file uses its part")]

use headwater::Gateway;
use headwater_engine::{Engine, EngineBatch, StreamName};
use serde_json::json;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Far longer than anything here takes; it ends a test that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// Waits until `check` holds.
pub(crate) async fn until(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The whole answer, head and body, to a request such as `GET /health`.
pub(crate) async fn ask(addr: SocketAddr, request: &str) -> String {
    let mut socket = tokio::net::TcpStream::connect(addr).await.unwrap();
    let request = format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}

/// The body at `path`.
pub(crate) async fn get(addr: SocketAddr, path: &str) -> String {
    let answer = ask(addr, &format!("GET {path}")).await;
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Ends the gateway without stopping anything in order. What its disk has then, in another directory, after `change` to its journal.
pub(crate) async fn crash(gateway: Gateway, dir: &Path, change: impl FnOnce(&Path)) -> tempfile::TempDir {
    gateway.engine().close().await;
    drop(gateway);
    let copy = tempfile::tempdir().unwrap();
    let journal = copy.path().join("journal");
    copy_all(&dir.join("journal"), &journal);
    change(&journal);
    copy
}

/// The disk gives something else back than was written in `range` of the first segment that has records there.
pub(crate) fn damage(journal: &Path, range: Range<usize>) {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(journal.join("lane-0")).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "seg"));
    files.sort();
    // One that is made ready for later holds nothing.
    let is_used =
        |bytes: &[u8]| bytes.get(range.clone()).is_some_and(|part| part.iter().any(|byte| *byte != 0));
    let read =
        |path: PathBuf| Some((std::fs::read(&path).unwrap(), path)).filter(|(bytes, _)| is_used(bytes));
    let (mut bytes, used) = files.into_iter().find_map(read).unwrap();
    bytes[range.clone()].fill(0xa5);
    std::fs::write(&used, bytes).unwrap();
}

/// Stores a batch durably, however far behind the disk of a test machine is.
pub(crate) async fn store(engine: &Engine, batch: &EngineBatch) {
    engine.append_within(batch, PATIENCE).await.unwrap().await.unwrap();
}

/// Gives a stream so many open shards, and waits until it has them.
pub(crate) async fn resize(engine: &Engine, stream: &str, shards: u32) {
    let body = json!({"StreamName": stream, "TargetShardCount": shards, "ScalingType": "UNIFORM_SCALING"});
    let answer = engine.call("UpdateShardCount", body.to_string().as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let stream = engine.stream(&StreamName::parse(stream).unwrap()).unwrap();
    until("the stream has its shards", || stream.state().shards.open_count() == shards as usize).await;
}

fn copy_all(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy_all(&from, &to);
        } else {
            std::fs::copy(&from, &to).unwrap();
        }
    }
}
