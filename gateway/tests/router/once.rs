//! What a device sends is stored once: repeats, boots, gaps, refusals, restarts.

use super::{batch, body, hello, json_records, offer, open, open_with, publish};
use headwater::ingest::{Inbound, Ingest, IngestError};
use headwater_engine::StreamName;
use headwater_telemetry::{BatchBuilder, BootId, ChannelId, Hello, Schema, Seq, Up, Uptime, Value};
use std::collections::BTreeSet;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn repeats_are_stored_once_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let schema = hello("d1").schema;
    let router = open(dir.path(), "").await;
    let topic = "headwater/d1/batch";
    let birth = body(&Up::Hello(hello("d1")));
    let (_, downlink) = offer(&router, &[publish("headwater/d1/birth", &birth)]).await;
    assert_eq!(downlink, [true]);
    let first = batch(1, 0, 10, schema);
    offer(&router, &[publish(topic, &first), publish(topic, &first)]).await;
    offer(&router, &[publish(topic, &first)]).await;
    assert_eq!((router.counters().stored, router.counters().repeated), (2, 2));
    router.engine().close().await;
    drop(router);

    let router = open(dir.path(), "").await;
    // Cut differently, as after a restart of the device's sender: 5 to 14, of which 10 to 14 are new.
    offer(&router, &[publish(topic, &first), publish(topic, &batch(1, 5, 10, schema))]).await;
    let (_, downlink) = offer(&router, &[publish("headwater/d1/birth", &birth)]).await;
    assert_eq!(downlink, [true], "a device that is back is told to subscribers");
    let found = json_records(router.engine(), "telemetry").await;
    let seqs: Vec<u64> = found.iter().map(|record| record["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (0..15).collect::<Vec<_>>());
    // The channel table came back from the metadata.
    assert_eq!(found[14]["channel"], "flow");
    assert_eq!(found[14]["unit"], "l/min");
    assert!(router.counters().readings_without_channels == 0);
    router.engine().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_boot_is_news_from_the_device_and_a_repeat_from_an_agent() {
    let dir = tempfile::tempdir().unwrap();
    let router = open(dir.path(), "").await;
    let schema = hello("d1").schema;
    let hello_of = |boot| body(&Up::Hello(Hello { boot: BootId(boot), ..hello("d1") }));
    let (births, batches) = ([hello_of(1), hello_of(2)], [batch(1, 0, 10, schema), batch(2, 0, 10, schema)]);
    // An agent sends its spool again when the acks of all four were lost.
    for _ in 0..2 {
        for (birth, batch) in births.iter().zip(&batches) {
            offer(&router, &[publish("headwater/d1/birth", birth), publish("headwater/d1/batch", batch)])
                .await;
        }
    }
    assert_eq!(json_records(router.engine(), "telemetry").await.len(), 20);
    // The device itself comes with a boot that was long ago: it was erased and counts again.
    let own = |topic, payload| Inbound { client_id: "d1", ..publish(topic, payload) };
    offer(&router, &[own("headwater/d1/birth", &births[0]), own("headwater/d1/batch", &batches[0])]).await;
    assert_eq!(json_records(router.engine(), "telemetry").await.len(), 30);
    assert_eq!(router.counters().boots_forgotten, 2);
    router.engine().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gap_is_a_record_and_its_numbers_are_not_missing() {
    let dir = tempfile::tempdir().unwrap();
    let router = open(dir.path(), "").await;
    let mut builder = BatchBuilder::new(BootId(3), Seq(0), Schema(9), Uptime(0));
    builder.gap(Uptime(5), 100).unwrap();
    builder.reading(Uptime(6), ChannelId(0), Value::Fixed(1)).unwrap();
    let gap = body(&Up::Batch(builder.finish(None)));
    offer(&router, &[publish("headwater/d2/batch", &gap)]).await;
    // The ring lost more before the first report was acknowledged: only what is new in the larger gap counts.
    let mut builder = BatchBuilder::new(BootId(3), Seq(0), Schema(9), Uptime(0));
    builder.gap(Uptime(5), 120).unwrap();
    offer(&router, &[publish("headwater/d2/batch", &body(&Up::Batch(builder.finish(None))))]).await;

    let found = json_records(router.engine(), "telemetry").await;
    let lines: Vec<(&str, u64, Option<u64>)> = found
        .iter()
        .map(|r| {
            let place = if r["kind"] == "gap" { "first" } else { "seq" };
            (r["kind"].as_str().unwrap(), r[place].as_u64().unwrap(), r["count"].as_u64())
        })
        .collect();
    assert_eq!(lines, [("gap", 0, Some(100)), ("reading", 100, None), ("gap", 101, Some(19))]);
    assert_eq!(found[1]["raw"], 1);
    assert_eq!(router.counters().lost_at_devices, 119);
    router.engine().close().await;
}

/// Fills the disk's allowance, has a device's batch refused, makes room, and offers it again.
#[tokio::test(flavor = "multi_thread")]
async fn a_refused_batch_leaves_no_marks() {
    let dir = tempfile::tempdir().unwrap();
    let router = open_with(dir.path(), "", |journal| journal.size_bytes_max = 16 << 20).await;
    let big = vec![7; 900_000];
    let full = loop {
        match router.ingest(&[publish("raw/x", &big)]) {
            Ok(ingested) => ingested.commit.await.unwrap(),
            Err(IngestError::Busy) => tokio::time::sleep(Duration::from_millis(2)).await,
            Err(error) => break error,
        }
    };
    assert_eq!(full, IngestError::Full);
    let readings = batch(1, 0, 24, Schema(1));
    let mut refused = 0;
    // Small sets may still fit into what is left of the last segment.
    for device in 0..20_000 {
        let topic = format!("headwater/dev-{device}/batch");
        match router.ingest(&[publish(&topic, &readings)]) {
            Ok(ingested) => ingested.commit.await.unwrap(),
            Err(IngestError::Full) => {
                refused += 1;
                router.engine().delete_stream(&StreamName::parse("raw").unwrap()).await.ok();
                let before = router.counters();
                for _ in 0..1_000 {
                    match router.ingest(&[publish(&topic, &readings)]) {
                        Ok(ingested) => {
                            ingested.commit.await.unwrap();
                            break;
                        }
                        Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                    }
                }
                assert_eq!(
                    router.counters().stored,
                    before.stored + 1,
                    "what was refused is new when it comes again"
                );
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(refused, 1);
    router.engine().close().await;
}

/// Random batches of some devices, repeats and restarts included, against the set of everything ever sent: after all
/// of it every entry is stored exactly once, in order.
#[tokio::test(flavor = "multi_thread")]
async fn random_histories_are_stored_exactly_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut state = 42_u64;
    let mut below = |limit: u32| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(state >> 33).unwrap() % limit
    };
    // Few in memory, so that devices leave and come back from the metadata.
    let mut router = open(dir.path(), "[repeats]\ndevices_in_memory = 16\n").await;
    let mut sent = BTreeSet::new();
    let mut next = [[0_u32; 3]; 30];
    for _ in 0..400 {
        let (device, boot) = (below(30), below(3));
        let at = &mut next[device as usize][boot as usize];
        let first = at.saturating_sub(below(20));
        let count = 1 + below(24);
        *at = (*at).max(first + count);
        let name = format!("dev-{device}");
        sent.extend((first..first + count).map(|seq| (name.clone(), boot, seq)));
        let topic = format!("headwater/{name}/batch");
        offer(&router, &[publish(&topic, &batch(boot, first, count, Schema(1)))]).await;
        if below(40) == 0 {
            router.engine().close().await;
            drop(router);
            router = open(dir.path(), "[repeats]\ndevices_in_memory = 16\n").await;
        }
        assert!(router.devices_in_memory() <= 17);
    }
    let found: Vec<(String, u32, u32)> = json_records(router.engine(), "telemetry")
        .await
        .iter()
        .map(|record| {
            let number = |key: &str| u32::try_from(record[key].as_u64().unwrap()).unwrap();
            (record["device"].as_str().unwrap().to_owned(), number("boot"), number("seq"))
        })
        .collect();
    assert_eq!(found.len(), sent.len(), "each entry once");
    assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), sent, "each entry");
    for device in 0..30 {
        for boot in 0..3 {
            let name = format!("dev-{device}");
            let seqs: Vec<u32> =
                found.iter().filter(|(d, b, _)| *d == name && *b == boot).map(|(_, _, seq)| *seq).collect();
            assert!(seqs.is_sorted(), "{name} boot {boot}: {seqs:?}");
        }
    }
    router.engine().close().await;
}
