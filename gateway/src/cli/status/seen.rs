//! What a gateway's status port says, in types.
//!
//! In: `/health`, `/metrics` and `/metrics/shards`. Out: [`Seen`]. They are asked one after the other, so that a record between
//! them counts in some only. Not here: rates, which take two looks (`top`).

use super::ask::{AskError, get, reachable};
use super::metrics::Metrics;
use super::words::{bytes, span};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// One look at a gateway.
#[derive(Debug, Clone)]
pub(in crate::cli) struct Seen {
    pub(in crate::cli) health: Health,
    pub(in crate::cli) metrics: Metrics,
    /// Metrics of streams and of every open shard.
    pub(in crate::cli) shards: Metrics,
    /// `/health` as it came.
    pub(in crate::cli) raw: serde_json::Value,
}

/// `/health`.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli) struct Health {
    pub(in crate::cli) state: String,
    pub(in crate::cli) journal: Journal,
    pub(in crate::cli) name: String,
    pub(in crate::cli) version: String,
    pub(in crate::cli) uptime_s: u64,
    #[serde(default)]
    pub(in crate::cli) clock: Clock,
    pub(in crate::cli) recovery: Recovery,
    pub(in crate::cli) ledger: Flow,
    /// Absent before there were books.
    #[serde(default)]
    pub(in crate::cli) streams: Vec<Held>,
    pub(in crate::cli) sinks: Vec<Sink>,
    /// Nothing in a gateway before it could take up another one.
    #[serde(default)]
    pub(in crate::cli) configuration: Configuration,
}

/// Configurations that were taken up since the start.
#[derive(Debug, Clone, Default, Deserialize)]
pub(in crate::cli) struct Configuration {
    pub(in crate::cli) last: Option<Reload>,
    pub(in crate::cli) needs_restart: Vec<String>,
}

/// What became of the last of them.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli) struct Reload {
    pub(in crate::cli) at: String,
    pub(in crate::cli) result: String,
    pub(in crate::cli) error: Option<String>,
}

/// Whether the journal takes writes.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli) struct Journal {
    pub(in crate::cli) state: String,
    pub(in crate::cli) reason: Option<String>,
    /// Absent before it was shown.
    #[serde(default)]
    pub(in crate::cli) unread: Unread,
    /// Absent before there was one, and in a journal that is closed.
    #[serde(default)]
    pub(in crate::cli) write_budget: Option<WriteBudget>,
}

/// What the disk does not read now.
#[derive(Debug, Clone, Default, Deserialize)]
pub(in crate::cli) struct Unread {
    pub(in crate::cli) count: u64,
    /// What is the matter and what happens next.
    pub(in crate::cli) warning: Option<String>,
    pub(in crate::cli) remedy: Option<String>,
    pub(in crate::cli) places: Vec<UnreadPlace>,
}

/// One place of it.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli) struct UnreadPlace {
    pub(in crate::cli) file: String,
    pub(in crate::cli) offset: u64,
    pub(in crate::cli) stream: String,
    pub(in crate::cli) shard: u32,
    pub(in crate::cli) error: String,
    pub(in crate::cli) since: String,
    pub(in crate::cli) lost_in_s: u64,
}

impl UnreadPlace {
    /// `1.seg at byte 4096, of telemetry shard 0, since 2026-01-01T00:00:00Z (EIO), lost in 4 min`.
    pub(in crate::cli) fn line(&self) -> String {
        let UnreadPlace { file, offset, stream, shard, error, since, lost_in_s } = self;
        let left = match lost_in_s {
            0 => "lost with the next read".to_owned(),
            left_s => format!("lost in {}", span(left_s.saturating_mul(1_000))),
        };
        format!("{file} at byte {offset}, of {stream} shard {shard}, since {since} ({error}), {left}")
    }
}

/// What is written to the disk.
#[derive(Debug, Clone, Default, Deserialize)]
pub(in crate::cli) struct WriteBudget {
    pub(in crate::cli) bytes_a_day: Option<u64>,
    pub(in crate::cli) day_bytes: u64,
    pub(in crate::cli) counted_s: u64,
    pub(in crate::cli) linger_ms: u64,
    pub(in crate::cli) state: Option<String>,
    pub(in crate::cli) warning: Option<String>,
}

impl WriteBudget {
    /// `written 212.0 MiB in 24 h 0 min of 286.1 MiB a day, writes wait 350 ms`.
    pub(in crate::cli) fn line(&self) -> String {
        let (written, counted) = (bytes(self.day_bytes), span(self.counted_s.saturating_mul(1_000)));
        let of = self.bytes_a_day.map(|budget| format!(" of {} a day", bytes(budget))).unwrap_or_default();
        let linger = match self.linger_ms {
            0 => String::new(),
            ms => format!(", writes wait {ms} ms"),
        };
        format!("written {written} in {counted}{of}{linger}")
    }

    /// What is the matter, when it is more than nearly spent.
    pub(in crate::cli) fn trouble(&self) -> Option<&str> {
        self.warning.as_deref().filter(|_| self.state.as_deref() == Some("exceeded"))
    }
}

/// Whether the wall clock jumped.
#[derive(Debug, Clone, Default, Deserialize)]
pub(in crate::cli) struct Clock {
    pub(in crate::cli) jumped_by_ms: Option<i64>,
    pub(in crate::cli) jumped_ago_ms: Option<u64>,
    #[serde(default)]
    pub(in crate::cli) held_ms: u64,
}

impl Clock {
    /// A jump, as long as it matters.
    pub(in crate::cli) fn jump(&self) -> Option<String> {
        let (by_ms, ago_ms) = (self.jumped_by_ms?, self.jumped_ago_ms?);
        let way = if by_ms < 0 { "back" } else { "forward" };
        Some(format!(
            "it was set {way} by {} {} ago; retention goes by running time, arrival times count again in {}",
            span(by_ms.unsigned_abs()),
            span(ago_ms),
            span(self.held_ms)
        ))
    }
}

/// What the last start found.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli) struct Recovery {
    pub(in crate::cli) clean: bool,
    pub(in crate::cli) lost_ranges: u64,
    pub(in crate::cli) groups_lost: u64,
    pub(in crate::cli) unreadable: Vec<String>,
}

/// What was received and what became of it.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli) struct Flow {
    pub(in crate::cli) received: u64,
    pub(in crate::cli) stored: u64,
    pub(in crate::cli) downlink_only: u64,
    pub(in crate::cli) repeated: u64,
    pub(in crate::cli) dead_lettered: u64,
    pub(in crate::cli) unmatched: u64,
    pub(in crate::cli) ignored: u64,
    pub(in crate::cli) rejected: u64,
    pub(in crate::cli) records: u64,
    pub(in crate::cli) lost_at_devices: u64,
    #[serde(default)]
    pub(in crate::cli) acknowledged: u64,
}

/// What a stream received and holds, over restarts.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli) struct Held {
    pub(in crate::cli) stream: String,
    pub(in crate::cli) received: u64,
    pub(in crate::cli) by_routes: u64,
    pub(in crate::cli) by_api: u64,
    pub(in crate::cli) stored: u64,
    pub(in crate::cli) in_flight: u64,
    pub(in crate::cli) torn: u64,
    pub(in crate::cli) expired: u64,
    pub(in crate::cli) damaged: u64,
    pub(in crate::cli) balances: bool,
}

/// A stream on its way to a sink.
#[derive(Debug, Clone, Deserialize)]
pub(in crate::cli) struct Sink {
    pub(in crate::cli) sink: String,
    pub(in crate::cli) stream: String,
    pub(in crate::cli) target: String,
    pub(in crate::cli) connected: bool,
    pub(in crate::cli) trouble: Option<String>,
    pub(in crate::cli) stored: u64,
    pub(in crate::cli) delivered: u64,
    pub(in crate::cli) waiting: u64,
    pub(in crate::cli) dead_lettered: u64,
    pub(in crate::cli) dropped: BTreeMap<String, u64>,
    #[serde(default)]
    pub(in crate::cli) before: Option<u64>,
    pub(in crate::cli) balances: bool,
    pub(in crate::cli) delivered_per_s: f64,
    pub(in crate::cli) drained_in_ms: Option<u64>,
}

/// What went through a shard since the start of the gateway.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::cli) struct Traffic {
    pub(in crate::cli) records: u64,
    pub(in crate::cli) bytes: u64,
    pub(in crate::cli) records_read: u64,
}

/// What went through a stream, and through each of its open shards by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::cli) struct Stream {
    pub(in crate::cli) total: Traffic,
    pub(in crate::cli) shards: BTreeMap<String, Traffic>,
}

/// Streams by name.
pub(in crate::cli) type Streams = BTreeMap<String, Stream>;

impl Seen {
    /// Asks the status port at `listen`.
    pub(in crate::cli) async fn ask(listen: SocketAddr) -> Result<Seen, AskError> {
        let health = get(listen, "/health").await?;
        let foreign = |what: String| AskError::Foreign { addr: reachable(listen), what };
        // 503 is a gateway too, one that is not well.
        if ![200, 503].contains(&health.status) {
            return Err(foreign(format!("GET /health gave status {}", health.status)));
        }
        let not_health = |error: serde_json::Error| foreign(format!("GET /health: {error}"));
        let raw: serde_json::Value = serde_json::from_slice(&health.body).map_err(not_health)?;
        let health = Health::deserialize(&raw).map_err(not_health)?;
        let page = async |path| {
            let page = get(listen, path).await?;
            Ok(Metrics::parse(&String::from_utf8_lossy(&page.body)))
        };
        Ok(Seen { health, metrics: page("/metrics").await?, shards: page("/metrics/shards").await?, raw })
    }

    /// MQTT clients that are connected.
    pub(in crate::cli) fn clients(&self) -> u64 {
        let count = |name| self.metrics.count(name);
        count("headwater_mqtt_clients_connected_total")
            .saturating_sub(count("headwater_mqtt_clients_disconnected_total"))
    }

    /// Publishes received, of any QoS.
    pub(in crate::cli) fn publishes(&self) -> u64 {
        [0, 1, 2]
            .iter()
            .map(|qos| self.metrics.count(&format!("headwater_mqtt_publishes_qos{qos}_total")))
            .sum()
    }

    /// Every stream that the metrics show by name, with its open shards.
    pub(in crate::cli) fn streams(&self) -> Streams {
        type Place = fn(&mut Traffic) -> &mut u64;
        let counts: [(&str, &str, Place); 3] = [
            ("incoming_records", "shard_incoming_records", |traffic| &mut traffic.records),
            ("incoming_bytes", "shard_incoming_bytes", |traffic| &mut traffic.bytes),
            ("get_records_records", "shard_outgoing_records", |traffic| &mut traffic.records_read),
        ];
        let mut streams = Streams::new();
        for (of_stream, of_shard, place) in counts {
            for name in [of_stream, of_shard] {
                for sample in self.shards.all(&format!("kinesis_{name}_total")) {
                    let Some(name) = sample.label("stream").filter(|name| !name.is_empty()) else { continue };
                    let stream = streams.entry(name.to_owned()).or_default();
                    let traffic = match sample.label("shard") {
                        Some(shard) => stream.shards.entry(shard.to_owned()).or_default(),
                        None => &mut stream.total,
                    };
                    *place(traffic) = sample.count();
                }
            }
        }
        streams
    }
}
