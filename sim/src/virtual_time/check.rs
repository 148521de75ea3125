//! What the shards hold against what really happened.
//!
//! In: the truth of each device, every record of every shard. Out: what is wrong, with examples, and one digest of everything.
//! A boot is right when its records begin with place 0 and follow each other without a hole, readings and gaps, each once, up to
//! the last place that was surely stored at least, and none that was never taken.
//! Not here: reading shards (`sink`).

mod places;

use self::places::{Places, Run};
use super::sink::Stored;
use super::summary::Findings;
use super::truth::Truth;
use crate::device::{CHANNELS, value};
use headwater_device::limits::{DELIVERIES_PER_MARK, HOLDOVER_AFTER_MS, LOSSES_MAX, ROUND_TRIP_MS_MAX};
use headwater_telemetry::limits::BATCH_ENTRIES_MAX;
use headwater_telemetry::{BootId, ChannelId, Seq, Value};
use ring::digest::{Context, SHA256};
use serde::Deserialize;
use std::borrow::Cow;
use std::fmt::Write as _;

/// Names of devices are this and their number, from 1 on.
pub(super) const NAME: &str = "virtual-";

/// A round trip of answers that are all as slow as they get, halved: how wrong a time may be that is only estimated.
const ESTIMATED_MS: u64 = 7_000;

/// Entries that a receiver may have and the device not know of when it merges the losses of two boots.
const COUNTED_TWICE_MAX: u64 = DELIVERIES_PER_MARK as u64 * BATCH_ENTRIES_MAX as u64;

/// The clocks count whole milliseconds.
const ROUNDED_MS: u64 = 3;

#[derive(Debug, Default, Clone)]
struct Line {
    shard: String,
    /// In the order in which the shard begins them.
    boots: Vec<Places>,
}

/// One device and what is known of it.
pub(super) struct Subject {
    pub(super) seed: u64,
    pub(super) truth: Truth,
}

/// Goes through the shards.
pub(super) struct Check {
    subjects: Vec<Subject>,
    lines: Vec<Line>,
    epoch_ms: u64,
    /// Shard, sequence number and arrival of the record before.
    before: (String, String, u64),
    expected: String,
    digest: Context,
    pub(super) findings: Findings,
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    device: Cow<'a, str>,
    #[serde(default)]
    boot: u32,
    seq: Option<u32>,
    first: Option<u32>,
    count: Option<u64>,
    #[serde(borrow)]
    channel: Option<Cow<'a, str>>,
    #[serde(borrow)]
    time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    time_quality: Option<Cow<'a, str>>,
}

impl Check {
    pub(super) fn new(subjects: Vec<Subject>, epoch_ms: u64) -> Self {
        Self {
            lines: vec![Line::default(); subjects.len()],
            subjects,
            epoch_ms,
            before: Default::default(),
            expected: String::new(),
            digest: Context::new(&SHA256),
            findings: Findings::default(),
        }
    }

    /// The next record.
    pub(super) fn handle(&mut self, stored: Stored<'_>) {
        self.digest_of(&stored);
        self.follow(&stored);
        let Ok(record) = serde_json::from_slice::<Record<'_>>(stored.data) else {
            return self
                .findings
                .wrong(|| format!("{} {}: no record of a device", stored.shard, stored.number));
        };
        let number = record.device.strip_prefix(NAME).and_then(|number| number.parse::<usize>().ok());
        let Some(index) = number.and_then(|number| number.checked_sub(1)).filter(|i| *i < self.lines.len())
        else {
            return self.findings.wrong(|| format!("device {} is not of this fleet", record.device));
        };
        if stored.key != record.device {
            self.findings.wrong(|| format!("{}: partition key {}", record.device, stored.key));
        }
        match (&*record.kind, record.seq, record.first, record.count) {
            ("reading", Some(seq), _, _) => {
                if self.place(index, &record, stored.shard, seq, 1) {
                    self.findings.stored += 1;
                    self.reading(index, &record, seq, &stored);
                }
            }
            ("gap", _, Some(first), Some(count)) if count > 0 => {
                if self.place(index, &record, stored.shard, first, count) {
                    self.findings.gaps += count;
                }
            }
            ("log", ..) => self.findings.logs += 1,
            (kind, ..) => self.findings.wrong(|| format!("{}: kind {kind}", record.device)),
        }
    }

    fn digest_of(&mut self, stored: &Stored<'_>) {
        for part in [stored.shard.as_bytes(), stored.number.as_bytes(), stored.key.as_bytes(), stored.data] {
            self.digest.update(&(part.len() as u64).to_le_bytes());
            self.digest.update(part);
        }
        self.digest.update(&stored.arrived_ms.to_le_bytes());
    }

    /// Sequence numbers and arrivals of a shard only go up.
    fn follow(&mut self, stored: &Stored<'_>) {
        let (shard, number, arrived_ms) = &mut self.before;
        let is_late = number.as_str() >= stored.number || *arrived_ms > stored.arrived_ms;
        if shard == stored.shard && is_late {
            self.findings.misordered(|| format!("{} {} stands after {number}", stored.shard, stored.number));
        }
        if shard != stored.shard {
            stored.shard.clone_into(shard);
        }
        stored.number.clone_into(number);
        *arrived_ms = stored.arrived_ms;
    }

    /// Takes `count` places from `first` on; false when they are there already or their boot was never begun.
    fn place(&mut self, index: usize, record: &Record<'_>, shard: &str, first: u32, count: u64) -> bool {
        let line = &mut self.lines[index];
        let (name, boot, first) = (&record.device, record.boot, u64::from(first));
        if line.shard.is_empty() {
            shard.clone_into(&mut line.shard);
        } else if line.shard != shard {
            self.findings.misordered(|| format!("{name} is in {shard} and {}", line.shard));
        }
        if line.boots.last().is_none_or(|places| places.boot < boot) {
            line.boots.push(Places::of(boot));
        }
        let is_newest = line.boots.last().is_some_and(|places| places.boot == boot);
        let Some(places) = line.boots.iter_mut().find(|places| places.boot == boot) else {
            self.findings.misordered(|| format!("{name} boot {boot} stands after a later boot"));
            return false;
        };
        let is_merged = record.kind == "gap" && counts_on(&self.subjects[index].truth, boot, first);
        match places.take(first, count) {
            Run::Repeat => {
                self.findings.repeated(|| format!("{name} boot {boot} seq {first} is there twice"));
                return false;
            }
            Run::Late => {
                self.findings
                    .misordered(|| format!("{name} boot {boot} seq {first} stands after a later one"));
            }
            Run::Next if !is_newest && !is_merged => {
                self.findings
                    .misordered(|| format!("{name} boot {boot} seq {first} stands after a later boot"));
            }
            Run::Next => {}
        }
        true
    }

    /// Time and value of a reading.
    fn reading(&mut self, index: usize, record: &Record<'_>, seq: u32, stored: &Stored<'_>) {
        let Subject { seed, truth } = &self.subjects[index];
        let name = || format!("{} boot {} seq {seq}", record.device, record.boot);
        let boot = truth.boots.iter().find(|boot| boot.number == record.boot);
        // One that was never taken is found at the end, by its place.
        let Some(&taken_ms) = boot.and_then(|boot| boot.taken_ms.get(seq as usize)) else { return };
        let taken_ms = self.epoch_ms + u64::from(taken_ms);
        if stored.arrived_ms < taken_ms {
            self.findings.wrong(|| format!("{} arrived before it was taken", name()));
        }
        match (&record.time, record.time_quality.as_deref()) {
            // Then or earlier: said where a device never learned the time.
            (Some(time), Some("arrival")) => {
                self.findings.undated += 1;
                if utc_ms(time).is_none_or(|time| time + ROUNDED_MS < taken_ms) {
                    self.findings.wrong(|| format!("{}: arrived at {time}, before it was taken", name()));
                }
            }
            (Some(time), Some(quality)) => {
                let error_ms = utc_ms(time).map_or(u64::MAX, |time| time.abs_diff(taken_ms));
                if quality == "synced" {
                    self.findings.worst_time_error_ms = self.findings.worst_time_error_ms.max(error_ms);
                }
                if error_ms > allowed_ms(quality, truth.ppm, stored.arrived_ms - self.epoch_ms) {
                    self.findings
                        .wrong(|| format!("{}: time {time} ({quality}) is off by {error_ms} ms", name()));
                }
            }
            _ => self.findings.undated += 1,
        }
        let channel = CHANNELS.iter().position(|channel| Some(channel.0) == record.channel.as_deref());
        self.expected.clear();
        let channel = channel.and_then(|channel| u8::try_from(channel).ok()).map(ChannelId);
        if let Some(id) = channel {
            let value = value(*seed, BootId(record.boot), Seq(seq), id);
            write_value(&mut self.expected, &value, CHANNELS[usize::from(id.0)].3);
        }
        let data = std::str::from_utf8(stored.data).unwrap_or_default();
        if self.expected.is_empty() || !data.contains(self.expected.as_str()) {
            self.findings.wrong(|| format!("{}: {data} is not what was taken ({})", name(), self.expected));
        }
    }

    /// What the shards hold is compared with what must be there.
    pub(super) fn end(mut self) -> (Findings, String) {
        for (index, (subject, line)) in self.subjects.iter().zip(&self.lines).enumerate() {
            let name = format!("{NAME}{:05}", index + 1);
            if !subject.truth.is_drained {
                self.findings
                    .wrong(|| format!("{name} did not deliver all it held in the time of the drain"));
            }
            check_device(&name, &subject.truth, &line.boots, &mut self.findings);
        }
        let mut digest = String::new();
        for byte in self.digest.finish().as_ref() {
            // A String takes everything.
            let _ = write!(digest, "{byte:02x}");
        }
        (self.findings, digest)
    }
}

/// Whether a gap from `first` on counts losses of later boots under `boot`: nothing of that boot stood there. It may come after
/// entries of later boots, when the power took the device's knowledge that it had delivered them.
fn counts_on(truth: &Truth, boot: u32, first: u64) -> bool {
    let boot = truth.boots.iter().find(|known| known.number == boot);
    truth.boots.len() > LOSSES_MAX && boot.is_some_and(|boot| first >= u64::from(boot.stored))
}

/// Whether each boot is told without a hole, to its last stored place at least and to its last one taken at most.
fn check_device(name: &str, truth: &Truth, told: &[Places], findings: &mut Findings) {
    for unknown in told.iter().filter(|told| !truth.boots.iter().any(|boot| boot.number == told.boot)) {
        findings.wrong(|| format!("{name} never had a boot {}", unknown.boot));
    }
    let may_merge = truth.boots.len() > LOSSES_MAX;
    // Places told beyond the end of their boot: losses of boots that followed, told as one when there are too many. They are
    // counted on from the last place in flash: from `stored` on at the earliest, from `taken` on at the latest.
    let (mut merged_most, mut merged_least) = (0, 0);
    for boot in &truth.boots {
        let (number, stored, taken) = (boot.number, u64::from(boot.stored), boot.taken_ms.len() as u64);
        let places = told.iter().find(|told| told.boot == number);
        for (first, count) in places.into_iter().flat_map(Places::holes) {
            findings.lost(count, || format!("{name} boot {number}: {count} missing from seq {first} on"));
        }
        let next = places.map_or(0, |places| places.next);
        let missing = stored.saturating_sub(next);
        let covered = missing.min(merged_most);
        let lost = missing - covered;
        if lost > 0 {
            findings.lost(lost, || {
                format!("{name} boot {number}: {lost} stored and not there, the first at seq {next} or after")
            });
        }
        if may_merge {
            merged_most = merged_most - covered + next.saturating_sub(stored);
        }
        merged_least = merged_least - covered.min(merged_least) + next.saturating_sub(taken);
    }
    // What the receiver had and the device did not know of is counted again when losses are merged.
    let counted_twice = if may_merge { COUNTED_TWICE_MAX } else { 0 };
    if merged_least > counted_twice {
        findings.wrong(|| format!("{name}: {merged_least} entries are told that were never taken"));
    }
}

/// How wrong a time may be that came out of one answer with half a round trip and then ran on.
fn allowed_ms(quality: &str, ppm: i64, elapsed_ms: u64) -> u64 {
    let drift = |ms: u64| ms.saturating_mul(ppm.unsigned_abs()) / 1_000_000;
    ROUNDED_MS
        + match quality {
            "synced" => ROUND_TRIP_MS_MAX / 2 + drift(HOLDOVER_AFTER_MS),
            "holdover" => ROUND_TRIP_MS_MAX / 2 + drift(elapsed_ms),
            _ => ESTIMATED_MS + drift(elapsed_ms),
        }
}

/// The value as a record shows it, with the name of its field.
fn write_value(out: &mut String, value: &Value, exponent: i8) {
    // A String takes everything.
    let _ = match value {
        Value::Fixed(raw) => {
            let digits = usize::from(exponent.unsigned_abs());
            let scale = 10_u32.pow(u32::from(exponent.unsigned_abs()));
            let (sign, raw) = (if *raw < 0 { "-" } else { "" }, raw.unsigned_abs());
            write!(out, "\"value\":{sign}{}.{:0digits$},", raw / scale, raw % scale)
        }
        Value::Text(text) => write!(out, "\"value\":\"{text}\","),
        Value::Integer(number) => write!(out, "\"value\":{number},"),
        Value::Boolean(is) => write!(out, "\"value\":{is},"),
        // None of the channels is of another kind.
        _ => Ok(()),
    };
}

/// Milliseconds since 1970 of `2026-11-20T21:52:00.123Z`.
fn utc_ms(text: &str) -> Option<u64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<u64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second, ms) = (number(11, 13)?, number(14, 16)?, number(17, 19)?, number(20, 23)?);
    // Years that begin in March have their leap day at the end.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let of_year = (153 * month + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + of_year;
    // 719,468 days lie between 0000-03-01 and 1970-01-01.
    let days = days.checked_sub(719_468)?;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000 + ms)
}

#[cfg(test)]
mod tests;
