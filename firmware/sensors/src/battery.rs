//! Voltages behind a divider.
//!
//! In: counts of a converter. Out: millivolts at the battery. Pure. Not here: the converter.

/// A converter and the resistors before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divider {
    /// Millivolts at the pin that give `full_scale` counts.
    pub reference_mv: u32,
    /// Counts at the reference: 4095 for 12 bits.
    pub full_scale: u32,
    /// Resistance from the battery to the pin, in any unit; 0 without a divider.
    pub upper: u32,
    /// Resistance from the pin to ground, in the same unit, at least 1.
    pub lower: u32,
}

impl Divider {
    /// Millivolts at the battery for `counts`; saturates far beyond any battery.
    pub fn millivolts(&self, counts: u32) -> i32 {
        let ratio = (u64::from(self.upper) + u64::from(self.lower.max(1))) * u64::from(counts);
        let below = u64::from(self.full_scale.max(1)) * u64::from(self.lower.max(1));
        // Three factors of 32 bits do not fit 64; the rounding half does not matter then.
        let millivolts = ratio.saturating_mul(u64::from(self.reference_mv)).saturating_add(below / 2) / below;
        i32::try_from(millivolts).unwrap_or(i32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_become_millivolts_at_the_battery() {
        // VSYS of a Pico: 200 kΩ above 100 kΩ at a 3.3 V converter of 12 bits.
        let vsys = Divider { reference_mv: 3_300, full_scale: 4_095, upper: 200, lower: 100 };
        assert_eq!(vsys.millivolts(0), 0);
        assert_eq!(vsys.millivolts(2_048), 4_951);
        assert_eq!(vsys.millivolts(4_095), 9_900);
        let direct = Divider { upper: 0, ..vsys };
        assert_eq!(direct.millivolts(4_095), 3_300);
        let wrong = Divider { reference_mv: u32::MAX, full_scale: 0, upper: u32::MAX, lower: 0 };
        assert_eq!(wrong.millivolts(u32::MAX), i32::MAX);
    }
}
