//! Sensor chips as channels of a device.
//!
//! In: a chip's driver on an `embedded-hal` bus. Out: a [`Sampler`](headwater_device::Sampler) for
//! [`Device::run`](headwater_device::Device::run). Invariants: readings are fixed-point integers whose unit and scale are
//! data (a [`Quantity`]), never known to whoever carries them; a chip that fails gives no reading instead of a wrong one,
//! is set up anew at the next turn, and says so once; a measurement blocks for at most
//! [`BLOCKING_MS_MAX`](limits::BLOCKING_MS_MAX).
//! Not here: buses and pins (the board), when to sample (the device's schedule), averaging.
//!
//! # From chip to sampler
//! A chip implements [`Sensor`]: what it measures and one measurement of all of it. [`Sampled`] makes a sampler of it, and
//! [`Sampled::and`] puts several together:
//! ```
//! use embedded_hal::{delay::DelayNs, i2c::I2c};
//! use headwater_device::{Clock, Sampler};
//! use headwater_sensors::{Probe, Quantity, Sampled, bme280::Bme280, thermometers::Lm75};
//!
//! fn shed(clock: impl Clock + Copy, i2c: impl I2c, other: impl I2c, delay: impl DelayNs) -> impl Sampler {
//!     let climate = Sampled::new(Bme280::new(i2c, delay), clock);
//!     let boiler = Sampled::new(Lm75::new(other, 0x48), clock).named(&["boiler"]);
//!     let battery = Probe::new([Quantity::new("battery", "V", -3, 60_000)], || Ok([3_700]));
//!     climate.and(boiler).and(Sampled::new(battery, clock))
//! }
//! ```
//! Several chips on one bus share it through `embedded-hal-bus`.
//!
//! | module | chip | channels |
//! |---|---|---|
//! | [`bme280`] | Bosch BME280 | temperature °C, pressure hPa, humidity % |
//! | [`sht4x`] | Sensirion SHT40, SHT41, SHT45 | temperature °C, humidity % |
//! | [`scd4x`] | Sensirion SCD40, SCD41 | CO2 ppm, temperature °C, humidity % |
//! | [`lis3dh`] | ST LIS3DH | acceleration x, y, z in g |
//! | [`ads1115`] | TI ADS1115 | four voltages |
//! | [`thermometers`] | LM75, TMP102, TMP105 | temperature °C |
//! | [`Probe`] | anything with a number: chip temperature, battery | as the board says |
#![no_std]

#[cfg(test)]
extern crate std;

#[cfg(feature = "ads1115")]
pub mod ads1115;
mod battery;
#[cfg(feature = "bme280")]
pub mod bme280;
pub mod limits;
#[cfg(feature = "lis3dh")]
pub mod lis3dh;
mod probe;
mod sampled;
#[cfg(feature = "scd4x")]
pub mod scd4x;
mod sensor;
#[cfg(feature = "sht4x")]
pub mod sht4x;
#[cfg(test)]
mod testing;
#[cfg(feature = "thermometers")]
pub mod thermometers;

pub use battery::Divider;
pub use probe::Probe;
pub use sampled::{Both, Sampled};
pub use sensor::{Fault, Measured, Quantity, Sensor};
