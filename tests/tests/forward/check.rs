//! What must hold in the end, whoever the target is.

use std::collections::BTreeMap;

use system_tests::fleet::{Entry, census};
use system_tests::gateway::Gateway;
use system_tests::kinesis::Record;
use system_tests::target::Seen;

use crate::load::DEVICES;
use crate::world::{delivered, metric};

/// Who and where in the life of a device, and whether it is a gap.
pub(crate) type Identity = (String, u64, u64, bool);

pub(crate) fn identities<'a>(
    records: impl IntoIterator<Item = (Entry, &'a Record)>,
) -> BTreeMap<Identity, &'a Record> {
    records
        .into_iter()
        .map(|(entry, record)| ((entry.device, entry.boot, entry.seq, entry.gap), record))
        .collect()
}

/// What breaks the promise of forwarding, in words: `near` is what the gateway holds, `far` what a reader of the target sees.
fn breaches(near: &[Record], far: &[Seen]) -> Vec<String> {
    let once: Vec<Entry> = far.iter().filter(|seen| !seen.is_repeat).filter_map(Seen::entry).collect();
    // Every device strictly in order and without a hole, by what is new alone.
    let mut breaches = census(once).violations;
    let sent = identities(near.iter().filter_map(|record| Some((Entry::of(record)?, record))));
    let new = far.iter().filter(|seen| !seen.is_repeat);
    let arrived = identities(new.filter_map(|seen| Some((seen.entry()?, &seen.record))));
    for (identity, record) in &sent {
        match arrived.get(identity) {
            None => breaches.push(format!("{identity:?} is missing")),
            Some(found) if (&found.data, &found.key) != (&record.data, &record.key) => {
                breaches.push(format!("{identity:?} arrived as something else"));
            }
            Some(_) => {}
        }
    }
    breaches.extend(
        arrived.keys().filter(|one| !sent.contains_key(*one)).map(|one| format!("{one:?} was never sent")),
    );
    // What has no identity, log lines for one, arrives at least as often as it was sent.
    let plain = |records: Vec<&Record>| {
        let mut counts: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        records.into_iter().filter(|record| Entry::of(record).is_none()).for_each(|record| {
            *counts.entry(record.data.clone()).or_default() += 1;
        });
        counts
    };
    let found = plain(far.iter().map(|seen| &seen.record).collect());
    for (data, count) in plain(near.iter().collect()) {
        if found.get(&data).is_none_or(|found| *found < count) {
            breaches.push(format!("{} is missing", String::from_utf8_lossy(&data)));
        }
    }
    breaches
}

/// The whole end of a test: the target is read by `read`, compared, and the ledger of the gateway audited. Returns what was read.
pub(crate) fn assert_forwarded(
    gateway: &mut Gateway,
    acked: (u64, u64),
    read: impl FnOnce() -> Vec<Seen>,
) -> Vec<Seen> {
    let near = gateway.kinesis().read_all("telemetry");
    let count = near.len() as u64;
    let sink = delivered(gateway, count);
    assert_ledger(gateway, count, &sink);
    let far = read();
    let repeats = far.iter().filter(|seen| seen.is_repeat).count();
    println!(
        "{} readings acknowledged to devices, {} to programs; {count} records in the gateway, {} at the target, {repeats} of them repeats",
        acked.0,
        acked.1,
        far.len()
    );
    let breaches_found = breaches(&near, &far);
    assert!(
        breaches_found.is_empty(),
        "{}: {:#?}",
        breaches_found.len(),
        &breaches_found[..breaches_found.len().min(20)]
    );
    let devices: std::collections::BTreeSet<_> =
        far.iter().filter_map(Seen::entry).map(|entry| entry.device).collect();
    assert_eq!(devices.len(), DEVICES as usize + 20, "every device arrived: {devices:?}");
    assert!(acked.0 > u64::from(DEVICES) * 10 && acked.1 > 200, "{acked:?} are too few to prove anything");
    assert_controls(&near, &far);
    far
}

/// The same check sees one record less, and one again, and two in the wrong order.
fn assert_controls(near: &[Record], far: &[Seen]) {
    let place = far.iter().rposition(|seen| !seen.is_repeat && seen.entry().is_some()).unwrap();
    let mut missing = far.to_vec();
    missing.remove(place);
    assert!(!breaches(near, &missing).is_empty(), "a missing record must be seen");
    let mut twice = far.to_vec();
    twice.insert(place, far[place].clone());
    assert!(!breaches(near, &twice).is_empty(), "a second copy must be seen");
    let mut other = far.to_vec();
    other[place].record.data.push(b' ');
    assert!(!breaches(near, &other).is_empty(), "another content must be seen");
}

/// `stored` is the sum of everything else and what the shards hold: in `/health`, in `/metrics` and in the exit line.
fn assert_ledger(near: &mut Gateway, count: u64, sink: &serde_json::Value) {
    assert_eq!(sink["balances"], true, "{sink:#}");
    assert_eq!((&sink["connected"], sink["trouble"].is_null()), (&true.into(), true), "{sink:#}");
    let outcome = |outcome| metric(near, "records_total", Some(outcome));
    assert_eq!((outcome("stored"), outcome("delivered"), outcome("dead_lettered")), (count, count, 0));
    assert_eq!((metric(near, "waiting_records", None), metric(near, "connected", None)), (0, 1));
    near.stop();
    let line = format!(
        "sink far of telemetry: stored {count} = delivered {count} + waiting 0 + dead-lettered 0 + dropped 0"
    );
    assert!(near.tail().contains(&line), "{line:?} is not in\n{}", near.tail());
}
