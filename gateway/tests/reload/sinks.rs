//! Sinks that come, change and go while records are put.

use crate::far::{Far, Fault};
use crate::gateway_support::until;
use crate::house::{House, Load};
use headwater::ReloadError;
use std::collections::BTreeMap;
use std::time::Duration;

const ROUTE: &str =
    "[[routes]]\nmatch = \"#\"\ncodec = \"raw\"\nstream = \"telemetry\"\npartition_key = \"${topic()}\"\n";

/// Numbers of each client in the order they first arrived.
async fn arrived(far: &Far) -> BTreeMap<String, Vec<u64>> {
    let mut arrived: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for (_, data) in far.raw().await {
        let text = String::from_utf8(data).unwrap();
        if seen.insert(text.clone()) {
            let (client, number) = text.split_once('-').unwrap();
            arrived.entry(client.to_owned()).or_default().push(number.parse().unwrap());
        }
    }
    arrived
}

fn delivered(house: &House, sink: &str) -> Option<u64> {
    let carried = house.gateway.ledger().carried;
    carried.iter().find(|carried| carried.sink == sink).map(|carried| carried.ledger.delivered)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_goes_changes_and_comes_back_under_load_delivers_everything_in_order() {
    let (far, other) = (Far::start(3).await, Far::start(1).await);
    let sink = |more: &str| format!("{ROUTE}{}", far.sink(&format!("streams = [\"telemetry\"]\n{more}")));
    let beside = |text: &str| {
        format!("{text}{}", other.sink("streams = [\"telemetry\"]\n").replace("sinks.far", "sinks.beside"))
    };
    let house = House::start(&beside(&sink(""))).await;
    let load = Load::start(house.gateway.mqtt_addr(), "a", 6);
    let faults = [Fault::None, Fault::LoseAnswer, Fault::Throttle(3), Fault::None];
    for (round, fault) in faults.into_iter().cycle().take(8).enumerate() {
        far.fault(fault);
        let text = match round % 4 {
            0 => sink("calls = 2\n"),
            1 => ROUTE.to_owned(),
            2 => sink("format = \"json\"\nretry = { base = \"5ms\", max = \"50ms\" }\n"),
            _ => sink(""),
        };
        let changed = house.reload(&beside(&text)).await.unwrap().changed;
        assert_eq!(changed, ["sinks.far"], "round {round}: the other is as it was");
        assert_eq!(delivered(&house, "far").is_some() || round % 4 != 1, round % 4 != 1, "round {round}");
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    far.fault(Fault::None);
    house.reload(&beside(&sink(""))).await.unwrap();
    let acked = load.stop().await;
    assert!(acked.len() > 500, "there was load: {}", acked.len());
    let all = acked.len() as u64;
    until("all is delivered", || delivered(&house, "far") >= Some(all)).await;
    until("all is delivered beside", || delivered(&house, "beside") >= Some(all)).await;
    let carried = house.gateway.ledger().carried;
    assert!(carried.iter().all(|carried| carried.ledger.dropped_total() == 0), "{carried:?}");
    for target in [&far, &other] {
        let arrived = arrived(target).await;
        assert_eq!(arrived.values().map(|numbers| numbers.len() as u64).sum::<u64>(), all);
        for (client, numbers) in arrived {
            assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>(), "{client}");
        }
    }
    let once = other.raw().await.len() as u64;
    assert_eq!(once, all, "a sink that did not change sent nothing twice");
    house.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_cannot_start_leaves_those_that_run() {
    let far = Far::start(1).await;
    let good = format!("{ROUTE}{}", far.sink("streams = [\"telemetry\"]\n"));
    let house = House::start(&good).await;
    house.publish("a", "0-0").await;
    until("it is delivered", || delivered(&house, "far") == Some(1)).await;
    let bad = format!("{good}[sinks.beside]\nendpoint = \"http://\"\nstreams = [\"telemetry\"]\n");
    let bad = bad.replacen("stream = \"telemetry\"", "stream = \"elsewhere\"", 1);
    let error = house.reload(&bad).await.unwrap_err();
    assert!(matches!(error, ReloadError::Sinks(_)), "{error}");
    assert!(error.to_string().contains("beside"), "{error}");
    house.publish("a", "0-1").await;
    until("it goes on as before", || delivered(&house, "far") == Some(2)).await;
    house.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_sink_that_is_removed_holds_nothing_and_goes_on_where_it_was() {
    let far = Far::start(1).await;
    let with = format!("{ROUTE}{}", far.sink("streams = [\"telemetry\"]\n"));
    let house = House::start(&with).await;
    house.publish("a", "0-0").await;
    until("it is delivered", || delivered(&house, "far") == Some(1)).await;
    house.reload(ROUTE).await.unwrap();
    assert_eq!(delivered(&house, "far"), None);
    house.publish("a", "0-1").await;
    assert_eq!(house.gateway.engine().meta_list(b"g/sink/far/").len(), 1, "its cursor is kept");
    house.reload(&with).await.unwrap();
    until("what came meanwhile is delivered", || delivered(&house, "far") == Some(2)).await;
    assert_eq!(far.raw().await.len(), 2, "and what was delivered is not again");
    house.gateway.stop().await;
}
