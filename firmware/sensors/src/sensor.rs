//! What a sensor is: quantities as data, and one measurement of all of them.
//!
//! In: a chip. Out: fixed-point numbers in the order of its quantities. Not here: schedules, caching.

use core::fmt;
use headwater_telemetry::limits::CHANNELS_MAX;
use heapless::Vec;

/// What one channel of a sensor measures: data, so that nothing else needs to know the chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    /// Name of the channel, at most 16 bytes.
    pub name: &'static str,
    /// Unit as it is shown, at most 8 bytes; empty when there is none.
    pub unit: &'static str,
    /// A reading is raw × 10^exponent of the unit.
    pub exponent: i8,
    /// Milliseconds between two readings unless a configuration says otherwise.
    pub period_ms: u32,
}

impl Quantity {
    /// A quantity.
    ///
    /// # Panics
    /// When name or unit is too long for a channel; in a `const`, that does not compile.
    pub const fn new(name: &'static str, unit: &'static str, exponent: i8, period_ms: u32) -> Self {
        use headwater_telemetry::limits::{CHANNEL_NAME_BYTES_MAX, UNIT_BYTES_MAX};
        assert!(name.len() <= CHANNEL_NAME_BYTES_MAX, "name of a quantity has more than 16 bytes");
        assert!(unit.len() <= UNIT_BYTES_MAX, "unit of a quantity has more than 8 bytes");
        Self { name, unit, exponent, period_ms }
    }
}

/// Raw values, in the order of the quantities; none where the chip has nothing to say now.
pub type Measured = Vec<Option<i32>, CHANNELS_MAX>;

/// Why there is no measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The bus failed, or nobody answers at this address.
    Bus,
    /// The answer is damaged or not of this chip.
    Answer,
    /// The chip has nothing new yet: no fault of its own.
    NotReady,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bus => "does not answer",
            Self::Answer => "answers wrongly",
            Self::NotReady => "has nothing new",
        })
    }
}

/// A chip that measures one or more quantities at once.
#[expect(async_fn_in_trait, reason = "devices run on one thread")]
pub trait Sensor {
    /// The quantities; the same at every call, at most [`CHANNELS_MAX`].
    fn quantities(&self) -> &[Quantity];

    /// Measures all of them; sets the chip up first when that is needed. Blocks for at most
    /// [`BLOCKING_MS_MAX`](crate::limits::BLOCKING_MS_MAX).
    ///
    /// # Errors
    /// Why there are no values. The chip is set up anew at the next call.
    async fn measure(&mut self) -> Result<Measured, Fault>;
}

/// The largest single-precision number below 2^31.
const LARGEST: f32 = 2_147_483_520.0;

/// `value` × 10^digits as an integer, rounded; none when it is no number or does not fit.
#[cfg_attr(
    not(any(feature = "bme280", feature = "scd4x", feature = "lis3dh", feature = "thermometers")),
    expect(dead_code)
)]
pub(crate) fn fixed(value: f32, digits: u32) -> Option<i32> {
    // In single precision, which is what drivers give and what a chip without floating point can afford: 24 bits hold five
    // digits and a half, more than any of these sensors has.
    #[expect(clippy::cast_precision_loss, reason = "a power of ten of a few digits")]
    let scaled = value * 10u32.pow(digits) as f32;
    let rounded = if scaled < 0.0 { scaled - 0.5 } else { scaled + 0.5 };
    // Nor is a number that is none.
    if rounded.is_nan() || rounded.abs() > LARGEST {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "in range, checked above; the fraction is to go")]
    let fixed = rounded as i32;
    Some(fixed)
}

/// The values as they are measured, all there.
pub(crate) fn measured<const N: usize>(values: [Option<i32>; N]) -> Measured {
    const { assert!(N <= CHANNELS_MAX, "a sensor has at most as many quantities as a device has channels") };
    values.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_and_what_is_none_is_none() {
        for (value, digits, expected) in [
            (21.5, 2, Some(2_150)),
            (21.495, 2, Some(2_150)),
            (-0.006, 2, Some(-1)),
            (-40.25, 2, Some(-4_025)),
            (1_013.25, 2, Some(101_325)),
            (f32::NAN, 2, None),
            (f32::INFINITY, 0, None),
            (3.0e9, 0, None),
        ] {
            assert_eq!(fixed(value, digits), expected, "{value} with {digits} digits");
        }
    }
}
