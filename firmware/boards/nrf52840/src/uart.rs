//! The serial link on two pins: 115,200 baud, 8 bits, no parity, one stop bit, no flow control.
//!
//! In: a UARTE with a timer that counts. Out: a byte stream. Invariant: bytes go to memory without the processor, so
//! nothing is lost while it stands still for a flash page to be erased. Not here: frames.

use crate::pins::LinkParts;
use embassy_nrf::buffered_uarte::{self, BufferedUarte, BufferedUarteRx, BufferedUarteTx};
use embassy_nrf::{bind_interrupts, peripherals, uarte};
use headwater_telemetry::DeviceId;
use static_cell::StaticCell;

bind_interrupts!(struct Interrupts {
    UARTE0 => buffered_uarte::InterruptHandler<peripherals::UARTE0>;
});

/// An erase takes 85 ms, in which 980 bytes arrive.
const RECEIVED_BYTES: usize = 1024;
/// A quarter of a frame: sending waits for the wire anyway.
const SENT_BYTES: usize = 128;

/// The receiving half.
pub(crate) type Receiver = BufferedUarteRx<'static>;
/// The sending half.
pub(crate) type Sender = BufferedUarteTx<'static>;

/// Nothing to be kept going: the line runs by itself.
pub(crate) struct Runner;

/// Opens the line.
pub(crate) fn open(parts: LinkParts, _: &DeviceId) -> (Receiver, Sender, Runner) {
    static RECEIVED: StaticCell<[u8; RECEIVED_BYTES]> = StaticCell::new();
    static SENT: StaticCell<[u8; SENT_BYTES]> = StaticCell::new();
    let uart = BufferedUarte::new(
        parts.uart,
        parts.count,
        parts.channels.0,
        parts.channels.1,
        parts.group,
        parts.receive,
        parts.send,
        Interrupts,
        uarte::Config::default(),
        RECEIVED.init([0; RECEIVED_BYTES]),
        SENT.init([0; SENT_BYTES]),
    );
    let (receiver, sender) = uart.split();
    (receiver, sender, Runner)
}

/// A wire is always ready.
pub(crate) async fn ready(_: &mut Receiver) {}

impl Runner {
    /// Never ends.
    pub(crate) async fn run(self) {
        core::future::pending().await
    }
}
