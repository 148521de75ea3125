//! How long records wait: for a required sink as long as it takes, for others as long as the stream keeps them.

use super::far::{Far, Fault};
use crate::gateway_support::{PATIENCE, resize, store, until};
use headwater::config;
use headwater::forward::{Carried, Forwarders};
use headwater_engine::storage::AppendError;
use headwater_engine::{Clock, Engine, EngineConfig, ShardId, StreamName};
use headwater_relay::Seeded;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// An engine whose clock stands in the hand of the test, with small segments.
fn engine(dir: &std::path::Path, now_ms: &Arc<AtomicU64>) -> Engine {
    let journal = headwater_journal::Config {
        segment_bytes: 1 << 20,
        reserve_bytes: 0,
        ..headwater_journal::Config::small()
    };
    let now_ms = Arc::clone(now_ms);
    let clock = Clock::new(move || now_ms.load(Ordering::Relaxed));
    Engine::open(EngineConfig { journal, clock, ..EngineConfig::new(dir) }).unwrap().0
}

/// What became of 4,000 records that lie there for five days before the target can be reached, in a stream that keeps them for one.
async fn after_five_days(more: &str) -> (Carried, usize) {
    let (dir, far) = (tempfile::tempdir().unwrap(), Far::start(8).await);
    far.fault(Fault::Refuse);
    // A stream of this name, made in the same millisecond as the target's, would be taken for the target itself.
    let now_ms = Arc::new(AtomicU64::new(Clock::system().now_ms() + 1_000));
    let engine = engine(dir.path(), &now_ms);
    let stream = engine.ensure_stream(&StreamName::parse("telemetry").unwrap(), 1).await.unwrap();
    let sinks = config::parse("test", &far.sink(&format!("retry = {{ max = \"300ms\" }}\n{more}")))
        .unwrap()
        .config
        .sinks;
    let forwarders = Forwarders::start(&engine, &sinks, "dead-letter").await.unwrap();
    until("the sink has begun", || forwarders.carried().iter().any(|carried| carried.trouble.is_some()))
        .await;
    let mut chance = Seeded::new(7);
    for number in 0..4_000 {
        let mut batch = engine.batch();
        // Nothing that could be made smaller, and more than fits into memory: segments shall fill before they are read.
        let filler: String = (0..480).map(|_| format!("{:016x}", chance.next_u64())).collect();
        let data = format!("{{\"number\":{number},\"filler\":\"{filler}\"}}");
        batch.put(&stream, &format!("k{}", number % 100), None, data.as_bytes()).unwrap();
        store(&engine, &batch).await;
        if number % 1_000 == 999 {
            now_ms.fetch_add(36 * 3_600_000, Ordering::Relaxed);
        }
    }
    // The journal looks for what is too old when it is written to.
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    far.fault(Fault::None);
    let shown = || forwarders.carried().pop().unwrap();
    until("all has its end", || shown().ledger.stored >= 4_000 && shown().waiting == 0).await;
    let carried = shown();
    let arrived = far.records().await;
    forwarders.stop().await;
    for (key, numbers) in super::first_arrivals(&arrived) {
        assert!(numbers.is_sorted(), "{key} is in order");
    }
    (carried, arrived.len())
}

#[tokio::test(flavor = "multi_thread")]
async fn records_wait_past_their_retention_for_a_required_sink() {
    let (carried, arrived) = after_five_days("").await;
    assert_eq!((carried.ledger.delivered, arrived), (4_000, 4_000), "{carried}");
    assert_eq!(carried.ledger.dropped_total(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_expires_before_a_sink_that_is_not_required_had_it_is_counted() {
    let (carried, arrived) = after_five_days("required = false\n").await;
    let dropped: u64 = carried.dropped().filter(|(reason, _)| *reason == "age").map(|(_, count)| count).sum();
    assert!(dropped > 500, "nothing expired, the control says nothing: {carried}");
    assert_eq!(usize::try_from(carried.ledger.delivered).unwrap(), arrived);
    assert_eq!(carried.ledger.delivered + dropped, 4_000, "{carried}");
    assert!(carried.balances());
}

/// Puts `numbers` of twenty keys, 4 KiB each.
async fn put_large(engine: &Engine, numbers: std::ops::Range<u64>) {
    let stream = engine.stream(&StreamName::parse("telemetry").unwrap()).unwrap();
    for number in numbers {
        let mut batch = engine.batch();
        for key in 0..20 {
            let data = format!("{{\"number\":{number},\"filler\":\"{}\"}}", "x".repeat(4 << 10));
            batch.put(&stream, &format!("k{key}"), None, data.as_bytes()).unwrap();
        }
        store(engine, &batch).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn generations_of_shards_that_the_stream_has_forgotten_arrive_in_their_order_after_a_start() {
    let (dir, far) = (tempfile::tempdir().unwrap(), Far::start(4).await);
    far.fault(Fault::Refuse);
    let now_ms = Arc::new(AtomicU64::new(Clock::system().now_ms() + 1_000));
    let near = engine(dir.path(), &now_ms);
    let stream = near.ensure_stream(&StreamName::parse("telemetry").unwrap(), 1).await.unwrap();
    let sinks = config::parse("test", &far.sink("retry = { max = \"300ms\" }\n")).unwrap().config.sinks;
    let forwarders = Forwarders::start(&near, &sinks, "dead-letter").await.unwrap();
    until("the sink has begun", || forwarders.carried().iter().any(|carried| carried.trouble.is_some()))
        .await;
    // The first generation is far more than is read at once, the others are not.
    put_large(&near, 0..60).await;
    for (shards, numbers) in [(2, 60..62), (4, 62..64), (8, 64..66)] {
        resize(&near, "telemetry", shards).await;
        put_large(&near, numbers).await;
    }
    now_ms.fetch_add(48 * 3_600_000, Ordering::Relaxed);
    // Shards are forgotten when somebody changes others.
    resize(&near, "telemetry", 16).await;
    until("three generations are forgotten", || {
        (0..7).all(|id| stream.state().shards.get(ShardId(id)).is_none())
    })
    .await;
    put_large(&near, 66..68).await;
    forwarders.stop().await;
    near.close().await;
    drop((stream, near));

    let near = engine(dir.path(), &now_ms);
    let forwarders = Forwarders::start(&near, &sinks, "dead-letter").await.unwrap();
    far.fault(Fault::None);
    put_large(&near, 68..70).await;
    until("all is delivered", || {
        forwarders.carried().iter().any(|carried| carried.ledger.delivered == 1_400)
    })
    .await;
    super::assert_whole(&far.records().await, 20, 70);
    forwarders.stop().await;
}

/// A gateway's sink with room for 8 MiB, its target away, and 24 MiB put by somebody who takes no for an answer; how many were taken.
pub(super) async fn with_a_quota(more: &str) -> (Forwarders, Engine, Far, u64, tempfile::TempDir) {
    let (dir, far) = (tempfile::tempdir().unwrap(), Far::start(8).await);
    far.fault(Fault::Refuse);
    // A stream of this name, made in the same millisecond as the target's, would be taken for the target itself.
    let now_ms = Arc::new(AtomicU64::new(Clock::system().now_ms() + 1_000));
    let engine = engine(dir.path(), &now_ms);
    let stream = engine.ensure_stream(&StreamName::parse("telemetry").unwrap(), 2).await.unwrap();
    let more = format!("retry = {{ max = \"300ms\" }}\nmax_waiting = \"24MiB\"\n{more}");
    let sinks = config::parse("test", &far.sink(&more)).unwrap().config.sinks;
    let forwarders = Forwarders::start(&engine, &sinks, "dead-letter").await.unwrap();
    until("the sink has begun", || !forwarders.carried().is_empty()).await;
    let (mut chance, mut taken) = (Seeded::new(7), 0);
    for number in 0..6_000 {
        let mut batch = engine.batch();
        let filler: String = (0..480).map(|_| format!("{:016x}", chance.next_u64())).collect();
        let data = format!("{{\"number\":{number},\"filler\":\"{filler}\"}}");
        batch.put(&stream, &format!("k{}", number % 100), None, data.as_bytes()).unwrap();
        match engine.append_within(&batch, PATIENCE).await {
            Ok(commit) => {
                commit.await.unwrap();
                taken += 1;
            }
            Err(error) => assert_eq!(error, AppendError::Full),
        }
        if number % 500 == 499 {
            // The sink looks twice a second.
            tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        }
    }
    (forwarders, engine, far, taken, dir)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_with_too_much_waiting_takes_no_more_until_it_is_delivered() {
    let (forwarders, engine, far, taken, _dir) = with_a_quota("").await;
    assert!((1_000..5_500).contains(&taken), "{taken} of 6,000 were taken");
    far.fault(Fault::None);
    let shown = || forwarders.carried().pop().unwrap();
    until("all is delivered", || shown().ledger.delivered == taken).await;
    let stream = engine.stream(&StreamName::parse("telemetry").unwrap()).unwrap();
    until("the stream is open again", || {
        let mut batch = engine.batch();
        batch.put(&stream, "k", None, b"{\"number\":1}").unwrap();
        engine.append(&batch).is_ok()
    })
    .await;
    assert_eq!(shown().ledger.dropped_total(), 0);
    forwarders.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_that_stops_leaves_its_stream_open() {
    let (forwarders, engine, _far, taken, _dir) = with_a_quota("").await;
    assert!(taken < 5_500, "{taken} of 6,000 were taken");
    forwarders.stop().await;
    let stream = engine.stream(&StreamName::parse("telemetry").unwrap()).unwrap();
    let mut batch = engine.batch();
    batch.put(&stream, "k", None, b"{\"number\":1}").unwrap();
    store(&engine, &batch).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_oldest_that_a_sink_does_without_are_counted_and_written_down() {
    let (forwarders, engine, far, taken, _dir) = with_a_quota("when_full = \"drop_oldest\"\n").await;
    assert_eq!(taken, 6_000, "publishers do not notice");
    far.fault(Fault::None);
    let shown = || forwarders.carried().pop().unwrap();
    until("all has its end", || shown().ledger.stored >= 6_000 && shown().waiting == 0).await;
    let dropped: u64 =
        shown().dropped().filter(|(reason, _)| *reason == "quota").map(|(_, count)| count).sum();
    assert!(dropped > 300, "{}", shown());
    assert_eq!(shown().ledger.delivered + dropped, 6_000, "{}", shown());
    forwarders.stop().await;
    let letters = super::far::read_all(&engine, "dead-letter").await;
    let read = |letter: &[u8]| serde_json::from_slice::<serde_json::Value>(letter).unwrap();
    let noted: Vec<serde_json::Value> = letters.iter().map(|(_, letter)| read(letter)).collect();
    assert!(noted.iter().all(|noted| noted["kind"] == "dropped" && noted["reason"] == "quota"));
    assert_eq!(noted.iter().map(|noted| noted["count"].as_u64().unwrap()).sum::<u64>(), dropped);
}
