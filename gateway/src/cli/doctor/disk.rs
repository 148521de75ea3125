//! The disk under the state directory: room, speed, and how long it lasts.
//!
//! In: measurements, the journal's limits, the counters of a gateway that runs. Out: findings. Pure but for the sizes of files.

use super::Subject;
use super::bench::Measured;
use super::report::Finding;
use crate::cli::status::seen::Seen;
use crate::cli::status::words::bytes;
use crate::config;
use std::io;
use std::path::Path;
use std::time::Duration;

/// A commit of little data writes a page of the journal and one of the file system: what a quiet gateway was measured to do.
const COMMIT_BYTES: u64 = 8 << 10;

/// Devices of a house that send each second make as many commits.
const COMMITS_A_DAY: u64 = 86_400;

/// Times that the whole of a cheap card can be written; makers of better ones promise three to ten times that.
const CARD_CYCLES: u64 = 300;

/// A card that ends sooner is one that somebody has to think of.
const DAYS_MIN: u64 = 2 * 365;

/// Before, one busy minute would be taken for a day.
const UPTIME_MIN_S: u64 = 600;

const DAY_S: u64 = 86_400;

pub(super) fn check(subject: &Subject<'_>, measured: Option<&io::Result<Measured>>) -> Vec<Finding> {
    let state = &subject.config.gateway.state;
    let measured = match measured {
        Some(Ok(measured)) => measured,
        Some(Err(error)) => {
            let remedy = "make it, for the user that runs the gateway, or set gateway.state";
            return vec![Finding::fail("state", format!("{}: {error}", state.display()), remedy)];
        }
        None => return Vec::new(),
    };
    let journal = &subject.config.journal;
    let mut findings = vec![room(measured, journal, used(&state.join("journal")))];
    match &measured.syncs {
        Ok(syncs) => findings.push(speed(measured, syncs, journal)),
        Err(error) => findings.push(Finding::fail(
            "state",
            format!("cannot write in {}: {error}", measured.dir.display()),
            "run this as the user that runs the gateway (`sudo -u headwater headwater doctor`), or give that user the directory",
        )),
    }
    findings.push(lasting(measured, journal, subject.running.as_ref()));
    findings.extend(subject.running.as_ref().and_then(unread));
    findings
}

/// What the running gateway could not read of its journal and waits for.
fn unread(seen: &Seen) -> Option<Finding> {
    let unread = &seen.health.journal.unread;
    let (warning, remedy) = (unread.warning.clone()?, unread.remedy.clone()?);
    Some(Finding::fail("journal", warning, remedy))
}

/// Bytes of the files in the journal's directory and those below it; what cannot be read counts nothing.
fn used(dir: &Path) -> u64 {
    let mut bytes = 0_u64;
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => dirs.push(entry.path()),
                Ok(metadata) if metadata.is_file() => bytes = bytes.saturating_add(metadata.len()),
                Ok(_) | Err(_) => {}
            }
        }
    }
    bytes
}

fn room(measured: &Measured, journal: &config::Journal, used: u64) -> Finding {
    let Measured { free_bytes, total_bytes, dir, .. } = measured;
    let found = format!(
        "{} free of {} at {}; the journal has {} of at most {} and leaves {} free",
        bytes(*free_bytes),
        bytes(*total_bytes),
        dir.display(),
        bytes(used),
        bytes(journal.size_bytes_max),
        bytes(journal.reserve_bytes)
    );
    let more = journal.size_bytes_max.saturating_sub(used);
    if *free_bytes <= journal.reserve_bytes.saturating_add(2 * journal.segment_bytes) {
        let remedy = "free some space, or lower journal.reserve; until then the gateway acknowledges nothing";
        Finding::fail("disk", found, remedy)
    } else if free_bytes.saturating_sub(journal.reserve_bytes) < more {
        let fits = used.saturating_add(free_bytes.saturating_sub(journal.reserve_bytes)) >> 20;
        let remedy = format!("free some space, or set journal.max = \"{fits}MiB\", which is what fits");
        Finding::warn("disk", found, remedy)
    } else {
        Finding::ok("disk", found)
    }
}

fn speed(measured: &Measured, syncs: &[Duration], journal: &config::Journal) -> Finding {
    let at =
        |percent: usize| syncs.get(syncs.len() * percent / 100).or(syncs.last()).copied().unwrap_or_default();
    let (middle, worst) = (at(50), syncs.last().copied().unwrap_or_default());
    let (class, is_slow) = class(middle);
    let found = format!(
        "a write of 4 KiB is durable after {:.2} ms (99 of 100 within {:.2} ms, longest {:.2} ms): {class}",
        millis(middle),
        millis(at(99)),
        millis(worst)
    );
    if measured.is_in_memory {
        let remedy = "set gateway.state to a directory on a disk: here nothing outlives a power cut";
        return Finding::warn("disk", format!("{} is in memory", measured.dir.display()), remedy);
    }
    let is_alone = journal.linger.is_zero();
    match is_slow {
        true if is_alone => {
            Finding::warn("disk", found, "set journal.linger = \"10ms\": more records share a write")
        }
        true => Finding::warn("disk", found, "a disk with a better class is needed for more devices"),
        false => Finding::ok("disk", found),
    }
}

/// A name for a disk that syncs so fast, and whether records should share writes there.
fn class(middle: Duration) -> (&'static str, bool) {
    match middle.as_micros() {
        0..100 => ("no disk does that; a cache that may forget, unless it has a battery", false),
        100..2_000 => ("a fast SSD", false),
        2_000..8_000 => ("an SSD, or a very good card", false),
        8_000..40_000 => ("a good card, or a hard disk", true),
        _ => ("a slow card", true),
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// What is written a day, of the budget if there is one, and what a card of this size says to it.
fn lasting(measured: &Measured, journal: &config::Journal, running: Option<&Seen>) -> Finding {
    let (a_day, from) = a_day(journal, running);
    let days = measured.total_bytes.saturating_mul(CARD_CYCLES) / a_day.max(1);
    let years = days / 365;
    let lasts = if years < 100 { format!("{years} years") } else { "more than 100 years".to_owned() };
    let found = format!(
        "{} written a day {from}; a cheap card of {} takes that for {lasts}{}",
        bytes(a_day),
        bytes(measured.total_bytes),
        budget(journal, running)
    );
    let trouble = running.and_then(|seen| seen.health.journal.write_budget.as_ref()?.trouble());
    if let Some(trouble) = trouble {
        Finding::warn("write budget", found, trouble)
    } else if days < DAYS_MIN {
        let remedy = "use a larger card or an SSD; a longer journal.linger makes fewer writes of the same records, and journal.write_budget as few as a day may have";
        Finding::warn("write budget", found, remedy)
    } else {
        Finding::ok("write budget", found)
    }
}

/// Bytes of one day, and how they are known.
fn a_day(journal: &config::Journal, running: Option<&Seen>) -> (u64, &'static str) {
    let seen = running.filter(|seen| seen.health.uptime_s >= UPTIME_MIN_S);
    let counted = running.and_then(|seen| seen.health.journal.write_budget.as_ref());
    match (seen, counted.filter(|counted| counted.counted_s >= DAY_S)) {
        (_, Some(counted)) => (counted.day_bytes, "as in the last 24 hours"),
        (Some(seen), None) => {
            let written = seen.metrics.count("headwater_journal_bytes_written_total");
            let a_day = u128::from(written) * u128::from(DAY_S) / u128::from(seen.health.uptime_s);
            (u64::try_from(a_day).unwrap_or(u64::MAX), "as since the start of the gateway")
        }
        (None, None) => match journal.write_budget {
            Some(budget) => (budget.get(), "as journal.write_budget allows"),
            None => (COMMIT_BYTES * COMMITS_A_DAY, "with one commit a second"),
        },
    }
}

fn budget(journal: &config::Journal, running: Option<&Seen>) -> String {
    let Some(limit) = journal.write_budget else { return String::new() };
    let counted = running.and_then(|seen| seen.health.journal.write_budget.as_ref());
    let counted = counted.map(|counted| format!(": {}", counted.line())).unwrap_or_default();
    format!("; the budget is {}{counted}", bytes(limit.get()))
}

#[cfg(test)]
mod tests {
    use super::super::report::Level;
    use super::*;

    fn measured(free_bytes: u64, total_bytes: u64) -> Measured {
        let dir = "/state".into();
        Measured { dir, free_bytes, total_bytes, is_in_memory: false, syncs: Ok(Vec::new()) }
    }

    #[test]
    fn room_is_enough_when_the_whole_journal_and_its_reserve_fit() {
        let journal = config::Config::default().journal;
        let level = |free: u64, used: u64| room(&measured(free, 32 << 30), &journal, used).level;
        assert_eq!(level(9 << 30, 0), Level::Ok);
        assert_eq!(level(4 << 30, 0), Level::Warn);
        assert_eq!(level(4 << 30, 5 << 30), Level::Ok);
        assert_eq!(level(256 << 20, 8 << 30), Level::Fail);
        let finding = room(&measured(4 << 30, 32 << 30), &journal, 0);
        assert!(finding.remedy.unwrap().contains("\"3840MiB\""));
    }

    #[test]
    fn slow_disks_are_told_to_share_writes() {
        let mut journal = config::Config::default().journal;
        let syncs = |ms| vec![Duration::from_millis(ms); 20];
        let level = |ms, journal: &config::Journal| speed(&measured(0, 0), &syncs(ms), journal);
        assert_eq!(level(1, &journal).level, Level::Ok);
        assert!(level(60, &journal).remedy.unwrap().contains("linger"));
        journal.linger = Duration::from_millis(10);
        assert!(!level(60, &journal).remedy.unwrap().contains("linger"));
        let ram = Measured { is_in_memory: true, ..measured(0, 0) };
        assert_eq!(speed(&ram, &syncs(0), &journal).level, Level::Warn);
    }

    #[test]
    fn a_small_card_that_is_written_often_does_not_last() {
        let journal = config::Config::default().journal;
        assert_eq!(lasting(&measured(0, 1 << 30), &journal, None).level, Level::Warn);
        assert_eq!(lasting(&measured(0, 32 << 30), &journal, None).level, Level::Ok);
        // A budget is a promise of how long it lasts.
        let budget = std::num::NonZeroU64::new(100_000_000);
        let journal = config::Journal { write_budget: budget, ..journal };
        let finding = lasting(&measured(0, 1 << 30), &journal, None);
        assert_eq!(finding.level, Level::Ok);
        assert!(finding.found.ends_with("; the budget is 95.3 MiB"), "{}", finding.found);
    }

    #[test]
    fn what_the_last_day_took_of_the_budget_is_said_and_what_to_do_when_it_was_too_much() {
        let seen = |day_bytes: u64, state: &str, warning: Option<&str>| {
            let raw = serde_json::json!({
                "state": "ok", "name": "barn", "version": "0.1.0", "uptime_s": 5, "sinks": [],
                "journal": { "state": "open", "reason": null, "write_budget": {
                    "bytes_a_day": 100_000_000, "day_bytes": day_bytes, "counted_s": 86_400, "linger_ms": 4_000,
                    "state": state, "warning": warning,
                } },
                "ledger": {
                    "received": 0, "stored": 0, "downlink_only": 0, "repeated": 0, "dead_lettered": 0, "unmatched": 0,
                    "ignored": 0, "rejected": 0, "records": 0, "lost_at_devices": 0,
                },
                "recovery": { "clean": true, "lost_ranges": 0, "groups_lost": 0, "unreadable": [] },
            });
            let health = serde::Deserialize::deserialize(&raw).unwrap();
            Seen { health, metrics: Default::default(), shards: Default::default(), raw }
        };
        let journal = config::Config::default().journal;
        let journal = config::Journal { write_budget: std::num::NonZeroU64::new(100_000_000), ..journal };
        let finding = |seen: &Seen| lasting(&measured(0, 32 << 30), &journal, Some(seen));
        let well = finding(&seen(50_000_000, "holds", None));
        assert_eq!(well.level, Level::Ok);
        assert!(well.found.starts_with("47.6 MiB written a day as in the last 24 hours"), "{}", well.found);
        let said =
            "; the budget is 95.3 MiB: written 47.6 MiB in 1 d 0 h of 95.3 MiB a day, writes wait 4000 ms";
        assert!(well.found.ends_with(said), "{}", well.found);
        let over = finding(&seen(150_000_000, "exceeded", Some("raise it")));
        assert_eq!((over.level, over.remedy.as_deref()), (Level::Warn, Some("raise it")));
    }
}
