//! The shards of a fleet in virtual time: the routes of the configuration over an engine on a journal of its own, on the
//! fleet's clock.
//!
//! In: publishes with their virtual time. Out: verdicts after the commit; every record at the end. Invariant: what a fleet finds
//! here depends on what it published and when, not on this machine: one append for each call, the clock stands still meanwhile,
//! and nothing has a number drawn by chance. Journal files themselves differ from run to run (how groups are cut, padding); what
//! can be read out of them does not.

use crate::config::Config;
use crate::gateway::journal_config;
use crate::ingest::{Inbound, Ingest, IngestError, Verdict as Taken};
use crate::route::{Router, RouterSettings};
use base64_simd::STANDARD;
use headwater_engine::{Answer, Clock, Engine, EngineConfig};
use headwater_sim::virtual_time::{EPOCH_MS, Publish, Sink, SinkError, Stored, Verdict};
use serde::Deserialize;
use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// The longest retention the Kinesis API knows: virtual days pass in minutes, and none of them may fall out of the check.
const RETENTION_HOURS: u32 = 365 * 24;

/// A batch that storage has no room for at the moment is offered again after this, for so long.
const BUSY_PAUSE: Duration = Duration::from_millis(1);
const BUSY_MAX: Duration = Duration::from_secs(30);

/// Routes and shards in virtual time.
pub(super) struct Shards {
    runtime: Handle,
    engine: Engine,
    router: Router,
    now_ms: Arc<AtomicU64>,
}

impl Shards {
    /// Opens routes and shards with their journal in `dir`, which is made. Call inside a tokio runtime.
    pub(super) async fn open(config: &Config, dir: &Path) -> Result<Shards, SinkError> {
        let failed = |what: &str, error: &dyn std::error::Error| {
            let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
            SinkError(format!("{what} {} {error}{cause}", dir.display()))
        };
        std::fs::create_dir_all(dir).map_err(|error| failed("directory", &error))?;
        let now_ms = Arc::new(AtomicU64::new(EPOCH_MS));
        let told = Arc::clone(&now_ms);
        let clock = Clock::new(move || told.load(Relaxed));
        let settings = EngineConfig {
            journal: journal_config(&config.journal),
            region: config.kinesis.region.clone(),
            account: config.kinesis.account.clone(),
            clock: clock.clone(),
            ..EngineConfig::new(dir)
        };
        let opened = tokio::task::spawn_blocking(move || Engine::open(settings)).await;
        let opened = opened.map_err(|error| failed("journal in", &error))?;
        let (engine, _) = opened.map_err(|error| failed("journal in", &error))?;
        let mut settings = RouterSettings { clock, ..RouterSettings::of(config) };
        settings.stream_defaults.retention_hours = RETENTION_HOURS;
        for stream in settings.streams.values_mut() {
            stream.retention_hours = RETENTION_HOURS;
        }
        let router = Router::open(engine.clone(), settings).await;
        let router = router.map_err(|error| failed("routes over", &error))?;
        Ok(Shards { runtime: Handle::current(), engine, router, now_ms })
    }

    /// Closes the journal.
    pub(super) async fn close(self) {
        self.engine.close().await;
    }

    /// Takes what was published and waits until it is durable.
    pub(super) fn take(&self, inbound: &[Inbound<'_>]) -> Result<Vec<Taken>, SinkError> {
        let began = Instant::now();
        let ingested = loop {
            match self.router.ingest(inbound) {
                Ok(ingested) => break ingested,
                // Nothing was staged, so trying again changes nothing but the time it takes.
                Err(IngestError::Busy) if began.elapsed() < BUSY_MAX => std::thread::sleep(BUSY_PAUSE),
                Err(error) => return Err(SinkError(error.to_string())),
            }
        };
        self.runtime.block_on(ingested.commit).map_err(|error| SinkError(error.to_string()))?;
        Ok(ingested.verdicts)
    }

    fn call<'a, T: Deserialize<'a>>(
        &self,
        operation: &str,
        asked: &serde_json::Value,
        body: &'a mut Vec<u8>,
    ) -> Result<T, SinkError> {
        let Answer { status, body: answer } =
            self.runtime.block_on(self.engine.call(operation, asked.to_string().as_bytes()));
        *body = answer;
        if status != 200 {
            return Err(SinkError(format!("{operation}: {}", String::from_utf8_lossy(body))));
        }
        serde_json::from_slice(body).map_err(|error| SinkError(format!("{operation}: {error}")))
    }

    fn read_shard(
        &self,
        stream: &str,
        shard: &str,
        visit: &mut dyn FnMut(Stored<'_>),
    ) -> Result<(), SinkError> {
        let (mut body, mut data) = (Vec::new(), Vec::new());
        let asked = serde_json::json!({
            "StreamName": stream, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"
        });
        let mut next: Iterator = self.call("GetShardIterator", &asked, &mut body)?;
        let name = format!("{stream}/{shard}");
        loop {
            let asked = serde_json::json!({ "ShardIterator": next.shard_iterator });
            let page: Page<'_> = self.call("GetRecords", &asked, &mut body)?;
            for record in &page.records {
                data.clear();
                let wrong = |_| SinkError("GetRecords: Data is not Base64".to_owned());
                STANDARD.decode_append(record.data.as_bytes(), &mut data).map_err(wrong)?;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "seconds since 1970 with ms"
                )]
                let arrived_ms = (record.arrived_s * 1_000.0).round() as u64;
                let (number, key) = (&*record.number, &*record.key);
                visit(Stored { shard: &name, number, key, arrived_ms, data: &data });
            }
            let is_end = page.records.is_empty() && page.behind_ms == 0;
            match page.next {
                Some(iterator) if !is_end => next.shard_iterator = iterator.into_owned(),
                _ => return Ok(()),
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Iterator {
    shard_iterator: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Page<'a> {
    #[serde(borrow)]
    records: Vec<Record<'a>>,
    #[serde(borrow, rename = "NextShardIterator")]
    next: Option<Cow<'a, str>>,
    #[serde(rename = "MillisBehindLatest")]
    behind_ms: u64,
}

#[derive(Deserialize)]
struct Record<'a> {
    #[serde(borrow, rename = "SequenceNumber")]
    number: Cow<'a, str>,
    #[serde(borrow, rename = "PartitionKey")]
    key: Cow<'a, str>,
    #[serde(rename = "ApproximateArrivalTimestamp")]
    arrived_s: f64,
    #[serde(borrow, rename = "Data")]
    data: Cow<'a, str>,
}

/// As an agent publishes it: one client for all devices.
pub(super) fn inbound<'a>(&Publish { topic, payload }: &Publish<'a>) -> Inbound<'a> {
    let retain = topic.ends_with("/birth");
    Inbound { client_id: "sim", topic, payload, qos: 1, retain, content_type: None, user_properties: &[] }
}

impl Sink for Shards {
    fn store(&mut self, now_ms: u64, publishes: &[Publish<'_>]) -> Result<Vec<Verdict>, SinkError> {
        self.now_ms.store(now_ms, Relaxed);
        let inbound: Vec<Inbound<'_>> = publishes.iter().map(inbound).collect();
        let taken = self.take(&inbound)?;
        let verdict = |(taken, publish): (&Taken, &Publish<'_>)| match taken {
            Taken::Accepted => Ok(Verdict::Stored),
            Taken::NoRoute => Err(SinkError(format!("no route takes {}", publish.topic))),
            Taken::Rejected(reason) => Err(SinkError(format!("{}: {reason}", publish.topic))),
        };
        taken.iter().zip(publishes).map(verdict).collect()
    }

    fn read(&mut self, visit: &mut dyn FnMut(Stored<'_>)) -> Result<(), SinkError> {
        for stream in self.engine.streams() {
            for shard in stream.state().shards.all() {
                self.read_shard(stream.name().as_str(), &shard.id.to_string(), visit)?;
            }
        }
        Ok(())
    }

    fn repeats_dropped(&self) -> u64 {
        self.router.counters().repeated_entries
    }
}
