//! The serial link over USB: the port that the chip itself has (USB-Serial-JTAG), the same that it is flashed through.
//!
//! In: the USB peripheral. Out: a byte stream. Not here: frames. Nobody else writes to this port: there is no logger in this
//! program, and a panic leaves a mark instead of a text.

use crate::pins::LinkParts;
use core::convert::Infallible;
use embedded_io_async::{ErrorType, Write};
use esp_hal::Async;
use esp_hal::usb::usb_serial_jtag::{UsbSerialJtag, UsbSerialJtagRx, UsbSerialJtagTx};

/// Bytes of a full-speed bulk packet less one: a packet shorter than a full one ends a transfer, and the host hands it on at
/// once instead of waiting for more.
const WRITE_BYTES_MAX: usize = 63;

/// The receiving half.
pub(crate) type Receiver = UsbSerialJtagRx<'static, Async>;

/// The sending half.
pub(crate) struct Sender(UsbSerialJtagTx<'static, Async>);

/// Opens the port.
pub(crate) fn open(parts: LinkParts) -> (Receiver, Sender) {
    let (receiver, sender) = UsbSerialJtag::new(parts.usb).into_async().split();
    (receiver, Sender(sender))
}

impl ErrorType for Sender {
    type Error = Infallible;
}

impl Write for Sender {
    /// Waits until the host took the bytes: for ever where no program has the port open.
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        // Not the method of the same name that waits for the host without letting anything else run.
        Write::write(&mut self.0, &bytes[..bytes.len().min(WRITE_BYTES_MAX)]).await
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
