//! What a person does with a device on the desk: the program itself against the very device core, over a pseudo terminal.

#![expect(clippy::unwrap_used, reason = "a panic is the report")]

mod support;

#[path = "tools/bench.rs"]
mod bench;
#[path = "tools/images.rs"]
mod images;
#[path = "tools/orders.rs"]
mod orders;
#[path = "tools/papers.rs"]
mod papers;
#[path = "tools/provisioning.rs"]
mod provisioning;
#[path = "tools/refusals.rs"]
mod refusals;
#[path = "tools/terminal.rs"]
mod terminal;
#[path = "tools/watching.rs"]
mod watching;

use bench::{Board, Chip, Kind, layout};
use headwater_device::testing::SyncFlash;
use headwater_device::{Device, Sampler, Settings};
use headwater_telemetry::limits::{CHANNELS_MAX, CREDENTIALS_BYTES_MAX};
use headwater_telemetry::{Channel, ChannelId, Config, DeviceId, Value, heapless};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const PROGRAM: &str = env!("CARGO_BIN_EXE_headwater-agent");

/// What a program said in the end.
#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs the program with arguments and lines of input.
fn agent(arguments: &[&str], input: &str) -> Said {
    agent_in(&std::env::temp_dir(), arguments, input)
}

/// The same, where files without a folder are those of `dir`.
fn agent_in(dir: &Path, arguments: &[&str], input: &str) -> Said {
    let mut child = Command::new(PROGRAM)
        .current_dir(dir)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    // It may end before it reads.
    let _ = child.stdin.take().expect("it was piped").write_all(input.as_bytes());
    let Output { status, stdout, stderr } = child.wait_with_output().expect("the program ends");
    let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
    Said { code: status.code(), out: text(stdout), err: text(stderr) }
}

fn on(board: &Board) -> &str {
    board.port.to_str().expect("test paths are UTF-8")
}

/// A board, and the folder of its port and files.
fn desk(kind: Kind) -> (tempfile::TempDir, Chip, Board) {
    let (dir, chip) = (tempfile::tempdir().expect("a folder"), bench::chip());
    let board = plug(dir.path(), &chip, kind);
    (dir, chip, board)
}

fn plug(dir: &Path, chip: &Chip, kind: Kind) -> Board {
    let by_id = dir.join("by-id");
    std::fs::create_dir_all(&by_id).expect("a folder");
    let port = by_id.join("usb-Headwater_bench_1-if00");
    let _ = std::fs::remove_file(&port);
    Board::start(&port, chip, kind)
}

struct Nothing;

impl Sampler for Nothing {
    fn channels(&self) -> heapless::Vec<Channel, CHANNELS_MAX> {
        heapless::Vec::new()
    }
    fn period_ms(&self, _: ChannelId) -> u32 {
        1_000
    }
    async fn sample(&mut self, _: ChannelId) -> Option<Value> {
        None
    }
}

/// Server name, authority, certificate, key.
type Kept = (String, Vec<u8>, Vec<u8>, Vec<u8>);

/// What a device finds in its flash at its next start.
fn found(chip: &Chip) -> (Option<Config>, Option<Kept>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let settings = Settings::new(DeviceId::parse("nobody").expect("a good name"), "test");
        let device = Device::open(SyncFlash(chip.clone()), layout(), settings, &Nothing, ());
        let device = device.await.expect("the model's flash opens");
        let mut out = [0; CREDENTIALS_BYTES_MAX];
        let credentials = device.credentials(&mut out).await.expect("they are whole");
        let kept = credentials.map(|it| {
            (it.server_name.to_owned(), it.authority.to_vec(), it.certificate.to_vec(), it.key.to_vec())
        });
        (device.config().await.expect("the model's flash reads"), kept)
    })
}

/// Whether any of these bytes is in there.
fn holds(bytes: &[u8], secret: &[u8]) -> bool {
    bytes.windows(secret.len()).any(|window| window == secret)
}
