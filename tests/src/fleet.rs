//! What a stream must hold after a fleet of devices has been through everything: order, no hole, no second copy.
//! In: the records of the stream `telemetry`, shard by shard in shard order. Out: a list of violations, empty when all is well.
//! Invariant checked: per device boots and sequence numbers only rise in the shard, and inside a boot they have no hole,
//! because a reading takes one number and a gap of `count` lost readings takes `count`.

use std::collections::{BTreeMap, BTreeSet};

use crate::kinesis::Record;

/// What the stream holds.
#[derive(Debug, Default)]
pub struct Census {
    /// Readings per device.
    pub readings: BTreeMap<String, u64>,
    /// Readings the devices themselves reported lost, all devices together.
    pub lost_at_device: u64,
    /// Everything that breaks the promise, in words.
    pub violations: Vec<String>,
}

/// One record of codec `headwater`, reduced to what is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The device.
    pub device: String,
    /// Its boot.
    pub boot: u64,
    /// The first sequence number this entry covers.
    pub seq: u64,
    /// How many it covers: 1 for a reading.
    pub covers: u64,
    /// Whether it is a gap.
    pub gap: bool,
    /// The shard that holds it.
    pub shard: String,
}

impl Entry {
    /// Reads the JSON of one record. `None` for records that are no entry (a device's log line, say).
    #[must_use]
    pub fn of(record: &Record) -> Option<Self> {
        let json = record.json();
        let gap = json["kind"] == "gap";
        if !gap && json["kind"] != "reading" {
            return None;
        }
        let (first, covers) = if gap { ("first", json["count"].as_u64()?) } else { ("seq", 1) };
        Some(Self {
            device: json["device"].as_str()?.to_owned(),
            boot: json["boot"].as_u64()?,
            seq: json[first].as_u64()?,
            covers,
            gap,
            shard: record.shard.clone(),
        })
    }
}

/// Where one device's line stands.
struct Line {
    shard: String,
    boot: u64,
    next: u64,
    boots_seen: BTreeSet<u64>,
}

/// Walks the entries in shard order.
#[must_use]
pub fn census(entries: impl IntoIterator<Item = Entry>) -> Census {
    let mut census = Census::default();
    let mut lines: BTreeMap<String, Line> = BTreeMap::new();
    for entry in entries {
        if entry.gap {
            census.lost_at_device += entry.covers;
        } else {
            *census.readings.entry(entry.device.clone()).or_default() += 1;
        }
        let next = entry.seq + entry.covers;
        match lines.get_mut(&entry.device) {
            None => {
                let (shard, boot) = (entry.shard, entry.boot);
                lines.insert(entry.device, Line { shard, boot, next, boots_seen: BTreeSet::from([boot]) });
            }
            Some(line) => {
                if let Some(violation) = line.violation(&entry) {
                    census.violations.push(violation);
                }
                line.shard = entry.shard;
                line.boot = entry.boot;
                line.boots_seen.insert(entry.boot);
                line.next = next;
            }
        }
    }
    census
}

impl Line {
    fn violation(&self, entry: &Entry) -> Option<String> {
        let Entry { device, boot, seq, shard, .. } = entry;
        if *shard != self.shard {
            return Some(format!("{device}: moved from {} to {shard}", self.shard));
        }
        if *boot != self.boot {
            // A new boot may start anywhere in its line (the flash ring may have dropped its beginning with the power).
            let seen = self.boots_seen.contains(boot);
            return seen.then(|| format!("{device}: boot {boot} came back after boot {}", self.boot));
        }
        let expected = self.next;
        match seq.cmp(&expected) {
            std::cmp::Ordering::Equal => None,
            std::cmp::Ordering::Less => {
                Some(format!("{device}: boot {boot} seq {seq} again, expected {expected}"))
            }
            std::cmp::Ordering::Greater => {
                Some(format!("{device}: boot {boot} seq {expected} missing, found {seq}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readings_and_gaps_are_read_as_the_gateway_writes_them() {
        let record = |text: &str| {
            let (shard, sequence, key) = ("s".to_owned(), "1".to_owned(), "d".to_owned());
            Record { shard, sequence, key, data: text.as_bytes().to_vec() }
        };
        let reading =
            record(r#"{"kind":"reading","device":"d","boot":1,"seq":0,"channel":"flow","value":3.50}"#);
        assert_eq!(Entry::of(&reading), Some(entry(1, 0, 1)));
        let gap = record(r#"{"kind":"gap","device":"d","boot":1,"first":1,"count":3,"uptime_ms":9}"#);
        assert_eq!(Entry::of(&gap), Some(entry(1, 1, 3)));
        assert_eq!(Entry::of(&record(r#"{"kind":"log","device":"d","boot":1,"text":"hello"}"#)), None);
    }

    fn entry(boot: u64, seq: u64, covers: u64) -> Entry {
        let (device, shard) = ("d".to_owned(), "s".to_owned());
        Entry { device, boot, seq, covers, gap: covers > 1, shard }
    }

    #[test]
    fn a_whole_line_with_a_gap_and_a_reboot_is_clean() {
        let census = census([entry(1, 0, 1), entry(1, 1, 3), entry(1, 4, 1), entry(2, 0, 1)]);
        assert_eq!(census.violations, Vec::<String>::new());
        assert_eq!((census.readings["d"], census.lost_at_device), (3, 3));
    }

    #[test]
    fn a_hole_a_repeat_and_an_old_boot_are_each_reported() {
        let hole = census([entry(1, 0, 1), entry(1, 2, 1)]);
        assert_eq!(hole.violations, ["d: boot 1 seq 1 missing, found 2"]);
        let repeat = census([entry(1, 0, 1), entry(1, 1, 1), entry(1, 1, 1)]);
        assert_eq!(repeat.violations, ["d: boot 1 seq 1 again, expected 2"]);
        let old = census([entry(1, 0, 1), entry(2, 0, 1), entry(1, 1, 1)]);
        assert_eq!(old.violations, ["d: boot 1 came back after boot 2"]);
    }
}
