//! What must be in the shards, against what is.
//!
//! In: what was acked to each device; the records of the shards, each shard in order. Out: lost, repeated, misordered,
//! with first examples.
//!
//! Always true: only records of this fleet count; a place covered by a gap counts as told, not as lost.
//! Not here: reading shards, running devices.

use crate::limits::EXAMPLES_MAX;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What was acked, by device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Acked {
    /// Device and boot → places 0 to below this.
    pub(crate) lines: BTreeMap<(String, u32), u64>,
    /// Foreign publisher → messages 0 to below this.
    pub(crate) foreign: BTreeMap<String, u64>,
}

/// What the shards hold of one fleet.
#[derive(Debug)]
pub(crate) struct Census {
    /// Names of the fleet begin with this.
    prefix: String,
    lines: BTreeMap<String, Device>,
    foreign: BTreeMap<String, Ranges>,
    findings: Findings,
}

#[derive(Debug, Default)]
struct Device {
    boots: BTreeMap<u32, Ranges>,
    last_boot: u32,
}

/// What is wrong, and what is right.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    pub(crate) stored: u64,
    pub(crate) gaps: u64,
    pub(crate) lost: u64,
    pub(crate) repeated: u64,
    pub(crate) misordered: u64,
    pub(crate) foreign_repeated: u64,
    pub(crate) examples: Vec<String>,
}

/// The JSON of a shard's record, as far as it is looked at.
#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow, default)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    device: Option<Cow<'a, str>>,
    #[serde(default)]
    boot: Option<u32>,
    #[serde(default)]
    seq: Option<u32>,
    #[serde(default)]
    first: Option<u32>,
    #[serde(default)]
    count: Option<u64>,
    /// Of foreign messages: name and number.
    #[serde(borrow, default)]
    sim: Option<Foreign<'a>>,
}

#[derive(Deserialize)]
struct Foreign<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    number: u64,
}

impl Census {
    pub(crate) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            lines: BTreeMap::new(),
            foreign: BTreeMap::new(),
            findings: Findings::default(),
        }
    }

    /// Takes the data of one record. Records of others and of other kinds are passed over.
    pub(crate) fn handle_record(&mut self, data: &[u8]) {
        let Ok(record) = serde_json::from_slice::<Record<'_>>(data) else { return };
        if let Some(foreign) = record.sim {
            if foreign.name.starts_with(&self.prefix) {
                let ranges = self.foreign.entry(foreign.name.into_owned()).or_default();
                let new = ranges.cover(foreign.number, foreign.number);
                self.findings.stored += new;
                self.findings.foreign_repeated += 1 - new;
            }
            return;
        }
        let (Some(device), Some(boot)) = (record.device, record.boot) else { return };
        if !device.starts_with(&self.prefix) {
            return;
        }
        match (record.kind.as_deref(), record.seq, record.first, record.count) {
            (Some("reading"), Some(seq), _, _) => self.handle_entry(&device, boot, u64::from(seq), 1, false),
            (Some("gap"), _, Some(first), Some(count)) if count > 0 => {
                self.handle_entry(&device, boot, u64::from(first), count, true);
            }
            _ => {}
        }
    }

    fn handle_entry(&mut self, name: &str, boot: u32, first: u64, count: u64, is_gap: bool) {
        if !self.lines.contains_key(name) {
            self.lines.insert(name.to_owned(), Device::default());
        }
        let Some(device) = self.lines.get_mut(name) else { return };
        let is_late_boot = boot < device.last_boot;
        device.last_boot = device.last_boot.max(boot);
        let ranges = device.boots.entry(boot).or_default();
        let is_late = ranges.end().is_some_and(|end| first < end);
        let new = ranges.cover(first, first + count - 1);
        if is_gap {
            self.findings.gaps += new;
        } else {
            self.findings.stored += new;
        }
        if new < count {
            self.findings.repeated += count - new;
            self.findings.example(format!("{name} boot {boot} seq {first} is repeated"));
        } else if is_late || is_late_boot {
            self.findings.misordered += 1;
            self.findings.example(format!("{name} boot {boot} seq {first} stands after a later one"));
        }
    }

    /// Readings and messages found so far.
    pub(crate) fn stored(&self) -> u64 {
        self.findings.stored
    }

    /// What is acked and not there, with everything found on the way.
    pub(crate) fn findings(&self, acked: &Acked) -> Findings {
        let mut findings = self.findings.clone();
        for ((name, boot), end) in &acked.lines {
            let ranges = self.lines.get(name).and_then(|device| device.boots.get(boot));
            let missing = ranges.map_or_else(|| Missing::all(*end), |ranges| ranges.missing_below(*end));
            findings.handle_missing(&format!("{name} boot {boot} seq"), missing);
        }
        for (name, end) in &acked.foreign {
            let missing = self
                .foreign
                .get(name)
                .map_or_else(|| Missing::all(*end), |ranges| ranges.missing_below(*end));
            findings.handle_missing(&format!("{name} message"), missing);
        }
        findings
    }
}

impl Findings {
    pub(crate) fn example(&mut self, text: String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(text);
        }
    }

    fn handle_missing(&mut self, what: &str, missing: Missing) {
        self.lost += missing.count;
        if let Some(first) = missing.first {
            self.example(format!(
                "{what} {first} is acked and not in a shard ({} of this line)",
                missing.count
            ));
        }
    }
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Missing {
    first: Option<u64>,
    count: u64,
}

impl Missing {
    fn all(end: u64) -> Self {
        Self { first: (end > 0).then_some(0), count: end }
    }
}

/// Places that are covered: first → last of ranges that do not touch.
#[derive(Debug, Default)]
struct Ranges(BTreeMap<u64, u64>);

impl Ranges {
    /// One after the last covered place.
    fn end(&self) -> Option<u64> {
        self.0.last_key_value().map(|(_, last)| last + 1)
    }

    /// Covers `first` to `last`; returns how many of them are new.
    fn cover(&mut self, first: u64, last: u64) -> u64 {
        let (mut from, mut to, mut old) = (first, last, 0);
        // Ranges that overlap or touch are melted into the new one.
        while let Some((&start, &end)) = self.0.range(..=to.saturating_add(1)).next_back() {
            if end.saturating_add(1) < from {
                break;
            }
            old += (end.min(last) + 1).saturating_sub(start.max(first));
            (from, to) = (from.min(start), to.max(end));
            self.0.remove(&start);
        }
        self.0.insert(from, to);
        last - first + 1 - old
    }

    fn missing_below(&self, end: u64) -> Missing {
        let (mut missing, mut next) = (Missing::default(), 0);
        for (&first, &last) in self.0.range(..end).chain([(&end, &end)]) {
            if next < first {
                missing.first.get_or_insert(next);
                missing.count += first - next;
            }
            next = last + 1;
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn census(records: &[&str]) -> Census {
        let mut census = Census::new("sim-a-");
        records.iter().for_each(|record| census.handle_record(record.as_bytes()));
        census
    }

    fn reading(boot: u32, seq: u32) -> String {
        format!("{{\"kind\":\"reading\",\"device\":\"sim-a-1\",\"boot\":{boot},\"seq\":{seq},\"value\":3.5}}")
    }

    fn acked(boot: u32, end: u64) -> Acked {
        Acked { lines: BTreeMap::from([(("sim-a-1".to_owned(), boot), end)]), ..Acked::default() }
    }

    #[test]
    fn what_is_there_in_order_and_once_is_good() {
        let gap = "{\"kind\":\"gap\",\"device\":\"sim-a-1\",\"boot\":1,\"first\":1,\"count\":3}";
        let census = census(&[&reading(1, 0), gap, &reading(1, 4), &reading(2, 0)]);
        let findings = census.findings(&acked(1, 5));
        assert_eq!(findings, Findings { stored: 3, gaps: 3, ..Findings::default() });
    }

    #[test]
    fn what_is_acked_and_missing_is_lost() {
        let census = census(&[&reading(1, 0), &reading(1, 3)]);
        let findings = census.findings(&acked(1, 6));
        assert_eq!(findings.lost, 4);
        assert_eq!(findings.examples, ["sim-a-1 boot 1 seq 1 is acked and not in a shard (4 of this line)"]);
        assert_eq!(census.findings(&acked(7, 2)).lost, 2, "a boot that never arrived");
    }

    #[test]
    fn repeats_and_wrong_order_are_told_apart() {
        let late = census(&[&reading(1, 0), &reading(1, 2), &reading(1, 1)]);
        assert_eq!((late.findings.misordered, late.findings.repeated), (1, 0));
        let twice = census(&[&reading(1, 0), &reading(1, 1), &reading(1, 0)]);
        assert_eq!((twice.findings.misordered, twice.findings.repeated), (0, 1));
        let boots = census(&[&reading(2, 0), &reading(1, 0)]);
        assert_eq!(boots.findings.misordered, 1);
    }

    #[test]
    fn records_of_others_do_not_count() {
        let other = "{\"kind\":\"reading\",\"device\":\"sim-b-1\",\"boot\":1,\"seq\":0}";
        let census =
            census(&[other, "{\"kind\":\"log\",\"device\":\"sim-a-1\",\"boot\":1}", "not json", "[1]", "{}"]);
        assert_eq!(census.findings(&Acked::default()), Findings::default());
    }

    #[test]
    fn foreign_messages_may_repeat_but_not_be_lost() {
        let message =
            |number| format!("{{\"Time\":1,\"sim\":{{\"name\":\"sim-a-f1\",\"number\":{number}}}}}");
        let census = census(&[&message(0), &message(2), &message(0)]);
        let acked = Acked { foreign: BTreeMap::from([("sim-a-f1".to_owned(), 3)]), ..Acked::default() };
        let findings = census.findings(&acked);
        assert_eq!((findings.stored, findings.lost, findings.foreign_repeated), (2, 1, 1));
        assert_eq!(findings.examples, ["sim-a-f1 message 1 is acked and not in a shard (1 of this line)"]);
    }

    #[test]
    fn ranges_agree_with_a_set() {
        for seed in 0..200 {
            let mut seeded = headwater_relay::Seeded::new(seed);
            let (mut ranges, mut set) = (Ranges::default(), std::collections::BTreeSet::new());
            for _ in 0..60 {
                let first = seeded.up_to(80);
                let last = first + seeded.up_to(12);
                let new = (first..=last).filter(|place| set.insert(*place)).count() as u64;
                assert_eq!(ranges.cover(first, last), new, "seed {seed}");
                let end = seeded.up_to(100);
                let missing: Vec<u64> = (0..end).filter(|place| !set.contains(place)).collect();
                let expected = Missing { first: missing.first().copied(), count: missing.len() as u64 };
                assert_eq!(ranges.missing_below(end), expected, "seed {seed}");
            }
        }
    }
}
