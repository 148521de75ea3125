//! The gateway whose books are looked at.

use crate::gateway_support::{PATIENCE, crash, damage, get, resize, store};
use headwater::{Gateway, Ledger, StreamRow, config};
use headwater_engine::storage::Cursor;
use headwater_engine::{Engine, StreamHandle, StreamName};
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;

const STREAM: &str = "telemetry";

pub(crate) struct Near {
    dir: tempfile::TempDir,
    gateway: Gateway,
}

async fn start(dir: &Path) -> Gateway {
    let text = format!(
        "[gateway]\nstate = {dir:?}\n[mqtt]\nlisten = \"127.0.0.1:0\"\n[kinesis]\nlisten = \"127.0.0.1:0\"\n\
         [http]\nlisten = \"127.0.0.1:0\"\n[journal]\nsegment = \"4MiB\"\nmax = \"64MiB\"\nreserve = \"0B\"\n\
         [streams.telemetry]\nshards = 2\n[[routes]]\nmatch = \"site/#\"\nstream = \"telemetry\"\ncodec = \"raw\"\n\
         [[routes]]\nmatch = \"plant/#\"\nstream = \"telemetry\"\ncodec = \"json\"\n"
    );
    Gateway::start(&config::parse("test", &text).unwrap().config).await.unwrap()
}

impl Near {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let gateway = start(dir.path()).await;
        Self { dir, gateway }
    }

    pub(crate) async fn stop(self) -> Ledger {
        self.gateway.stop().await
    }

    pub(crate) async fn stop_and_start(self) -> (Ledger, Self) {
        let Self { dir, gateway } = self;
        let ledger = gateway.stop().await;
        let gateway = start(dir.path()).await;
        (ledger, Self { dir, gateway })
    }

    /// Ends without stopping anything in order, and starts again.
    pub(crate) async fn crash_and_start(self) -> Self {
        self.again_after(|_| ()).await
    }

    /// As a crash, and the disk gives something else back than was written, in the middle of the records.
    pub(crate) async fn damage_and_start(self) -> Self {
        // The head of the file stays, and so do the first records; far less than what 2,000 take is damaged.
        self.again_after(|journal| damage(journal, 40 << 10..44 << 10)).await
    }

    async fn again_after(self, change: impl FnOnce(&Path)) -> Self {
        let Self { dir, gateway } = self;
        let copy = crash(gateway, dir.path(), change).await;
        let gateway = start(copy.path()).await;
        Self { dir: copy, gateway }
    }

    fn engine(&self) -> &Engine {
        self.gateway.engine()
    }

    fn stream(&self) -> StreamHandle {
        self.engine().stream(&StreamName::parse(STREAM).unwrap()).unwrap()
    }

    pub(crate) fn ledger(&self) -> Ledger {
        self.gateway.ledger()
    }

    pub(crate) fn row(&self, ledger: &Ledger) -> StreamRow {
        ledger.streams.iter().find(|row| row.stream == STREAM).unwrap().clone()
    }

    /// Publishes so often, and waits for every acknowledgement.
    pub(crate) async fn publish(&self, topic: &str, count: usize) {
        let addr = self.gateway.mqtt_addr();
        let mut options = MqttOptions::new(format!("c-{count}"), addr.ip().to_string(), addr.port());
        options.set_keep_alive(Duration::from_secs(30));
        let (client, mut events) = AsyncClient::new(options, count + 1);
        for number in 0..count {
            client.publish(topic, QoS::AtLeastOnce, false, format!("number {number}")).await.unwrap();
        }
        let acks = async {
            let mut acked = 0;
            while acked < count {
                if let Event::Incoming(Packet::PubAck(_)) = events.poll().await.unwrap() {
                    acked += 1;
                }
            }
        };
        tokio::time::timeout(PATIENCE, acks).await.unwrap();
    }

    pub(crate) async fn put_by_api(&self, calls: usize, records: usize) {
        for call in 0..calls {
            let records: Vec<Value> = (0..records)
                .map(|record| json!({"PartitionKey": format!("k{record}"), "Data": data(call)}))
                .collect();
            let body = json!({"StreamName": STREAM, "Records": records}).to_string();
            let answer = self.engine().call("PutRecords", body.as_bytes()).await;
            assert_eq!(answer.status, 200);
            let answer: Value = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(answer["FailedRecordCount"], 0);
        }
    }

    /// One record that the engine does not take: the sequence number it shall come after is none.
    pub(crate) async fn refused_by_api(&self) {
        let body =
            json!({"StreamName": STREAM, "PartitionKey": "k", "Data": "", "SequenceNumberForOrdering": "1"});
        let answer = self.engine().call("PutRecord", body.to_string().as_bytes()).await;
        assert_eq!(answer.status, 400);
    }

    pub(crate) async fn put_by_host(&self, records: usize) {
        for number in 0..records {
            let mut batch = self.engine().batch();
            batch.put(&self.stream(), &format!("h{number}"), None, b"host").unwrap();
            store(self.engine(), &batch).await;
        }
    }

    pub(crate) async fn resize(&self, shards: u32) {
        resize(self.engine(), STREAM, shards).await;
    }

    /// Deletes the stream and makes one of its name.
    pub(crate) async fn remake(&self) {
        let name = StreamName::parse(STREAM).unwrap();
        self.engine().delete_stream(&name).await.unwrap();
        self.engine().ensure_stream(&name, 2).await.unwrap();
    }

    /// Marks of the books.
    pub(crate) fn marks(&self) -> usize {
        self.engine().meta_list(b"g/books/").len()
    }

    pub(crate) fn records_of_the_journal(&self) -> u64 {
        self.engine().meta_list(b"g/books/").iter().map(|(_, value)| value.version).max().unwrap()
    }

    /// Records that can be read.
    pub(crate) async fn readable(&self) -> u64 {
        let mut count = 0;
        for shard in self.stream().state().shards.all() {
            let mut from = self.engine().locate(&self.stream(), shard.id, Cursor::TrimHorizon).await.unwrap();
            loop {
                let page =
                    self.engine().read(&self.stream(), shard.id, from, (1_000, 1 << 20)).await.unwrap();
                page.runs.iter().for_each(|run| run.visit(&mut |_| count += 1));
                from = page.next;
                if page.next == page.end {
                    break;
                }
            }
        }
        count
    }

    pub(crate) async fn get(&self, path: &str) -> String {
        get(self.gateway.http_addr(), path).await
    }
}

/// Data that does not get smaller, so that records take room on the disk.
fn data(call: usize) -> String {
    let mut chance = headwater_relay::Seeded::new(call as u64);
    let bytes: Vec<u8> = (0..12).flat_map(|_| chance.next_u64().to_le_bytes()).collect();
    base64_simd::STANDARD.encode_to_string(bytes)
}
