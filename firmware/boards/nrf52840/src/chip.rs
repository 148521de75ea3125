//! What the chip measures of itself: its temperature and what feeds it.
//!
//! In: thermometer and converter. Out: a [`Sensor`] of three quantities. Not here: sensors on the bus (`sensors`).

use crate::pins::ChipParts;
use embassy_nrf::bind_interrupts;
use embassy_nrf::saadc::{self, ChannelConfig, Saadc, VddInput, VddhDiv5Input};
use embassy_nrf::temp::{self, Temp};
use headwater_sensors::{Divider, Fault, Measured, Quantity, Sensor};

bind_interrupts!(struct Interrupts {
    TEMP => temp::InterruptHandler;
    SAADC => saadc::InterruptHandler;
});

/// The die is some degrees warmer than the air. `supply` is the chip's own voltage (VDD). `battery` is what feeds its first
/// regulator (VDDH): a battery or USB on boards that use that regulator, on others the same as `supply`.
const QUANTITIES: [Quantity; 3] = [
    Quantity::new("chip_temperature", "°C", -2, 10_000),
    Quantity::new("supply", "V", -3, 60_000),
    Quantity::new("battery", "V", -3, 60_000),
];

/// 12 bits over 3.6 V: an internal reference of 0.6 V behind a gain of 1/6, the driver's defaults.
const SUPPLY: Divider = Divider { reference_mv: 3_600, full_scale: 4_096, upper: 0, lower: 1 };
/// The same behind the chip's own division by 5.
const BATTERY: Divider = Divider { upper: 4, ..SUPPLY };

/// The chip as a sensor.
pub(crate) struct Chip {
    thermometer: Temp<'static>,
    converter: Saadc<'static, 2>,
}

impl Chip {
    /// Sets up both.
    pub(crate) fn new(parts: ChipParts) -> Self {
        let inputs = [ChannelConfig::single_ended(VddInput), ChannelConfig::single_ended(VddhDiv5Input)];
        Self {
            thermometer: Temp::new(parts.thermometer, Interrupts),
            converter: Saadc::new(parts.converter, Interrupts, saadc::Config::default(), inputs),
        }
    }
}

impl Sensor for Chip {
    fn quantities(&self) -> &[Quantity] {
        &QUANTITIES
    }

    async fn measure(&mut self) -> Result<Measured, Fault> {
        let quarter_degrees = self.thermometer.read().await.to_bits();
        let mut counts = [0; 2];
        self.converter.sample(&mut counts).await;
        // Noise around zero may be negative.
        let [supply, battery] = counts.map(|count| u32::try_from(count).unwrap_or(0));
        let values = [quarter_degrees * 25, SUPPLY.millivolts(supply), BATTERY.millivolts(battery)];
        Ok(values.map(Some).into_iter().collect())
    }
}
