//! What a sink does without: counted, written down once, over crashes.

use super::far::{Far, Fault, read_all};
use super::near::Near;
use crate::gateway_support::until;
use headwater_engine::SequenceNumber;
use serde_json::Value;
use std::collections::BTreeMap;

/// Every loss is written down once: counts of a shard add up to the totals beside them. Gives the sum by reason.
fn noted(letters: &[Value]) -> BTreeMap<String, u64> {
    let (mut of_shard, mut sums) = (BTreeMap::<(String, String), u64>::new(), BTreeMap::new());
    for note in letters.iter().filter(|letter| letter["kind"] == "dropped") {
        let text = |name: &str| note[name].as_str().unwrap().to_owned();
        let count = note["count"].as_u64().unwrap();
        let total = of_shard.entry((text("shard"), text("reason"))).or_default();
        *total += count;
        assert_eq!(note["total"], *total, "{note}");
        *sums.entry(text("reason")).or_default() += count;
    }
    sums
}

/// Records in the ranges that a note names.
fn in_ranges(note: &Value) -> u64 {
    let place = |number: &Value| SequenceNumber::parse(number.as_str().unwrap()).unwrap().position.position;
    note["ranges"]
        .as_array()
        .unwrap()
        .iter()
        .map(|range| place(&range["last"]) - place(&range["first"]) + 1)
        .sum()
}

fn dropped(near: &Near, reason: &str) -> u64 {
    near.carried().dropped().filter(|(name, _)| *name == reason).map(|(_, count)| count).sum()
}

/// Losses that are written down by now.
fn written_down(near: &Near) -> u64 {
    let letters = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(near.letters()));
    noted(&letters).values().sum()
}

/// The stream and its sink add up, in one look.
fn assert_adds_up(near: &Near) {
    let ledger = near.ledger();
    assert!(ledger.balances(), "{ledger}");
    let row = ledger.streams.iter().find(|row| row.stream == "telemetry").unwrap();
    let sink = ledger.carried.iter().find(|carried| carried.stream == "telemetry").unwrap();
    if let Some(before) = sink.before {
        assert_eq!(row.stored, before + sink.ledger.stored, "{ledger}");
    }
}

/// With room for little. What was read before the first call fails is in memory and is sent:
/// so calls are rare, and the target is known before it goes away.
const NEWEST: &str =
    "retry = { base = \"3s\", max = \"3s\" }\nmax_waiting = \"8KiB\"\nwhen_full = \"drop_newest\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_that_a_sink_does_without_are_counted_and_the_older_ones_arrive_in_order() {
    let (forwarders, engine, far, taken, _dir) =
        super::keeping::with_a_quota("when_full = \"drop_newest\"\n").await;
    assert_eq!(taken, 6_000, "publishers do not notice");
    far.fault(Fault::None);
    let shown = || forwarders.carried().pop().unwrap();
    until("all has its end", || shown().ledger.stored >= 6_000 && shown().waiting == 0).await;
    let dropped: u64 =
        shown().dropped().filter(|(reason, _)| *reason == "quota").map(|(_, count)| count).sum();
    assert!(dropped > 300, "{}", shown());
    assert_eq!(shown().ledger.delivered + dropped, 6_000, "{}", shown());
    forwarders.stop().await;
    let arrived = far.records().await;
    assert_eq!(arrived.len() as u64 + dropped, 6_000);
    for (key, numbers) in super::first_arrivals(&arrived) {
        assert!(numbers.is_sorted(), "{key}");
    }
    let mut numbers: Vec<u64> = arrived.iter().map(|(_, number)| *number).collect();
    numbers.sort_unstable();
    let whole = (0..).zip(&numbers).take_while(|(expected, number)| expected == *number).count();
    // 24 MiB of records of some 5 KiB on the disk.
    assert!(whole > 2_500, "the oldest stay: {whole} is missing");
    let letters = read_all(&engine, "dead-letter").await;
    let letters: Vec<Value> =
        letters.iter().map(|(_, letter)| serde_json::from_slice(letter).unwrap()).collect();
    assert_eq!(noted(&letters), BTreeMap::from([("quota".to_owned(), dropped)]));
    assert_eq!(letters.iter().map(in_ranges).sum::<u64>(), dropped, "{letters:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_passed_over_is_the_same_after_crashes_and_there_is_room_again() {
    let far = Far::start(2).await;
    let mut near = Near::start(&far.sink(NEWEST)).await;
    until("the target is known", || near.carried().is_connected).await;
    far.fault(Fault::Refuse);
    for round in 0..3 {
        for part in 0..4 {
            let from = (round * 4 + part) * 25;
            near.put(40, from..from + 25).await;
            assert_adds_up(&near);
            tokio::time::sleep(std::time::Duration::from_millis(600)).await;
        }
        until("some are passed over", || dropped(&near, "quota") > 0).await;
        near = near.crash_and_start().await;
    }
    far.fault(Fault::None);
    until("all has its end", || near.carried().waiting == 0 && near.carried().ledger.stored == 12_000).await;
    let lost = dropped(&near, "quota");
    assert_eq!(near.carried().ledger.delivered + lost, 12_000, "{}", near.carried());
    until("the losses are written down", || written_down(&near) >= lost).await;
    let arrived = super::first_arrivals(&far.records().await);
    assert!(arrived.values().all(|numbers| numbers.is_sorted()));
    assert_eq!(arrived.values().map(Vec::len).sum::<usize>() as u64, 12_000 - lost);
    assert_eq!(noted(&near.letters().await)["quota"], lost);
    near.put(40, 300..301).await;
    until("there is room again", || near.carried().ledger.delivered == 12_040 - lost).await;
    assert_adds_up(&near);
    near.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_that_could_not_be_written_down_before_a_crash_is_after_it() {
    let far = Far::start(1).await;
    let near = Near::start(&far.sink(NEWEST)).await;
    until("the target is known", || near.carried().is_connected).await;
    far.fault(Fault::Refuse);
    near.hold_letters_back();
    for part in 0..4 {
        near.put(40, part * 50..(part + 1) * 50).await;
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    until("some are passed over", || dropped(&near, "quota") > 0).await;
    // Its cursor is stored within a second.
    tokio::time::sleep(std::time::Duration::from_millis(2_500)).await;
    let lost = dropped(&near, "quota");
    assert_eq!(near.letters().await.len(), 0);
    let near = near.crash_and_start().await;
    until("the loss is there again", || dropped(&near, "quota") == lost).await;
    until("the loss is written down", || written_down(&near) == lost).await;
    let near = near.crash_and_start().await;
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    assert_eq!(noted(&near.letters().await)["quota"], lost, "once");
    assert_adds_up(&near);
    near.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_was_away_goes_on_and_one_that_comes_later_knows_what_was_before() {
    let far = Far::start(1).await;
    let near = Near::start(&far.sink("")).await;
    near.put(10, 0..5).await;
    until("the first are delivered", || near.carried().ledger.delivered == 50).await;
    let near = near.restart("").await;
    near.put(10, 5..10).await;
    assert!(near.ledger().balances());
    let near = near.restart(&far.sink("")).await;
    until("the others are delivered", || near.carried().ledger.delivered == 100).await;
    assert_eq!((near.carried().before, near.carried().ledger.stored), (Some(0), 100));
    assert_adds_up(&near);
    let later = far.sink("start = \"newest\"\n").replace("[sinks.far]", "[sinks.late]");
    let near = near.restart(&later).await;
    until("it has looked", || near.carried().before.is_some()).await;
    near.put(10, 10..12).await;
    near.resize(3).await;
    near.put(10, 12..13).await;
    until("what is new is delivered", || near.carried().ledger.delivered == 30).await;
    assert_eq!((near.carried().before, near.carried().ledger.stored), (Some(100), 30));
    assert_adds_up(&near);
    let last = near.stop().await.to_string();
    let end = "stored 30 = delivered 30 + waiting 0 + dead-lettered 0 + dropped 0, before the sink 100";
    assert!(last.ends_with(end), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_disk_lost_is_counted_and_written_down() {
    let far = Far::start(1).await;
    let near = Near::start(&far.sink("")).await;
    far.fault(Fault::Refuse);
    near.put(40, 0..200).await;
    let near = near.damage_and_start().await;
    far.fault(Fault::None);
    until("all has its end", || near.carried().waiting == 0 && near.carried().ledger.stored == 8_000).await;
    let lost = dropped(&near, "damage");
    assert!(lost > 0 && near.carried().ledger.delivered + lost == 8_000, "{}", near.carried());
    assert_eq!(far.records().await.len() as u64, 8_000 - lost);
    until("the loss is written down", || written_down(&near) == lost).await;
    assert_eq!(near.letters().await.iter().map(in_ranges).sum::<u64>(), lost);
    assert_adds_up(&near);
    near.stop().await;
}
