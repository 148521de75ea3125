//! Durations and sizes as people write them: `"250ms"`, `"5s"`, `"2h"`, `"64KiB"`, `"512MB"`.
//!
//! A bare number is refused: nobody remembers whether a `timeout = 5` was seconds.

use std::time::Duration;

/// Parses a duration with its unit: `ms`, `s`, `m`, `h` or `d`.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split(text, "a duration such as \"500ms\", \"5s\", \"2m\", \"1h\" or \"7d\"")?;
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(format!("\"{text}\" has unit \"{unit}\", must be ms, s, m, h or d")),
    };
    let duration_ms = number.checked_mul(unit_ms).ok_or_else(|| format!("\"{text}\" is too long"))?;
    Ok(Duration::from_millis(duration_ms))
}

/// Parses a size in bytes with its unit: `B`, powers of 1000 (`kB`, `MB`, `GB`) or of 1024 (`KiB`, `MiB`, `GiB`).
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split(text, "a size such as \"64KiB\", \"512MB\" or \"2GiB\"")?;
    let unit_bytes = match unit {
        "B" => 1,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(format!("\"{text}\" has unit \"{unit}\", must be B, kB, MB, GB, KiB, MiB or GiB")),
    };
    number.checked_mul(unit_bytes).ok_or_else(|| format!("\"{text}\" is too large"))
}

fn split<'a>(text: &'a str, expected: &str) -> Result<(u64, &'a str), String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let number = number.parse().map_err(|_| format!("\"{text}\" is not {expected}"))?;
    match unit.trim() {
        "" => Err(format!("\"{text}\" has no unit, must be {expected}")),
        unit => Ok((number, unit)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_need_a_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("2 h"), Ok(Duration::from_secs(7_200)));
        assert_eq!(parse_size("64KiB"), Ok(65_536));
        assert_eq!(parse_size("512MB"), Ok(512_000_000));
        for bad in ["", "5", "s", "-5s", "1.5s", "5 weeks", "99999999999999999999s", "18446744073709551615d"]
        {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        for bad in ["", "64", "KiB", "64 kib", "18446744073709551615GiB"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
    }
}
