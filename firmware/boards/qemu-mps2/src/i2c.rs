//! The two-wire bus of the board's own sensors: two pins that are set and asked, as an `embedded-hal` bus.
//!
//! In: transactions. Out: bytes of a chip. Invariant: whatever happens, a transaction ends with both lines up.
//! Not here: chips.

use crate::machine::Register;
use embedded_hal::i2c::{ErrorKind, ErrorType, I2c, NoAcknowledgeSource, Operation};

/// Written: lines up. Read: their levels.
const SET: Register = Register::at(0x4002_a000);
/// Written: lines down.
const CLEAR: Register = Register::at(0x4002_a004);

const CLOCK: u32 = 0b01;
const DATA: u32 = 0b10;

/// The bus.
pub(crate) struct Bus;

impl Bus {
    /// Both lines up.
    pub(crate) fn open() -> Self {
        SET.write(CLOCK | DATA);
        Self
    }

    fn begin() {
        SET.write(DATA);
        SET.write(CLOCK);
        CLEAR.write(DATA);
        CLEAR.write(CLOCK);
    }

    fn end() {
        CLEAR.write(DATA);
        SET.write(CLOCK);
        SET.write(DATA);
    }

    fn send_bit(one: bool) {
        if one {
            SET.write(DATA)
        } else {
            CLEAR.write(DATA)
        }
        SET.write(CLOCK);
        CLEAR.write(CLOCK);
    }

    fn receive_bit() -> bool {
        SET.write(DATA);
        SET.write(CLOCK);
        let one = SET.read() & DATA != 0;
        CLEAR.write(CLOCK);
        one
    }

    fn send(byte: u8, source: NoAcknowledgeSource) -> Result<(), ErrorKind> {
        for place in (0..8).rev() {
            Self::send_bit(byte >> place & 1 != 0);
        }
        if Self::receive_bit() { Err(ErrorKind::NoAcknowledge(source)) } else { Ok(()) }
    }

    fn receive(more: bool) -> u8 {
        let byte = (0..8).fold(0, |byte, _| byte << 1 | u8::from(Self::receive_bit()));
        Self::send_bit(!more);
        byte
    }

    fn operations(address: u8, operations: &mut [Operation<'_>]) -> Result<(), ErrorKind> {
        let mut direction = None;
        let mut left = operations.iter_mut().peekable();
        while let Some(operation) = left.next() {
            let reads = matches!(operation, Operation::Read(_));
            if direction != Some(reads) {
                Self::begin();
                Self::send(address << 1 | u8::from(reads), NoAcknowledgeSource::Address)?;
                direction = Some(reads);
            }
            match operation {
                Operation::Write(bytes) => {
                    bytes.iter().try_for_each(|&byte| Self::send(byte, NoAcknowledgeSource::Data))?;
                }
                Operation::Read(out) => {
                    let reads_on = matches!(left.peek(), Some(Operation::Read(_)));
                    let last = out.len().saturating_sub(1);
                    for (place, byte) in out.iter_mut().enumerate() {
                        *byte = Self::receive(place < last || reads_on);
                    }
                }
            }
        }
        Ok(())
    }
}

impl ErrorType for Bus {
    type Error = ErrorKind;
}

impl I2c for Bus {
    fn transaction(&mut self, address: u8, operations: &mut [Operation<'_>]) -> Result<(), ErrorKind> {
        let done = Self::operations(address, operations);
        Self::end();
        done
    }
}
