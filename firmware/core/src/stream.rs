//! Bytes of a stream: frames out, messages in.
//!
//! Invariant: what a cancelled `receive` had read is kept. Not here: what is sent when (link).

use crate::limits::WRITE_TIMEOUT_MS;
use crate::{Clock, LinkDown};
use embassy_futures::select::{Either, select};
use embedded_io_async::{Read, Write};
use headwater_telemetry::{Deframer, Down, Uptime, decode_body};

/// Writes a whole frame, or gives the peer up.
pub(crate) async fn send(clock: &impl Clock, tx: &mut impl Write, bytes: &[u8]) -> Result<(), LinkDown> {
    let write = async {
        tx.write_all(bytes).await.map_err(|_| LinkDown::Closed)?;
        tx.flush().await.map_err(|_| LinkDown::Closed)
    };
    let deadline = Uptime(clock.now().0.saturating_add(WRITE_TIMEOUT_MS));
    match select(write, clock.sleep_until(deadline)).await {
        Either::First(result) => result,
        Either::Second(()) => Err(LinkDown::Stalled),
    }
}

/// Bytes that came, up to the next message. Its state outlives a cancelled `receive`.
pub(crate) struct Inbox {
    deframer: Deframer,
    bytes: [u8; 64],
    at: usize,
    len: usize,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self { deframer: Deframer::new(), bytes: [0; 64], at: 0, len: 0 }
    }

    /// The next message. What is damaged or unknown is skipped: the peer repeats what matters.
    pub(crate) async fn receive(&mut self, rx: &mut impl Read) -> Result<Down, LinkDown> {
        loop {
            while self.at < self.len {
                let byte = self.bytes[self.at];
                self.at += 1;
                if let Some(Ok(body)) = self.deframer.push(byte)
                    && let Ok(message) = decode_body::<Down>(body)
                {
                    return Ok(message);
                }
            }
            (self.at, self.len) = (0, 0);
            self.len = match rx.read(&mut self.bytes).await {
                Ok(0) | Err(_) => return Err(LinkDown::Closed),
                Ok(len) => len,
            };
        }
    }
}
