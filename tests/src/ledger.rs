//! Acknowledged against found: the check at the end of every test that kills something.
//! Invariant: it reports, it never panics; the test decides, and its control shows that a report can be bad.

use std::collections::BTreeMap;

/// What a comparison found. `Report::default()` is a clean one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Acknowledged and not found: lost. The first ten.
    pub missing: Vec<String>,
    /// How many are missing in all.
    pub missing_count: usize,
    /// Found more than once. The first ten.
    pub repeated: Vec<String>,
    /// How many extra copies in all.
    pub repeated_count: usize,
}

impl Report {
    /// Whether everything acknowledged was found. Repeats are allowed: MQTT QoS 1 and PutRecords promise at least once.
    #[must_use]
    pub fn nothing_lost(&self) -> bool {
        self.missing_count == 0
    }
}

/// Names shown in a report; the count says the rest.
const SHOWN: usize = 10;

/// Compares the ids that were acknowledged with the ids found in the shards.
#[must_use]
pub fn compare<'a>(
    acked: impl IntoIterator<Item = &'a str>,
    found: impl IntoIterator<Item = &'a str>,
) -> Report {
    let mut copies: BTreeMap<&str, usize> = BTreeMap::new();
    for id in found {
        *copies.entry(id).or_default() += 1;
    }
    let mut report = Report::default();
    for id in acked {
        if !copies.contains_key(id) {
            report.missing_count += 1;
            if report.missing.len() < SHOWN {
                report.missing.push(id.to_owned());
            }
        }
    }
    for (id, count) in copies {
        if count > 1 {
            report.repeated_count += count - 1;
            if report.repeated.len() < SHOWN {
                report.repeated.push(id.to_owned());
            }
        }
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invented_ack_is_reported_missing() {
        let report = compare(["a", "b", "never-sent"], ["a", "b", "c"]);
        assert_eq!(report.missing, ["never-sent"]);
        assert!(!report.nothing_lost());
    }

    #[test]
    fn a_second_copy_is_reported_repeated_and_is_no_loss() {
        let report = compare(["a"], ["a", "b", "a", "a"]);
        assert_eq!((report.repeated_count, report.repeated.as_slice()), (2, ["a".to_owned()].as_slice()));
        assert!(report.nothing_lost());
    }
}
