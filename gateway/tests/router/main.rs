//! The routes over a real engine in a temporary directory: what was accepted is found, once, also after restarts.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod device;
mod once;
mod reader;

use device::{batch, body, hello};
use headwater::config;
use headwater::ingest::{Inbound, Ingest, IngestError, Verdict};
use headwater::route::{Router, RouterSettings};
use headwater_engine::{Engine, EngineConfig, StreamName};
use headwater_journal as journal;
use headwater_telemetry::{Schema, Up};
use reader::{json_records, records};
use std::path::Path;
use std::time::Duration;

const ROUTES: &str = r#"
[[routes]]
match = "headwater/{device}/birth"
codec = "headwater"
to = ["downlink"]
[[routes]]
match = "headwater/{device}/+"
codec = "headwater"
stream = "telemetry"
[[routes]]
match = "plant/{line}/{machine}/#"
codec = "json"
stream = "plant-{line}"
partition_key = "${payload.id}"
to = ["stream", "downlink"]
[[routes]]
match = "raw/#"
codec = "raw"
stream = "raw"
"#;

async fn open(dir: &Path, more: &str) -> Router {
    open_with(dir, more, |_| ()).await
}

async fn open_with(dir: &Path, more: &str, change: impl FnOnce(&mut journal::Config)) -> Router {
    let mut journal = journal::Config { reserve_bytes: 0, ..journal::Config::small() };
    change(&mut journal);
    let settings = EngineConfig { journal, ..EngineConfig::new(dir) };
    let (engine, recovery) = Engine::open(settings).unwrap();
    assert!(recovery.is_clean());
    let loaded = config::parse("test", &format!("{more}{ROUTES}")).unwrap();
    Router::open(engine, RouterSettings::of(&loaded.config)).await.unwrap()
}

fn publish<'a>(topic: &'a str, payload: &'a [u8]) -> Inbound<'a> {
    Inbound {
        client_id: "c1",
        topic,
        payload,
        qos: 1,
        retain: false,
        content_type: None,
        user_properties: &[],
    }
}

/// Offers until it is taken, and waits for the commit.
async fn offer(router: &Router, publishes: &[Inbound<'_>]) -> (Vec<Verdict>, Vec<bool>) {
    for _ in 0..500 {
        match router.ingest(publishes) {
            Ok(ingested) => {
                ingested.commit.await.unwrap();
                return (ingested.verdicts, ingested.downlink);
            }
            Err(IngestError::Busy) => tokio::time::sleep(Duration::from_millis(2)).await,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("never taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn publishes_reach_the_streams_and_keys_of_their_routes() {
    let dir = tempfile::tempdir().unwrap();
    let router = open(dir.path(), "").await;
    let payload = br#"{"id":"m7","t":21.5}"#;
    let publishes = [
        publish("plant/a/m7/state", payload),
        publish("plant/a/m7/state", b"ON"),
        publish("raw/x", b"\x00\xff"),
        publish("nowhere/x", b"1"),
        publish("plant/b c/m7/state", payload),
    ];
    let (verdicts, downlink) = offer(&router, &publishes).await;
    let accepted = Verdict::Accepted;
    assert_eq!(verdicts, [accepted, accepted, accepted, Verdict::NoRoute, accepted]);
    assert_eq!(downlink, [true, false, false, false, false]);

    let engine = router.engine();
    assert_eq!(records(engine, "plant-a").await, [("m7".to_owned(), payload.to_vec())]);
    assert_eq!(records(engine, "raw").await, [("c1".to_owned(), b"\x00\xff".to_vec())]);
    let letters = json_records(engine, "dead-letter").await;
    let reasons: Vec<&str> = letters.iter().map(|letter| letter["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons[0], "the payload is not JSON");
    assert!(reasons[1].contains("plant-b c"), "{}", reasons[1]);
    assert_eq!(letters[0]["payload"], "T04=");

    let counters = router.counters();
    assert_eq!(
        (counters.received, counters.stored, counters.dead_lettered, counters.unmatched),
        (5, 2, 2, 1)
    );
    assert_eq!(router.unmatched(), (vec![("nowhere/x".to_owned(), 1)], 0));
    engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_under_a_wrong_name_are_dead_letters() {
    let dir = tempfile::tempdir().unwrap();
    let router = open(dir.path(), "").await;
    let mut lying = hello("d1");
    lying.schema = Schema(lying.schema.0 ^ 1);
    let (honest, lying) = (body(&Up::Hello(hello("d1"))), body(&Up::Hello(lying)));
    let readings = batch(1, 0, 3, Schema(1));
    let publishes = [
        publish("headwater/other/birth", &honest),
        publish("headwater/d1/birth", &lying),
        publish("headwater/d 1/batch", &readings),
        publish("headwater/d1/batch", &readings[1..]),
    ];
    offer(&router, &publishes).await;
    let letters = json_records(router.engine(), "dead-letter").await;
    let reasons: Vec<&str> = letters.iter().map(|letter| letter["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons[0], "the hello is of device d1, the topic of other");
    assert!(reasons[1].starts_with("the hello says schema "), "{}", reasons[1]);
    assert!(reasons[2].starts_with("the topic's device id has ' '"), "{}", reasons[2]);
    assert_eq!(reasons[3], "frame has a checksum that does not match");
    router.engine().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_created_only_where_that_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let more = "[stream_defaults]\ncreate = false\n[streams.plant-a]\nshards = 3\nretention = \"48h\"\n";
    let router = open(dir.path(), more).await;
    let payload = br#"{"id":"m7"}"#;
    offer(&router, &[publish("plant/a/m/x", payload), publish("plant/b/m/x", payload)]).await;
    let names: Vec<String> =
        router.engine().streams().iter().map(|stream| stream.name().to_string()).collect();
    assert_eq!(names, ["dead-letter", "plant-a"]);
    let stream = router.engine().stream(&StreamName::parse("plant-a").unwrap()).unwrap();
    assert_eq!(stream.state().definition.retention_hours, 48);
    let letters = json_records(router.engine(), "dead-letter").await;
    assert_eq!(letters[0]["reason"], "stream plant-b does not exist and may not be created");
    router.engine().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_stream_is_made_again_on_first_use() {
    let dir = tempfile::tempdir().unwrap();
    let router = open(dir.path(), "").await;
    offer(&router, &[publish("raw/x", b"1")]).await;
    router.engine().delete_stream(&StreamName::parse("raw").unwrap()).await.unwrap();
    assert_eq!(router.ingest(&[publish("raw/x", b"2")]).err(), Some(IngestError::Busy));
    offer(&router, &[publish("raw/x", b"2")]).await;
    assert_eq!(records(router.engine(), "raw").await, [("c1".to_owned(), b"2".to_vec())]);
    router.engine().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_the_engine_has_no_room_for_holds_up_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let router = open(dir.path(), "").await;
    let engine = router.engine();
    let (most, all) = (headwater_engine::limits::SHARDS_PER_STREAM_MAX, headwater_engine::limits::SHARDS_MAX);
    engine.create_stream(&StreamName::parse("large").unwrap(), most).await.unwrap();
    let open = u32::try_from(engine.counters().open_shards).unwrap();
    engine.create_stream(&StreamName::parse("rest").unwrap(), all - open).await.unwrap();
    let payload = br#"{"id":"m7"}"#;
    let publishes = [publish("plant/a/m7/state", payload), publish("raw/x", b"x")];
    let (verdicts, _) = offer(&router, &publishes).await;
    assert_eq!(verdicts, [Verdict::Accepted; 2]);
    assert_eq!(records(engine, "raw").await.len(), 1);
    let letters = json_records(engine, "dead-letter").await;
    assert!(
        letters[0]["reason"].as_str().unwrap().contains("stream plant-a cannot be created"),
        "{letters:?}"
    );
    router.engine().close().await;
}
