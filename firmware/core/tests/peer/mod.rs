//! A device in virtual time, and a peer that speaks MQTT 5 byte by byte as the test says.
//!
//! What the peer sends is written here by hand from the standard, not by the code under test.
#![allow(dead_code, reason = "each test file uses its part")]
#![allow(unreachable_pub, reason = "a module of a test binary")]
#![allow(clippy::unwrap_used, reason = "a panic is the report")]

use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use headwater_device::mqtt::{Dial, Gateway};
use headwater_device::testing::{FlashModel, SharedFlash};
use headwater_device::{Clock, Device, Item, Layout, LinkDown, Observer, Sampler, Settings};
use headwater_telemetry::limits::{BODY_BYTES_MAX, CHANNELS_MAX};
use headwater_telemetry::{
    Channel, ChannelId, DeviceId, Down, TimeQuality, Timestamp, Up, Uptime, UtcTime, Value, ValueKind,
    decode_body, encode_body, heapless,
};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

pub const PAGE: usize = 1024;
pub type Board = Device<SharedFlash<PAGE, 8>, Watch>;

/// What the device says of itself.
#[derive(Clone, Default)]
pub struct Watch {
    pub delivered: Rc<RefCell<Vec<Item>>>,
    pub blinks: Rc<Cell<u32>>,
}

impl Observer for Watch {
    fn delivered(&self, item: &Item) {
        self.delivered.borrow_mut().push(*item);
    }
    fn identify(&self) {
        self.blinks.set(self.blinks.get() + 1);
    }
}

/// Counts, once a second.
#[derive(Default)]
pub struct Sensor(i32);

impl Sampler for Sensor {
    fn channels(&self) -> heapless::Vec<Channel, CHANNELS_MAX> {
        [Channel::new("count", "", ValueKind::Fixed, 0).unwrap()].into_iter().collect()
    }
    fn period_ms(&self, _: ChannelId) -> u32 {
        1_000
    }
    async fn sample(&mut self, _: ChannelId) -> Option<Value> {
        self.0 += 1;
        Some(Value::Fixed(self.0))
    }
}

/// A new device whose batches have two readings.
pub async fn board(watch: &Watch) -> Board {
    let chip = Rc::new(RefCell::new(FlashModel::erased(32, 1)));
    let page = u32::try_from(PAGE).unwrap();
    let layout = Layout::without_vault(0..2 * page, 2 * page..32 * page);
    let settings =
        Settings { batch_entries: 2, ..Settings::new(DeviceId::parse("pump-7").unwrap(), "test 1") };
    Device::open(SharedFlash(chip), layout, settings, &Sensor::default(), watch.clone()).await.unwrap()
}

/// Uptime of tokio's clock, which a test may pause.
#[derive(Clone, Copy)]
pub struct Uptimes(pub Instant);

impl Uptimes {
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Uptimes {
    fn now(&self) -> Uptime {
        Uptime(u64::try_from(self.0.elapsed().as_millis()).unwrap())
    }
    async fn sleep_until(&self, at: Uptime) {
        if at.0 == u64::MAX {
            std::future::pending::<()>().await;
        }
        tokio::time::sleep_until(self.0 + Duration::from_millis(at.0)).await;
    }
}

/// A stream of tokio as a device wants it, which breaks after so many bytes each way.
pub struct Wire<S> {
    stream: S,
    pub read_left: usize,
    pub write_left: usize,
}

impl<S> Wire<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, read_left: usize::MAX, write_left: usize::MAX }
    }
}

impl<S> ErrorType for Wire<S> {
    type Error = ErrorKind;
}

impl<S: AsyncRead + Unpin> Read for Wire<S> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, ErrorKind> {
        if self.read_left == 0 {
            return Err(ErrorKind::BrokenPipe);
        }
        let most = buf.len().min(self.read_left);
        let count = self.stream.read(&mut buf[..most]).await.map_err(|_| ErrorKind::BrokenPipe)?;
        self.read_left -= count;
        Ok(count)
    }
}

impl<S: AsyncWrite + Unpin> Write for Wire<S> {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, ErrorKind> {
        if self.write_left == 0 {
            return Err(ErrorKind::BrokenPipe);
        }
        let most = buf.len().min(self.write_left);
        let count = self.stream.write(&buf[..most]).await.map_err(|_| ErrorKind::BrokenPipe)?;
        self.write_left -= count;
        Ok(count)
    }
    async fn flush(&mut self) -> Result<(), ErrorKind> {
        self.stream.flush().await.map_err(|_| ErrorKind::BrokenPipe)
    }
}

pub const LOGIN: Gateway<'static> = Gateway { user: "u", password: "p" };

/// Opens in-memory streams, whose other ends it hands over.
pub struct Dialer(pub mpsc::UnboundedSender<DuplexStream>);

impl Dial for Dialer {
    type Stream<'a> = Wire<DuplexStream>;

    async fn dial(&mut self) -> Result<Self::Stream<'_>, LinkDown> {
        let (near, far) = tokio::io::duplex(64);
        self.0.send(far).map_err(|_| LinkDown::Unreachable)?;
        Ok(Wire::new(near))
    }
}

/// A packet of the device.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    Connect(Vec<u8>),
    Subscribe(u16, String),
    /// Topic without `headwater/pump-7/`, packet id, retained, body.
    Publish(String, Option<u16>, bool, Vec<u8>),
    PubAck(u16),
    Ping,
}

impl Said {
    pub fn up(&self) -> Option<Up> {
        match self {
            Self::Publish(.., body) => Some(decode_body(body).unwrap()),
            _ => None,
        }
    }
}

/// A server at the other end of a stream.
pub struct Peer<S>(pub S);

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// The next packet, or none when the device is gone.
    pub async fn hear(&mut self) -> Option<Said> {
        let first = self.0.read_u8().await.ok()?;
        let (mut length, mut shift) = (0usize, 0);
        loop {
            let byte = self.0.read_u8().await.ok()?;
            length |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.ok()?;
        Some(parse(first, &body))
    }

    /// What the device says next, which must be there.
    pub async fn heard(&mut self) -> Said {
        tokio::time::timeout(Duration::from_secs(600), self.hear()).await.expect("it says something").unwrap()
    }

    /// False when the device is gone.
    pub async fn say(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok() && self.0.flush().await.is_ok()
    }

    pub async fn connack(&mut self) -> bool {
        self.say(&[0x20, 3, 0, 0, 0]).await
    }

    pub async fn puback(&mut self, packet_id: u16, reason: u8) -> bool {
        let [high, low] = packet_id.to_be_bytes();
        // Success may be said in four bytes or in six.
        match reason {
            0 => self.say(&[0x40, 2, high, low]).await,
            _ => self.say(&[0x40, 4, high, low, reason, 0]).await,
        }
    }

    pub async fn down(&mut self, message: &Down, packet_id: Option<u16>) -> bool {
        let mut body = [0; BODY_BYTES_MAX];
        let body = encode_body(message, &mut body).unwrap().to_vec();
        self.publish("headwater/pump-7/command", packet_id, &body).await
    }

    pub async fn publish(&mut self, topic: &str, packet_id: Option<u16>, body: &[u8]) -> bool {
        let mut rest = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
        rest.extend(topic.as_bytes());
        rest.extend(packet_id.iter().flat_map(|id| id.to_be_bytes()));
        rest.push(0);
        rest.extend(body);
        let mut packet = vec![if packet_id.is_some() { 0x32 } else { 0x30 }];
        let length = rest.len();
        if length > 127 {
            packet.push(u8::try_from(length % 128 + 128).unwrap());
        }
        packet.push(u8::try_from(if length > 127 { length / 128 } else { length }).unwrap());
        packet.extend(rest);
        self.say(&packet).await
    }
}

fn parse(first: u8, body: &[u8]) -> Said {
    let u16_at = |at: usize| u16::from_be_bytes([body[at], body[at + 1]]);
    match first {
        0x10 => Said::Connect(body.to_vec()),
        0x82 => Said::Subscribe(u16_at(0), String::from_utf8(body[5..body.len() - 1].to_vec()).unwrap()),
        0x40 => Said::PubAck(u16_at(0)),
        0xc0 => Said::Ping,
        0x30..=0x33 => {
            let end = 2 + usize::from(u16_at(0));
            let topic = String::from_utf8(body[2..end].to_vec()).unwrap();
            let kind = topic.strip_prefix("headwater/pump-7/").expect("its own topics").to_owned();
            let has_id = first & 0b110 == 0b010;
            let packet_id = has_id.then(|| u16_at(end));
            let end = end + if has_id { 2 } else { 0 };
            assert_eq!(body[end], 0, "no properties");
            Said::Publish(kind, packet_id, first & 1 == 1, body[end + 1..].to_vec())
        }
        other => panic!("a packet that no device sends: 0x{other:02x}"),
    }
}

pub const NOON: UtcTime = UtcTime { at: Timestamp(1_800_000_000_000), quality: TimeQuality::Synced };

/// A gateway that does what it should, and keeps what it was told; what a test wants otherwise is set.
#[derive(Default)]
pub struct Tiny {
    /// Answers to batches, in order; afterwards they are stored.
    pub reasons: VecDeque<Option<u8>>,
    /// What it tells when asked for the time.
    pub time: Option<UtcTime>,
    /// Answers to subscriptions, in order; afterwards they are granted.
    pub subacks: VecDeque<u8>,
    /// Said after the subscription, one on each connection.
    pub downs: VecDeque<(Down, Option<u16>)>,
    /// Whether the last subscription was granted: it is told nothing otherwise.
    pub is_granted: bool,
    pub said: Vec<Said>,
    pub stored: Vec<Vec<u8>>,
    pub results: Vec<Up>,
}

impl Tiny {
    pub fn with_time() -> Self {
        Self { time: Some(NOON), ..Self::default() }
    }

    /// What a packet is answered with, in order; none ends the connection.
    fn handle(&mut self, said: Said) -> Option<Vec<Answer>> {
        self.said.push(said.clone());
        let up = said.up();
        Some(match said {
            Said::Connect(_) => vec![Answer::Bytes(vec![0x20, 3, 0, 0, 0])],
            Said::Subscribe(id, _) => {
                let [high, low] = id.to_be_bytes();
                let down = self.downs.pop_front().map(|(down, id)| Answer::Down(Box::new(down), id));
                let reason = self.subacks.pop_front().unwrap_or(1);
                self.is_granted = reason < 0x80;
                [Answer::Bytes(vec![0x90, 4, high, low, 0, reason])].into_iter().chain(down).collect()
            }
            Said::Ping => vec![Answer::Bytes(vec![0xd0, 0])],
            Said::PubAck(_) => Vec::new(),
            Said::Publish(kind, packet_id, _, body) => {
                let mut reason = 0;
                let mut answers = Vec::new();
                match (kind.as_str(), up, self.time) {
                    ("time", Some(Up::TimeRequest { nonce }), Some(utc)) if self.is_granted => {
                        answers.push(Answer::Down(Box::new(Down::Time { nonce, utc }), None));
                    }
                    ("batch", ..) => match self.reasons.pop_front().unwrap_or(Some(0)) {
                        Some(refused) if refused > 0 => reason = refused,
                        answer => {
                            self.stored.push(body);
                            answer?;
                        }
                    },
                    ("result", Some(result), _) => self.results.push(result),
                    _ => {}
                }
                answers.extend(packet_id.map(|id| Answer::PubAck(id, reason)));
                answers
            }
        })
    }
}

/// What a tiny gateway says.
enum Answer {
    Bytes(Vec<u8>),
    Down(Box<Down>, Option<u16>),
    PubAck(u16, u8),
}

/// Serves as `tiny` until the device is gone. An answer of `None` in its reasons goes lost with the connection.
pub async fn answer<S: AsyncRead + AsyncWrite + Unpin>(tiny: &RefCell<Tiny>, stream: S) {
    let mut peer = Peer(stream);
    while let Some(said) = peer.hear().await {
        let Some(answers) = tiny.borrow_mut().handle(said) else { return };
        for answer in answers {
            match answer {
                Answer::Bytes(bytes) => peer.say(&bytes).await,
                Answer::Down(down, id) => peer.down(&down, id).await,
                Answer::PubAck(id, reason) => peer.puback(id, reason).await,
            };
        }
    }
}
