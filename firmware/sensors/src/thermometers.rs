//! Thermometers of the LM75 family on I2C: LM75, TMP102, TMP105.
//!
//! They measure by themselves; a reading is two bytes. Sources: data sheets SNIS153 (LM75), SBOS397 (TMP102), SBOS648 (TMP105).

use crate::sensor::{fixed, measured};
use crate::{Fault, Measured, Quantity, Sensor};
use embedded_hal::i2c::I2c;
use tmp1x2::{SlaveAddr, Tmp1x2};

/// Steps are 0.5 °C (LM75) and 0.0625 °C (the others).
const QUANTITY: [Quantity; 1] = [Quantity::new("temperature", "°C", -2, 10_000)];

/// Configuration register of the TMP105 and its value for 12 bits; after power came on it gives nine.
const TMP105_TWELVE_BITS: [u8; 2] = [0x01, 0x60];

/// An LM75, LM75A, LM75B or one that does as they do: nine bits.
#[derive(Debug)]
pub struct Lm75<I> {
    i2c: I,
    address: u8,
}

impl<I: I2c> Lm75<I> {
    /// The chip at `address`, 0x48 to 0x4f as its pins say.
    pub fn new(i2c: I, address: u8) -> Self {
        Self { i2c, address }
    }
}

impl<I: I2c> Sensor for Lm75<I> {
    fn quantities(&self) -> &[Quantity] {
        &QUANTITY
    }

    async fn measure(&mut self) -> Result<Measured, Fault> {
        let mut chip = lm75::Lm75::new(&mut self.i2c, self.address);
        let celsius = chip.read_temperature().map_err(|error| match error {
            lm75::Error::I2C(_) => Fault::Bus,
            lm75::Error::InvalidInputData => Fault::Answer,
        })?;
        Ok(measured([fixed(celsius, 2)]))
    }
}

/// A TMP102 or TMP112: twelve bits.
#[derive(Debug)]
pub struct Tmp102<I> {
    i2c: I,
    address: SlaveAddr,
}

impl<I: I2c> Tmp102<I> {
    /// The chip at its usual address 0x48 (ADD0 to ground).
    pub fn new(i2c: I) -> Self {
        Self { i2c, address: SlaveAddr::default() }
    }

    /// The chip where ADD0 says: 0x48 to 0x4b by the two lowest bits.
    pub fn at(i2c: I, bit_1: bool, bit_0: bool) -> Self {
        Self { i2c, address: SlaveAddr::Alternative(bit_1, bit_0) }
    }
}

impl<I: I2c> Sensor for Tmp102<I> {
    fn quantities(&self) -> &[Quantity] {
        &QUANTITY
    }

    async fn measure(&mut self) -> Result<Measured, Fault> {
        twelve_bits(&mut self.i2c, self.address)
    }
}

/// A TMP105: twelve bits, once it is told so.
#[derive(Debug)]
pub struct Tmp105<I> {
    i2c: I,
}

impl<I: I2c> Tmp105<I> {
    /// The chip at its usual address 0x48.
    pub fn new(i2c: I) -> Self {
        Self { i2c }
    }
}

impl<I: I2c> Sensor for Tmp105<I> {
    fn quantities(&self) -> &[Quantity] {
        &QUANTITY
    }

    async fn measure(&mut self) -> Result<Measured, Fault> {
        // Every time: one that lost its power has forgotten it, and the first reading after it is only coarser.
        let address = SlaveAddr::default();
        self.i2c.write(address_byte(address), &TMP105_TWELVE_BITS).map_err(|_| Fault::Bus)?;
        twelve_bits(&mut self.i2c, address)
    }
}

fn address_byte(address: SlaveAddr) -> u8 {
    let (bit_1, bit_0) = match address {
        SlaveAddr::Default => (false, false),
        SlaveAddr::Alternative(bit_1, bit_0) => (bit_1, bit_0),
    };
    0x48 | u8::from(bit_1) << 1 | u8::from(bit_0)
}

fn twelve_bits(i2c: &mut impl I2c, address: SlaveAddr) -> Result<Measured, Fault> {
    let mut chip = Tmp1x2::new(i2c, address);
    let celsius = chip.read_temperature().map_err(|_| Fault::Bus)?;
    Ok(measured([fixed(celsius, 2)]))
}

#[cfg(test)]
mod tests;
