//! A server of the Kinesis API that a bench starts, measures and kills.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;
use system_tests::process::Process;
use system_tests::{binaries, ports, wait_until};

use crate::account;
use crate::wire::Connection;

/// A peer on a slow machine takes seconds to start.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Pause between two looks whether a server answers; what a measured start is exact to.
const LOOK_PAUSE: Duration = Duration::from_micros(200);

/// A server under test.
#[derive(Debug)]
pub struct Contender {
    /// What it is called in the tables.
    pub name: String,
    /// Where it serves.
    pub address: SocketAddr,
    process: Process,
}

impl Contender {
    /// Our engine alone, with its data in `directory`.
    #[must_use]
    pub fn ours(directory: &Path) -> Self {
        let address = ports::free();
        let process = Process::new("headwater", binaries::headwater(), directory)
            .args(["kinesis", "--listen", &address.to_string(), "--dir"])
            .args([directory.join("data")]);
        Self { name: "headwater, durable".to_owned(), address, process }
    }

    /// A peer from `name=command`, in which `{port}` and `{dir}` are replaced.
    ///
    /// # Errors
    /// When the text is not of that form.
    pub fn peer(text: &str, directory: &Path) -> anyhow::Result<Self> {
        let (name, command) = text.split_once('=').context("a peer is given as NAME=COMMAND")?;
        let address = ports::free();
        let command = command.replace("{port}", &address.port().to_string());
        let command = command.replace("{dir}", &directory.display().to_string());
        let mut words = command.split_whitespace();
        let program = words.next().context("the command of a peer is empty")?;
        let process = Process::new(name, program, directory).args(words);
        Ok(Self { name: name.to_owned(), address, process })
    }

    /// Starts it and gives the time until its first answer.
    ///
    /// # Errors
    /// When it does not answer in time; with the end of its log.
    pub fn start(&mut self) -> anyhow::Result<Duration> {
        let started = Instant::now();
        self.process.start();
        while started.elapsed() < START_PATIENCE {
            let answer = Connection::open(self.address).and_then(|mut c| c.call("ListStreams", &json!({})));
            if answer.is_ok() {
                return Ok(started.elapsed());
            }
            std::thread::sleep(LOOK_PAUSE);
        }
        anyhow::bail!("{} does not answer\n{}", self.name, self.process.tail())
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Makes a stream and waits until it is active.
    ///
    /// # Errors
    /// When it is not made.
    pub fn stream(&self, name: &str, shards: u32) -> anyhow::Result<()> {
        let mut connection = Connection::open(self.address)?;
        connection.call("CreateStream", &json!({ "StreamName": name, "ShardCount": shards }))?;
        let active = wait_until(START_PATIENCE, || {
            let stream = connection.call("DescribeStream", &json!({ "StreamName": name }));
            stream.is_ok_and(|stream| stream["StreamDescription"]["StreamStatus"] == "ACTIVE")
        });
        ensure!(active, "stream {name} of {} does not become active", self.name);
        Ok(())
    }

    /// CPU time of the server so far.
    ///
    /// # Errors
    /// When it is gone.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        account::cpu(self.process.id().context("the server does not run")?)
    }

    /// Resident memory in MiB.
    ///
    /// # Errors
    /// When it is gone.
    pub fn resident_mib(&self) -> anyhow::Result<f64> {
        Ok(account::resident(self.process.id().context("the server does not run")?)? as f64
            / f64::from(1 << 20))
    }
}
