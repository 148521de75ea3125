//! The device's link to an agent: the frames of a serial port, over TCP.
//!
//! In: an address. Out: connections, one after the other, with a pause between them. Not here: the protocol, which is
//! the device core's.

use super::life::{Body, Outage};
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use headwater_device::testing::Rng;
use std::fmt;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Duration, sleep, timeout};

/// An agent on this machine or network answers at once, or is not there.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Sends for ever, through outages.
pub(super) async fn send(body: &Body<'_>, address: SocketAddr, outage: &mut Outage, rng: &mut Rng) {
    loop {
        if let Ok(Ok(stream)) = timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await {
            // Frames are small and acknowledged one by one: waiting to fill a segment only delays them.
            let _ = stream.set_nodelay(true);
            body.ledger.connected();
            let (rx, tx) = stream.into_split();
            let (mut rx, mut tx) = (Stream(rx), Stream(tx));
            tokio::select! {
                down = body.device.serve(body.clock, &mut rx, &mut tx) => {
                    tracing::debug!(device = %body.device.hello().device, %down, "link down");
                }
                () = outage.begins() => {}
            }
        }
        outage.over().await;
        // Not all at once when an agent comes back.
        sleep(Duration::from_millis(100 + rng.below(900))).await;
    }
}

#[derive(Debug)]
pub(super) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection is broken")
    }
}

impl std::error::Error for Broken {}

impl embedded_io_async::Error for Broken {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

/// A socket, or a half of one, as the device core wants it.
pub(super) struct Stream<S>(pub(super) S);

impl<S> ErrorType for Stream<S> {
    type Error = Broken;
}

impl<S: AsyncRead + Unpin> Read for Stream<S> {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Broken> {
        self.0.read(buf).await.map_err(|_| Broken)
    }
}

impl<S: AsyncWrite + Unpin> Write for Stream<S> {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Broken> {
        self.0.write(buf).await.map_err(|_| Broken)
    }

    async fn flush(&mut self) -> Result<(), Broken> {
        self.0.flush().await.map_err(|_| Broken)
    }
}
