//! Publishers and producers that run flat out and remember exactly which ids were acknowledged.
//! MQTT 3.1.1 QoS 1 over a raw socket with a window of unacknowledged publishes; PutRecords over HTTP/1.1.
//! Invariant: an id counts as acknowledged only when its PUBACK, or its entry in a 200 answer, was read completely.

use std::collections::VecDeque;
use std::io::{Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;

use crate::kinesis::{Answer, Kinesis};

/// Publishes in flight per connection; more than a receive buffer of the gateway holds, so that a kill always finds some.
const WINDOW: usize = 100;

/// A record is this long, as in the benches.
const PAYLOAD_BYTES: usize = 200;

/// Records in one PutRecords call.
const RECORDS_PER_CALL: usize = 50;

/// Several clients at once, each in its thread.
#[derive(Debug)]
pub struct Flood {
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Flood {
    /// `clients` publishers of QoS 1 to `flood/<client>`; ids begin with `name`.
    #[must_use]
    pub fn publish(address: SocketAddr, clients: usize, name: &str) -> Self {
        Self::start(clients, name, move |prefix, stop, acked| publisher(address, prefix, stop, acked))
    }

    /// `clients` producers that call PutRecords on `stream`; ids begin with `name`.
    #[must_use]
    pub fn put_records(address: SocketAddr, clients: usize, name: &str, stream: &'static str) -> Self {
        Self::start(clients, name, move |prefix, stop, acked| producer(address, stream, prefix, stop, acked))
    }

    fn start<F>(clients: usize, name: &str, run: F) -> Self
    where
        F: Fn(&str, &AtomicBool, &AtomicU64) -> Vec<String> + Copy + Send + 'static,
    {
        let (stop, acked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let clients = (0..clients)
            .map(|client| {
                let (stop, acked, prefix) =
                    (Arc::clone(&stop), Arc::clone(&acked), format!("{name}-{client:03}"));
                std::thread::spawn(move || run(&prefix, &stop, &acked))
            })
            .collect();
        Self { stop, acked, clients }
    }

    /// Acknowledged so far, all clients together.
    #[must_use]
    pub fn acked(&self) -> u64 {
        self.acked.load(Ordering::Relaxed)
    }

    /// Waits for every client to end (its connection broke, or it was told to stop) and returns the acknowledged ids.
    ///
    /// # Panics
    /// When a client thread panicked.
    #[must_use]
    pub fn finish(self) -> Vec<String> {
        self.stop.store(true, Ordering::SeqCst);
        self.clients
            .into_iter()
            .flat_map(|client| client.join().expect("a client thread does not panic"))
            .collect()
    }
}

/// The id inside a payload: everything before the first space.
#[must_use]
pub fn id_of(payload: &[u8]) -> String {
    let end = payload.iter().position(|byte| *byte == b' ').unwrap_or(payload.len());
    String::from_utf8_lossy(&payload[..end]).into_owned()
}

fn payload(prefix: &str, number: u64) -> (String, Vec<u8>) {
    let id = format!("{prefix}-{number:09}");
    let mut bytes = format!("{id} ").into_bytes();
    bytes.resize(PAYLOAD_BYTES, b'.');
    (id, bytes)
}

/// Ends without an error when the connection breaks: that is what the test does to it.
fn publisher(address: SocketAddr, prefix: &str, stop: &AtomicBool, acked: &AtomicU64) -> Vec<String> {
    let mut done = Vec::new();
    // The kill may come before the connection; then nothing was acknowledged.
    let _ = publish_until_cut(address, prefix, stop, acked, &mut done);
    done
}

fn publish_until_cut(
    address: SocketAddr,
    prefix: &str,
    stop: &AtomicBool,
    acked: &AtomicU64,
    done: &mut Vec<String>,
) -> Result<()> {
    let mut socket = mqtt_connect(address, prefix)?;
    let topic = format!("flood/{prefix}");
    let mut waiting: VecDeque<(u16, String)> = VecDeque::new();
    let mut answers = Vec::new();
    let mut number = 0_u64;
    loop {
        let mut out = Vec::new();
        while waiting.len() < WINDOW && !stop.load(Ordering::Relaxed) {
            let (id, bytes) = payload(prefix, number);
            let packet_id = u16::try_from(number % 65_535).expect("below 65,535") + 1;
            mqtt_publish(&mut out, &topic, packet_id, &bytes);
            waiting.push_back((packet_id, id));
            number += 1;
        }
        if waiting.is_empty() {
            return Ok(());
        }
        socket.write_all(&out)?;
        let mut chunk = [0; 4096];
        let count = socket.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        answers.extend_from_slice(&chunk[..count]);
        let whole = answers.len() / 4 * 4;
        for puback in answers[..whole].chunks_exact(4) {
            assert_eq!(puback[..2], [0x40, 2], "only PUBACK is expected here");
            let packet_id = u16::from_be_bytes([puback[2], puback[3]]);
            // MQTT 3.1.1, 4.6: PUBACK in the order of the PUBLISH packets.
            let (expected, id) = waiting.pop_front().expect("no more PUBACKs than publishes");
            assert_eq!(packet_id, expected, "PUBACK out of order");
            done.push(id);
            acked.fetch_add(1, Ordering::Relaxed);
        }
        answers.drain(..whole);
    }
}

/// CONNECT with a clean session; the answer must be CONNACK 0.
///
/// # Errors
/// When nobody listens or the connection breaks.
///
/// # Panics
/// When the broker refuses.
pub fn mqtt_connect(address: SocketAddr, client_id: &str) -> Result<TcpStream> {
    let mut socket = TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut packet = vec![0x10];
    remaining_length(&mut packet, 12 + client_id.len());
    // Protocol name and level 4, clean session, keep alive 60 s.
    packet.extend_from_slice(&[0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 60]);
    text(&mut packet, client_id);
    socket.write_all(&packet)?;
    let mut answer = [0; 4];
    socket.read_exact(&mut answer)?;
    assert_eq!([answer[0], answer[1], answer[3]], [0x20, 2, 0], "CONNACK refused: {answer:02x?}");
    Ok(socket)
}

/// Writes one QoS 1 PUBLISH to `out`.
pub fn mqtt_publish(out: &mut Vec<u8>, topic: &str, packet_id: u16, payload: &[u8]) {
    out.push(0x32);
    remaining_length(out, 2 + topic.len() + 2 + payload.len());
    text(out, topic);
    out.extend_from_slice(&packet_id.to_be_bytes());
    out.extend_from_slice(payload);
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&u16::try_from(text.len()).expect("short text").to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

/// MQTT 3.1.1, 2.2.3: seven bits a byte, the lowest first.
fn remaining_length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let low = u8::try_from(length % 128).expect("below 128");
        length /= 128;
        out.push(if length > 0 { low | 0x80 } else { low });
        if length == 0 {
            return;
        }
    }
}

fn producer(
    address: SocketAddr,
    stream: &str,
    prefix: &str,
    stop: &AtomicBool,
    acked: &AtomicU64,
) -> Vec<String> {
    let mut kinesis = Kinesis::new(address);
    let mut done = Vec::new();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let (ids, records): (Vec<_>, Vec<_>) = (0..RECORDS_PER_CALL)
            .map(|_| {
                let (id, bytes) = payload(prefix, number);
                number += 1;
                let record =
                    json!({ "PartitionKey": id, "Data": base64_simd::STANDARD.encode_to_string(&bytes) });
                (id, record)
            })
            .unzip();
        let answer = kinesis.call("PutRecords", &json!({ "StreamName": stream, "Records": records }));
        let Ok(Answer { status, body }) = answer else { return done };
        if status != 200 {
            // Back-pressure (ProvisionedThroughputExceeded) is an answer and no acknowledgement.
            std::thread::sleep(Duration::from_millis(5));
            continue;
        }
        let outcomes = body["Records"].as_array().expect("PutRecords answers with Records");
        assert_eq!(outcomes.len(), ids.len(), "one outcome per record");
        for (id, outcome) in ids.into_iter().zip(outcomes) {
            if outcome.get("SequenceNumber").is_some_and(serde_json::Value::is_string) {
                done.push(id);
                acked.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
    done
}
