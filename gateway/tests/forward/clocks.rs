//! A gateway that boots in 1970, learns the time and is put back: what it has reaches its target, once and in order.

use super::far::{Far, Fault};
use crate::gateway_support::{store, until};
use headwater::config;
use headwater::forward::Forwarders;
use headwater_engine::{Clock, Engine, EngineConfig, Moment, StreamName};
use std::sync::{Arc, Mutex};

/// 2027-01-15.
const NOW_MS: u64 = 1_800_000_000_000;
const HOUR_MS: u64 = 3_600_000;

type Hands = Arc<Mutex<Moment>>;

fn open(dir: &std::path::Path, hands: &Hands) -> Engine {
    let hands = Arc::clone(hands);
    let journal = headwater_journal::Config {
        segment_bytes: 1 << 20,
        reserve_bytes: 0,
        // So that segments fill, and could expire.
        compression: headwater_journal::Compression::None,
        ..headwater_journal::Config::small()
    };
    let clock = Clock::of(move || *hands.lock().unwrap());
    Engine::open(EngineConfig { journal, clock, ..EngineConfig::new(dir) }).unwrap().0
}

/// Puts `numbers` of ten keys while a minute goes by for each number.
async fn put(engine: &Engine, hands: &Hands, numbers: std::ops::Range<u64>) {
    let stream = engine.ensure_stream(&StreamName::parse("telemetry").unwrap(), 2).await.unwrap();
    for number in numbers {
        let mut batch = engine.batch();
        for key in 0..10 {
            let data = format!("{{\"number\":{number},\"filler\":\"{}\"}}", "x".repeat(4_000));
            batch.put(&stream, &format!("k{key}"), None, data.as_bytes()).unwrap();
        }
        store(engine, &batch).await;
        let mut moment = hands.lock().unwrap();
        moment.wall_ms += 60_000;
        moment.uptime_ms += 60_000;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_without_a_clock_takes_arrives_once_and_in_order_whatever_its_clock_does() {
    let (dir, far) = (tempfile::tempdir().unwrap(), Far::start(3).await);
    let hands = Arc::new(Mutex::new(Moment { wall_ms: NOW_MS, uptime_ms: 9_000, is_certain: true }));
    let set = |wall_ms, is_certain| {
        let mut moment = hands.lock().unwrap();
        (moment.wall_ms, moment.is_certain) = (wall_ms, is_certain);
    };
    // A backlog of the life before, which nobody could take, for a sink that holds nothing back.
    let engine = open(dir.path(), &hands);
    put(&engine, &hands, 0..40).await;
    engine.close().await;
    drop(engine);
    // It boots in 1970.
    *hands.lock().unwrap() = Moment { wall_ms: 5_000, uptime_ms: 5_000, is_certain: false };
    let engine = open(dir.path(), &hands);
    far.fault(Fault::Refuse);
    let sink = far.sink("required = false\nretry = { max = \"300ms\" }\n");
    let sinks = config::parse("test", &sink).unwrap().config.sinks;
    let forwarders = Forwarders::start(&engine, &sinks, "dead-letter").await.unwrap();
    until("the sink has begun", || forwarders.carried().iter().any(|carried| carried.trouble.is_some()))
        .await;
    put(&engine, &hands, 40..80).await;
    // Today, a month later; three hours back; and the target can be reached.
    set(NOW_MS + 10 * HOUR_MS, true);
    put(&engine, &hands, 80..120).await;
    set(NOW_MS + 7 * HOUR_MS, true);
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    far.fault(Fault::None);
    put(&engine, &hands, 120..160).await;
    until("all is delivered", || forwarders.carried().pop().unwrap().ledger.delivered >= 1_600).await;
    set(NOW_MS + 900 * 24 * HOUR_MS, true);
    put(&engine, &hands, 160..180).await;
    until("all is delivered", || forwarders.carried().pop().unwrap().ledger.delivered >= 1_800).await;
    let carried = forwarders.carried().pop().unwrap();
    assert!(carried.balances() && carried.ledger.dropped_total() == 0, "{carried}");
    super::assert_whole(&far.records().await, 10, 180);
    forwarders.stop().await;
    // At home, too: sequence numbers rise over all of it, and nothing is hidden from a reader.
    let near = super::far::read_all(&engine, "telemetry").await;
    assert_eq!(near.len(), 1_800);
}
