//! A gateway that forwards to a second engine, through a way that loses, delays, refuses and repeats.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod clocks;
mod far;
#[path = "../gateway_support/mod.rs"]
mod gateway_support;
mod keeping;
mod losses;
mod mistakes;
mod near;

use far::{Far, Fault};
use gateway_support::until;
use near::Near;
use std::collections::BTreeMap;
use std::time::Duration;

/// Numbers of each key in the order they arrived, repeats of what was seen left out: what a reader with the documented helper sees.
fn first_arrivals(far: &[(String, u64)]) -> BTreeMap<String, Vec<u64>> {
    let mut seen: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for (key, number) in far {
        let numbers = seen.entry(key.clone()).or_default();
        if !numbers.contains(number) {
            numbers.push(*number);
        }
    }
    seen
}

/// Every key has 0..count, in order.
fn assert_whole(far: &[(String, u64)], keys: usize, count: u64) {
    let arrived = first_arrivals(far);
    assert_eq!(arrived.len(), keys, "{:?}", arrived.keys());
    for (key, numbers) in arrived {
        assert_eq!(numbers, (0..count).collect::<Vec<_>>(), "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_stored_arrives_in_order_and_the_ledger_adds_up() {
    let far = Far::start(3).await;
    let near = Near::start(&far.sink("")).await;
    near.put(40, 0..25).await;
    until("all is delivered", || near.carried().ledger.delivered == 1_000).await;
    let arrived = far.records().await;
    assert_eq!(arrived.len(), 1_000, "nothing twice without faults");
    assert_whole(&arrived, 40, 25);
    until("the ledger is shown", || near.carried().waiting == 0 && near.carried().ledger.stored == 1_000)
        .await;
    assert!(near.carried().balances(), "{}", near.carried());
    let last = near.stop().await;
    assert!(
        last.to_string().ends_with("stored 1000 = delivered 1000 + waiting 0 + dead-lettered 0 + dropped 0"),
        "{last}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_loses_nothing_and_restarts_go_on_at_the_checkpoint() {
    let far = Far::start(2).await;
    let mut near = Near::start(&far.sink("")).await;
    near.put(10, 0..10).await;
    until("the first are delivered", || near.carried().ledger.delivered == 100).await;
    far.fault(Fault::Refuse);
    near.put(10, 10..30).await;
    until("the trouble is shown", || near.carried().trouble.is_some()).await;
    for round in 0..3 {
        near = near.crash_and_start().await;
        near.put(10, 30 + round * 5..35 + round * 5).await;
    }
    assert_eq!(far.records().await.len(), 100);
    far.fault(Fault::None);
    until("all is delivered", || near.carried().ledger.delivered == 450).await;
    assert_whole(&far.records().await, 10, 45);
    assert!(near.carried().balances(), "{}", near.carried());
    near.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn order_by_key_holds_while_calls_are_throttled_lost_and_answered_with_errors() {
    let far = Far::start(4).await;
    let near =
        Near::start(&far.sink("format = \"json\"\nretry = { base = \"5ms\", max = \"50ms\" }\n")).await;
    let (mut done, faults) =
        (0, [Fault::Throttle(3), Fault::Error, Fault::LoseAnswer, Fault::Close, Fault::None]);
    for fault in faults.into_iter().cycle().take(15) {
        far.fault(fault);
        near.put(30, done..done + 5).await;
        done += 5;
        tokio::time::sleep(Duration::from_millis(120)).await;
    }
    far.fault(Fault::None);
    until("all is delivered", || near.carried().ledger.delivered == 30 * done).await;
    let arrived = far.records().await;
    assert_whole(&arrived, 30, done);
    assert!(arrived.len() as u64 > 30 * done, "lost answers repeat records: the faults were there");
    let carried = near.carried();
    assert!(carried.records_retried > 0 && carried.calls_failed > 0, "{carried:?}");
    near.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shards_split_and_merge_on_both_sides_without_loss_or_disorder() {
    let far = Far::start(2).await;
    let near = Near::start(&far.sink("")).await;
    let mut done = 0;
    for (ours, theirs) in [(2, 3), (4, 4), (3, 2), (1, 1), (2, 4)] {
        near.put(20, done..done + 10).await;
        near.resize(ours).await;
        far.resize(theirs).await;
        near.put(20, done + 10..done + 20).await;
        done += 20;
    }
    until("all is delivered", || near.carried().ledger.delivered == 20 * done).await;
    assert_whole(&far.records().await, 20, done);
    assert!(near.carried().balances(), "{}", near.carried());
    near.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_target_never_takes_is_a_dead_letter_and_the_rest_goes_on() {
    let far = Far::start(1).await;
    let near = Near::start(&far.sink("")).await;
    near.put(3, 0..2).await;
    // Ours takes records of 2 MiB, the target only of 1 MiB.
    near.put_large("k1", 1_500_000).await;
    near.put(3, 2..4).await;
    until("all has its end", || {
        let ledger = near.carried().ledger;
        (ledger.delivered, ledger.dead_lettered) == (12, 1)
    })
    .await;
    assert_whole(&far.records().await, 3, 4);
    let letters = near.letters().await;
    assert_eq!(letters.len(), 1);
    assert_eq!(
        (letters[0]["sink"].as_str(), letters[0]["partition_key"].as_str()),
        (Some("far"), Some("k1"))
    );
    assert_eq!(letters[0]["reason"], "key and data have 1500002 bytes, the target takes at most 1048576");
    assert_eq!(
        (letters[0]["size_bytes"].as_u64(), letters[0]["truncated"].as_bool()),
        (Some(1_500_000), Some(true))
    );
    near.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_records_come_out_as_they_went_in() {
    let far = Far::start(3).await;
    let near = Near::start(&far.sink("aggregate = \"kpl\"\n")).await;
    near.put(50, 0..40).await;
    until("all is delivered", || near.carried().ledger.delivered == 2_000).await;
    let raw = far.raw().await;
    assert!(raw.len() < 200, "{} records carry 2,000", raw.len());
    assert_whole(&far.records().await, 50, 40);
    near.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_stream_that_does_not_exist_is_waited_for_or_made() {
    let far = Far::start(1).await;
    let waiting = Near::start(&far.sink("target = \"later-{stream}\"\n")).await;
    waiting.put(2, 0..2).await;
    until("it says what is missing", || {
        waiting.carried().trouble.is_some_and(|trouble| trouble.contains("later-telemetry"))
    })
    .await;
    assert_eq!(waiting.carried().ledger.delivered, 0);
    waiting.stop().await;
    let making = Near::start(&far.sink("target = \"later-{stream}\"\ncreate = true\n")).await;
    making.put(2, 0..2).await;
    until("all is delivered", || making.carried().ledger.delivered == 4).await;
    assert_eq!(far.records_of("later-telemetry").await.len(), 4);
    making.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_deleted_is_forgotten_and_one_of_its_name_begins_anew() {
    let far = Far::start(1).await;
    let near = Near::start(&far.sink("start = \"newest\"\n")).await;
    near.put(2, 0..3).await;
    until("the first are delivered", || near.carried().ledger.delivered == 6).await;
    assert_eq!(near.cursors(), 2, "one a shard");
    near.delete().await;
    until("it is not shown any more", || near.shown() == 0).await;
    until("its cursors are gone", || near.cursors() == 0).await;
    near.create().await;
    near.put(2, 3..5).await;
    until("all of the new one is delivered", || near.shown() == 1 && near.carried().ledger.delivered == 4)
        .await;
    assert_whole(&far.records().await, 2, 5);
    near.stop().await;
}
