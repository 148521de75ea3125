//! The faults of a fleet, as shares and rates, turned into mean times of one device.

use crate::device::Faults;
use std::time::Duration;

/// Mean time without a link, when devices go offline.
const OFFLINE_FOR: Duration = Duration::from_secs(5);

/// Mean time without power.
const OFF_FOR: Duration = Duration::from_secs(1);

const DAY_MS: u128 = 24 * 3600 * 1000;

/// Drift that no clock exceeds by far: a tenth.
const CLOCK_PPM_MAX: u32 = 100_000;

/// Turns shares and rates into mean times.
pub(crate) fn device_faults(faults: crate::Faults) -> Faults {
    let offline_every =
        (faults.offline > 0.0).then(|| OFFLINE_FOR.mul_f64((1.0 - faults.offline) / faults.offline));
    let reboot_every =
        (faults.reboots_per_hour > 0.0).then(|| Duration::from_secs_f64(3600.0 / faults.reboots_per_hour));
    let ppm = faults.clock_skew.as_millis() * 1_000_000 / DAY_MS;
    Faults {
        offline_every,
        offline_for: OFFLINE_FOR,
        reboot_every,
        off_for: OFF_FOR,
        cut_in_write: true,
        clock_ppm: u32::try_from(ppm).unwrap_or(u32::MAX).min(CLOCK_PPM_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_and_rates_become_mean_times() {
        let faults =
            crate::Faults { offline: 0.25, reboots_per_hour: 60.0, clock_skew: Duration::from_millis(8_640) };
        let device = device_faults(faults);
        assert_eq!(device.offline_every, Some(OFFLINE_FOR * 3), "away one quarter of the time");
        assert_eq!(device.reboot_every, Some(Duration::from_secs(60)));
        assert_eq!(device.clock_ppm, 100);
        let calm = device_faults(crate::Faults::default());
        assert_eq!((calm.offline_every, calm.reboot_every, calm.clock_ppm), (None, None, 0));
    }
}
