//! Sensirion SHT40, SHT41, SHT45 on I2C: temperature and humidity of the air.
//!
//! High repeatability, 8.3 ms a measurement. Source of ranges: data sheet of the SHT4x family, version 6.

use crate::sensor::measured;
use crate::{Fault, Measured, Quantity, Sensor};
use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;
use sht4x::{Address, Error, Precision};

const QUANTITIES: [Quantity; 2] =
    [Quantity::new("temperature", "°C", -2, 10_000), Quantity::new("humidity", "%", -2, 10_000)];

/// The chip. It needs no setting up.
pub struct Sht4x<I, D> {
    chip: sht4x::Sht4x<I, D>,
    delay: D,
}

impl<I: I2c, D: DelayNs> Sht4x<I, D> {
    /// At address 0x44 (parts that end in A).
    pub fn new(i2c: I, delay: D) -> Self {
        Self { chip: sht4x::Sht4x::new(i2c), delay }
    }

    /// At address 0x45 (parts that end in B).
    pub fn secondary(i2c: I, delay: D) -> Self {
        Self { chip: sht4x::Sht4x::new_with_address(i2c, Address::Address0x45), delay }
    }
}

impl<I: I2c, D: DelayNs> Sensor for Sht4x<I, D> {
    fn quantities(&self) -> &[Quantity] {
        &QUANTITIES
    }

    async fn measure(&mut self) -> Result<Measured, Fault> {
        let values = self.chip.measure(Precision::High, &mut self.delay).map_err(|error| match error {
            Error::I2c(_) => Fault::Bus,
            _ => Fault::Answer,
        })?;
        // The chip's formula gives -6 to 119 %; the data sheet tells to cut it to what exists.
        let humidity = values.humidity_milli_percent().clamp(0, 100_000);
        Ok(measured([Some(hundredths(values.temperature_milli_celsius())), Some(hundredths(humidity))]))
    }
}

/// Thousandths, rounded.
fn hundredths(milli: i32) -> i32 {
    (milli + if milli < 0 { -5 } else { 5 }) / 10
}

#[cfg(test)]
mod tests;
