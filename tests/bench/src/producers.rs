//! PutRecords producers over raw HTTP/1.1: one prepared body each, so that the server is what is measured.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde_json::json;

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
pub fn run(address: SocketAddr, stream: &str, until: Until) -> anyhow::Result<Load> {
    let started = Instant::now();
    let calls = std::thread::scope(|scope| {
        let clients: Vec<_> =
            (0..CLIENTS).map(|client| scope.spawn(move || produce(address, stream, client, until))).collect();
        clients
            .into_iter()
            .map(|client| client.join().expect("a client does not panic"))
            .sum::<anyhow::Result<u64>>()
    })?;
    Ok(Load { records: calls * RECORDS_PER_CALL as u64, calls, elapsed: started.elapsed() })
}

fn produce(address: SocketAddr, stream: &str, client: usize, until: Until) -> anyhow::Result<u64> {
    let request = request(address, stream, client);
    let mut connection = BufReader::new(TcpStream::connect(address)?);
    connection.get_mut().set_nodelay(true)?;
    let (started, mut calls) = (Instant::now(), 0);
    while match until {
        Until::Elapsed(duration) => started.elapsed() < duration,
        Until::Records(records) => calls * ((RECORDS_PER_CALL * CLIENTS) as u64) < records,
    } {
        connection.get_mut().write_all(&request)?;
        let (status, body) = answer(&mut connection)?;
        ensure!(status == 200, "PutRecords answered {status}: {}", String::from_utf8_lossy(&body));
        let shown = &body[..body.len().min(300)];
        ensure!(none_failed(&body), "a record failed: {}", String::from_utf8_lossy(shown));
        calls += 1;
    }
    Ok(calls)
}

/// The count stands at the head or at the end; looking there first keeps the client cheap.
fn none_failed(body: &[u8]) -> bool {
    const NONE: &[u8] = b"\"FailedRecordCount\":0";
    let has = |part: &[u8]| part.windows(NONE.len()).any(|bytes| bytes == NONE);
    let edge = body.len().min(64);
    has(&body[..edge]) || has(&body[body.len() - edge..]) || has(body)
}

fn request(address: SocketAddr, stream: &str, client: usize) -> Vec<u8> {
    let data = base64_simd::STANDARD.encode_to_string([b'x'; RECORD_BYTES]);
    let records: Vec<_> = (0..RECORDS_PER_CALL)
        .map(|n| json!({ "Data": data, "PartitionKey": format!("device-{client}-{n}") }))
        .collect();
    let body = json!({ "StreamName": stream, "Records": records }).to_string();
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: Kinesis_20131202.PutRecords\r\n\
         X-Amz-Date: 20260101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kinesis/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature=0\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    [head.into_bytes(), body.into_bytes()].concat()
}

fn answer(connection: &mut BufReader<TcpStream>) -> anyhow::Result<(u16, Vec<u8>)> {
    let (mut line, mut length) = (String::new(), 0);
    connection.read_line(&mut line)?;
    let status = line.split(' ').nth(1).context("not an HTTP answer")?.parse()?;
    loop {
        line.clear();
        connection.read_line(&mut line)?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse()?;
        }
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body)?;
    Ok((status, body))
}
