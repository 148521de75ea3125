//! `order = "newest"`: fresh records first, and still everything.

use std::collections::BTreeMap;

use system_tests::fleet::Entry;
use system_tests::gateway::Gateway;
use system_tests::kinesis::Record;
use system_tests::target::Seen;

use crate::check::identities;
use crate::late;
use crate::world::{Harm, LINK, World, delivered};

#[test]
fn fresh_records_go_before_a_backlog_when_the_way_is_back() {
    let directory = tempfile::tempdir().unwrap();
    let streams = format!("[streams.{}]\nshards = 1\n", late::STREAM);
    let far = Gateway::start(directory.path(), &streams);
    let more = format!("streams = [\"{}\"]\n{}\n\n{streams}", late::STREAM, late::DRAIN);
    let mut world = World::start(far.kinesis, 111, &more);
    world.link.set_down(true);
    late::put_backlog(&world.near);
    // Younger records count as fresh themselves; a start reads them as what they are then.
    std::thread::sleep(late::FRESH_FOR);
    world.near.kill();
    world.near.restart();
    world.link.set_down(false);
    late::put_fresh(&world.near);
    late::assert_fresh_first(&world.near, &far);
}

#[test]
fn everything_arrives_newest_first_and_each_key_in_as_few_rows_as_there_were_outages() {
    let directory = tempfile::tempdir().unwrap();
    let mut far = Gateway::start(directory.path(), "[streams.telemetry]\nshards = 3\n");
    let mut world = World::start(far.kinesis, 112, "drain = { order = \"newest\" }\n");
    let acked = world.suffer(&LINK, |_| {});
    let near = world.near.kinesis().read_all("telemetry");
    let sink = delivered(&world.near, near.len() as u64);
    assert_eq!(sink["balances"], true, "{sink:#}");
    let found = far.kinesis().read_all("telemetry");
    println!("{acked:?} acknowledged, {} here, {} at the target", near.len(), found.len());
    // An outage and a kill may each leave a hole behind fresh records.
    let outages: u64 = world.faults.iter().map(|(_, count)| count).sum();
    let wrong = breaches(&near, &found, outages);
    assert!(wrong.is_empty(), "{}: {:#?}", wrong.len(), &wrong[..wrong.len().min(20)]);
    assert!(world.faults.iter().any(|(harm, _)| *harm == format!("{:?}", Harm::Kill)), "{:?}", world.faults);
    let place = found.iter().rposition(|record| Entry::of(record).is_some()).unwrap();
    let lost: Vec<Record> = found.iter().filter(|record| record.data != found[place].data).cloned().collect();
    assert!(!breaches(&near, &lost, outages).is_empty(), "a missing record must be seen");
    far.stop();
}

/// What is missing or other at the target, and devices whose first arrivals are in more rows than there were outages.
fn breaches(near: &[Record], far: &[Record], outages: u64) -> Vec<String> {
    let far: Vec<Seen> = far.iter().map(|record| Seen { record: record.clone(), is_repeat: false }).collect();
    let entry = |seen: &Seen| seen.entry();
    let sent = identities(near.iter().filter_map(|record| Some((Entry::of(record)?, record))));
    let arrived = identities(far.iter().filter_map(|seen| Some((entry(seen)?, &seen.record))));
    let mut breaches = Vec::new();
    for (identity, record) in &sent {
        match arrived.get(identity) {
            None => breaches.push(format!("{identity:?} is missing")),
            Some(found) if found.data != record.data => breaches.push(format!("{identity:?} is another")),
            Some(_) => {}
        }
    }
    let mut rows: BTreeMap<String, (u64, (u64, u64))> = BTreeMap::new();
    let mut first = std::collections::BTreeSet::new();
    for entry in far.iter().filter_map(entry) {
        if !first.insert((entry.device.clone(), entry.boot, entry.seq)) {
            continue;
        }
        let place = (entry.boot, entry.seq);
        let (count, last) = rows.entry(entry.device).or_insert((1, place));
        *count += u64::from(place < *last);
        *last = place;
    }
    let many = rows.into_iter().filter(|(_, (count, _))| *count > outages + 1);
    breaches.extend(many.map(|(device, (count, _))| format!("{device} arrived in {count} rows")));
    breaches
}
