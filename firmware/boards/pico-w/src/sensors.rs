//! The sensors of this device as one sampler: the chip itself, then what the features name, on one I2C bus.
//!
//! In: parts of the chip. Out: a [`Sampler`]. Not here: how a sensor is read (`headwater-sensors`).
//!
//! To add a chip that `headwater-sensors` knows: a feature in `Cargo.toml` and two lines in [`sampler`]. Two chips that
//! measure the same need other names: `i2c::sampled(...).named(&["outside"])`.

use crate::chip::Chip;
use crate::clock::BoardClock;
use headwater_device::Sampler;
use headwater_sensors::Sampled;

/// Everything that is measured. Features may be combined up to the 8 channels of a device.
pub(crate) fn sampler(chip: Chip, #[cfg(feature = "i2c")] bus: crate::pins::BusParts) -> impl Sampler {
    let sampler = Sampled::new(chip, BoardClock);
    #[cfg(feature = "i2c")]
    let bus = i2c::open(bus);
    #[cfg(feature = "bme280")]
    let sampler = sampler
        .and(i2c::sampled(headwater_sensors::bme280::Bme280::new(i2c::share(bus), embassy_time::Delay)));
    #[cfg(feature = "sht4x")]
    let sampler =
        sampler.and(i2c::sampled(headwater_sensors::sht4x::Sht4x::new(i2c::share(bus), embassy_time::Delay)));
    #[cfg(feature = "scd4x")]
    let sampler =
        sampler.and(i2c::sampled(headwater_sensors::scd4x::Scd4x::new(i2c::share(bus), embassy_time::Delay)));
    #[cfg(feature = "lis3dh")]
    let sampler = sampler.and(i2c::sampled(headwater_sensors::lis3dh::Lis3dh::new(i2c::share(bus))));
    sampler
}

#[cfg(feature = "i2c")]
mod i2c {
    use crate::clock::BoardClock;
    use crate::pins::BusParts;
    use core::cell::RefCell;
    use embassy_rp::i2c::{Blocking, Config, I2c};
    use embassy_rp::peripherals::I2C0;
    use embedded_hal_bus::i2c::RefCellDevice;
    use headwater_sensors::{Sampled, Sensor};
    use static_cell::StaticCell;

    type Wires = I2c<'static, I2C0, Blocking>;

    /// All chips on it take turns; nothing is read in an interrupt.
    pub(crate) type Bus = &'static RefCell<Wires>;

    /// Opens the bus at 100 kHz, with the pins' own pull-ups (50 to 80 kΩ): breakout boards bring stronger ones.
    pub(crate) fn open(parts: BusParts) -> Bus {
        static BUS: StaticCell<RefCell<Wires>> = StaticCell::new();
        BUS.init(RefCell::new(I2c::new_blocking(parts.bus, parts.clock, parts.data, Config::default())))
    }

    /// The bus for one chip.
    pub(crate) fn share(bus: Bus) -> RefCellDevice<'static, Wires> {
        RefCellDevice::new(bus)
    }

    /// A chip as a sampler.
    pub(crate) fn sampled<S: Sensor>(sensor: S) -> Sampled<S, BoardClock> {
        Sampled::new(sensor, BoardClock)
    }
}
