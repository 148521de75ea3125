//! What the chip measures of itself: its temperature.
//!
//! In: the thermometer. Out: a [`Sensor`] of one quantity. Not here: sensors on the bus (`sensors`). Nor a battery: boards with this
//! chip have no divider on their supply.

use esp_hal::peripherals::TSENS;
use esp_hal::tsens::{Config, TemperatureSensor};
use headwater_sensors::{Fault, Measured, Quantity, Sensor};

/// The die is some degrees warmer than the air, and some ten with the radio on. A step is 0.44 °C.
const QUANTITIES: [Quantity; 1] = [Quantity::new("chip_temperature", "°C", -2, 10_000)];

/// The chip as a sensor.
pub(crate) struct Chip(TemperatureSensor<'static>);

impl Chip {
    /// Switches the thermometer on.
    pub(crate) fn new(thermometer: TSENS<'static>) -> Self {
        let opened = TemperatureSensor::new(thermometer, Config::default());
        Self(opened.expect("there is no configuration that the driver refuses"))
    }
}

impl Sensor for Chip {
    fn quantities(&self) -> &[Quantity] {
        &QUANTITIES
    }

    async fn measure(&mut self) -> Result<Measured, Fault> {
        let found = self.0.get_temperature();
        // Technical reference manual: T = 0.4386 × raw − 27.88 × offset − 20.52, here in hundredths.
        let hundredths = i32::from(found.raw_value) * 4_386 / 100 - i32::from(found.offset) * 2_788 - 2_052;
        Ok([Some(hundredths)].into_iter().collect())
    }
}
