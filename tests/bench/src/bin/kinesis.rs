//! PutRecords, 200 only after the flush. `--endpoint HOST:PORT --pid N` measures any other server that is already running;
//! `--peer 'COMMAND {port}'` starts one and measures both in the same run.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context;
use headwater_bench::producers::{self, CLIENTS, RECORD_BYTES, RECORDS_PER_CALL, Until};
use headwater_bench::table::{Table, median, short};
use headwater_bench::{Args, account};
use serde_json::json;
use system_tests::gateway::Gateway;
use system_tests::kinesis::Kinesis;
use system_tests::process::Process;
use system_tests::{ports, wait_until};

/// Shards of the stream.
const SHARDS: u32 = 4;

/// Records per second and CPU microseconds of the server per record.
#[derive(Clone, Copy)]
struct Sample {
    rate: f64,
    cpu_us: Option<f64>,
}

/// A server under test.
struct Server {
    name: String,
    address: SocketAddr,
    pid: Option<u32>,
}

impl Server {
    fn prepare(&self) -> anyhow::Result<()> {
        let mut kinesis = Kinesis::new(self.address);
        kinesis.must("CreateStream", &json!({ "StreamName": "bench", "ShardCount": SHARDS }));
        let active = wait_until(Duration::from_secs(30), || {
            kinesis.must("DescribeStreamSummary", &json!({ "StreamName": "bench" }))["StreamDescriptionSummary"]
                ["StreamStatus"]
                == "ACTIVE"
        });
        anyhow::ensure!(active, "the stream of {} does not become active", self.name);
        Ok(())
    }

    fn measure(&self, duration: Duration) -> anyhow::Result<Sample> {
        let cpu = |pid: Option<u32>| pid.map(account::cpu).transpose();
        let before = cpu(self.pid)?;
        let load = producers::run(self.address, "bench", Until::Elapsed(duration))
            .with_context(|| self.name.clone())?;
        let used = cpu(self.pid)?.zip(before).map(|(after, before)| after - before);
        let records = load.records as f64;
        Ok(Sample {
            rate: records / load.elapsed.as_secs_f64(),
            cpu_us: used.map(|cpu| cpu.as_secs_f64() * 1e6 / records),
        })
    }
}

fn value<'a>(args: &'a Args, name: &str) -> Option<&'a str> {
    let at = args.rest.iter().position(|arg| arg == name)?;
    args.rest.get(at + 1).map(String::as_str)
}

fn peer(command: &str, directory: &std::path::Path) -> anyhow::Result<(Process, Server)> {
    let address = ports::free();
    let command = command.replace("{port}", &address.port().to_string());
    let mut words = command.split_whitespace();
    let program = words.next().context("--peer is empty")?;
    let mut process = Process::new("peer", program, directory).args(words);
    process.start();
    let up = wait_until(Duration::from_secs(30), || Kinesis::new(address).answers());
    anyhow::ensure!(up, "the peer does not answer\n{}", process.tail());
    let (name, pid) = (program.rsplit('/').next().unwrap_or(program).to_owned(), process.id());
    Ok((process, Server { name, address, pid }))
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse()?;
    let scratch = args.scratch()?;
    // Kept until the end: dropping them stops the servers.
    let (mut gateway, mut other) = (None, None);
    let mut servers = Vec::new();
    match value(&args, "--endpoint") {
        Some(endpoint) => {
            let pid = value(&args, "--pid").map(str::parse).transpose()?;
            servers.push(Server { name: endpoint.to_owned(), address: endpoint.parse()?, pid });
        }
        None => {
            let ours = gateway.insert(Gateway::start(scratch.path(), ""));
            servers.push(Server {
                name: "headwater, durable".to_owned(),
                address: ours.kinesis,
                pid: Some(ours.id()),
            });
        }
    }
    if let Some(command) = value(&args, "--peer") {
        let (process, server) = peer(command, scratch.path())?;
        other = Some(process);
        servers.push(server);
    }
    servers.iter().try_for_each(Server::prepare)?;
    let mut samples = vec![Vec::new(); servers.len()];
    for _ in 0..args.rounds() {
        for (server, samples) in servers.iter().zip(&mut samples) {
            samples.push(server.measure(args.duration())?);
        }
    }
    let mut table = Table::new(["server", "records/s", "CPU us per record"]);
    for (server, samples) in servers.iter().zip(samples) {
        let sample = median(samples, |sample| sample.rate);
        table.row([server.name.clone(), short(sample.rate), sample.cpu_us.map_or("-".into(), short)]);
    }
    table.print(&format!("kinesis: PutRecords JSON, {CLIENTS} clients, {RECORDS_PER_CALL} x {RECORD_BYTES} B a call, {SHARDS} shards"));
    drop((gateway, other));
    Ok(())
}
