//! The books of a gateway: what came in is somewhere, at any instant, over stops, crashes, reshards and deleted streams.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]

#[path = "../gateway_support/mod.rs"]
mod gateway_support;
mod near;

use near::Near;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn at_any_instant_under_load_every_record_is_somewhere() {
    let near = Arc::new(Near::start().await);
    let loaded = Arc::clone(&near);
    let load = tokio::spawn(async move {
        tokio::join!(loaded.publish("site/a", 600), loaded.put_by_api(60, 10), loaded.put_by_host(300));
    });
    let (mut looks, mut moving) = (0, 0);
    // As often as can be: what could be seen wrong is a matter of microseconds.
    tokio::task::block_in_place(|| {
        while !load.is_finished() {
            let ledger = near.ledger();
            let routes = &ledger.routes;
            let ended = routes.stored + routes.downlink_only + routes.repeated + routes.dead_lettered;
            let ended = ended + routes.unmatched + routes.ignored + routes.rejected;
            assert_eq!(routes.received, ended, "{ledger}");
            assert!(ledger.balances(), "{ledger}");
            looks += 1;
            moving += u64::from(near.row(&ledger).in_flight > 0);
        }
    });
    load.await.unwrap();
    assert!(looks > 1_000 && moving > 50, "{looks} looks, {moving} while something was on its way");
    let row = near.row(&near.ledger());
    assert_eq!((row.by_routes, row.by_api, row.by_host, row.by_unknown), (600, 600, 300, 0), "{row}");
    assert_eq!((row.in_flight, row.torn), (0, 0), "{row}");
    Arc::into_inner(near).unwrap().stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_and_a_start_change_no_count() {
    let near = Near::start().await;
    near.publish("site/a", 20).await;
    near.publish("nowhere", 2).await;
    near.publish("plant/a/m/x", 3).await;
    near.put_by_api(3, 10).await;
    near.resize(3).await;
    near.put_by_api(2, 10).await;
    near.refused_by_api().await;
    let (last, near) = near.stop_and_start().await;
    let now = near.ledger();
    assert_eq!(last.to_string(), now.to_string());
    assert_eq!((&last.streams, &last.publishes), (&now.streams, &now.publishes));
    let routes = &now.routes;
    assert_eq!(
        (routes.received, routes.stored, routes.dead_lettered, routes.unmatched),
        (25, 20, 3, 2),
        "{now}"
    );
    assert_eq!(now.publishes.acks, 25);
    let row = near.row(&now);
    assert_eq!((row.by_routes, row.by_api, row.stored, row.failed), (20, 50, 70, 1), "{row}");
    let letters = now.streams.iter().find(|row| row.stream == "dead-letter").unwrap();
    assert_eq!((letters.by_routes, letters.stored), (3, 3), "{letters}");
    assert!(now.balances());
    let metrics = near.get("/metrics").await;
    for line in [
        "headwater_ledger_records{stream=\"telemetry\",outcome=\"stored\"} 70\n",
        "headwater_ledger_records{stream=\"telemetry\",outcome=\"by_api\"} 50\n",
        "headwater_ledger_publishes_total{outcome=\"dead_lettered\"} 3\n",
        "headwater_ledger_balances 1\n",
        "headwater_routes_received_total 0\n",
    ] {
        assert!(metrics.contains(line), "{line} in {metrics}");
    }
    let health = near.get("/health").await;
    assert!(health.contains("\"by_routes\": 20") && health.contains("\"received\": 25"), "{health}");
    near.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_the_sums_match_and_only_who_put_it_is_not_known() {
    let near = Near::start().await;
    near.put_by_api(3, 10).await;
    let (_, near) = near.stop_and_start().await;
    near.put_by_api(1, 10).await;
    near.publish("site/a", 7).await;
    let near = near.crash_and_start().await;
    let row = near.row(&near.ledger());
    assert_eq!((row.stored, row.by_api, row.by_routes, row.by_unknown), (47, 30, 0, 17), "{row}");
    near.publish("site/a", 5).await;
    let (_, near) = near.stop_and_start().await;
    let row = near.row(&near.ledger());
    assert_eq!((row.stored, row.by_api, row.by_routes, row.by_unknown), (52, 30, 5, 17), "{row}");
    assert!(near.ledger().balances());
    near.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_made_again_begins_anew_and_leaves_no_mark() {
    let near = Near::start().await;
    near.put_by_api(2, 10).await;
    let (_, near) = near.stop_and_start().await;
    assert_eq!(near.marks(), 1, "of the stream; nobody published, and nothing came into the other stream");
    near.remake().await;
    assert_eq!(near.row(&near.ledger()).received(), 0);
    near.put_by_api(1, 5).await;
    let row = near.row(&near.ledger());
    assert_eq!((row.received(), row.stored, row.by_api), (5, 5, 5), "{row}");
    let (_, near) = near.stop_and_start().await;
    assert_eq!(near.row(&near.ledger()).stored, 5);
    assert_eq!(near.marks(), 1);
    near.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_records_stay_in_the_sum_and_are_told_apart() {
    let near = Near::start().await;
    near.put_by_api(200, 10).await;
    let near = near.damage_and_start().await;
    // What a footer vouches for is found to be damaged when it is read.
    let readable = near.readable().await;
    let row = near.row(&near.ledger());
    assert_eq!(row.stored, 2_000, "{row}");
    assert!(row.damaged > 0 && row.damaged < 2_000, "{row}");
    assert_eq!(row.stored - row.damaged, readable, "{row}");
    assert!(near.ledger().balances(), "{row}");
    near.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_stored_while_nothing_comes() {
    let near = Near::start().await;
    near.put_by_api(1, 1).await;
    let (_, near) = near.stop_and_start().await;
    let before = near.records_of_the_journal();
    let (_, near) = near.stop_and_start().await;
    assert_eq!(near.marks(), 1);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(1) {
        near.ledger();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(near.records_of_the_journal(), before, "looking stores nothing");
    near.stop().await;
}
