//! Bytes of a connection: packets in, packets out.
//!
//! Invariant: what a cancelled `receive` had read is kept. Not here: what packets mean.

use super::limits::PACKET_BYTES_MAX;
use super::packet::{Packet, length, read};
use crate::limits::WRITE_TIMEOUT_MS;
use crate::{Clock, LinkDown};
use embassy_futures::select::{Either, select};
use embedded_io_async::{Read, Write};
use headwater_telemetry::Uptime;

/// Writes a packet in two parts, or gives the peer up.
pub(crate) async fn send(
    clock: &impl Clock,
    tx: &mut impl Write,
    head: &[u8],
    payload: &[u8],
) -> Result<(), LinkDown> {
    let write = async {
        tx.write_all(head).await.map_err(|_| LinkDown::Closed)?;
        tx.write_all(payload).await.map_err(|_| LinkDown::Closed)?;
        tx.flush().await.map_err(|_| LinkDown::Closed)
    };
    let deadline = Uptime(clock.now().0.saturating_add(WRITE_TIMEOUT_MS));
    match select(write, clock.sleep_until(deadline)).await {
        Either::First(result) => result,
        Either::Second(()) => Err(LinkDown::Stalled),
    }
}

/// One packet as it comes. Its state outlives a cancelled `receive`.
#[derive(Debug)]
pub(crate) struct Inbox {
    bytes: [u8; PACKET_BYTES_MAX],
    len: usize,
    /// The packet at the beginning was handed out.
    is_read: bool,
}

impl Inbox {
    pub(crate) const fn new() -> Self {
        Self { bytes: [0; PACKET_BYTES_MAX], len: 0, is_read: false }
    }

    /// Forgets what came, as for a new connection.
    pub(crate) fn reset(&mut self) {
        (self.len, self.is_read) = (0, false);
    }

    /// Waits until a whole packet is there. Never reads beyond it.
    pub(crate) async fn receive(&mut self, rx: &mut impl Read) -> Result<(), LinkDown> {
        if self.is_read {
            self.reset();
        }
        loop {
            let wanted = match length(&self.bytes[..self.len]) {
                Ok(Some(length)) if length == self.len => return Ok(()),
                Ok(Some(length)) => length,
                // Two bytes are the shortest packet; the length goes on byte by byte.
                Ok(None) => (self.len + 1).max(2),
                Err(_) => return Err(LinkDown::Closed),
            };
            match rx.read(&mut self.bytes[self.len..wanted]).await {
                Ok(0) | Err(_) => return Err(LinkDown::Closed),
                Ok(count) => self.len += count,
            }
        }
    }

    /// The packet that [`Inbox::receive`] waited for.
    pub(crate) fn packet(&mut self) -> Result<Packet<'_>, LinkDown> {
        self.is_read = true;
        read(&self.bytes[..self.len]).map_err(|_| LinkDown::Closed)
    }
}
