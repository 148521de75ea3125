//! Times in the words of AWS's messages.

const WEEKDAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// `Thu Jan 22 01:22:02 UTC 2015` for UTC milliseconds since 1970.
pub(crate) fn utc_text(time_ms: u64) -> String {
    let seconds = time_ms / 1_000;
    let (days, of_day) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let weekday = WEEKDAYS[usize::try_from(days % 7).unwrap_or(0)];
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    let month = MONTHS[usize::try_from(month - 1).unwrap_or(0) % 12];
    format!("{weekday} {month} {day:02} {hour:02}:{minute:02}:{second:02} UTC {year}")
}

/// Year, month and day of a day since 1970, in the Gregorian calendar (algorithm of H. Hinnant, `civil_from_days`).
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        assert_eq!(utc_text(0), "Thu Jan 01 00:00:00 UTC 1970");
        assert_eq!(utc_text(1_421_889_722_000), "Thu Jan 22 01:22:02 UTC 2015");
        assert_eq!(utc_text(1_709_210_096_999), "Thu Feb 29 12:34:56 UTC 2024");
        assert_eq!(utc_text(4_102_444_799_000), "Thu Dec 31 23:59:59 UTC 2099");
    }
}
