//! The Ethernet chip of the board, SMSC LAN9118, as a driver of embassy-net.
//!
//! In: frames. Out: frames. Invariant: a frame that is damaged or too long is passed by and never handed out.
//! Not here: addresses, TCP. Registers: data sheet of the LAN9118.

use crate::machine::{Line, Register};
use core::task::Context;
use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_sync::waitqueue::AtomicWaker;

const BASE: usize = 0x4020_0000;
const RECEIVED: Register = Register::at(BASE);
const TO_SEND: Register = Register::at(BASE + 0x20);
const RECEIVED_STATUS: Register = Register::at(BASE + 0x40);
const SENT_STATUS: Register = Register::at(BASE + 0x48);
const INTERRUPT_FORM: Register = Register::at(BASE + 0x54);
const INTERRUPT_STATUS: Register = Register::at(BASE + 0x58);
const INTERRUPT_ENABLE: Register = Register::at(BASE + 0x5c);
const BYTE_TEST: Register = Register::at(BASE + 0x64);
const FIFO_LEVELS: Register = Register::at(BASE + 0x68);
const RECEIVE_FORM: Register = Register::at(BASE + 0x6c);
const SEND_FORM: Register = Register::at(BASE + 0x70);
const HARDWARE: Register = Register::at(BASE + 0x74);
const RECEIVED_FILL: Register = Register::at(BASE + 0x7c);
const SENT_FILL: Register = Register::at(BASE + 0x80);
const MAC_COMMAND: Register = Register::at(BASE + 0xa4);
const MAC_DATA: Register = Register::at(BASE + 0xa8);

const MAC_CONTROL: u32 = 1;
const MAC_ADDRESS_HIGH: u32 = 2;
const MAC_ADDRESS_LOW: u32 = 3;
const MAC_SEND_AND_RECEIVE: u32 = 1 << 3 | 1 << 2;
const MAC_BUSY: u32 = 1 << 31;
const MAC_READ: u32 = 1 << 30;
const TEST_PATTERN: u32 = 0x8765_4321;
const FRAME_CAME: u32 = 1 << 3;
const FRAME_DAMAGED: u32 = 1 << 15;
const FIRST_AND_LAST: u32 = 1 << 13 | 1 << 12;
/// Active high, push and pull, on.
const INTERRUPT_OUT: u32 = 0x111;
/// Store and forward, 5 KiB to send.
const HARDWARE_SENDS: u32 = 1 << 20 | 5 << 16;

/// Its interrupt line.
pub(crate) const LINE: Line = Line(13);

/// Bytes of the longest Ethernet frame without its checksum, and that padded to words.
const FRAME_BYTES: usize = 1514;
const BUFFER_BYTES: usize = 1520;
const CHECKSUM_BYTES: usize = 4;

static WAKER: AtomicWaker = AtomicWaker::new();

/// Called by the interrupt.
pub(crate) fn on_frame() {
    INTERRUPT_ENABLE.write(0);
    WAKER.wake();
}

fn mac_read(register: u32) -> u32 {
    MAC_COMMAND.write(MAC_BUSY | MAC_READ | register);
    while MAC_COMMAND.read() & MAC_BUSY != 0 {}
    MAC_DATA.read()
}

fn mac_write(register: u32, value: u32) {
    MAC_DATA.write(value);
    MAC_COMMAND.write(MAC_BUSY | register);
    while MAC_COMMAND.read() & MAC_BUSY != 0 {}
}

/// The chip.
pub(crate) struct Ethernet {
    address: [u8; 6],
    frame: [u8; BUFFER_BYTES],
}

impl Ethernet {
    /// Opens the chip; none when this machine was started without one.
    pub(crate) fn open() -> Option<Self> {
        if BYTE_TEST.read() != TEST_PATTERN {
            return None;
        }
        HARDWARE.write(1);
        while HARDWARE.read() & 1 != 0 {}
        HARDWARE.write(HARDWARE_SENDS);
        RECEIVE_FORM.write(0);
        FIFO_LEVELS.write(0);
        INTERRUPT_FORM.write(INTERRUPT_OUT);
        let [a, b, c, d] = mac_read(MAC_ADDRESS_LOW).to_le_bytes();
        let [e, f, ..] = mac_read(MAC_ADDRESS_HIGH).to_le_bytes();
        mac_write(MAC_CONTROL, MAC_SEND_AND_RECEIVE);
        SEND_FORM.write(0b10);
        INTERRUPT_STATUS.write(u32::MAX);
        INTERRUPT_ENABLE.write(FRAME_CAME);
        LINE.enable();
        Some(Self { address: [a, b, c, d, e, f], frame: [0; BUFFER_BYTES] })
    }

    /// Numbers that differ from machine to machine.
    pub(crate) fn unique(&self) -> u64 {
        let [a, b, c, d, e, f] = self.address;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }

    fn has_frame() -> bool {
        RECEIVED_FILL.read() >> 16 & 0xff != 0
    }

    /// Takes one frame out of the chip; its length in the buffer, 0 for one to be passed by.
    fn take(&mut self) -> usize {
        let status = RECEIVED_STATUS.read();
        let len = (status >> 16 & 0x3fff) as usize;
        let words = self.frame.chunks_exact_mut(4).map(Some).chain(core::iter::repeat_with(|| None));
        for word in words.take(len.div_ceil(4)) {
            let bytes = RECEIVED.read().to_le_bytes();
            if let Some(word) = word {
                word.copy_from_slice(&bytes);
            }
        }
        let len = len.saturating_sub(CHECKSUM_BYTES);
        if status & FRAME_DAMAGED != 0 || len > FRAME_BYTES { 0 } else { len }
    }

    fn send(frame: &[u8]) {
        let Ok(len) = u32::try_from(frame.len()) else { return };
        TO_SEND.write(FIRST_AND_LAST | len);
        TO_SEND.write(len);
        for chunk in frame.chunks(4) {
            let mut word = [0; 4];
            word[..chunk.len()].copy_from_slice(chunk);
            TO_SEND.write(u32::from_le_bytes(word));
        }
        while SENT_FILL.read() >> 16 & 0xff != 0 {
            SENT_STATUS.read();
        }
    }
}

/// A frame in the chip.
pub(crate) struct Incoming<'a>(&'a mut Ethernet);

/// Room for a frame.
pub(crate) struct Outgoing;

impl RxToken for Incoming<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, take: F) -> R {
        let len = self.0.take();
        take(&mut self.0.frame[..len])
    }
}

impl TxToken for Outgoing {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, fill: F) -> R {
        let mut frame = [0; FRAME_BYTES];
        let frame = &mut frame[..len.min(FRAME_BYTES)];
        let filled = fill(frame);
        Ethernet::send(frame);
        filled
    }
}

impl Driver for Ethernet {
    type RxToken<'a> = Incoming<'a>;
    type TxToken<'a> = Outgoing;

    fn receive(&mut self, context: &mut Context<'_>) -> Option<(Incoming<'_>, Outgoing)> {
        WAKER.register(context.waker());
        if !Self::has_frame() {
            INTERRUPT_STATUS.write(FRAME_CAME);
            INTERRUPT_ENABLE.write(FRAME_CAME);
            // One may have come before the interrupt was on.
            if !Self::has_frame() {
                return None;
            }
        }
        Some((Incoming(self), Outgoing))
    }

    fn transmit(&mut self, _: &mut Context<'_>) -> Option<Outgoing> {
        Some(Outgoing)
    }

    /// A pulled cable is noticed by what does not come: the emulated chip tells it to nobody.
    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = FRAME_BYTES;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.address)
    }
}
