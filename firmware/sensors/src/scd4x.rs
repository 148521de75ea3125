//! Sensirion SCD40 and SCD41 on I2C: carbon dioxide, temperature and humidity of a room.
//!
//! The chip measures by itself every five seconds; between two measurements there is nothing new, which is no fault. After a
//! restart of the device it may be measuring already and then refuses to be started: what counts is whether it has
//! data. Source: data sheet of the SCD4x, version 1.5.

use crate::sensor::{fixed, measured};
use crate::{Fault, Measured, Quantity, Sensor};
use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;
use scd4x::Error;

const QUANTITIES: [Quantity; 3] = [
    Quantity::new("co2", "ppm", 0, 10_000),
    Quantity::new("temperature", "°C", -2, 10_000),
    Quantity::new("humidity", "%", -2, 10_000),
];

/// The chip at its only address, 0x62.
pub struct Scd4x<I, D> {
    chip: scd4x::Scd4x<I, D>,
    started: bool,
}

impl<I: I2c, D: DelayNs> Scd4x<I, D> {
    /// The chip. Started at the first measurement, and again after a fault.
    pub fn new(i2c: I, delay: D) -> Self {
        Self { chip: scd4x::Scd4x::new(i2c, delay), started: false }
    }

    fn values(&mut self) -> Result<Option<Measured>, Error<I::Error>> {
        if !self.started {
            // Refused when it runs already; a chip that is not there is found out just below. The driver itself refuses
            // once it has started it.
            let _ = self.chip.start_periodic_measurement();
        }
        self.started = false;
        let is_ready = self.chip.data_ready_status()?;
        let values = if is_ready { Some(self.chip.measurement()?) } else { None };
        self.started = true;
        // A concentration of 0 is what the chip says before its first measurement.
        let values = values.filter(|values| values.co2 > 0);
        Ok(values.map(|values| {
            measured([Some(values.co2.into()), fixed(values.temperature, 2), fixed(values.humidity, 2)])
        }))
    }
}

impl<I: I2c, D: DelayNs> Sensor for Scd4x<I, D> {
    fn quantities(&self) -> &[Quantity] {
        &QUANTITIES
    }

    async fn measure(&mut self) -> Result<Measured, Fault> {
        match self.values() {
            Ok(values) => values.ok_or(Fault::NotReady),
            Err(Error::I2c(_)) => Err(Fault::Bus),
            Err(Error::Crc | Error::SelfTest | Error::NotAllowed | Error::Internal) => Err(Fault::Answer),
        }
    }
}

#[cfg(test)]
mod tests;
