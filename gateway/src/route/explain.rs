//! What would become of a publish, without an engine.
//!
//! In: a configuration and one publish. Out: route, codec, and every record with stream, key and shard.
//! The records are made by the code that the router runs; the shards are those of a stream as it is created, so after
//! a reshard they are others.

use super::counters::RouteCounters;
use super::devices::{Desk, Device, Devices};
use super::router::RouterSettings;
use super::rule::first_match;
use super::take::{Again, Refusal, Rules, Shelf, Taker};
use crate::ingest::{Inbound, Verdict};
use headwater_engine::{HashKey, StreamName, split_evenly};
use headwater_telemetry::DeviceId;
use std::sync::Mutex;

/// What would become of a publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// Place of the route in the configuration, from 0; `None` when no route takes the topic.
    pub route: Option<usize>,
    /// The verdict.
    pub verdict: Verdict,
    /// Whether subscribers get it too.
    pub downlink: bool,
    /// Whether it goes to the dead letters.
    pub dead_letter: bool,
    /// Its records.
    pub records: Vec<ExplainedRecord>,
}

/// One record that a publish would become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExplainedRecord {
    /// Name of its stream.
    pub stream: String,
    /// Its partition key.
    pub partition_key: String,
    /// MD5 of the key.
    pub hash_key: u128,
    /// Number of its shard.
    pub shard: u32,
    /// Shards of the stream.
    pub shards: u32,
    /// Its data.
    pub data: Vec<u8>,
}

/// Foretells what `publish` becomes at `now_ms` on a gateway that has seen nothing yet.
pub fn explain(settings: &RouterSettings, publish: &Inbound<'_>, now_ms: u64) -> Option<Explanation> {
    let rules = Rules::new(settings.routes.clone(), &settings.dead_letter)?;
    let devices = Mutex::new(Devices::new(1, 0, 1));
    let load = |_: &DeviceId| Device::default();
    let mut taker = Taker {
        rules: &rules,
        shelf: PaperShelf { settings, records: Vec::new() },
        desk: Desk::new(&devices, &load),
        text: String::new(),
        now_ms,
        random: &|| 0,
        counts: RouteCounters::default(),
        noticed: Vec::new(),
        leans_on_earlier: false,
        said: Vec::new(),
        time_quality: settings.time_quality,
    };
    // The paper shelf never asks to come again.
    let taken = taker.take(publish).map_err(|Again| ()).ok()?;
    Some(Explanation {
        route: first_match(&rules.routes, publish.topic).map(|(place, _)| place),
        verdict: taken.verdict,
        downlink: taken.downlink,
        dead_letter: taker.counts.dead_lettered > 0,
        records: taker.shelf.records,
    })
}

struct PaperShelf<'a> {
    settings: &'a RouterSettings,
    records: Vec<ExplainedRecord>,
}

impl Shelf for PaperShelf<'_> {
    fn put(&mut self, stream: &StreamName, key: &str, data: &[u8]) -> Result<(), Refusal> {
        let own = self.settings.streams.get(stream.as_str());
        let is_dead_letter = stream.as_str() == self.settings.dead_letter;
        if own.is_none() && !self.settings.create_streams && !is_dead_letter {
            return Err(Refusal::Never(format!("stream {stream} does not exist and may not be created")));
        }
        let shards = own.unwrap_or(&self.settings.stream_defaults).shards;
        let hash_key = HashKey::of(key.as_bytes());
        let ranges = split_evenly(shards);
        let shard = ranges.partition_point(|range| range.end < hash_key);
        self.records.push(ExplainedRecord {
            stream: stream.to_string(),
            partition_key: key.to_owned(),
            hash_key: hash_key.0,
            shard: u32::try_from(shard).unwrap_or(u32::MAX),
            shards,
            data: data.to_owned(),
        });
        Ok(())
    }

    fn mark(&mut self, _key: &[u8], _value: &[u8]) {}
}
