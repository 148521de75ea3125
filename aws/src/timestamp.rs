//! Points in time as signatures, headers and credentials write them.
//!
//! In and out: milliseconds since 1970 in UTC. Three forms: `20150830T123600Z` (signatures), `2015-08-30T12:36:00Z` (when
//! credentials end) and `Sun, 30 Aug 2015 12:36:00 GMT` (the Date header). Not here: reading a clock (clock).

use std::time::Duration;

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const MS_PER_DAY: u64 = 86_400_000;
/// Years up to here have four digits; the service knows no others.
const YEAR_MAX: u64 = 9_999;

/// Milliseconds since 1970, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(u64);

impl Timestamp {
    /// What a clock says that nobody has set.
    pub const EPOCH: Timestamp = Timestamp(0);

    /// The last second of the year 9999: what is later is taken for it.
    const MAX: Timestamp = Timestamp(253_402_300_799_000);

    /// From milliseconds since 1970.
    #[must_use]
    pub fn from_ms(ms: u64) -> Self {
        Timestamp(ms.min(Self::MAX.0))
    }

    /// Milliseconds since 1970.
    #[must_use]
    pub fn ms(self) -> u64 {
        self.0
    }

    /// That much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self::from_ms(self.0.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)))
    }

    /// How much later this is than `earlier`; nothing when it is not.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// `20150830T123600Z`, as in `X-Amz-Date`.
    #[must_use]
    pub fn basic(self) -> String {
        let (year, month, day) = self.date();
        let (hour, minute, second) = self.time();
        format!("{year:04}{month:02}{day:02}T{hour:02}{minute:02}{second:02}Z")
    }

    /// Reads `2015-08-30T12:36:00Z`, with or without a fraction of a second, or with an offset like `+02:00`.
    #[must_use]
    pub fn parse_iso(text: &str) -> Option<Self> {
        let (date, rest) = text.trim().split_once(['T', ' '])?;
        let mut parts = date.split('-');
        let [year, month, day] = [digits(parts.next()?)?, digits(parts.next()?)?, digits(parts.next()?)?];
        if parts.next().is_some() {
            return None;
        }
        let at = rest.find(['Z', 'z', '+', '-'])?;
        let (clock, zone) = rest.split_at(at);
        let (clock, fraction) = clock.split_once('.').unwrap_or((clock, ""));
        if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let seconds = clock_seconds(clock)?;
        // Milliseconds are all that is kept of a fraction.
        let thousandths: String = fraction.chars().chain("000".chars()).take(3).collect();
        let local = (days(year, month, day)? * 86_400 + seconds) * 1_000 + digits(&thousandths)?;
        let shift = |text: &str| Some(clock_seconds(&format!("{text}:00"))? * 1_000);
        match zone.split_at(1) {
            ("Z" | "z", "") => Some(Self::from_ms(local)),
            ("+", offset) => Some(Self::from_ms(local.checked_sub(shift(offset)?)?)),
            ("-", offset) => Some(Self::from_ms(local + shift(offset)?)),
            _ => None,
        }
    }

    /// Reads `Sun, 30 Aug 2015 12:36:00 GMT` (RFC 9110, IMF-fixdate: what servers must send). The day of the week is not checked.
    #[must_use]
    pub fn parse_http(text: &str) -> Option<Self> {
        let (_, rest) = text.trim().split_once(", ")?;
        let words: Vec<&str> = rest.split_ascii_whitespace().collect();
        let [day, month, year, clock, "GMT"] = words.as_slice() else { return None };
        let month = MONTHS.iter().position(|name| name == month)?;
        let days = days(digits(year)?, u64::try_from(month).ok()? + 1, digits(day)?)?;
        Some(Self::from_ms((days * 86_400 + clock_seconds(clock)?) * 1_000))
    }

    /// Reads `20150830T123600Z`.
    #[must_use]
    pub fn parse_basic(text: &str) -> Option<Self> {
        let (date, clock) = text.strip_suffix('Z')?.split_once('T')?;
        if date.len() != 8 || clock.len() != 6 || !text.is_ascii() {
            return None;
        }
        let days = days(digits(&date[..4])?, digits(&date[4..6])?, digits(&date[6..])?)?;
        let clock = format!("{}:{}:{}", &clock[..2], &clock[2..4], &clock[4..]);
        Some(Self::from_ms((days * 86_400 + clock_seconds(&clock)?) * 1_000))
    }

    /// Year, month (1 to 12) and day of the month: Howard Hinnant's `civil_from_days`, for days from 1970 on.
    fn date(self) -> (u64, u64, u64) {
        let shifted = self.0 / MS_PER_DAY + 719_468;
        let (era, of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * from_march + 2) / 5 + 1;
        let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
        (year_of_era + era * 400 + u64::from(month <= 2), month, day)
    }

    fn time(self) -> (u64, u64, u64) {
        let seconds = self.0 % MS_PER_DAY / 1_000;
        (seconds / 3_600, seconds / 60 % 60, seconds % 60)
    }
}

/// Days from 1970 to a date: `days_from_civil`, the way back.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=YEAR_MAX).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let year = year - u64::from(month <= 2);
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * from_march + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    // January and February of 1970 belong to the year before here, still after day 0.
    (era * 146_097 + of_era).checked_sub(719_468)
}

/// Seconds of `12:36:00`; a leap second counts as the one before it.
fn clock_seconds(text: &str) -> Option<u64> {
    let mut parts = text.split(':');
    let [hour, minute, second] = [digits(parts.next()?)?, digits(parts.next()?)?, digits(parts.next()?)?];
    let fits = parts.next().is_none() && hour < 24 && minute < 60 && second <= 60;
    fits.then(|| hour * 3_600 + minute * 60 + second.min(59))
}

/// A number of digits only: `parse` alone would take a sign.
fn digits(text: &str) -> Option<u64> {
    let fits = (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGNING_EXAMPLE: u64 = 1_440_938_160_000;

    #[test]
    fn the_three_forms_say_the_same_time() {
        let time = Timestamp::from_ms(SIGNING_EXAMPLE);
        assert_eq!(time.basic(), "20150830T123600Z");
        assert_eq!(Timestamp::parse_basic("20150830T123600Z"), Some(time));
        assert_eq!(Timestamp::parse_iso("2015-08-30T12:36:00Z"), Some(time));
        assert_eq!(Timestamp::parse_iso("2015-08-30T12:36:00.000Z"), Some(time));
        assert_eq!(Timestamp::parse_iso("2015-08-30T14:36:00+02:00"), Some(time));
        assert_eq!(Timestamp::parse_iso("2015-08-30T11:06:00-01:30"), Some(time));
        assert_eq!(Timestamp::parse_http("Sun, 30 Aug 2015 12:36:00 GMT"), Some(time));
        assert_eq!(
            Timestamp::parse_iso("2015-08-30T12:36:00.25Z"),
            Some(time.after(Duration::from_millis(250)))
        );
    }

    #[test]
    fn every_day_of_four_centuries_is_written_and_read_the_same() {
        for day in 0..146_097 {
            let time = Timestamp::from_ms(day * MS_PER_DAY + 86_399_000);
            assert_eq!(Timestamp::parse_basic(&time.basic()), Some(time), "{}", time.basic());
        }
        assert_eq!(Timestamp::from_ms(951_782_400_000).basic(), "20000229T000000Z");
        assert_eq!(Timestamp::from_ms(u64::MAX).basic(), "99991231T235959Z");
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let nonsense = [
            "",
            "Z",
            "T",
            "2015-08-30",
            "2015-08-30T12:36:00",
            "2015-13-30T12:36:00Z",
            "2015-08-30T24:00:00Z",
            "2015-08-30T12:36:00.xZ",
            "1969-12-31T23:59:59Z",
            "2015-08-30T12:36:00+",
            "-015-08-30T12:36:00Z",
            "99999-08-30T12:36:00Z",
            "2015-08-30T12:36:00Z+00:00",
            "1970-01-01T00:00:00+23:59",
        ];
        for text in nonsense {
            assert_eq!(Timestamp::parse_iso(text), None, "{text}");
        }
        for text in
            ["Sun, 30 Aug 2015 12:36:00", "30 Aug 2015 12:36:00 GMT", "Sun, 30 Foo 2015 12:36:00 GMT", ", "]
        {
            assert_eq!(Timestamp::parse_http(text), None, "{text}");
        }
        for text in ["2015083T123600Z", "20150830T12360é", "20150830T123660", "é0150830T12360Z"] {
            assert_eq!(Timestamp::parse_basic(text), None, "{text}");
        }
    }
}
