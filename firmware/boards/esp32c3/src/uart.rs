//! The serial link on two pins: 115,200 baud, 8 bits, no parity, one stop bit, no flow control.
//!
//! In: a UART. Out: a byte stream. Not here: frames. The chip's ROM writes some lines of text to these pins after every reset, which a
//! receiver of frames skips. While a flash page is erased (some 50 ms) the processor stands still and the UART has room for 128 bytes: what
//! is longer than that is sent again by the peer.

use crate::pins::LinkParts;
use esp_hal::Async;
use esp_hal::uart::{Config, Uart, UartRx, UartTx};

/// The receiving half.
pub(crate) type Receiver = UartRx<'static, Async>;
/// The sending half.
pub(crate) type Sender = UartTx<'static, Async>;

/// Opens the line.
pub(crate) fn open(parts: LinkParts) -> (Receiver, Sender) {
    let uart = Uart::new(parts.uart, Config::default())
        .expect("115,200 baud can be made of every clock of this chip");
    uart.with_rx(parts.receive).with_tx(parts.send).into_async().split()
}
