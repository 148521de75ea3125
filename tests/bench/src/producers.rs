//! PutRecords and PutRecord at full speed: prepared bodies, so that the server is what is measured.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::ensure;
use memchr::memmem;
use serde_json::json;

use crate::wire::{Cbor, Connection, Format, request};

/// The canonical workload: 4 producers, 500 records of 200 bytes a call.
pub const CLIENTS: usize = 4;
/// Records in one call, the most the API takes.
pub const RECORDS_PER_CALL: usize = 500;
/// Data bytes of one record.
pub const RECORD_BYTES: usize = 200;

/// What the producers did together.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Records the server took.
    pub records: u64,
    /// Calls answered with 200.
    pub calls: u64,
    /// From the first call to the last answer.
    pub elapsed: Duration,
}

/// When the producers stop.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// After this time.
    Elapsed(Duration),
    /// After this many records, all producers together.
    Records(u64),
}

/// Calls PutRecords on `stream` until told to stop.
///
/// # Errors
/// When an answer is not 200 or a record failed: then the numbers would lie.
pub fn run(address: SocketAddr, stream: &str, format: Format, until: Until) -> anyhow::Result<Load> {
    let started = Instant::now();
    let calls = std::thread::scope(|scope| {
        let produce = |client| scope.spawn(move || produce(address, stream, client, format, until));
        let clients: Vec<_> = (0..CLIENTS).map(produce).collect();
        clients
            .into_iter()
            .map(|client| client.join().expect("a client does not panic"))
            .sum::<anyhow::Result<u64>>()
    })?;
    Ok(Load { records: calls * RECORDS_PER_CALL as u64, calls, elapsed: started.elapsed() })
}

fn produce(
    address: SocketAddr,
    stream: &str,
    client: usize,
    format: Format,
    until: Until,
) -> anyhow::Result<u64> {
    let body = match format {
        Format::Json => json_body(stream, client),
        Format::Cbor => cbor_body(stream, client),
    };
    let request = request(address, "PutRecords", format, &body);
    let mut connection = Connection::open(address)?;
    let (started, mut calls) = (Instant::now(), 0);
    while match until {
        Until::Elapsed(duration) => started.elapsed() < duration,
        Until::Records(records) => calls * ((RECORDS_PER_CALL * CLIENTS) as u64) < records,
    } {
        connection.send(&request)?;
        let body = connection.answer()?;
        let shown = &body[..body.len().min(300)];
        ensure!(none_failed(&body, format), "a record failed: {}", String::from_utf8_lossy(shown));
        calls += 1;
    }
    Ok(calls)
}

/// The count stands at the head or at the end; looking there first keeps the client cheap.
fn none_failed(body: &[u8], format: Format) -> bool {
    let name: &[u8] = b"FailedRecordCount";
    let has = |part: &[u8]| {
        let Some(at) = memmem::find(part, name) else { return false };
        let value = &part[at + name.len()..];
        match format {
            Format::Json => value.starts_with(b"\":0") || value.starts_with(b"\": 0"),
            Format::Cbor => value.starts_with(b"\0"),
        }
    };
    let edge = body.len().min(64);
    has(&body[..edge]) || has(&body[body.len() - edge..]) || has(body)
}

fn key(client: usize, record: usize) -> String {
    format!("device-{client}-{record}")
}

fn json_body(stream: &str, client: usize) -> Vec<u8> {
    let data = base64_simd::STANDARD.encode_to_string([b'x'; RECORD_BYTES]);
    let records: Vec<_> = (0..RECORDS_PER_CALL)
        .map(|record| json!({ "Data": data, "PartitionKey": key(client, record) }))
        .collect();
    json!({ "StreamName": stream, "Records": records }).to_string().into_bytes()
}

fn cbor_body(stream: &str, client: usize) -> Vec<u8> {
    let mut body = Cbor::default();
    body.map(2).text("StreamName").text(stream).text("Records").array(RECORDS_PER_CALL);
    for record in 0..RECORDS_PER_CALL {
        body.map(2).text("Data").bytes(&[b'x'; RECORD_BYTES]);
        body.text("PartitionKey").text(&key(client, record));
    }
    body.0
}

/// Calls PutRecord one after the other on one connection and gives the time of each call.
///
/// # Errors
/// When an answer is not 200.
pub fn one_by_one(address: SocketAddr, stream: &str, duration: Duration) -> anyhow::Result<Vec<Duration>> {
    let data = base64_simd::STANDARD.encode_to_string([b'x'; RECORD_BYTES]);
    let body = json!({ "StreamName": stream, "Data": data, "PartitionKey": key(0, 0) }).to_string();
    let request = request(address, "PutRecord", Format::Json, body.as_bytes());
    let mut connection = Connection::open(address)?;
    let (started, mut times) = (Instant::now(), Vec::new());
    while started.elapsed() < duration {
        let sent = Instant::now();
        connection.send(&request)?;
        connection.answer()?;
        times.push(sent.elapsed());
    }
    Ok(times)
}
