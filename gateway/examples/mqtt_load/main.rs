//! A cheap MQTT publisher for benches and kill tests: raw sockets, so that the server is the bottleneck.
//!
//! ```text
//! cargo run --release --example mqtt_load -- --addr 127.0.0.1:1883 --clients 50 --messages 100000 --window 20
//! cargo run --release --example mqtt_load -- --clients 20 --seconds 10 --ids --acked acked.txt
//! ```
//! Prints one line: messages acknowledged, seconds, rate, and the latency from PUBLISH to PUBACK of every 16th.
//! With `--ids` every payload begins with an identifier, `{client:05}-{sequence:010}`; with `--acked FILE` the
//! identifiers that were acknowledged with success are in FILE, one a line, each written before the next read: what
//! is in the file was acknowledged, whenever this program or the server is killed.
//! Ends with 1 when a client lost its connection or an acknowledgement was an error, unless `--tolerate`.

mod packets;
mod publisher;

use anyhow::{Context, Result, bail};
use clap::Parser;
use publisher::Publisher;
use std::fs::File;
use std::net::SocketAddr;
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

#[derive(Parser, Clone)]
#[command(about = "Publishes over many MQTT connections and measures acknowledgements")]
struct Options {
    /// Address of the server
    #[arg(long, default_value = "127.0.0.1:1883")]
    addr: SocketAddr,
    /// Connections, each with a thread
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: u32,
    /// Messages of each client (without --seconds: 100,000)
    #[arg(long)]
    messages: Option<u64>,
    /// Stop sending after so many seconds
    #[arg(long)]
    seconds: Option<f64>,
    /// Quality of service: 0, 1 or 2
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(0..=2))]
    qos: u8,
    /// Bytes of each payload
    #[arg(long, default_value_t = 200)]
    payload: usize,
    /// Publishes without acknowledgement at once
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1024))]
    window: u16,
    /// Protocol: 4 for MQTT 3.1.1, 5
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(4..=5))]
    protocol: u8,
    /// Topics are {prefix}/{client}/s{number}
    #[arg(long, default_value = "load")]
    prefix: String,
    /// Topics of each client
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    topics: u32,
    /// Begin every payload with an identifier
    #[arg(long)]
    ids: bool,
    /// Make payloads JSON objects: {"id":"…","pad":"…"}
    #[arg(long)]
    json: bool,
    /// Write acknowledged identifiers to this file
    #[arg(long)]
    acked: Option<std::path::PathBuf>,
    /// Lost connections and errors are no failure
    #[arg(long)]
    tolerate: bool,
    /// User name and password, `name:password`
    #[arg(long)]
    user: Option<String>,
}

#[derive(Default)]
struct Outcome {
    acked: u64,
    errors: u64,
    latencies_us: Vec<u64>,
    failure: Option<String>,
}

fn main() -> Result<()> {
    let options = Arc::new(Options::parse());
    let acked =
        options.acked.as_ref().map(|path| File::options().create(true).append(true).open(path)).transpose();
    let acked = acked
        .context("opening the file for acknowledged identifiers")?
        .map(|file| Arc::new(Mutex::new(file)));
    let barrier = Arc::new(Barrier::new(options.clients as usize + 1));
    let mut threads = Vec::new();
    for client in 0..options.clients {
        let (options, barrier, acked) = (options.clone(), barrier.clone(), acked.clone());
        let builder = std::thread::Builder::new().stack_size(256 * 1024);
        threads.push(builder.spawn(move || {
            let connected = Publisher::connect(&options, client, acked);
            barrier.wait();
            let mut outcome = Outcome::default();
            let done = connected.and_then(|mut publisher| publisher.run(&mut outcome));
            outcome.failure = done.err().map(|error| format!("client {client}: {error:#}"));
            outcome
        })?);
    }
    barrier.wait();
    let began = Instant::now();
    let outcomes: Vec<Outcome> = threads.into_iter().filter_map(|thread| thread.join().ok()).collect();
    report(&options, &outcomes, began.elapsed())
}

#[expect(clippy::print_stdout, reason = "the result is this program's output")]
fn report(options: &Options, outcomes: &[Outcome], elapsed: Duration) -> Result<()> {
    let acked: u64 = outcomes.iter().map(|outcome| outcome.acked).sum();
    let errors: u64 = outcomes.iter().map(|outcome| outcome.errors).sum();
    let mut latencies: Vec<u64> =
        outcomes.iter().flat_map(|outcome| outcome.latencies_us.iter().copied()).collect();
    latencies.sort_unstable();
    let at = |percent: usize| {
        latencies.get(latencies.len().saturating_sub(1) * percent / 100).copied().unwrap_or(0)
    };
    let seconds = elapsed.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a rate has few digits")]
    let rate = acked as f64 / seconds;
    println!(
        "qos={} clients={} window={} payload={} acked={acked} errors={errors} secs={seconds:.2} rate={rate:.0}/s p50_us={} p99_us={} max_us={}",
        options.qos,
        options.clients,
        options.window,
        options.payload,
        at(50),
        at(99),
        at(100),
    );
    let failures: Vec<&String> = outcomes.iter().filter_map(|outcome| outcome.failure.as_ref()).collect();
    for failure in failures.iter().take(5) {
        eprintln!("{failure}");
    }
    if !options.tolerate && (errors > 0 || !failures.is_empty()) {
        bail!("{} connections lost, {errors} publishes refused", failures.len());
    }
    Ok(())
}
