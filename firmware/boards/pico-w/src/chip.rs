//! What the chip measures of itself: its temperature, and on a Pico without radio what feeds it.
//!
//! In: the converter. Out: a [`Sensor`]. Not here: sensors on the bus (`sensors`).
//!
//! On a Pico W the pin of the supply's divider is the clock of the radio: it cannot be measured while the radio is in use.

use crate::pins::ChipParts;
use embassy_rp::adc::{Adc, Blocking, Channel, Config};
use headwater_sensors::{Fault, Measured, Quantity, Sensor};

/// The die is some degrees warmer than the air; the sensor is off by up to 10 °C from one chip to the next, and steady.
const QUANTITIES: &[Quantity] = &[
    Quantity::new("chip_temperature", "°C", -2, 10_000),
    #[cfg(not(feature = "wifi"))]
    Quantity::new("supply", "V", -3, 60_000),
];

/// 12 bits over 3.3 V, behind 200 kΩ above 100 kΩ.
#[cfg(not(feature = "wifi"))]
const SUPPLY: headwater_sensors::Divider =
    headwater_sensors::Divider { reference_mv: 3_300, full_scale: 4_096, upper: 2, lower: 1 };

/// The chip as a sensor.
pub(crate) struct Chip {
    converter: Adc<'static, Blocking>,
    thermometer: Channel<'static>,
    #[cfg(not(feature = "wifi"))]
    supply: Channel<'static>,
}

impl Chip {
    /// Sets the converter up.
    pub(crate) fn new(parts: ChipParts) -> Self {
        Self {
            converter: Adc::new_blocking(parts.converter, Config::default()),
            thermometer: Channel::new_temp_sensor(parts.thermometer),
            #[cfg(not(feature = "wifi"))]
            supply: Channel::new_pin(parts.supply, embassy_rp::gpio::Pull::None),
        }
    }
}

impl Sensor for Chip {
    fn quantities(&self) -> &[Quantity] {
        QUANTITIES
    }

    async fn measure(&mut self) -> Result<Measured, Fault> {
        let counts = self.converter.blocking_read(&mut self.thermometer).map_err(|_| Fault::Answer)?;
        let mut measured = Measured::new();
        // A device has room for all quantities of one sensor.
        let _ = measured.push(Some(hundredths(counts)));
        #[cfg(not(feature = "wifi"))]
        {
            let counts = self.converter.blocking_read(&mut self.supply).map_err(|_| Fault::Answer)?;
            let _ = measured.push(Some(SUPPLY.millivolts(counts.into())));
        }
        Ok(measured)
    }
}

/// Data sheet 4.9.5: T = 27 − (V − 0.706) / 0.001721, here in hundredths.
fn hundredths(counts: u16) -> i32 {
    // At most 3,300,000 and some 150,000,000: both fit.
    let microvolts =
        i32::from(counts) * 3_300 / 4_096 * 1_000 + i32::from(counts) * 3_300 % 4_096 * 1_000 / 4_096;
    2_700 - (microvolts - 706_000) / 1_721 * 100 - (microvolts - 706_000) % 1_721 * 100 / 1_721
}
