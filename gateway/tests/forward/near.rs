//! The gateway that forwards.

use crate::gateway_support::{crash, damage, resize, store, until};
use headwater::forward::Carried;
use headwater::{Gateway, config};
use headwater_engine::{Engine, StreamHandle, StreamName};
use serde_json::{Value, json};
use std::ops::Range;

pub(crate) struct Near {
    dir: tempfile::TempDir,
    sink: String,
    gateway: Gateway,
}

async fn start(dir: &std::path::Path, sink: &str) -> Gateway {
    let text = format!(
        "[gateway]\nstate = {dir:?}\n[mqtt]\nlisten = \"127.0.0.1:0\"\n[kinesis]\nlisten = \"127.0.0.1:0\"\n\
         [http]\nlisten = \"127.0.0.1:0\"\n[journal]\nsegment = \"8MiB\"\nmax = \"256MiB\"\nreserve = \"0B\"\n\
         [streams.telemetry]\nshards = 2\n{sink}"
    );
    Gateway::start(&config::parse("test", &text).unwrap().config).await.unwrap()
}

impl Near {
    pub(crate) async fn start(sink: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let gateway = start(dir.path(), sink).await;
        let near = Self { dir, sink: sink.to_owned(), gateway };
        until("the sink has found the stream", || !near.gateway.ledger().carried.is_empty()).await;
        near
    }

    /// Ends without stopping anything in order, and starts again in the same directory.
    pub(crate) async fn crash_and_start(self) -> Self {
        self.crash_and_start_on(|_| ()).await
    }

    /// As a crash, and the disk gives something else back than was written, in the middle of the records.
    pub(crate) async fn damage_and_start(self) -> Self {
        self.crash_and_start_on(|journal| damage(journal, 200 << 10..240 << 10)).await
    }

    async fn crash_and_start_on(self, change: impl FnOnce(&std::path::Path)) -> Self {
        let Self { dir, sink, gateway } = self;
        let copy = crash(gateway, dir.path(), change).await;
        let gateway = start(copy.path(), &sink).await;
        let near = Self { dir: copy, sink, gateway };
        until("the sink has found the stream", || !near.gateway.ledger().carried.is_empty()).await;
        near
    }

    /// Stops, and starts with another sink, or none.
    pub(crate) async fn restart(self, sink: &str) -> Self {
        let Self { dir, gateway, .. } = self;
        gateway.stop().await;
        let gateway = start(dir.path(), sink).await;
        let near = Self { dir, sink: sink.to_owned(), gateway };
        until("the sink has found the stream", || sink.is_empty() || near.shown() > 0).await;
        near
    }

    /// Lets the stream of dead letters take nothing.
    pub(crate) fn hold_letters_back(&self) {
        self.engine().hold_back(&self.stream("dead-letter"), "test", true);
    }

    pub(crate) fn ledger(&self) -> headwater::Ledger {
        self.gateway.ledger()
    }

    pub(crate) async fn stop(self) -> headwater::Ledger {
        self.gateway.stop().await
    }

    fn engine(&self) -> &Engine {
        self.gateway.engine()
    }

    fn stream(&self, name: &str) -> StreamHandle {
        self.engine().stream(&StreamName::parse(name).unwrap()).unwrap()
    }

    /// Puts `numbers` of so many keys, durably.
    pub(crate) async fn put(&self, keys: usize, numbers: Range<u64>) {
        for number in numbers {
            let mut batch = self.engine().batch();
            for key in 0..keys {
                let data = json!({"number": number}).to_string();
                batch.put(&self.stream("telemetry"), &format!("k{key}"), None, data.as_bytes()).unwrap();
            }
            store(self.engine(), &batch).await;
        }
    }

    pub(crate) async fn dead_letter_stream(&self) {
        self.engine().ensure_stream(&StreamName::parse("dead-letter").unwrap(), 1).await.unwrap();
    }

    /// How many records a stream of ours has.
    pub(crate) async fn records_of(&self, stream: &str) -> usize {
        super::far::read_all(self.engine(), stream).await.len()
    }

    /// Every stream on its way.
    pub(crate) fn all_carried(&self) -> Vec<Carried> {
        self.gateway.ledger().carried
    }

    pub(crate) async fn put_large(&self, key: &str, bytes: usize) {
        self.put_large_to("telemetry", key, bytes).await;
    }

    pub(crate) async fn put_large_to(&self, stream: &str, key: &str, bytes: usize) {
        let arn = self.stream(stream).arn().to_owned();
        self.call("UpdateMaxRecordSize", json!({"StreamARN": arn, "MaxRecordSizeInKiB": 2048})).await;
        let mut batch = self.engine().batch();
        batch.put(&self.stream(stream), key, None, &vec![7; bytes]).unwrap();
        store(self.engine(), &batch).await;
    }

    pub(crate) async fn delete(&self) {
        self.engine().delete_stream(&StreamName::parse("telemetry").unwrap()).await.unwrap();
    }

    pub(crate) async fn create(&self) {
        self.engine().ensure_stream(&StreamName::parse("telemetry").unwrap(), 2).await.unwrap();
    }

    /// Cursors of sinks that are stored.
    pub(crate) fn cursors(&self) -> usize {
        self.engine().meta_list(b"g/sink/").len()
    }

    /// Streams that are shown on their way.
    pub(crate) fn shown(&self) -> usize {
        self.gateway.ledger().carried.len()
    }

    pub(crate) async fn resize(&self, shards: u32) {
        resize(self.engine(), "telemetry", shards).await;
    }

    async fn call(&self, operation: &str, body: Value) {
        let answer = self.engine().call(operation, body.to_string().as_bytes()).await;
        assert_eq!(answer.status, 200, "{operation}: {}", String::from_utf8_lossy(&answer.body));
    }

    pub(crate) fn carried(&self) -> Carried {
        self.gateway.ledger().carried.into_iter().find(|carried| carried.stream == "telemetry").unwrap()
    }

    pub(crate) async fn letters(&self) -> Vec<Value> {
        let records = super::far::read_all(self.engine(), "dead-letter").await;
        records.iter().map(|(_, data)| serde_json::from_slice(data).unwrap()).collect()
    }
}
