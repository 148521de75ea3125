//! A server on a free port whose storage the test holds in its hands, and a client that speaks bytes.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(clippy::unwrap_used, reason = "a panic in a test is the report")]
#![allow(unreachable_pub, reason = "a module of test binaries")]

mod packets;

use headwater::ingest::{Inbound, Ingest, IngestError, Ingested, Verdict};
use headwater::mqtt::{AllowLoopback, Authorize, Config, Counters, Downlink, Limits, Server, Snapshot};
pub use packets::*;
use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// What storage was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    pub client: String,
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u8,
    pub content_type: Option<String>,
    pub user: Vec<(String, String)>,
}

struct State {
    refuse: Option<IngestError>,
    stored: Vec<Stored>,
    batches: u64,
}

/// Storage whose commits the test releases. Topics decide: `nowhere/…` has no route, `bad/…` is rejected,
/// `down/…` goes to subscribers too, `down-only…` as well.
pub struct Storage {
    state: Mutex<State>,
    released: watch::Sender<u64>,
}

impl Ingest for Storage {
    type Commit = Pin<Box<dyn Future<Output = Result<(), IngestError>> + Send>>;

    fn ingest(&self, publishes: &[Inbound<'_>]) -> Result<Ingested<Self::Commit>, IngestError> {
        let mut state = self.state.lock().unwrap();
        if let Some(error) = &state.refuse {
            return Err(error.clone());
        }
        let mut verdicts = Vec::new();
        for publish in publishes {
            let verdict = match publish.topic.split('/').next() {
                Some("nowhere") => Verdict::NoRoute,
                Some("bad") => Verdict::Rejected("payload cannot be decoded"),
                _ => Verdict::Accepted,
            };
            if verdict == Verdict::Accepted {
                state.stored.push(Stored {
                    client: publish.client_id.into(),
                    topic: publish.topic.into(),
                    payload: publish.payload.into(),
                    qos: publish.qos,
                    content_type: publish.content_type.map(Into::into),
                    user: publish.user_properties.to_vec(),
                });
            }
            verdicts.push(verdict);
        }
        state.batches += 1;
        let (number, mut released) = (state.batches, self.released.subscribe());
        let downlink = publishes
            .iter()
            .map(|publish| publish.topic.starts_with("down") || !publish.topic.is_ascii())
            .collect();
        let commit = Box::pin(async move {
            let _ = released.wait_for(|released| *released >= number).await;
            Ok(())
        });
        Ok(Ingested { commit, verdicts, downlink, said: Vec::new() })
    }
}

impl Storage {
    /// Makes everything given so far durable.
    pub fn release(&self) {
        let batches = self.state.lock().unwrap().batches;
        self.released.send_replace(batches);
    }

    /// Makes everything durable from now on, at once.
    pub fn release_all(&self) {
        self.released.send_replace(u64::MAX);
    }

    /// Makes nothing durable from now on.
    pub fn hold(&self) {
        let batches = self.state.lock().unwrap().batches;
        self.released.send_replace(batches);
    }

    pub fn refuse(&self, error: Option<IngestError>) {
        self.state.lock().unwrap().refuse = error;
    }

    pub fn stored(&self) -> Vec<Stored> {
        self.state.lock().unwrap().stored.clone()
    }

    pub fn topics(&self) -> Vec<String> {
        self.stored().into_iter().map(|stored| stored.topic).collect()
    }

    pub fn batches(&self) -> u64 {
        self.state.lock().unwrap().batches
    }

    /// Waits until `count` publishes were given.
    pub fn await_stored(&self, count: usize) -> Vec<Stored> {
        eventually("publishes reach storage", || self.stored().len() >= count);
        self.stored()
    }
}

/// A running server.
pub struct Front {
    pub addr: SocketAddr,
    pub storage: Arc<Storage>,
    pub downlink: Downlink,
    pub counters: Arc<Counters>,
    stop: Option<oneshot::Sender<()>>,
    task: tokio::task::JoinHandle<Snapshot>,
}

impl Front {
    /// A server whose commits are immediate.
    pub async fn start() -> Front {
        Front::with(Limits::default(), Arc::new(AllowLoopback)).await
    }

    pub async fn with_limits(limits: Limits) -> Front {
        Front::with(limits, Arc::new(AllowLoopback)).await
    }

    pub async fn with(limits: Limits, authorize: Arc<dyn Authorize>) -> Front {
        let (released, _) = watch::channel(u64::MAX);
        let state = State { refuse: None, stored: Vec::new(), batches: 0 };
        let storage = Arc::new(Storage { state: Mutex::new(state), released });
        let downlink = Downlink::new(&limits);
        let config = Config { listen: "127.0.0.1:0".parse().unwrap(), tls: None, limits };
        let server = Server::bind(config, storage.clone(), authorize, downlink.clone()).await.unwrap();
        let (addr, counters) = (server.local_addr().unwrap(), server.counters());
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Front { addr, storage, downlink, counters, stop: Some(stop), task }
    }

    /// Tells the server to stop, and gives the task that ends when it has.
    pub fn stop(mut self) -> tokio::task::JoinHandle<Snapshot> {
        let _ = self.stop.take().unwrap().send(());
        self.task
    }

    /// A 3.1.1 client, connected.
    pub fn v4(&self, id: &str) -> Client {
        let mut client = Client::open(self.addr);
        client.send(&connect(4, id, 2, 60, &[]));
        assert_eq!(client.packet(), [0x20, 2, 0, 0]);
        client
    }

    /// An MQTT 5 client, connected.
    pub fn v5(&self, id: &str) -> Client {
        self.v5_with(id, 2, &[]).0
    }

    /// An MQTT 5 client with these flags and properties, and its CONNACK.
    pub fn v5_with(&self, id: &str, flags: u8, properties: &[u8]) -> (Client, Vec<u8>) {
        let mut client = Client::open(self.addr);
        client.send(&connect(5, id, flags, 60, properties));
        let connack = client.packet();
        assert_eq!((connack[0], connack[3]), (0x20, 0), "{connack:x?}");
        (client, connack)
    }

    /// The CONNACK or whatever else answers `bytes`, sent on a new connection.
    pub fn answer(&self, bytes: &[u8]) -> Vec<u8> {
        let mut client = Client::open(self.addr);
        client.send(bytes);
        client.rest()
    }

    /// Publishing still works: nothing was broken.
    pub fn assert_alive(&self) {
        let mut client = self.v4("still-alive");
        client.send(&publish4(1, "alive", 1, b"x"));
        assert_eq!(client.packet(), [0x40, 2, 0, 1]);
    }
}

/// A client that sends and reads whole packets.
pub struct Client {
    socket: TcpStream,
    input: Vec<u8>,
}

impl Client {
    pub fn open(addr: SocketAddr) -> Client {
        let socket = TcpStream::connect(addr).unwrap();
        socket.set_nodelay(true).unwrap();
        Client { socket, input: Vec::new() }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).unwrap();
    }

    /// Sends what can be sent; the server may have closed already.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.socket.write_all(bytes).is_ok()
    }

    /// The next packet. Fails the test when none comes.
    pub fn packet(&mut self) -> Vec<u8> {
        self.packet_within(Duration::from_secs(10)).expect("a packet from the server")
    }

    /// The next packet, if one comes in time.
    pub fn packet_within(&mut self, patience: Duration) -> Option<Vec<u8>> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(packet) = take_packet(&mut self.input) {
                return Some(packet);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !self.read(left) {
                return None;
            }
        }
    }

    /// Nothing arrives for a while.
    pub fn assert_silent(&mut self) {
        assert_eq!(self.packet_within(Duration::from_millis(150)), None);
    }

    /// Everything until the server closes.
    pub fn rest(&mut self) -> Vec<u8> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.read(deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))) {
            assert!(Instant::now() < deadline, "the server does not close");
        }
        std::mem::take(&mut self.input)
    }

    /// Subscribes one filter with QoS 1 and reads the SUBACK.
    pub fn subscribe4(&mut self, filter: &str) {
        let mut body = vec![0, 9];
        string(&mut body, filter.as_bytes());
        body.push(1);
        self.send(&packet(0x82, &body));
        assert_eq!(self.packet(), [0x90, 3, 0, 9, 1]);
    }

    pub fn subscribe5(&mut self, filter: &str, options: u8) -> u8 {
        let mut body = vec![0, 9, 0];
        string(&mut body, filter.as_bytes());
        body.push(options);
        self.send(&packet(0x82, &body));
        let suback = self.packet();
        assert_eq!(suback[..5], [0x90, 4, 0, 9, 0]);
        suback[5]
    }

    /// False when the server closed, or nothing came in time.
    fn read(&mut self, patience: Duration) -> bool {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut chunk = [0; 64 * 1024];
        match self.socket.read(&mut chunk) {
            Ok(0) => false,
            Ok(count) => {
                self.input.extend_from_slice(&chunk[..count]);
                true
            }
            Err(error) => {
                assert!(
                    matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionReset
                    ),
                    "{error}"
                );
                false
            }
        }
    }
}

/// Waits until `check` holds.
pub fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !check() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
