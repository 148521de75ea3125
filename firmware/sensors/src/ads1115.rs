//! TI ADS1115 on I2C: four voltages against ground, 16 bits.
//!
//! Measured one after the other at 860 conversions a second, 1.2 ms each. Source: data sheet SBAS444.

use crate::limits::{CONVERSION_LOOK_MS, CONVERSION_LOOKS_MAX};
use crate::sensor::measured;
use crate::{Fault, Measured, Quantity, Sensor};
use ads1x1x::{Ads1x1x, ChannelId, DataRate16Bit, Error, channel, ic, mode};
pub use ads1x1x::{FullScaleRange, TargetAddr};
use embedded_hal::delay::DelayNs;
use embedded_hal::i2c::I2c;

const QUANTITIES: [Quantity; 4] = [
    Quantity::new("voltage_0", "V", -4, 1_000),
    Quantity::new("voltage_1", "V", -4, 1_000),
    Quantity::new("voltage_2", "V", -4, 1_000),
    Quantity::new("voltage_3", "V", -4, 1_000),
];

type OneShot<I> = Ads1x1x<I, ic::Ads1115, ic::Resolution16Bit, mode::OneShot>;

/// The chip.
#[derive(Debug)]
pub struct Ads1115<I, D> {
    i2c: I,
    delay: D,
    address: TargetAddr,
    range: FullScaleRange,
}

impl<I: I2c, D: DelayNs> Ads1115<I, D> {
    /// The chip at `address` (0x48 to 0x4b, as its ADDR pin says). An input never takes more than the supply voltage,
    /// whatever the range.
    pub fn new(i2c: I, delay: D, address: TargetAddr, range: FullScaleRange) -> Self {
        Self { i2c, delay, address, range }
    }

    fn values(&mut self) -> Result<Measured, Fault> {
        let (delay, full_scale) = (&mut self.delay, full_scale_mv(self.range));
        // A chip that lost its power has forgotten its settings, so they are written every time.
        let mut chip = Ads1x1x::new_ads1115(&mut self.i2c, self.address);
        chip.set_full_scale_range(self.range).map_err(fault)?;
        chip.set_data_rate(DataRate16Bit::Sps860).map_err(fault)?;
        Ok(measured([
            Some(tenths_mv(convert(&mut chip, || channel::SingleA0, delay)?, full_scale)),
            Some(tenths_mv(convert(&mut chip, || channel::SingleA1, delay)?, full_scale)),
            Some(tenths_mv(convert(&mut chip, || channel::SingleA2, delay)?, full_scale)),
            Some(tenths_mv(convert(&mut chip, || channel::SingleA3, delay)?, full_scale)),
        ]))
    }
}

impl<I: I2c, D: DelayNs> Sensor for Ads1115<I, D> {
    fn quantities(&self) -> &[Quantity] {
        &QUANTITIES
    }

    async fn measure(&mut self) -> Result<Measured, Fault> {
        self.values()
    }
}

fn convert<I: I2c, C: ChannelId<OneShot<I>>>(
    chip: &mut OneShot<I>,
    input: impl Fn() -> C,
    delay: &mut impl DelayNs,
) -> Result<i16, Fault> {
    for _ in 0..=CONVERSION_LOOKS_MAX {
        match chip.read(input()) {
            Ok(counts) => return Ok(counts),
            Err(nb::Error::WouldBlock) => delay.delay_ms(CONVERSION_LOOK_MS),
            Err(nb::Error::Other(error)) => return Err(fault(error)),
        }
    }
    Err(Fault::Answer)
}

fn fault<E>(error: Error<E>) -> Fault {
    match error {
        Error::I2C(_) => Fault::Bus,
        Error::InvalidInputData => Fault::Answer,
    }
}

fn full_scale_mv(range: FullScaleRange) -> i32 {
    match range {
        FullScaleRange::Within6_144V => 6_144,
        FullScaleRange::Within4_096V => 4_096,
        FullScaleRange::Within2_048V => 2_048,
        FullScaleRange::Within1_024V => 1_024,
        FullScaleRange::Within0_512V => 512,
        FullScaleRange::Within0_256V => 256,
    }
}

/// Counts of a converter whose full scale is 2^15, as tenths of a millivolt, rounded.
fn tenths_mv(counts: i16, full_scale_mv: i32) -> i32 {
    let scaled = i64::from(counts) * i64::from(full_scale_mv) * 10;
    let half = if scaled < 0 { -(1 << 14) } else { 1 << 14 };
    // At most 61,440: the full scale itself.
    i32::try_from((scaled + half) / (1 << 15)).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests;
