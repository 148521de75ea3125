//! The serial line: the CMSDK UART 0, which receives by interrupt and sends by asking.
//!
//! In: bytes to send. Out: bytes received. Invariant: while the buffer is full nothing is taken from the UART, so that the
//! host waits instead of losing bytes. Not here: frames.

use crate::machine::{CORE_HZ, Line, Register};
use core::convert::Infallible;
use embassy_sync::{blocking_mutex::raw::CriticalSectionRawMutex, pipe::Pipe};
use embedded_io_async::{ErrorType, Read, Write};

const DATA: Register = Register::at(0x4000_4000);
const STATE: Register = Register::at(0x4000_4004);
const CONTROL: Register = Register::at(0x4000_4008);
const INTERRUPT: Register = Register::at(0x4000_400c);
const DIVIDER: Register = Register::at(0x4000_4010);

/// Its line for received bytes.
pub(crate) const RECEIVED_LINE: Line = Line(0);

const FULL_TO_SEND: u32 = 0b01;
const BYTE_IS_THERE: u32 = 0b10;
const SEND_AND_RECEIVE: u32 = 0b0011;
const INTERRUPT_ON_BYTE: u32 = 0b1000;
const BYTE_CAME: u32 = 0b10;
const BAUD: u32 = 115_200;

/// Half a frame: what does not fit waits at the host.
const RECEIVED_BYTES: usize = 256;

static RECEIVED: Pipe<CriticalSectionRawMutex, RECEIVED_BYTES> = Pipe::new();

/// Opens the line.
pub(crate) fn open() -> (Receiver, Sender) {
    DIVIDER.write(CORE_HZ / BAUD);
    CONTROL.write(SEND_AND_RECEIVE | INTERRUPT_ON_BYTE);
    RECEIVED_LINE.enable();
    (Receiver, Sender)
}

/// Called by the interrupt of received bytes.
pub(crate) fn on_byte() {
    // First: a byte that comes while the others are taken must raise the line again.
    INTERRUPT.write(BYTE_CAME);
    while STATE.read() & BYTE_IS_THERE != 0 {
        if RECEIVED.free_capacity() == 0 {
            // The reader goes on when it has made room.
            CONTROL.write(SEND_AND_RECEIVE);
            return;
        }
        let [byte, ..] = DATA.read().to_le_bytes();
        let taken = RECEIVED.try_write(&[byte]);
        debug_assert!(taken.is_ok(), "there was room");
    }
}

/// The receiving half.
pub(crate) struct Receiver;

/// The sending half.
pub(crate) struct Sender;

impl ErrorType for Receiver {
    type Error = Infallible;
}

impl ErrorType for Sender {
    type Error = Infallible;
}

impl Read for Receiver {
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, Infallible> {
        loop {
            // What had no room stands in the UART, and its interrupt is gone.
            critical_section::with(|_| {
                CONTROL.write(SEND_AND_RECEIVE | INTERRUPT_ON_BYTE);
                on_byte();
            });
            let len = RECEIVED.read(out).await;
            if len > 0 {
                return Ok(len);
            }
        }
    }
}

impl Write for Sender {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        for &byte in bytes {
            while STATE.read() & FULL_TO_SEND != 0 {
                embassy_futures::yield_now().await;
            }
            DATA.write(byte.into());
        }
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
