//! What was acknowledged and what was shown, against what the shards hold after a cut.

use std::collections::BTreeMap;

use system_tests::flood::id_of;
use system_tests::kinesis::Record;
use system_tests::ledger::compare;

/// Bytes of a record of the load: its id, a space, dots.
const RECORD_BYTES: usize = 200;

/// Everything a life was promised.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    acked: Vec<String>,
    /// Shard and sequence number under which an id was read after an earlier start.
    shown: BTreeMap<String, (String, String)>,
}

/// What a reading of all shards says about the promises.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Report {
    /// Acknowledged so far.
    pub(crate) acked: usize,
    /// Records in the shards.
    pub(crate) found: usize,
    /// Acknowledged and not there.
    pub(crate) missing: usize,
    /// Whatever else is wrong: read before and gone or moved, twice, out of order, other bytes. The first few.
    pub(crate) wrong: Vec<String>,
    /// Examples of missing ids.
    pub(crate) examples: Vec<String>,
}

impl Report {
    /// Whether every promise was kept.
    pub(crate) fn clean(&self) -> bool {
        self.missing == 0 && self.wrong.is_empty()
    }
}

/// How many of a kind are named.
const NAMED: usize = 5;

impl Ledger {
    /// Notes what was acknowledged.
    pub(crate) fn acked(&mut self, ids: Vec<String>) {
        self.acked.extend(ids);
    }

    /// How much was acknowledged.
    pub(crate) fn count(&self) -> usize {
        self.acked.len()
    }

    /// Compares with all records of all shards, each shard in its order. What is there now must stay from here on.
    pub(crate) fn check(&mut self, records: &[Record]) -> Report {
        let ids: Vec<String> = records.iter().map(|record| id_of(&record.data)).collect();
        let told = compare(self.acked.iter().map(String::as_str), ids.iter().map(String::as_str));
        let mut wrong = Vec::new();
        // Nobody sends again after a cut, so a second copy was made here.
        wrong.extend(told.repeated.iter().map(|id| format!("{id} is there twice")));
        let mut now = BTreeMap::new();
        let mut last: BTreeMap<(&str, &str), &str> = BTreeMap::new();
        let mut keys: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
        for (id, record) in ids.iter().zip(records) {
            if !whole(record, id) {
                wrong.push(format!("{id} in {} has other bytes than were sent", record.shard));
            }
            let client = id.rsplit_once('-').map_or("", |(client, _)| client);
            if let Some(before) = last.insert((record.shard.as_str(), client), id)
                && before >= id.as_str()
            {
                wrong.push(format!("{id} comes after {before} in {}", record.shard));
            }
            keys.entry(&record.key).or_default().push((&record.sequence, id));
            now.insert(id.clone(), (record.shard.clone(), record.sequence.clone()));
        }
        wrong.extend(keys.into_values().flat_map(overtaken));
        for (id, place) in &self.shown {
            match now.get(id) {
                None => wrong.push(format!("{id} was read before the cut and is gone")),
                Some(at) if at != place => wrong.push(format!("{id} has moved from {place:?} to {at:?}")),
                Some(_) => {}
            }
        }
        self.shown = now;
        wrong.truncate(NAMED);
        let examples = told.missing.into_iter().take(NAMED).collect();
        Report { acked: self.acked.len(), found: records.len(), missing: told.missing_count, wrong, examples }
    }
}

/// Records of one key that another has overtaken, wherever shards were split or merged between them. Numbers are comparable across all
/// shards of a stream, and equally long.
fn overtaken(mut of_key: Vec<(&str, &str)>) -> Vec<String> {
    of_key.sort_unstable();
    // Each publisher and producer counts for itself: the numbers of an id that ends an earlier load say nothing of the next.
    let client = |id: &str| id.rsplit_once('-').map_or(String::new(), |(client, _)| client.to_owned());
    let overtaken =
        of_key.windows(2).filter(|pair| pair[0].1 >= pair[1].1 && client(pair[0].1) == client(pair[1].1));
    overtaken.map(|pair| format!("{} is numbered after {}", pair[1].1, pair[0].1)).collect()
}

/// The bytes of a record of this id.
pub(crate) fn record_of(id: &str) -> Vec<u8> {
    let mut bytes = format!("{id} ").into_bytes();
    bytes.resize(RECORD_BYTES, b'.');
    bytes
}

fn whole(record: &Record, id: &str) -> bool {
    let rest = record.data.get(id.len()..).unwrap_or_default();
    record.data.len() == RECORD_BYTES
        && rest.first() == Some(&b' ')
        && rest[1..].iter().all(|byte| *byte == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(shard: &str, sequence: u32, id: &str) -> Record {
        let (shard, key) = (shard.to_owned(), String::new());
        Record { shard, sequence: sequence.to_string(), key, data: record_of(id) }
    }

    /// What a ledger says on its second reading, `acked` being promised.
    fn second(acked: &[&str], first: &[Record], then: &[Record]) -> Report {
        let mut ledger = Ledger::default();
        ledger.acked(acked.iter().map(|id| (*id).to_owned()).collect());
        ledger.check(first);
        ledger.check(then)
    }

    #[test]
    fn what_was_not_acknowledged_may_be_there_or_not() {
        let (one, two) = (record("s", 1, "a-1"), record("s", 2, "a-2"));
        assert!(second(&["a-1"], std::slice::from_ref(&one), &[one.clone(), two]).clean());
    }

    #[test]
    fn everything_that_breaks_a_promise_is_said() {
        let all = [record("s", 1, "a-1"), record("s", 2, "a-2")];
        let missing = second(&["a-1", "a-2", "a-3"], &all, &all);
        assert_eq!((missing.missing, missing.examples.as_slice()), (1, &["a-3".to_owned()][..]));
        let mut torn = all.clone();
        torn[0].data[100] = 0;
        for (then, expected) in [
            (vec![all[0].clone()], "was read before the cut and is gone"),
            (vec![all[0].clone(), record("s", 9, "a-2")], "has moved"),
            (vec![all[0].clone(), all[1].clone(), all[1].clone()], "is there twice"),
            (vec![all[1].clone(), all[0].clone()], "comes after"),
            (torn.to_vec(), "has other bytes"),
            (vec![record("s", 2, "a-1"), record("t", 1, "a-2")], "is numbered after"),
        ] {
            let report = second(&["a-1"], &all, &then);
            assert!(report.wrong.iter().any(|said| said.contains(expected)), "{expected}: {report:?}");
        }
    }
}
