//! UTC as records show it.
//!
//! In: milliseconds since 1970. Out: RFC 3339 with milliseconds, `2026-11-20T21:52:00.123Z`, which sorts as text.

use std::fmt;

/// Milliseconds since 1970, shown as RFC 3339.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Utc(pub(crate) u64);

const MS_PER_DAY: u64 = 86_400_000;

/// 9999-12-31T23:59:59.999Z; RFC 3339 has no later time.
const LATEST_MS: u64 = 253_402_300_799_999;

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.min(LATEST_MS);
        let (year, month, day) = date(ms / MS_PER_DAY);
        let (of_day, milli) = (ms % MS_PER_DAY / 1_000, ms % 1_000);
        let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

/// Year, month and day of a day since 1970. Counts in years that begin in March, so that the leap day is the last
/// of its year; 719,468 days lie between 0000-03-01 and 1970-01-01.
fn date(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_as_the_calendar_has_them() {
        for (ms, expected) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_827_696_789, "2000-02-29T12:34:56.789Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (u64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(Utc(ms).to_string(), expected);
        }
    }
}
