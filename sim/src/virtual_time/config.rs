//! What a fleet in virtual time is.

use super::limits::{DAMAGED_1_IN_MIN, DURATION_MAX};
use crate::limits::{DEVICES_MAX, RATE_PER_SEC_MAX};
use crate::{Faults, SimError};
use std::time::Duration;

/// A fleet in virtual time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VirtualConfig {
    /// Devices, each with a receiver of its own at the other end of its line.
    pub devices: u32,
    /// Readings of one device a second, above 0, at most [`RATE_PER_SEC_MAX`].
    pub rate_per_sec: f64,
    /// Virtual time in which devices sample and things go wrong. A calm drain follows.
    pub duration: Duration,
    /// Same seed, same world.
    pub seed: u64,
    /// What goes wrong with links, power and clocks.
    pub faults: Faults,
    /// One byte in so many is lost or has a bit flipped, on either way; 0 is none.
    pub damaged_1_in: u64,
}

impl VirtualConfig {
    /// So many devices with one reading a second for so long, with crystal clocks (50 ppm) and a line that damages one byte
    /// in 2,000, from seed 1. Nothing else goes wrong.
    pub fn new(devices: u32, duration: Duration) -> Self {
        let faults = Faults { clock_skew: CRYSTAL, ..Faults::default() };
        Self { devices, rate_per_sec: 1.0, duration, seed: 1, faults, damaged_1_in: 2_000 }
    }

    pub(super) fn check(&self) -> Result<(), SimError> {
        let wrong = |text: String| Err(SimError::Config(text));
        if !(1..=DEVICES_MAX).contains(&self.devices) {
            return wrong(format!("{} devices are asked for, must be 1 to {DEVICES_MAX}", self.devices));
        }
        if !(self.rate_per_sec > 0.0 && self.rate_per_sec <= RATE_PER_SEC_MAX) {
            let rate = self.rate_per_sec;
            return wrong(format!("rate is {rate}/s, must be above 0 and at most {RATE_PER_SEC_MAX}/s"));
        }
        if self.duration.is_zero() || self.duration > DURATION_MAX {
            let (found, max) = (self.duration, DURATION_MAX.as_secs() / 3_600);
            return wrong(format!("duration is {found:?}, must be above 0 and at most {max} h"));
        }
        if self.damaged_1_in > 0 && self.damaged_1_in < DAMAGED_1_IN_MIN {
            let found = self.damaged_1_in;
            return wrong(format!(
                "one byte in {found} is damaged, must be none or at most one in {DAMAGED_1_IN_MIN}"
            ));
        }
        let Faults { offline, reboots_per_hour, .. } = self.faults;
        if !(0.0..=0.9).contains(&offline) {
            return wrong(format!("offline share is {offline}, must be 0 to 0.9"));
        }
        if !(0.0..=60.0).contains(&reboots_per_hour) {
            return wrong(format!("reboots an hour are {reboots_per_hour}, must be 0 to 60"));
        }
        Ok(())
    }
}

/// 50 ppm.
const CRYSTAL: Duration = Duration::from_millis(4_320);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        let good = VirtualConfig::new(10, Duration::from_secs(60));
        assert!(good.check().is_ok());
        for (config, expected) in [
            (VirtualConfig { devices: 0, ..good }, "0 devices are asked for, must be 1 to 10000"),
            (VirtualConfig { rate_per_sec: f64::NAN, ..good }, "rate is NaN/s"),
            (VirtualConfig { duration: Duration::ZERO, ..good }, "duration is 0ns"),
            (VirtualConfig { damaged_1_in: 3, ..good }, "one byte in 3 is damaged"),
            (
                VirtualConfig { faults: Faults { offline: 0.95, ..good.faults }, ..good },
                "offline share is 0.95",
            ),
        ] {
            let text = config.check().unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        }
    }
}
