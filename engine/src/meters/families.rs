//! The metrics by name: AWS's names in snake case, what they say, and where each value is.

use super::{CallMeter, ShardMeter, StreamMeter};
use crate::engine::Engine;
use crate::limits;
use crate::names::{ShardId, StreamNumber};
use crate::shards::ShardMap;
use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

/// What kind of value a metric has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// A sum of observations and their number.
    Summary,
}

/// A value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Of a counter or a gauge.
    Single(u64),
    /// Of a summary.
    Observed {
        /// Sum of all observations.
        sum: u64,
        /// Number of observations.
        count: u64,
    },
}

/// One value of a metric and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// The stream; empty for all streams beyond the bound together.
    pub stream: String,
    /// The shard, for metrics of shards; empty for all beyond the bound together.
    pub shard: Option<String>,
    /// The registered consumer, for metrics of consumers.
    pub consumer: Option<String>,
    /// The value.
    pub value: Reading,
}

/// A metric with all its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metric {
    /// CloudWatch's name in snake case, with its unit, without `_total`.
    pub name: &'static str,
    /// What kind of value it has.
    pub kind: MetricKind,
    /// What it says, in one sentence.
    pub help: &'static str,
    /// Its values.
    pub samples: Vec<Sample>,
}

struct Family<T> {
    name: &'static str,
    /// The word of the API, for metrics of shards.
    word: &'static str,
    kind: MetricKind,
    help: &'static str,
    read: fn(&T, u64) -> Reading,
}

const fn counter<T>(name: &'static str, help: &'static str, read: fn(&T, u64) -> Reading) -> Family<T> {
    Family { name, word: "", kind: MetricKind::Counter, help, read }
}

const fn gauge<T>(name: &'static str, help: &'static str, read: fn(&T, u64) -> Reading) -> Family<T> {
    Family { name, word: "", kind: MetricKind::Gauge, help, read }
}

const fn latency(
    name: &'static str,
    help: &'static str,
    read: fn(&StreamMeter, u64) -> Reading,
) -> Family<StreamMeter> {
    Family { name, word: "", kind: MetricKind::Summary, help, read }
}

const fn of_shard(word: &'static str, family: Family<ShardMeter>) -> Family<ShardMeter> {
    Family { word, ..family }
}

fn one(count: u64) -> Reading {
    Reading::Single(count)
}

fn observed(meter: &CallMeter) -> Reading {
    Reading::Observed { sum: meter.latency_ms.get(), count: meter.calls.get() }
}

static STREAMS: &[Family<StreamMeter>] = &[
    counter("incoming_bytes", "Bytes of keys and data put.", |m, _| one(m.incoming_bytes.get())),
    counter("incoming_records", "Records put.", |m, _| one(m.incoming_records.get())),
    counter("put_record_bytes", "Bytes put by PutRecord.", |m, _| one(m.put_record_bytes.get())),
    latency("put_record_latency_milliseconds", "Time PutRecord took.", |m, _| observed(&m.put_record)),
    counter("put_record_success", "PutRecord calls that succeeded.", |m, _| {
        one(m.put_record.succeeded.get())
    }),
    counter("put_records_bytes", "Bytes put by PutRecords.", |m, _| one(m.put_records_bytes.get())),
    latency("put_records_latency_milliseconds", "Time PutRecords took.", |m, _| observed(&m.put_records)),
    counter("put_records_success", "PutRecords calls of which at least one record was put.", |m, _| {
        one(m.put_records.succeeded.get())
    }),
    counter("put_records_total_records", "Records given to PutRecords.", |m, _| {
        one(m.put_records_put.get() + m.put_records_throttled.get() + m.put_records_failed.get())
    }),
    counter("put_records_successful_records", "Records that PutRecords put.", |m, _| {
        one(m.put_records_put.get())
    }),
    counter("put_records_failed_records", "Records that PutRecords failed to put.", |m, _| {
        one(m.put_records_failed.get())
    }),
    counter("put_records_throttled_records", "Records that PutRecords refused as too many.", |m, _| {
        one(m.put_records_throttled.get())
    }),
    counter("write_provisioned_throughput_exceeded", "Records refused as too many.", |m, _| {
        one(m.write_exceeded.get())
    }),
    counter("get_records_bytes", "Bytes of keys and data given by GetRecords.", |m, _| {
        one(m.get_records_bytes.get())
    }),
    counter("get_records_records", "Records given by GetRecords.", |m, _| one(m.get_records_records.get())),
    latency("get_records_latency_milliseconds", "Time GetRecords took.", |m, _| observed(&m.get_records)),
    counter("get_records_success", "GetRecords calls that succeeded.", |m, _| {
        one(m.get_records.succeeded.get())
    }),
    gauge(
        "get_records_iterator_age_milliseconds",
        "How far behind readers were at most, in this and the last minute.",
        |m, now_ms| one(m.iterator_age_ms.get(now_ms)),
    ),
    counter("read_provisioned_throughput_exceeded", "GetRecords calls refused as too many.", |m, _| {
        one(m.read_exceeded.get())
    }),
    counter("subscribe_to_shard_success", "SubscribeToShard calls that succeeded.", |m, _| {
        one(m.subscribe_succeeded.get())
    }),
    counter("subscribe_to_shard_rate_exceeded", "SubscribeToShard calls refused as too many.", |m, _| {
        one(m.subscribe_exceeded.get())
    }),
];

static SHARDS: &[Family<ShardMeter>] = &[
    of_shard(
        "IncomingBytes",
        counter("shard_incoming_bytes", "Bytes of keys and data put into the shard.", |m, _| {
            one(m.incoming_bytes.get())
        }),
    ),
    of_shard(
        "IncomingRecords",
        counter("shard_incoming_records", "Records put into the shard.", |m, _| {
            one(m.incoming_records.get())
        }),
    ),
    of_shard(
        "OutgoingBytes",
        counter("shard_outgoing_bytes", "Bytes of keys and data read from the shard.", |m, _| {
            one(m.outgoing_bytes.get())
        }),
    ),
    of_shard(
        "OutgoingRecords",
        counter("shard_outgoing_records", "Records read from the shard.", |m, _| {
            one(m.outgoing_records.get())
        }),
    ),
    of_shard(
        "WriteProvisionedThroughputExceeded",
        counter(
            "shard_write_provisioned_throughput_exceeded",
            "Records refused as too many for the shard.",
            |m, _| one(m.write_exceeded.get()),
        ),
    ),
    of_shard(
        "ReadProvisionedThroughputExceeded",
        counter(
            "shard_read_provisioned_throughput_exceeded",
            "GetRecords calls refused as too many for the shard.",
            |m, _| one(m.read_exceeded.get()),
        ),
    ),
    of_shard(
        "IteratorAgeMilliseconds",
        gauge(
            "shard_iterator_age_milliseconds",
            "How far behind readers of the shard were at most, in this and the last minute.",
            |m, now_ms| one(m.iterator_age_ms.get(now_ms)),
        ),
    ),
];

type ConsumerFamily = Family<super::ConsumerMeter>;

static CONSUMERS: &[ConsumerFamily] = &[
    counter("subscribe_to_shard_event_bytes", "Bytes of keys and data pushed to the consumer.", |m, _| {
        one(m.bytes)
    }),
    counter("subscribe_to_shard_event_records", "Records pushed to the consumer.", |m, _| one(m.records)),
    counter("subscribe_to_shard_event_success", "Events pushed to the consumer.", |m, _| one(m.succeeded)),
    gauge(
        "subscribe_to_shard_event_millis_behind_latest",
        "How far behind the consumer was at most, in this and the last minute.",
        |m, now_ms| one(m.behind_ms.get(now_ms)),
    ),
];

/// What values are added up by: stream, and shard or consumer.
type Labels = (String, String);

/// Values of one metric on the way.
#[derive(Default)]
struct Values(BTreeMap<Labels, Reading>);

impl Values {
    fn add(&mut self, kind: MetricKind, labels: &Labels, value: Reading) {
        let Some(known) = self.0.get_mut(labels) else {
            self.0.insert(labels.clone(), value);
            return;
        };
        *known = match (kind, *known, value) {
            (MetricKind::Gauge, Reading::Single(a), Reading::Single(b)) => Reading::Single(a.max(b)),
            (_, Reading::Single(a), Reading::Single(b)) => Reading::Single(a + b),
            (_, Reading::Observed { sum, count }, Reading::Observed { sum: s, count: c }) => {
                Reading::Observed { sum: sum + s, count: count + c }
            }
            (_, known, _) => known,
        };
    }
}

/// Metrics being read.
struct Metered<T: 'static> {
    families: &'static [Family<T>],
    values: Vec<Values>,
    now_ms: u64,
}

impl<T> Metered<T> {
    fn new(families: &'static [Family<T>], now_ms: u64) -> Self {
        Metered { families, values: families.iter().map(|_| Values::default()).collect(), now_ms }
    }

    fn read(&mut self, labels: &Labels, meter: &T, wanted: impl Fn(&str) -> bool) {
        for (family, values) in self.families.iter().zip(&mut self.values) {
            if wanted(family.word) {
                values.add(family.kind, labels, (family.read)(meter, self.now_ms));
            }
        }
    }

    fn done(self, sample: fn(Labels, Reading) -> Sample) -> impl Iterator<Item = Metric> {
        self.families.iter().zip(self.values).map(move |(family, values)| Metric {
            name: family.name,
            kind: family.kind,
            help: family.help,
            samples: values.0.into_iter().map(|(labels, value)| sample(labels, value)).collect(),
        })
    }
}

/// Which shards are shown one by one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shards {
    /// Those of the streams and metrics that `EnableEnhancedMonitoring` chose.
    Chosen,
    /// Every open one.
    Open,
}

pub(super) fn read(engine: &Engine, which: Shards) -> Vec<Metric> {
    let now_ms = engine.0.clock.now_ms();
    let mut by_stream = Metered::new(STREAMS, now_ms);
    let mut by_shard = Metered::new(SHARDS, now_ms);
    let mut by_consumer = Metered::new(CONSUMERS, now_ms);
    let mut streams = engine.streams();
    // The oldest keep their places, so that no name comes and goes.
    streams.sort_by_key(|stream| stream.number());
    let mut shards_shown = 0;
    for (place, stream) in streams.iter().enumerate() {
        let meter = engine.0.meters.of(stream.number());
        let shown = place < limits::METERED_STREAMS_MAX;
        let name = if shown { stream.name().as_str().to_owned() } else { String::new() };
        let state = stream.state();
        meter.keep_shards(|shard| state.shards.get(shard).is_some());
        by_stream.read(&(name.clone(), String::new()), &meter, |_| true);
        let consumers = meter.consumers.lock().unwrap_or_else(PoisonError::into_inner);
        for (consumer, consumer_meter) in consumers.iter() {
            let consumer = if shown { consumer.clone() } else { String::new() };
            by_consumer.read(&(name.clone(), consumer), consumer_meter, |_| true);
        }
        drop(consumers);
        let chosen = &state.definition.settings.shard_level_metrics;
        let wanted = |word: &str| which == Shards::Open || chosen.iter().any(|name| name == word);
        for (shard, shard_meter) in meter.shown(which, &state.shards, chosen.is_empty()) {
            let fits = shown && shards_shown < limits::METERED_SHARDS_MAX;
            shards_shown += usize::from(fits);
            let shard = if fits { shard.to_string() } else { String::new() };
            by_shard.read(&(name.clone(), shard), &shard_meter, wanted);
        }
    }
    engine.0.meters.keep(&streams.iter().map(|stream| stream.number()).collect::<Vec<_>>());
    let of_stream =
        by_stream.done(|(stream, _), value| Sample { stream, shard: None, consumer: None, value });
    let of_shard =
        by_shard.done(|(stream, shard), value| Sample { stream, shard: Some(shard), consumer: None, value });
    let of_consumer =
        by_consumer.done(|(stream, name), value| Sample { stream, shard: None, consumer: Some(name), value });
    of_stream.chain(of_shard).chain(of_consumer).collect()
}

impl StreamMeter {
    /// The meters of the shards that are shown one by one.
    fn shown(&self, which: Shards, shards: &ShardMap, none_chosen: bool) -> Vec<(ShardId, Arc<ShardMeter>)> {
        match which {
            Shards::Chosen if none_chosen => Vec::new(),
            Shards::Chosen => {
                let meters = self.shards.read().unwrap_or_else(PoisonError::into_inner);
                meters.iter().map(|(&shard, meter)| (shard, Arc::clone(meter))).collect()
            }
            // Also those that nothing went through yet.
            Shards::Open => shards.open().map(|shard| (shard.id, self.shard(shard.id))).collect(),
        }
    }
}

impl super::Meters {
    /// Forgets streams other than these: one that was deleted while its last batch was counted.
    fn keep(&self, streams: &[StreamNumber]) {
        let mut meters = self.0.write().unwrap_or_else(PoisonError::into_inner);
        meters.retain(|stream, meter| streams.binary_search(stream).is_ok() || Arc::strong_count(meter) > 1);
    }
}
