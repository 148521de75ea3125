//! What is no record's fault, and what leads in circles.

use super::far::{Far, Fault, read_all};
use super::near::Near;
use super::{assert_whole, first_arrivals};
use crate::gateway_support::until;
use headwater::config;
use headwater::forward::{Forwarders, Surroundings};
use headwater_aws::{Clock, Transport};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_answers_instead_of_the_target_kills_no_record() {
    let far = Far::start(2).await;
    let near = Near::start(&far.sink("retry = { base = \"5ms\", max = \"50ms\" }\n")).await;
    near.put(10, 0..5).await;
    until("the first are delivered", || near.carried().ledger.delivered == 50).await;
    for status in [400, 407, 451] {
        far.fault(Fault::Login(status));
        near.put(10, (status - 395) as u64..(status - 395) as u64 + 1).await;
        let before = near.carried().calls_failed;
        until("some calls failed", || near.carried().calls_failed > before + 5).await;
        assert_eq!(near.carried().ledger.dead_lettered, 0, "{}", near.carried());
    }
    far.fault(Fault::None);
    until("all is delivered", || near.carried().ledger.delivered == 80).await;
    assert!(first_arrivals(&far.records().await).values().all(|numbers| numbers.is_sorted()));
    near.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_whose_disk_is_full_kills_no_record_and_is_named() {
    let far = Far::start(2).await;
    let more = "tries = 3\nretry = { base = \"5ms\", max = \"20ms\" }\n";
    let near = Near::start(&far.sink(more)).await;
    near.put(10, 0..3).await;
    until("the first are delivered", || near.carried().ledger.delivered == 30).await;
    far.hold_back(true);
    near.put(10, 3..6).await;
    until("each was tried often", || near.carried().records_retried > 300).await;
    assert_eq!(near.carried().ledger.dead_lettered, 0, "{}", near.carried());
    until("it is said", || near.carried().trouble.is_some_and(|trouble| trouble.contains("the log is full")))
        .await;
    far.hold_back(false);
    until("all is delivered", || near.carried().ledger.delivered == 60).await;
    assert_whole(&far.records().await, 10, 6);
    assert_eq!(near.carried().trouble, None);
    near.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packed_records_are_packed_anew_when_the_target_has_other_shards_than_was_known() {
    let far = Far::start(1).await;
    let near = Near::start(&far.sink("aggregate = \"kpl\"\n")).await;
    near.put(40, 0..10).await;
    until("the first are delivered", || near.carried().ledger.delivered == 400).await;
    // Nobody looks at the target again for minutes, unless something says that it changed.
    for (shards, from) in [(2, 10), (4, 20), (3, 30)] {
        far.resize(shards).await;
        near.put(40, from..from + 10).await;
        until("all is delivered", || near.carried().ledger.delivered == (from + 10) * 40).await;
    }
    // What is in a shard that its keys do not belong to is left out, as the KCL does.
    assert_whole(&far.readable().await, 40, 40);
    assert_eq!(near.carried().ledger.dead_lettered, 0);
    near.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_that_no_target_takes_stays_where_it_is() {
    let far = Far::start(1).await;
    let near = Near::start(&far.sink("streams = [\"telemetry\", \"dead-letter\"]\ncreate = true\n")).await;
    near.dead_letter_stream().await;
    near.put_large_to("dead-letter", "k", 1_500_000).await;
    near.put_large_to("dead-letter", "k", 100).await;
    let letters = || near.all_carried().into_iter().find(|carried| carried.stream == "dead-letter");
    until("all has its end", || {
        letters().is_some_and(|carried| {
            (carried.ledger.delivered, carried.ledger.dead_lettered, carried.waiting) == (1, 1, 0)
        })
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(near.records_of("dead-letter").await, 2, "no letter about a letter");
    near.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_carrier_that_ends_badly_is_followed_by_another_that_goes_on_where_it_came_to() {
    let far = Far::start(1).await;
    let (address, connects) = (far.address(), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&connects);
    // Every third connection is a mistake in our own program.
    let transport = Transport::new(move |_| {
        assert!(counted.fetch_add(1, Ordering::Relaxed) % 3 != 1, "a planted mistake");
        Box::pin(async move {
            let stream = tokio::net::TcpStream::connect(address).await?;
            Ok(Box::new(stream) as Box<dyn headwater_aws::Io>)
        })
    });
    let surroundings =
        Surroundings { transport: Some((transport, Clock::system())), ..Surroundings::of_process() };
    let near = Far::start(2).await;
    let more = "retry = { base = \"5ms\", max = \"50ms\" }\n";
    let sinks = config::parse("test", &far.sink(more)).unwrap().config.sinks;
    let forwarders = Forwarders::start_in(&surroundings, near.engine(), &sinks, "dead-letter").await.unwrap();
    for number in 0..4 {
        // Whatever connection there is ends, and others are made until one stays.
        far.fault(Fault::Refuse);
        near.put("k", &json!({"number": number}).to_string()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        far.fault(Fault::None);
        until("it is delivered", || {
            forwarders.carried().first().is_some_and(|carried| carried.ledger.delivered == number + 1)
        })
        .await;
    }
    assert!(connects.load(Ordering::Relaxed) > 3, "there were mistakes");
    assert_whole(&far.records().await, 1, 4);
    forwarders.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_not_sent_to_itself() {
    let far = Far::start(1).await;
    let sinks = config::parse("test", &far.sink("")).unwrap().config.sinks;
    for number in 0..5 {
        far.put("k", &json!({"number": number}).to_string()).await;
    }
    let forwarders = Forwarders::start(far.engine(), &sinks, "dead-letter").await.unwrap();
    until("it is said", || {
        forwarders.carried().iter().any(|carried| {
            carried.trouble.as_ref().is_some_and(|trouble| trouble.contains("go round for ever"))
        })
    })
    .await;
    let carried = forwarders.carried().pop().unwrap();
    assert_eq!((carried.calls, carried.calls_failed), (0, 0), "a look is no call");
    assert!(carried.looks_failed > 0);
    assert_eq!(read_all(far.engine(), "telemetry").await.len(), 5);
    forwarders.stop().await;
}
