//! A gateway that takes up other configurations while clients publish at full speed: no connection ends, nothing is lost, nothing is
//! stored twice, and a file that is wrong changes nothing.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]
#![expect(dead_code, reason = "some of what the tests of sinks share")]

#[path = "../forward/far.rs"]
mod far;
#[path = "../gateway_support/mod.rs"]
mod gateway_support;
mod house;
#[path = "../forward/near.rs"]
mod near;
mod process;
mod sinks;

use gateway_support::until;
use headwater::ReloadError;
use house::{House, Load, client, until_ended};
use rumqttc::QoS;
use std::collections::BTreeMap;
use std::time::Duration;

/// Two sets of routes: a topic's records go to one stream or to the other.
const TO_ONE: &str = "[[routes]]\nmatch = \"a/#\"\ncodec = \"raw\"\nstream = \"one\"\n";
const TO_TWO: &str = "[[routes]]\nmatch = \"a/#\"\ncodec = \"raw\"\nstream = \"two\"\n\
                      [[routes]]\nmatch = \"b/#\"\ncodec = \"raw\"\nstream = \"three\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn publishers_notice_nothing_of_reloads_and_every_acknowledged_publish_is_stored_once() {
    let house = House::start(TO_ONE).await;
    let load = Load::start(house.gateway.mqtt_addr(), "a", 8);
    for round in 0..40 {
        match round % 4 {
            1 => {
                // A file that is wrong, among good ones: the routes before it stay.
                let error =
                    house.reload("[[routes]]\nmatch = \"a/#/b\"\nstream = \"x\"\n").await.unwrap_err();
                assert!(matches!(error, ReloadError::Load(_)), "{error}");
                assert!(error.to_string().contains("routes[0].match is \"a/#/b\""), "{error}");
            }
            3 => assert_eq!(house.reload(TO_ONE).await.unwrap().changed, ["routes"]),
            _ => drop(house.reload(TO_TWO).await.unwrap()),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let acked = load.stop().await;
    assert!(acked.len() > 2_000, "there was load: {}", acked.len());

    let (one, two) = (house.payloads("one").await, house.payloads("two").await);
    assert!(!one.is_empty() && !two.is_empty(), "{} and {}", one.len(), two.len());
    let mut stored: BTreeMap<String, usize> = BTreeMap::new();
    one.into_iter().chain(two).for_each(|payload| *stored.entry(payload).or_default() += 1);
    let twice: Vec<_> = stored.iter().filter(|(_, count)| **count > 1).collect();
    assert!(twice.is_empty(), "stored twice: {twice:?}");
    let lost: Vec<_> = acked.iter().filter(|payload| !stored.contains_key(*payload)).collect();
    assert!(lost.is_empty(), "acknowledged and not stored: {lost:?}");

    let counted = house.health().await["configuration"].clone();
    assert_eq!((&counted["applied"], &counted["refused"]), (&30.into(), &10.into()));
    house.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_goes_where_its_route_says_now() {
    let house = House::start(TO_ONE).await;
    house.publish("a/x", "before").await;
    assert_eq!(house.reload(TO_TWO).await.unwrap().changed, ["routes"]);
    house.publish("a/x", "after").await;
    house.publish("b/x", "new").await;
    assert_eq!(house.payloads("one").await, ["before"]);
    assert_eq!(house.payloads("two").await, ["after"]);
    assert_eq!(house.payloads("three").await, ["new"]);
    house.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_file_changes_nothing_and_is_seen_until_a_good_one_comes() {
    let house = House::start(TO_ONE).await;
    // The first half is good, and must not be taken up either.
    let error = house.reload(&format!("{TO_TWO}[sinks.cloud]\nstreams = [\"one\"]\ntries = 0\n")).await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("sinks.cloud.tries is 0, expected"), "{error}");
    house.publish("a/x", "still").await;
    assert_eq!(house.payloads("one").await, ["still"]);
    let seen = house.health().await;
    assert_eq!(seen["state"], "ok", "the gateway itself is well");
    assert_eq!(seen["configuration"]["last"]["result"], "refused");
    assert!(seen["configuration"]["last"]["error"].as_str().unwrap().contains("sinks.cloud.tries"));
    let metrics = house.get("/metrics").await;
    assert!(metrics.contains("headwater_config_reloads_total{result=\"refused\"} 1\n"), "{metrics}");
    assert!(metrics.contains("headwater_config_last_reload_applied 0\n"), "{metrics}");

    house.reload(TO_TWO).await.unwrap();
    assert_eq!(house.health().await["configuration"]["last"]["result"], "applied");
    assert!(house.get("/metrics").await.contains("headwater_config_last_reload_applied 1\n"));
    house.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_a_restart_is_named_and_the_rest_is_taken_up() {
    let house = House::start(TO_ONE).await;
    let text = house.text(TO_TWO).replace("max = \"64MiB\"", "max = \"128MiB\"");
    let reloaded = house.reload_text(&text).await.unwrap();
    assert_eq!((reloaded.changed, reloaded.needs_restart), (vec!["routes".to_owned()], vec!["journal.max"]));
    house.publish("b/x", "new").await;
    assert_eq!(house.payloads("three").await, ["new"]);
    assert_eq!(house.health().await["configuration"]["needs_restart"][0], "journal.max");
    assert!(house.get("/metrics").await.contains("headwater_config_keys_waiting_for_restart 1\n"));
    // Back to what runs: nothing waits any more.
    house.reload(TO_TWO).await.unwrap();
    assert_eq!(house.health().await["configuration"]["needs_restart"].as_array().unwrap().len(), 0);
    house.gateway.stop().await;
}

fn user(name: &str, password: &str, publish: &str) -> String {
    format!("[[mqtt.users]]\nname = \"{name}\"\npassword = \"{password}\"\npublish = [\"{publish}\"]\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_let_in_any_more_leaves_and_rights_are_those_of_now() {
    let (anna, berta) = (user("anna", "x", "a/#"), user("berta", "y", "b/#"));
    let house = House::start(&format!("{anna}{berta}")).await;
    let addr = house.gateway.mqtt_addr();
    let (mut stays, mut leaves) =
        (client(addr, "stays", Some(("anna", "x"))), client(addr, "leaves", Some(("berta", "y"))));
    stays.publish("a/1", "1").await.unwrap();
    leaves.publish("b/1", "2").await.unwrap();

    house.reload(&user("anna", "x", "c/#")).await.unwrap();
    until_ended(&mut leaves).await;
    assert!(client(addr, "again", Some(("berta", "y"))).publish("b/1", "3").await.is_err());
    // On the connection it had: the new topic, and not the old one.
    stays.publish("c/1", "4").await.unwrap();
    assert!(stays.publish("a/1", "5").await.is_err(), "3.1.1 has no words for a refusal but the end");
    let mut stored = house.payloads("telemetry").await;
    stored.sort();
    assert_eq!(stored, ["1", "2", "4"]);
    house.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_count_for_connections_that_come() {
    let house = House::start("").await;
    let addr = house.gateway.mqtt_addr();
    let mut first = client(addr, "first", None);
    first.publish("a", "1").await.unwrap();
    house
        .reload_text(&house.text("").replace("[kinesis]", "connections = 1\npacket = \"1KiB\"\n[kinesis]"))
        .await
        .unwrap();
    assert!(client(addr, "second", None).publish("a", "2").await.is_err(), "there is one connection already");
    let large = "x".repeat(4_000);
    first.publish("a", &large).await.unwrap();
    house.reload("").await.unwrap();
    client(addr, "second", None).publish("a", "3").await.unwrap();
    assert_eq!(house.payloads("telemetry").await.len(), 3);
    house.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_gets_its_new_retention_and_keeps_one_that_the_api_gave_it() {
    let stream = |retention: &str| format!("[streams.kept]\nshards = 2\nretention = \"{retention}\"\n");
    let house = House::start(&stream("1d")).await;
    assert_eq!(house.retention("kept"), 24);
    house.reload(&stream("3d")).await.unwrap();
    assert_eq!(house.retention("kept"), 72);
    let body = "{\"StreamName\":\"kept\",\"RetentionPeriodHours\":96}";
    let answer = house.gateway.engine().call("IncreaseStreamRetentionPeriod", body.as_bytes()).await;
    assert_eq!(answer.status, 200);
    house.reload(&format!("{}{TO_ONE}", stream("3d"))).await.unwrap();
    assert_eq!(house.retention("kept"), 96, "what the file says is not another than before");
    house.reload(&stream("2d")).await.unwrap();
    assert_eq!(house.retention("kept"), 48);
    house.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_go_to_the_stream_that_is_named_now() {
    let json = "[[routes]]\nmatch = \"#\"\ncodec = \"json\"\nstream = \"one\"\n";
    let house = House::start(json).await;
    house.publish("a", "no json").await;
    assert_eq!(
        house.reload(&format!("{json}[dead_letter]\nstream = \"lost\"\n")).await.unwrap().changed,
        ["dead_letter"]
    );
    house.publish("a", "nor this").await;
    assert_eq!((house.payloads("dead-letter").await.len(), house.payloads("lost").await.len()), (1, 1));
    house.gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_of_a_client_that_is_away_goes_on_after_a_reload() {
    let house = House::start(
        "[[routes]]\nmatch = \"#\"\ncodec = \"raw\"\nstream = \"one\"\nto = [\"stream\", \"downlink\"]\n",
    )
    .await;
    let addr = house.gateway.mqtt_addr();
    let mut subscriber = client(addr, "reader", None);
    subscriber.options.set_clean_session(false);
    subscriber.subscribe("a/#").await;
    subscriber.drop_connection();
    until("its session is kept", || house.gateway.ledger().mqtt.named().contains(&("sessions_kept", 1)))
        .await;
    house
        .reload(
            TO_ONE.replace("codec = \"raw\"", "codec = \"raw\"\nto = [\"stream\", \"downlink\"]").as_str(),
        )
        .await
        .unwrap();
    house.publish("a/1", "while away").await;
    assert_eq!(subscriber.next_message(QoS::AtLeastOnce).await, "while away");
    house.gateway.stop().await;
}
