//! ST LIS3DH on I2C: acceleration in three axes, ±2 g.
//!
//! The chip is configured at every measurement: eight short writes, and one that lost its power for a moment measures again
//! instead of saying zero for ever. Source: data sheet DocID17530.

use crate::sensor::{fixed, measured};
use crate::{Fault, Measured, Quantity, Sensor};
use embedded_hal::i2c::I2c;
use lis3dh::accelerometer::Accelerometer;
use lis3dh::accelerometer::error::ErrorKind;
use lis3dh::{Lis3dh as Chip, SlaveAddr};

const QUANTITIES: [Quantity; 3] = [
    Quantity::new("acceleration_x", "g", -3, 1_000),
    Quantity::new("acceleration_y", "g", -3, 1_000),
    Quantity::new("acceleration_z", "g", -3, 1_000),
];

/// The chip.
#[derive(Debug)]
pub struct Lis3dh<I> {
    i2c: I,
    is_alternate: bool,
}

impl<I: I2c> Lis3dh<I> {
    /// At its usual address 0x18 (SA0 low).
    pub fn new(i2c: I) -> Self {
        Self { i2c, is_alternate: false }
    }

    /// At 0x19 (SA0 high).
    pub fn secondary(i2c: I) -> Self {
        Self { i2c, is_alternate: true }
    }
}

impl<I: I2c> Sensor for Lis3dh<I> {
    fn quantities(&self) -> &[Quantity] {
        &QUANTITIES
    }

    async fn measure(&mut self) -> Result<Measured, Fault> {
        let address = if self.is_alternate { SlaveAddr::Alternate } else { SlaveAddr::Default };
        let mut chip = Chip::new_i2c(&mut self.i2c, address).map_err(|error| match error {
            lis3dh::Error::Bus(_) => Fault::Bus,
            _ => Fault::Answer,
        })?;
        // Right after power came on there is no measurement yet.
        if !chip.is_data_ready().map_err(|_| Fault::Bus)? {
            return Err(Fault::NotReady);
        }
        let g = chip.accel_norm().map_err(|error| match error.kind() {
            ErrorKind::Bus => Fault::Bus,
            _ => Fault::Answer,
        })?;
        Ok(measured([fixed(g.x, 3), fixed(g.y, 3), fixed(g.z, 3)]))
    }
}

#[cfg(test)]
mod tests;
