//! Servers of the Kinesis API that other people wrote, and what a reader of a target stream sees with boto3.
//! In: `PEER_KINESIS`, a line for each server, `NAME=COMMAND` with `{port}` and `{dir}`, as for the benches. Out: a server that answers;
//! the records of a stream, each with the word of `docs/examples/once.py` whether it is new.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::binaries::workspace;
use crate::fleet::Entry;
use crate::kinesis::{Kinesis, Record};
use crate::process::Process;
use crate::{ports, python, wait_until};

/// A server in Python takes three seconds to start, and the machine is loaded.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// Reading ten thousand records with boto3 takes seconds.
const READ_PATIENCE: Duration = Duration::from_secs(90);

/// A server that was started.
#[derive(Debug)]
pub struct Peer {
    process: Process,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Peer {
    /// Starts the server of this name and waits until it answers; nothing when `PEER_KINESIS` has none of this name.
    ///
    /// # Panics
    /// When it does not answer; shows its log.
    #[must_use]
    pub fn start(name: &str, directory: &Path) -> Option<Self> {
        let peers = std::env::var("PEER_KINESIS").ok()?;
        let command = peers.lines().find_map(|line| line.trim().strip_prefix(&format!("{name}=")))?;
        let address = ports::free();
        let command = command
            .replace("{port}", &address.port().to_string())
            .replace("{dir}", &directory.display().to_string());
        let mut words = command.split_whitespace();
        let program = words.next().unwrap_or_else(|| panic!("PEER_KINESIS has no command for {name}"));
        let mut process = Process::new(name, program, directory).args(words);
        process.start();
        let ready = wait_until(START_PATIENCE, || {
            assert!(process.runs(), "{name} ended while starting\n{}", process.tail());
            Kinesis::new(address).answers()
        });
        assert!(ready, "{name} does not answer after {START_PATIENCE:?}\n{}", process.tail());
        Some(Self { process, address })
    }

    /// The end of its log.
    #[must_use]
    pub fn tail(&self) -> String {
        self.process.tail()
    }
}

/// A record of a target stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The record. Its shard is that of the target.
    pub record: Record,
    /// Whether `once.py` takes it for a repeat.
    pub is_repeat: bool,
}

impl Seen {
    /// What a device said, wherever the shards of the target put it.
    #[must_use]
    pub fn entry(&self) -> Option<Entry> {
        Entry::of(&self.record).map(|entry| Entry { shard: String::new(), ..entry })
    }
}

/// Everything in a stream of a server now, by boto3 and `docs/examples/once.py`, children after their parents.
///
/// # Panics
/// When there is no interpreter, ask [`python::interpreter`] first; when the program fails.
#[must_use]
pub fn read_once(address: SocketAddr, stream: &str, directory: &Path) -> Vec<Seen> {
    read("docs/examples/once.py", &["--to-end", "--repeats"], address, stream, directory)
}

/// The same of a stream that a sink with `aggregate = "kpl"` packed, taken apart by `aws_kinesis_agg`. The sequence number of a record from
/// an aggregate has its place in it behind a colon.
///
/// # Panics
/// As [`read_once`].
#[must_use]
pub fn read_unpacked(address: SocketAddr, stream: &str, directory: &Path) -> Vec<Seen> {
    read("tests/clients/kinesis_unpacked.py", &[], address, stream, directory)
}

fn read(program: &str, more: &[&str], address: SocketAddr, stream: &str, directory: &Path) -> Vec<Seen> {
    let python = python::interpreter().expect("asked before");
    let endpoint = format!("http://{address}");
    let reader = Process::new("reader", python, directory)
        .args([workspace().join(program)])
        .args(["--endpoint", &endpoint, "--stream", stream])
        .args(more);
    let mut reader = python::with_dummy_credentials(reader);
    reader.start();
    let status = reader.wait(READ_PATIENCE);
    assert!(status.success(), "{status}\n{}", reader.tail());
    reader.output().lines().map(parse).collect()
}

fn parse(line: &str) -> Seen {
    let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let text = |name: &str| value[name].as_str().unwrap_or_else(|| panic!("no {name}: {line}")).to_owned();
    let record = Record {
        shard: text("shard"),
        sequence: text("sequence"),
        key: text("key"),
        data: text("data").into_bytes(),
    };
    Seen { record, is_repeat: value["repeat"].as_bool().unwrap_or_else(|| panic!("no repeat: {line}")) }
}
