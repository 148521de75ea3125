//! A server on a free port, and a client that sends exactly what a test says.

use headwater_engine::{Clock, Engine, EngineConfig};
use headwater_journal::Config;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// How long a batch waits for room; far longer than any disk needs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A journal that takes little room.
pub(crate) fn small() -> Config {
    Config {
        segment_bytes: 8 << 20,
        pool_segments: 1,
        size_bytes_max: 256 << 20,
        reserve_bytes: 0,
        ..Config::small()
    }
}

/// A clock that is ahead of the machine's by as much as a test says.
#[derive(Clone, Default)]
pub(crate) struct Ahead(Arc<AtomicU64>);

impl Ahead {
    pub(crate) fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::Relaxed);
    }

    pub(crate) fn clock(&self) -> Clock {
        let ahead = self.clone();
        Clock::new(move || {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
            u64::try_from(now).unwrap() + ahead.0.load(Ordering::Relaxed)
        })
    }
}

pub(crate) fn open(dir: &Path, clock: Clock) -> Engine {
    let config = EngineConfig { journal: small(), clock, ..EngineConfig::new(dir) };
    let (engine, recovery) = Engine::open(config).unwrap();
    assert!(recovery.is_clean(), "{recovery:?}");
    engine
}

/// An engine being served.
pub(crate) struct Server {
    pub(crate) engine: Engine,
    pub(crate) address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
    runtime: Runtime,
}

impl Server {
    pub(crate) fn start(engine: Engine) -> Server {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel();
        let serving = engine.clone();
        let served = runtime.spawn(async move {
            let stopped = async move { drop(stopped.await) };
            serving.http(listener, stopped).await;
        });
        Server { engine, address, stop, served, runtime }
    }

    pub(crate) fn open(dir: &Path) -> Server {
        Server::start(open(dir, Clock::system()))
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// Stops serving, drained, then closes the engine.
    pub(crate) fn stop(self) {
        let _ = self.stop.send(());
        self.runtime.block_on(async {
            self.served.await.unwrap();
            self.engine.close().await;
        });
    }
}

/// One HTTP/1.1 connection.
pub(crate) struct Client {
    pub(crate) socket: BufReader<TcpStream>,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        if self.body.is_empty() { Value::Null } else { serde_json::from_slice(&self.body).unwrap() }
    }
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Client { socket: BufReader::new(socket) }
    }

    pub(crate) fn send(&mut self, operation: &str, body: &[u8]) {
        let head = head(operation, body.len());
        let socket = self.socket.get_mut();
        socket.write_all(head.as_bytes()).unwrap();
        socket.write_all(body).unwrap();
    }

    pub(crate) fn receive(&mut self) -> Answer {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.socket.read_line(&mut head).unwrap() > 0, "connection closed after {head:?}");
        }
        let field = |name: &str| {
            let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with(name))?;
            Some(line[name.len() + 1..].trim().to_owned())
        };
        let length = field("content-length").map_or(0, |length| length.parse().unwrap());
        assert_eq!(field("x-amzn-requestid").map(|id| id.len()), Some(36), "{head}");
        let mut body = vec![0; length];
        self.socket.read_exact(&mut body).unwrap();
        Answer { status: head.split(' ').nth(1).unwrap().parse().unwrap(), head, body }
    }

    pub(crate) fn ask(&mut self, operation: &str, body: &Value) -> Answer {
        self.send(operation, body.to_string().as_bytes());
        self.receive()
    }

    /// Asks a server that may be killed: no answer when it is.
    pub(crate) fn try_ask(&mut self, operation: &str, body: &Value) -> Option<Answer> {
        let body = body.to_string();
        let socket = self.socket.get_mut();
        socket.write_all(head(operation, body.len()).as_bytes()).ok()?;
        socket.write_all(body.as_bytes()).ok()?;
        // The answer has begun: a server that is killed may still cut it off.
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            (self.socket.read_line(&mut head).ok()? > 0).then_some(())?;
        }
        let line = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-length:"))?;
        let mut body = vec![0; line.split_once(':')?.1.trim().parse().ok()?];
        self.socket.read_exact(&mut body).ok()?;
        Some(Answer { status: head.split(' ').nth(1)?.parse().ok()?, head, body })
    }

    /// Asks what must succeed.
    pub(crate) fn call(&mut self, operation: &str, body: &Value) -> Value {
        let answer = self.ask(operation, body);
        assert_eq!(answer.status, 200, "{operation}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    pub(crate) fn iterator(&mut self, stream: &str, kind: &str) -> String {
        let asked = serde_json::json!({
            "StreamName": stream, "ShardId": "shardId-000000000000", "ShardIteratorType": kind,
        });
        self.call("GetShardIterator", &asked)["ShardIterator"].as_str().unwrap().to_owned()
    }

    /// Everything from an iterator on: (sequence number, data) of each record.
    pub(crate) fn drain(&mut self, mut iterator: String) -> Vec<(String, Vec<u8>)> {
        let mut records = Vec::new();
        loop {
            let page = self.call("GetRecords", &serde_json::json!({ "ShardIterator": iterator }));
            for record in page["Records"].as_array().unwrap() {
                let data = base64_simd::STANDARD.decode_to_vec(record["Data"].as_str().unwrap()).unwrap();
                records.push((record["SequenceNumber"].as_str().unwrap().to_owned(), data));
            }
            if page["MillisBehindLatest"] == 0 {
                return records;
            }
            iterator = page["NextShardIterator"].as_str().unwrap().to_owned();
        }
    }
}

/// The head of a request.
fn head(operation: &str, body_bytes: usize) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: \
         Kinesis_20131202.{operation}\r\nX-Amz-Date: 20260101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 \
         Credential=a/b, SignedHeaders=host, Signature=0\r\nContent-Length: {body_bytes}\r\n\r\n"
    )
}
