//! Where an export begins or ends: a sequence number or a time.
//!
//! In: text of a command line. Out: one or the other, or what is wrong with it.

use headwater_engine::{SEQUENCE_DIGITS, SequenceNumber};

/// One end of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bound {
    /// A record of one shard.
    Number(SequenceNumber),
    /// Milliseconds since 1970.
    Time(u64),
}

/// Reads 56 digits as a sequence number, `@` and seconds since 1970, or a date with or without a time of day (RFC 3339; UTC where no
/// offset is given).
pub(super) fn parse(text: &str) -> Result<Bound, String> {
    if text.len() == SEQUENCE_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return SequenceNumber::parse(text).map(Bound::Number).map_err(|error| error.to_string());
    }
    let time = match text.strip_prefix('@') {
        Some(seconds) => since_1970(seconds),
        None => calendar(text),
    };
    time.map(Bound::Time).ok_or_else(|| {
        "must be a sequence number of 56 digits, a time such as 2026-11-21T08:30:00Z, or @ and seconds since 1970".to_owned()
    })
}

/// Seconds, with up to three digits behind the point.
fn since_1970(text: &str) -> Option<u64> {
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    digits(seconds)?.checked_mul(1_000)?.checked_add(milliseconds(fraction)?)
}

fn milliseconds(fraction: &str) -> Option<u64> {
    digits(fraction)?;
    let three: String = fraction.chars().chain("00".chars()).take(3).collect();
    three.parse().ok()
}

fn digits(text: &str) -> Option<u64> {
    let sound = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    sound.then(|| text.parse().ok()).flatten()
}

fn calendar(text: &str) -> Option<u64> {
    let (date, clock) = match text.split_once(['T', 't', ' ']) {
        Some((date, clock)) => (date, clock),
        None => (text, "00:00Z"),
    };
    let mut parts = date.split('-');
    let (year, month, day) = (digits(parts.next()?)?, digits(parts.next()?)?, digits(parts.next()?)?);
    let days = days_since_1970(year, month, day).filter(|_| parts.next().is_none())?;
    let (clock, offset_minutes) = zone(clock)?;
    let mut parts = clock.split(':');
    let (hour, minute) = (digits(parts.next()?)?, digits(parts.next()?)?);
    let (second, fraction) = parts.next().unwrap_or("0").split_once('.').unwrap_or_else(|| {
        let rest = clock.splitn(3, ':').nth(2).unwrap_or("0");
        (rest, "0")
    });
    let second = digits(second)?;
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
    let ms = (seconds * 1_000 + milliseconds(fraction)?).cast_signed() - offset_minutes * 60_000;
    u64::try_from(ms).ok()
}

/// The time of day without its zone, and the zone's minutes ahead of UTC.
fn zone(clock: &str) -> Option<(&str, i64)> {
    if let Some(clock) = clock.strip_suffix(['Z', 'z']) {
        return Some((clock, 0));
    }
    let Some(at) = clock.rfind(['+', '-']) else { return Some((clock, 0)) };
    let (clock, zone) = clock.split_at(at);
    let (hours, minutes) = zone[1..].split_once(':')?;
    let minutes = (digits(hours).filter(|&hours| hours < 24)? * 60 + digits(minutes).filter(|&m| m < 60)?)
        .cast_signed();
    Some((clock, if zone.starts_with('-') { -minutes } else { minutes }))
}

/// Counts in years that begin in March, so that the leap day is the last of its year.
fn days_since_1970(year: u64, month: u64, day: u64) -> Option<u64> {
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let shifted = if month > 2 { year } else { year - 1 };
    let (era, of_era) = (shifted / 400, shifted % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::time::Utc;

    #[test]
    fn times_are_read_as_they_are_shown() {
        for ms in [0, 951_827_696_789, 1_709_251_199_999, 1_709_251_200_000, 4_107_542_400_000] {
            assert_eq!(parse(&Utc(ms).to_string()), Ok(Bound::Time(ms)));
        }
        for (text, ms) in [
            ("2026-11-21", 1_795_219_200_000),
            ("2026-11-21T08:30", 1_795_249_800_000),
            ("2026-11-21 08:30:00+01:30", 1_795_244_400_000),
            ("2026-11-21T08:30:00.5-00:30", 1_795_251_600_500),
            ("@1795249800", 1_795_249_800_000),
            ("@1795249800.25", 1_795_249_800_250),
        ] {
            assert_eq!(parse(text), Ok(Bound::Time(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_neither_number_nor_time_is_refused() {
        for text in [
            "",
            "@",
            "@-1",
            "yesterday",
            "2026-13-01",
            "2026-11-21T24:00",
            "2026-11-21T08:00:00+1",
            "12345",
            &"9".repeat(56),
            "2026-11-21T08:00:00:00",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
