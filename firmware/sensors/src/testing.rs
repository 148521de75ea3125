//! What the tests of all chips share: a clock that is told, and one measurement.

use crate::{Fault, Sensor};
use core::cell::Cell;
use embassy_futures::block_on;
use embedded_hal_mock::eh1::i2c::Transaction;
use headwater_device::Clock;
use headwater_telemetry::Uptime;
use std::vec::Vec;

/// A clock that stands still until it is moved.
#[derive(Debug, Default)]
pub(crate) struct Standing(pub(crate) Cell<u64>);

impl Clock for &Standing {
    fn now(&self) -> Uptime {
        Uptime(self.0.get())
    }

    async fn sleep_until(&self, at: Uptime) {
        self.0.set(self.0.get().max(at.0));
    }
}

/// One measurement.
pub(crate) fn measure(sensor: &mut impl Sensor) -> Result<Vec<Option<i32>>, Fault> {
    block_on(sensor.measure()).map(|values| values.into_iter().collect())
}

/// A register is written.
pub(crate) fn set(address: u8, register: u8, value: u8) -> Transaction {
    Transaction::write(address, std::vec![register, value])
}

/// Registers are read from `register` on.
pub(crate) fn get(address: u8, register: u8, values: &[u8]) -> Transaction {
    Transaction::write_read(address, std::vec![register], values.to_vec())
}

/// CRC-8 of Sensirion's words: polynomial 0x31, from 0xff.
pub(crate) fn word(value: u16) -> [u8; 3] {
    let bytes = value.to_be_bytes();
    let crc = bytes.iter().fold(0xff_u8, |crc, byte| {
        (0..8).fold(crc ^ byte, |crc, _| if crc & 0x80 == 0 { crc << 1 } else { crc << 1 ^ 0x31 })
    });
    [bytes[0], bytes[1], crc]
}
