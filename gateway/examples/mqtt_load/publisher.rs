//! One connection that publishes as fast as its window allows.
//!
//! In: options, acknowledgements. Out: publishes, an outcome, the identifiers that were acknowledged.
//! Invariant: an identifier is in the file before anything more is read.
//! Not here: threads and the report (`main`), the bytes of a CONNECT (`packets`).

use crate::packets::{connect_packet, remaining_length, string};
use crate::{Options, Outcome};
use anyhow::{Context, Result, bail, ensure};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A socket that says nothing for so long is taken for dead: longer than any flush.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// One latency in so many is kept: enough for a 99th percentile, and the clock stays out of the measurement.
const LATENCY_EVERY: u64 = 16;
/// Bytes of an identifier in a payload.
const ID_BYTES: usize = 16;

/// One connection.
pub(crate) struct Publisher {
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
    pub(crate) fn connect(
        options: &Arc<Options>,
        client: u32,
        acked: Option<Arc<Mutex<File>>>,
    ) -> Result<Publisher> {
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

    pub(crate) fn run(&mut self, outcome: &mut Outcome) -> Result<()> {
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
