//! The device's own MQTT 5 connection, for networked devices: the very code of the boards, over TCP of this machine.
//!
//! In: an address, how long to wait between two connections. Out: connections, one after the other. Not here: MQTT, which is the device
//! core's.

use super::life::{Body, Outage};
use super::tcp::{Broken, CONNECT_TIMEOUT, Stream};
use super::{Ledger, Waits};
use embedded_io_async::{ErrorType, Read, Write};
use headwater_device::mqtt::{Buffers, Dial, Gateway, run, serve};
use headwater_device::testing::Rng;
use headwater_device::{Clock, LinkDown};
use headwater_relay::{Backoff, Delays};
use std::net::SocketAddr;
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep, timeout};

/// Of a demonstration: at most a few seconds, and a thousand devices still come to no more than four hundred connections a second.
const SHORT: Delays = Delays { base_ms: 500, max_ms: 5_000, stable_ms: 5_000 };

/// After every connection, so that one that is refused at once is no loop.
const LEAST_MS: u64 = 50;

/// Sends for ever, through outages.
pub(super) async fn send(
    body: &Body<'_>,
    address: SocketAddr,
    waits: Waits,
    outage: &mut Outage,
    rng: &mut Rng,
) {
    let mut buffers = Box::new(Buffers::new());
    let mut dialer = Dialer { address, ledger: body.ledger, outage };
    let told = |down| {
        tracing::debug!(device = %body.device.hello().device, %down, "uplink down");
        if let LinkDown::Refused(reason) = down {
            body.ledger.refused(reason);
        }
    };
    if waits == Waits::OfBoards {
        match run(body.device, body.clock, &mut dialer, Gateway::default(), &mut buffers, told).await {}
    }
    let mut backoff = Backoff::new(SHORT, rng.next_u64());
    loop {
        let down = match dialer.dial().await {
            Ok(mut line) => {
                backoff.handle_connected(body.clock.now().0);
                serve(body.device, body.clock, &mut line, Gateway::default(), &mut buffers).await
            }
            Err(down) => down,
        };
        told(down);
        let now_ms = body.clock.now().0;
        let wait_ms = backoff.handle_lost(now_ms).saturating_sub(now_ms);
        sleep(Duration::from_millis(LEAST_MS + wait_ms)).await;
    }
}

/// Dials when the network is there.
struct Dialer<'a> {
    address: SocketAddr,
    ledger: &'a Ledger,
    outage: &'a mut Outage,
}

impl Dial for Dialer<'_> {
    type Stream<'a>
        = Line<'a>
    where
        Self: 'a;

    async fn dial(&mut self) -> Result<Line<'_>, LinkDown> {
        self.outage.over().await;
        let Ok(Ok(stream)) = timeout(CONNECT_TIMEOUT, TcpStream::connect(self.address)).await else {
            return Err(LinkDown::Unreachable);
        };
        // One batch is in flight: waiting to fill a segment only delays it.
        let _ = stream.set_nodelay(true);
        self.ledger.connected();
        Ok(Line { stream: Stream(stream), outage: self.outage })
    }
}

/// A connection that breaks when the network goes away.
struct Line<'a> {
    stream: Stream<TcpStream>,
    outage: &'a mut Outage,
}

impl ErrorType for Line<'_> {
    type Error = Broken;
}

impl Read for Line<'_> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Broken> {
        tokio::select! {
            read = self.stream.read(buf) => read,
            () = self.outage.begins() => Err(Broken),
        }
    }
}

impl Write for Line<'_> {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Broken> {
        self.stream.write(buf).await
    }

    async fn flush(&mut self) -> Result<(), Broken> {
        self.stream.flush().await
    }
}
