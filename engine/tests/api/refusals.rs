//! A log that hesitates or refuses, and what clients are told.

use crate::support::{Server, small};
use headwater_engine::storage::embedded::{EmbeddedLog, EmbeddedMeta};
use headwater_engine::storage::{
    AppendError, AppendSet, BoxFuture, CommitError, Cursor, Fence, LogState, Page, Pending, Position,
    ReadError, ReadLimits, ShardKey, ShardLog,
};
use headwater_engine::{Clock, Engine, EngineConfig, StreamNumber};
use headwater_journal::Journal;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::watch;

/// The embedded log behind a gate.
struct Gated {
    log: EmbeddedLog,
    gate: Gate,
}

#[derive(Clone)]
struct Gate {
    /// What the next appends are refused with.
    refusal: Arc<Mutex<Option<AppendError>>>,
    /// Largest set that is taken.
    records_max: Arc<Mutex<usize>>,
    /// Whether commits may resolve.
    open: watch::Sender<bool>,
}

impl ShardLog for Gated {
    fn append(&self, set: &AppendSet, now_ms: u64) -> Result<Pending, AppendError> {
        if let Some(error) = self.gate.refusal.lock().unwrap().clone() {
            return Err(error);
        }
        if set.len() > *self.gate.records_max.lock().unwrap() {
            return Err(AppendError::TooLarge { found: set.bytes(), limit: 1 });
        }
        let (pending, mut open) = (self.log.append(set, now_ms)?, self.gate.open.subscribe());
        Ok(Box::pin(async move {
            let acks = pending.await?;
            open.wait_for(|&open| open).await.unwrap();
            Ok(acks)
        }))
    }
    fn barrier(&self) -> Pending {
        self.log.barrier()
    }
    fn locate(&self, shard: ShardKey, cursor: Cursor) -> BoxFuture<'_, Result<Position, ReadError>> {
        self.log.locate(shard, cursor)
    }
    fn read(
        &self,
        shard: ShardKey,
        from: Position,
        limits: ReadLimits,
    ) -> BoxFuture<'_, Result<Page, ReadError>> {
        self.log.read(shard, from, limits)
    }
    fn wait(&self, shard: ShardKey, from: Position) -> BoxFuture<'_, Result<(), CommitError>> {
        self.log.wait(shard, from)
    }
    fn trim(&self, shard: ShardKey, before: Position) {
        self.log.trim(shard, before);
    }

    fn hold(&self, shard: ShardKey, from: Option<Position>) {
        self.log.hold(shard, from);
    }
    fn seal(&self, shard: ShardKey, fence: Fence) -> BoxFuture<'_, Result<Position, CommitError>> {
        self.log.seal(shard, fence)
    }
    fn retain(&self, stream: StreamNumber, max_age_ms: u64) {
        self.log.retain(stream, max_age_ms);
    }
    fn learn_key(&self, stream: StreamNumber, key: u16, secret: &[u8; 32]) {
        self.log.learn_key(stream, key, secret);
    }
    fn encrypt_with(&self, stream: StreamNumber, key: Option<u16>) {
        self.log.encrypt_with(stream, key);
    }
    fn forget_keys(&self, stream: StreamNumber) {
        self.log.forget_keys(stream);
    }
    fn drop_stream(&self, stream: StreamNumber) {
        self.log.drop_stream(stream);
    }
    fn state(&self) -> LogState {
        self.log.state()
    }
}

fn gated(dir: &tempfile::TempDir) -> (Server, Gate) {
    let clock = Clock::system();
    let (journal, _) = Journal::open(dir.path(), small(), clock.now_ms()).unwrap();
    let log = EmbeddedLog::new(journal);
    let meta = EmbeddedMeta::new(&log);
    let open = watch::Sender::new(true);
    let gate = Gate { refusal: Arc::default(), records_max: Arc::new(Mutex::new(usize::MAX)), open };
    let gated = Gated { log, gate: gate.clone() };
    let config = EngineConfig { clock, ..EngineConfig::new(dir.path()) };
    let engine = Engine::on(Arc::new(gated), Arc::new(meta), &config);
    let server = Server::start(engine);
    server.client().call("CreateStream", &json!({ "StreamName": "s", "ShardCount": 2 }));
    (server, gate)
}

fn record() -> Value {
    json!({ "StreamName": "s", "Data": "aGk=", "PartitionKey": "k" })
}

fn records(count: usize) -> Value {
    let record = |i| json!({ "Data": "aGk=", "PartitionKey": format!("k{i}") });
    json!({ "StreamName": "s", "Records": (0..count).map(record).collect::<Vec<_>>() })
}

#[test]
fn nothing_is_answered_before_it_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let (server, gate) = gated(&dir);
    gate.open.send_replace(false);
    let (mut one, mut many) = (server.client(), server.client());
    one.send("PutRecord", record().to_string().as_bytes());
    many.send("PutRecords", records(3).to_string().as_bytes());
    for client in [&mut one, &mut many] {
        let socket = client.socket.get_ref();
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        let early = socket.peek(&mut [0]);
        assert!(early.is_err(), "answered before the commit: {early:?}");
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    }
    gate.open.send_replace(true);
    assert_eq!(one.receive().status, 200);
    assert_eq!(many.receive().json()["FailedRecordCount"], 0);
    server.stop();
}

#[test]
fn a_busy_log_is_throttling() {
    let dir = tempfile::tempdir().unwrap();
    let (server, gate) = gated(&dir);
    let mut client = server.client();
    *gate.refusal.lock().unwrap() = Some(AppendError::Busy);
    let answer = client.ask("PutRecord", &record());
    assert_eq!(
        (answer.status, &answer.json()["__type"]),
        (400, &json!("ProvisionedThroughputExceededException"))
    );
    let answer = client.call("PutRecords", &records(3));
    assert_eq!(answer["FailedRecordCount"], 3);
    for result in answer["Records"].as_array().unwrap() {
        assert_eq!(result["ErrorCode"], "ProvisionedThroughputExceededException");
        assert!(
            result["ErrorMessage"]
                .as_str()
                .unwrap()
                .starts_with("Rate exceeded for shard shardId-00000000000")
        );
        assert!(result.get("SequenceNumber").is_none());
    }
    assert!(server.engine.counters().records_refused >= 4);
    // Room that comes within the wait is used.
    let freed = gate.clone();
    let later = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(50));
        *freed.refusal.lock().unwrap() = None;
    });
    client.call("PutRecord", &record());
    later.join().unwrap();
    server.stop();
}

#[test]
fn a_full_log_is_an_internal_failure_and_a_stopped_one_unavailable() {
    let dir = tempfile::tempdir().unwrap();
    let (server, gate) = gated(&dir);
    let mut client = server.client();
    *gate.refusal.lock().unwrap() = Some(AppendError::Full);
    let answer = client.ask("PutRecord", &record());
    assert_eq!((answer.status, &answer.json()["__type"]), (500, &json!("InternalFailureException")));
    assert!(answer.json()["message"].as_str().unwrap().contains("full"));
    let answer = client.call("PutRecords", &records(2));
    assert_eq!(answer["Records"][1]["ErrorCode"], "InternalFailure");
    assert!(answer["Records"][1]["ErrorMessage"].as_str().unwrap().contains("full"));
    *gate.refusal.lock().unwrap() = Some(AppendError::Failed("no power".into()));
    for (operation, body) in [("PutRecord", record()), ("PutRecords", records(2))] {
        let answer = client.ask(operation, &body);
        assert_eq!((answer.status, &answer.json()["__type"]), (503, &json!("ServiceUnavailableException")));
    }
    server.stop();
}

#[test]
fn a_call_larger_than_one_append_is_put_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let (server, gate) = gated(&dir);
    let mut client = server.client();
    *gate.records_max.lock().unwrap() = 7;
    let answer = client.call("PutRecords", &records(100));
    assert_eq!(answer["FailedRecordCount"], 0);
    let results = answer["Records"].as_array().unwrap();
    assert_eq!(results.len(), 100);
    for shard in ["shardId-000000000000", "shardId-000000000001"] {
        let numbers: Vec<_> =
            results.iter().filter(|r| r["ShardId"] == shard).map(|r| r["SequenceNumber"].as_str()).collect();
        assert!(numbers.len() > 10 && numbers.windows(2).all(|pair| pair[0] < pair[1]));
    }
    *gate.records_max.lock().unwrap() = 0;
    assert_eq!(client.call("PutRecords", &records(4))["FailedRecordCount"], 4);
    server.stop();
}
