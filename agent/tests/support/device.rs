//! A device of raw frames on a TCP link: says what the test wants, in the order it wants.

use super::PATIENCE;
use headwater_telemetry::limits::FRAME_BYTES_MAX;
use headwater_telemetry::{
    Batch, BatchBuilder, BootId, Channel, ChannelId, Deframer, DeviceId, Down, Hello, ResetReason, Seq, Up,
    Uptime, Value, ValueKind, decode_body, encode_frame, heapless,
};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

pub(crate) struct Device {
    pub(crate) name: String,
    pub(crate) boot: u32,
    stream: TcpStream,
    deframer: Deframer,
    incoming: Vec<u8>,
}

pub(crate) fn hello(name: &str, boot: u32, unit: &str) -> Hello {
    let mut channels = heapless::Vec::new();
    channels.push(Channel::new("t", unit, ValueKind::Fixed, -2).expect("short names")).expect("room for one");
    Hello::new(DeviceId::parse(name).expect("a good name"), BootId(boot), "fw", ResetReason::Power, channels)
}

pub(crate) fn batch(name: &str, boot: u32, first: u32, count: u32) -> Batch {
    let mut builder = BatchBuilder::new(BootId(boot), Seq(first), hello(name, boot, "C").schema, Uptime(10));
    for index in 0..count {
        let value = Value::Fixed(i32::try_from(first + index).expect("small"));
        builder.reading(Uptime(10 + u64::from(index)), ChannelId(0), value).expect("it fits");
    }
    builder.finish(None)
}

pub(crate) fn frame(up: &Up) -> Vec<u8> {
    let mut buf = [0u8; FRAME_BYTES_MAX];
    encode_frame(up, &mut buf).expect("it fits").to_vec()
}

impl Device {
    /// Connects and says hello.
    pub(crate) async fn connect(addr: SocketAddr, name: &str, boot: u32) -> Self {
        let stream = TcpStream::connect(addr).await.expect("the link is open");
        let mut device =
            Self { name: name.to_owned(), boot, stream, deframer: Deframer::new(), incoming: Vec::new() };
        device.send(&Up::Hello(hello(name, boot, "C"))).await;
        device
    }

    pub(crate) async fn send(&mut self, up: &Up) {
        self.send_bytes(&frame(up)).await;
    }

    pub(crate) async fn send_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("the link takes bytes");
    }

    pub(crate) async fn send_batch(&mut self, first: u32, count: u32) {
        let batch = batch(&self.name, self.boot, first, count);
        self.send(&Up::Batch(batch)).await;
    }

    /// The next message, or none within `wait`.
    pub(crate) async fn next_within(&mut self, wait: Duration) -> Option<Down> {
        timeout(wait, self.next()).await.ok().flatten()
    }

    /// The next message; none when the link was closed.
    pub(crate) async fn next(&mut self) -> Option<Down> {
        loop {
            while !self.incoming.is_empty() {
                let byte = self.incoming.remove(0);
                if let Some(body) = self.deframer.push(byte) {
                    return Some(
                        decode_body(body.expect("the agent sends whole frames")).expect("known messages"),
                    );
                }
            }
            if self.stream.read_buf(&mut self.incoming).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// Waits until everything through `place` is acked.
    pub(crate) async fn acked_through(&mut self, place: u32) {
        let wait = async {
            loop {
                match self.next().await {
                    Some(Down::Ack { boot, through }) if boot.0 == self.boot && through.0 >= place => return,
                    Some(_) => {}
                    None => panic!("link closed before the ack of {place}"),
                }
            }
        };
        timeout(PATIENCE, wait).await.expect("an ack comes in time");
    }
}
