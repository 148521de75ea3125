//! Bosch BME280 on I2C: temperature, pressure and humidity of the air.
//!
//! Every measurement is a forced one, and the chip sleeps in between. It is set up before each: some 50 bytes on the bus, and one
//! that lost its power for a moment does not give plausible nonsense with the settings of its reset. A BMP280, which looks the
//! same and measures no humidity, gives none. Source of ranges: data sheet BST-BME280-DS002.

use crate::sensor::{fixed, measured};
use crate::{Fault, Measured, Quantity, Sensor};
use bme280::Error;
use bme280::i2c::BME280;
use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;

/// Resolution of the chip: 0.01 °C, 0.18 Pa, 0.008 %.
const QUANTITIES: [Quantity; 3] = [
    Quantity::new("temperature", "°C", -2, 10_000),
    Quantity::new("pressure", "hPa", -2, 10_000),
    Quantity::new("humidity", "%", -2, 10_000),
];

/// The chip.
#[derive(Debug)]
pub struct Bme280<I, D> {
    i2c: I,
    delay: D,
    address: u8,
}

impl<I: I2c, D: DelayNs> Bme280<I, D> {
    /// At its usual address 0x76 (SDO low).
    pub fn new(i2c: I, delay: D) -> Self {
        Self { i2c, delay, address: 0x76 }
    }

    /// At 0x77 (SDO high).
    pub fn secondary(i2c: I, delay: D) -> Self {
        Self { i2c, delay, address: 0x77 }
    }

    fn values(&mut self) -> Result<Measured, Error<I::Error>> {
        let mut chip = BME280::new(&mut self.i2c, self.address);
        chip.init(&mut self.delay)?;
        let values = chip.measure(&mut self.delay)?;
        // Air of exactly 0 % does not exist; it is what the driver says of a BMP280.
        let humidity = Some(values.humidity).filter(|&humidity| humidity > 0.0);
        Ok(measured([
            fixed(values.temperature, 2),
            // A pascal is a hundredth of a hectopascal.
            fixed(values.pressure, 0),
            humidity.and_then(|humidity| fixed(humidity, 2)),
        ]))
    }
}

impl<I: I2c, D: DelayNs> Sensor for Bme280<I, D> {
    fn quantities(&self) -> &[Quantity] {
        &QUANTITIES
    }

    async fn measure(&mut self) -> Result<Measured, Fault> {
        self.values().map_err(|error| match error {
            Error::Bus(_) | Error::Delay => Fault::Bus,
            Error::CompensationFailed
            | Error::InvalidData
            | Error::NoCalibrationData
            | Error::UnsupportedChip => Fault::Answer,
        })
    }
}

#[cfg(test)]
mod tests;
