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

use anyhow::{Context, Result, bail, ensure};
use clap::Parser;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Barrier, Mutex};
use std::time::{Duration, Instant};

/// A socket that says nothing for so long is taken for dead: longer than any flush.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// One latency in so many is kept: enough for a 99th percentile, and the clock stays out of the measurement.
const LATENCY_EVERY: u64 = 16;
/// Bytes of an identifier in a payload.
const ID_BYTES: usize = 16;

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

/// One connection.
struct Publisher {
    options: Arc<Options>,
    client: u32,
    socket: TcpStream,
    topics: Vec<String>,
    acked: Option<Arc<Mutex<File>>>,
    /// What waits for an acknowledgement: sequence number and when it was sent.
    waiting: VecDeque<(u64, Instant)>,
    sent: u64,
    out: Vec<u8>,
    input: Vec<u8>,
}

impl Publisher {
    fn connect(options: &Arc<Options>, client: u32, acked: Option<Arc<Mutex<File>>>) -> Result<Publisher> {
        let mut socket = TcpStream::connect(options.addr).context("connecting")?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SILENCE_MAX))?;
        let id = format!("load-{}-{client}", std::process::id());
        socket.write_all(&connect_packet(options, &id)?)?;
        let mut header = [0; 2];
        socket.read_exact(&mut header).context("reading CONNACK")?;
        let mut body = vec![0; usize::from(header[1])];
        socket.read_exact(&mut body).context("reading CONNACK")?;
        ensure!(
            header[0] == 0x20 && body.get(1) == Some(&0),
            "connection refused: {header:02x?} {body:02x?}"
        );
        let topics =
            (0..options.topics).map(|topic| format!("{}/{client}/s{topic}", options.prefix)).collect();
        Ok(Publisher {
            options: options.clone(),
            client,
            socket,
            topics,
            acked,
            waiting: VecDeque::new(),
            sent: 0,
            out: Vec::new(),
            input: Vec::new(),
        })
    }

    fn run(&mut self, outcome: &mut Outcome) -> Result<()> {
        let deadline = self.options.seconds.map(|seconds| Instant::now() + Duration::from_secs_f64(seconds));
        let messages = match (self.options.messages, deadline) {
            (Some(messages), _) => messages,
            (None, Some(_)) => u64::MAX,
            (None, None) => 100_000,
        };
        let window = usize::from(self.options.window);
        loop {
            let over = self.sent >= messages || deadline.is_some_and(|deadline| Instant::now() >= deadline);
            if over && self.waiting.is_empty() {
                return if self.options.qos == 0 { self.finish_qos0(outcome) } else { Ok(()) };
            }
            self.out.clear();
            let mut burst = 0;
            while !over && self.sent < messages && self.waiting.len() < window && burst < window {
                self.publish();
                burst += 1;
            }
            self.socket.write_all(&self.out).context("writing")?;
            if self.options.qos > 0 {
                self.read_acks(outcome)?;
            }
        }
    }

    fn publish(&mut self) {
        let (qos, sequence) = (self.options.qos, self.sent);
        let topic = &self.topics[usize::try_from(sequence % self.topics.len() as u64).unwrap_or(0)];
        let payload = self.payload(sequence);
        let properties = usize::from(self.options.protocol == 5);
        let id_bytes = if qos > 0 { 2 } else { 0 };
        self.out.push(0x30 | qos << 1);
        remaining_length(&mut self.out, 2 + topic.len() + id_bytes + properties + payload.len());
        string(&mut self.out, topic.as_bytes());
        if qos > 0 {
            self.out.extend_from_slice(&packet_id(sequence).to_be_bytes());
            self.waiting.push_back((sequence, Instant::now()));
        }
        self.out.resize(self.out.len() + properties, 0);
        self.out.extend_from_slice(&payload);
        self.sent += 1;
    }

    fn payload(&self, sequence: u64) -> Vec<u8> {
        let size = self.options.payload;
        let mut payload = Vec::with_capacity(size + 32);
        let id = if self.options.ids { identifier(self.client, sequence) } else { String::new() };
        if self.options.json {
            payload.extend_from_slice(format!("{{\"id\":\"{id}\",\"pad\":\"").as_bytes());
            payload.resize(payload.len().max(size.saturating_sub(2)), b'x');
            payload.extend_from_slice(b"\"}");
        } else {
            payload.extend_from_slice(id.as_bytes());
            payload.resize(size.max(id.len()), b'x');
        }
        payload
    }

    /// Reads once and takes every acknowledgement in it.
    fn read_acks(&mut self, outcome: &mut Outcome) -> Result<()> {
        let mut chunk = [0; 16 * 1024];
        let count = self.socket.read(&mut chunk).context("reading")?;
        ensure!(count > 0, "the server closed the connection");
        self.input.extend_from_slice(&chunk[..count]);
        let (mut at, mut lines, mut releases) = (0, String::new(), Vec::new());
        while let Some(&[first, length]) = self.input.get(at..at + 2) {
            let end = at + 2 + usize::from(length);
            let Some(body) = self.input.get(at + 2..end) else { break };
            at = end;
            match first >> 4 {
                // PUBACK, or PUBREC, which says "durable" for QoS 2.
                4 | 5 => {
                    let id = u16::from_be_bytes([body[0], body[1]]);
                    let reason = body.get(2).copied().unwrap_or(0);
                    if first >> 4 == 5 && reason < 0x80 {
                        releases.extend_from_slice(&[0x62, 2, body[0], body[1]]);
                    }
                    take_ack(&mut self.waiting, id, reason, self.client, outcome, &mut lines)?;
                }
                7 => {}
                14 => {
                    bail!("the server disconnected with reason {:#04x}", body.first().copied().unwrap_or(0))
                }
                other => bail!("unexpected packet type {other}"),
            }
        }
        self.input.drain(..at);
        if let Some(file) = &self.acked {
            let mut file = file.lock().map_err(|_| anyhow::anyhow!("a writer of the file panicked"))?;
            file.write_all(lines.as_bytes()).context("writing acknowledged identifiers")?;
        }
        self.socket.write_all(&releases).context("writing PUBREL")
    }

    /// An answered PINGREQ means that the server has read everything before it.
    fn finish_qos0(&mut self, outcome: &mut Outcome) -> Result<()> {
        self.socket.write_all(&[0xC0, 0])?;
        self.socket.read_exact(&mut [0; 2]).context("reading PINGRESP")?;
        outcome.acked = self.sent;
        Ok(())
    }
}

fn take_ack(
    waiting: &mut VecDeque<(u64, Instant)>,
    id: u16,
    reason: u8,
    client: u32,
    outcome: &mut Outcome,
    lines: &mut String,
) -> Result<()> {
    let at = waiting.iter().position(|(sequence, _)| packet_id(*sequence) == id);
    let Some((sequence, sent)) = at.and_then(|at| waiting.remove(at)) else {
        bail!("acknowledgement of packet {id}, which is not in flight");
    };
    if reason >= 0x80 {
        outcome.errors += 1;
        return Ok(());
    }
    if sequence % LATENCY_EVERY == 0 {
        outcome.latencies_us.push(u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
    outcome.acked += 1;
    lines.push_str(&identifier(client, sequence));
    lines.push('\n');
    Ok(())
}

/// Identifiers go round after 65,535; the window is far smaller, so each is free again by then.
fn packet_id(sequence: u64) -> u16 {
    u16::try_from(sequence % 65_535).unwrap_or(0) + 1
}

fn identifier(client: u32, sequence: u64) -> String {
    let id = format!("{client:05}-{sequence:010}");
    debug_assert_eq!(id.len(), ID_BYTES, "identifiers have one length");
    id
}

fn connect_packet(options: &Options, id: &str) -> Result<Vec<u8>> {
    let mut flags = 0x02;
    let mut body = Vec::new();
    string(&mut body, b"MQTT");
    body.push(options.protocol);
    let flags_at = body.len();
    body.extend_from_slice(&[0, 0, 60]);
    if options.protocol == 5 {
        body.push(0);
    }
    string(&mut body, id.as_bytes());
    if let Some(user) = &options.user {
        let (name, password) = user.split_once(':').context("--user is written name:password")?;
        string(&mut body, name.as_bytes());
        string(&mut body, password.as_bytes());
        flags |= 0xC0;
    }
    body[flags_at] = flags;
    let mut packet = vec![0x10];
    remaining_length(&mut packet, body.len());
    packet.extend_from_slice(&body);
    Ok(packet)
}

fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(bytes);
}

fn remaining_length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let low = u8::try_from(length & 0x7f).unwrap_or(0);
        length >>= 7;
        out.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return;
        }
    }
}
