//! Sizes and times as people read them, and foreign text that is safe on a terminal.

use std::fmt::Write as _;

/// `812.3 MiB`.
pub(crate) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut whole, mut tenths, mut unit) = (bytes, 0, 0);
    while whole >= 1_024 && unit + 1 < UNITS.len() {
        tenths = whole % 1_024 * 10 / 1_024;
        whole /= 1_024;
        unit += 1;
    }
    if unit == 0 { format!("{whole} B") } else { format!("{whole}.{tenths} {}", UNITS[unit]) }
}

/// `22 s`, `3 min`, `2 h 5 min`, `3 d 4 h`.
pub(crate) fn span(ms: u64) -> String {
    let seconds = ms.div_ceil(1_000);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match () {
        () if minutes == 0 => format!("{seconds} s"),
        () if hours == 0 => format!("{minutes} min"),
        () if days == 0 => format!("{hours} h {} min", minutes % 60),
        () => format!("{days} d {} h", hours % 24),
    }
}

/// Text of others on a terminal: nothing in it moves the cursor or ends the line.
pub(crate) fn plain(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char.is_control() {
            true => write!(out, "{}", char.escape_default()).expect("a String takes everything"),
            false => out.push(char),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_read_as_people_say_them() {
        assert_eq!(
            [0, 1_023, 1_536, 3 << 30, u64::MAX].map(bytes),
            ["0 B", "1023 B", "1.5 KiB", "3.0 GiB", "16777215.9 TiB"]
        );
        let times = [0, 1, 59_001, 3_600_000, 9_000_000, 100 * 3_600_000];
        assert_eq!(times.map(span), ["0 s", "1 s", "1 min", "1 h 0 min", "2 h 30 min", "4 d 4 h"]);
    }

    #[test]
    fn no_text_of_others_moves_the_cursor() {
        assert_eq!(plain("a\u{1b}[2J\nb\u{9b}é"), "a\\u{1b}[2J\\nb\\u{9b}é");
    }
}
