//! Numbers with units as people write them: `"5s"`, `"64MiB"`, `"10/s"`, `"5%"`.
//!
//! In: text. Out: milliseconds, bytes, events per hour, parts per million; and the same back as text.
//! Invariant: what is rendered parses to the same number.

use std::time::Duration;

const MS_PER_SECOND: u64 = 1_000;
const MS_PER_MINUTE: u64 = 60 * MS_PER_SECOND;
const MS_PER_HOUR: u64 = 60 * MS_PER_MINUTE;
const MS_PER_DAY: u64 = 24 * MS_PER_HOUR;

/// Largest unit first, so that rendering picks the shortest text.
const DURATIONS: [(&str, u64); 5] =
    [("d", MS_PER_DAY), ("h", MS_PER_HOUR), ("m", MS_PER_MINUTE), ("s", MS_PER_SECOND), ("ms", 1)];

const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

/// Parses `"250ms"`, `"5s"`, `"10m"`, `"24h"`, `"7d"`.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, &DURATIONS).map(Duration::from_millis)
}

/// Renders a duration in the largest unit that divides it.
pub(super) fn duration_text(duration: Duration) -> String {
    render(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), &DURATIONS, "s")
}

/// Parses `"512B"`, `"64KiB"`, `"64MiB"`, `"1GB"`.
pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    parse(text, &SIZES)
}

/// Renders a size in the largest unit that divides it.
pub(super) fn bytes_text(bytes: u64) -> String {
    render(bytes, &SIZES, "B")
}

/// Parses a size a day: `"300MB/day"`.
pub(super) fn parse_bytes_a_day(text: &str) -> Option<u64> {
    parse_bytes(text.strip_suffix("/day")?)
}

/// How often something happens: `count` times in every `per`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Events in one `per`; 0 means never.
    pub count: u32,
    /// The span the count is for: a second, a minute or an hour.
    pub per: Duration,
}

impl Rate {
    /// Events in one second.
    pub fn per_second(self) -> f64 {
        f64::from(self.count) / self.per.as_secs_f64()
    }

    /// Parses `"10/s"`, `"6/m"`, `"1/h"`.
    pub(crate) fn parse(text: &str) -> Option<Rate> {
        let (count, unit) = text.split_once('/')?;
        let per = match unit {
            "s" => MS_PER_SECOND,
            "m" => MS_PER_MINUTE,
            "h" => MS_PER_HOUR,
            _ => return None,
        };
        Some(Rate { count: count.trim().parse().ok()?, per: Duration::from_millis(per) })
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let unit = match self.per.as_secs() {
            1 => "s",
            60 => "m",
            _ => "h",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

/// Parses `"0%"` to `"100%"`, whole numbers.
pub(crate) fn parse_percent(text: &str) -> Option<u8> {
    text.strip_suffix('%')?.parse().ok().filter(|percent| *percent <= 100)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim())?;
    number.checked_mul(*factor)
}

fn render(value: u64, units: &[(&str, u64)], zero_unit: &str) -> String {
    if value == 0 {
        return format!("0{zero_unit}");
    }
    let (unit, factor) =
        units.iter().find(|(_, factor)| value.is_multiple_of(*factor)).expect("the smallest unit is 1");
    format!("{}{unit}", value / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rendered_values_parse_to_themselves() {
        for ms in [0, 1, 250, 1_000, 61_000, 3_600_000, 86_400_000, 604_800_000] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse_duration(&duration_text(duration)), Some(duration));
        }
        for bytes in [0, 1, 1_000, 1_024, 65_536, 1_000_000, 64 << 20, 3 << 30] {
            assert_eq!(parse_bytes(&bytes_text(bytes)), Some(bytes));
        }
        for text in ["10/s", "6/m", "1/h", "0/s"] {
            assert_eq!(Rate::parse(text).map(|rate| rate.to_string()).as_deref(), Some(text));
        }
    }

    #[test]
    fn text_without_a_unit_or_out_of_range_is_refused() {
        for text in ["", "5", "s", "-1s", "5 weeks", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
        for text in ["", "64", "64mb", "MiB", "1.5GiB"] {
            assert_eq!(parse_bytes(text), None, "{text}");
        }
        assert_eq!(parse_bytes_a_day("300MB/day"), Some(300_000_000));
        for text in ["300MB", "300MB/d", "300/day", "/day", "300MB/day/day"] {
            assert_eq!(parse_bytes_a_day(text), None, "{text}");
        }
        assert_eq!(parse_percent("101%"), None);
        assert_eq!(parse_percent("5%"), Some(5));
    }
}
