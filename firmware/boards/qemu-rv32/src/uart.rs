//! The serial line: a UART 16550 that receives by interrupt and sends by asking.
//!
//! In: bytes to send. Out: bytes received. Invariant: while the buffer is full nothing is taken from the UART, so that the
//! host waits instead of losing bytes. Not here: frames.

use crate::machine::{PLIC_CLAIM, UART_DATA, UART_FIFO, UART_INTERRUPTS, UART_STATUS, enable_uart_line};
use core::convert::Infallible;
use embassy_sync::{blocking_mutex::raw::CriticalSectionRawMutex, pipe::Pipe};
use embedded_io_async::{ErrorType, Read, Write};

/// Half a frame: what does not fit waits at the host.
const RECEIVED_BYTES: usize = 256;

static RECEIVED: Pipe<CriticalSectionRawMutex, RECEIVED_BYTES> = Pipe::new();

const BYTE_IS_THERE: u8 = 1;
const ROOM_TO_SEND: u8 = 1 << 5;
const FIFO_ON_AND_EMPTY: u8 = 0b111;

/// Opens the line. Interrupts are the caller's to enable.
pub(crate) fn open() -> (Receiver, Sender) {
    UART_FIFO.write(FIFO_ON_AND_EMPTY);
    UART_INTERRUPTS.write(1);
    enable_uart_line();
    (Receiver, Sender)
}

/// Called by the interrupt of the PLIC; the UART is its only line.
#[riscv_rt::core_interrupt(riscv::interrupt::Interrupt::MachineExternal)]
fn on_byte() {
    let line = PLIC_CLAIM.read();
    while UART_STATUS.read() & BYTE_IS_THERE != 0 {
        if RECEIVED.free_capacity() == 0 {
            // Else the interrupt would come again and again. The reader turns it on.
            UART_INTERRUPTS.write(0);
            break;
        }
        let taken = RECEIVED.try_write(&[UART_DATA.read()]);
        debug_assert!(taken.is_ok(), "there was room");
    }
    PLIC_CLAIM.write(line);
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
        let len = RECEIVED.read(out).await;
        UART_INTERRUPTS.write(1);
        Ok(len)
    }
}

impl Write for Sender {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, Infallible> {
        for &byte in bytes {
            while UART_STATUS.read() & ROOM_TO_SEND == 0 {
                embassy_futures::yield_now().await;
            }
            UART_DATA.write(byte);
        }
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        Ok(())
    }
}
