//! Anything that gives numbers, as a sensor: the chip's own temperature, a battery, a pulse counter.
//!
//! In: a closure of the board. Out: a [`Sensor`]. Not here: converters and pins.

use crate::sensor::measured;
use crate::{Fault, Measured, Quantity, Sensor};

/// A closure as a sensor.
pub struct Probe<F, const N: usize> {
    quantities: [Quantity; N],
    read: F,
}

impl<F, const N: usize> Probe<F, N>
where
    F: FnMut() -> Result<[i32; N], Fault>,
{
    /// `read` gives the raw values in the order of `quantities`.
    pub fn new(quantities: [Quantity; N], read: F) -> Self {
        Self { quantities, read }
    }
}

impl<F, const N: usize> core::fmt::Debug for Probe<F, N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Probe").field("quantities", &self.quantities).finish_non_exhaustive()
    }
}

impl<F, const N: usize> Sensor for Probe<F, N>
where
    F: FnMut() -> Result<[i32; N], Fault>,
{
    fn quantities(&self) -> &[Quantity] {
        &self.quantities
    }

    async fn measure(&mut self) -> Result<Measured, Fault> {
        (self.read)().map(|values| measured(values.map(Some)))
    }
}
