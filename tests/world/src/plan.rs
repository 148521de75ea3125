//! What kind of world a seed makes: streams, sinks, sizes.
//!
//! In: a seed. Out: the gateway's configuration, as text that the product reads, and what the world must know of it. Not here: when faults
//! come ([`crate::storm`]).

use crate::chance::Chance;
use crate::edge;
use headwater_engine::LimitProfile;
use headwater_journal::{Compression, Config};
use std::fmt::Write as _;

/// A sink as it was drawn.
#[derive(Debug, Clone)]
pub(crate) struct Sink {
    pub(crate) name: String,
    pub(crate) streams: Vec<String>,
    /// Each key stays in order at the target.
    pub(crate) is_ordered: bool,
    /// Records wait for it past their retention.
    pub(crate) is_required: bool,
    /// It may do without records when too many wait.
    pub(crate) may_drop: bool,
    /// Its target never takes some records ([`crate::way::poison`]).
    pub(crate) has_poison: bool,
    /// Tries of a record that fails by itself.
    pub(crate) tries: u64,
}

/// Everything about a world that is drawn before it begins.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) streams: Vec<String>,
    pub(crate) sinks: Vec<Sink>,
    pub(crate) config: String,
    pub(crate) journal: Config,
    pub(crate) target_journal: Config,
    pub(crate) target_limits: LimitProfile,
    /// Streams of the target that are there from the start, with their shards.
    pub(crate) target_streams: Vec<(String, u32)>,
    pub(crate) devices: u64,
    /// ms between two publishes of a device, on average.
    pub(crate) publish_every_ms: u64,
    pub(crate) storm_ms: u64,
    /// ms between two faults, on average.
    pub(crate) fault_every_ms: u64,
}

impl Plan {
    /// What a seed gives; with a stream of their own for devices and agents ([`edge`](crate::edge)) where they live there too.
    pub(crate) fn draw(chance: &mut Chance, has_edge: bool) -> Self {
        let all = ["alpha", "beta", "gamma"];
        let count = usize::try_from(chance.between(1, 4)).unwrap_or(1);
        let mut streams: Vec<String> = all[..count].iter().map(|&name| name.to_owned()).collect();
        let mut config = String::new();
        if has_edge {
            config.push_str(edge::ROUTES);
        }
        for stream in &streams {
            let shards = chance.between(1, 4);
            let written = write!(
                config,
                "[streams.{stream}]\nshards = {shards}\n[[routes]]\nmatch = \"{stream}/{{device}}/batch\"\ncodec = \"headwater\"\n\
                 stream = \"{stream}\"\npartition_key = \"{{device}}\"\nto = [\"stream\"]\n"
            );
            debug_assert!(written.is_ok(), "a String takes everything");
        }
        if has_edge {
            // The first sink has it, which is required.
            streams.insert(0, edge::STREAM.to_owned());
        }
        let sinks = sinks(chance, &streams, &mut config);
        let is_made = chance.one_in(2);
        let names =
            sinks.iter().flat_map(|sink| sink.streams.iter().map(|stream| target_of(&sink.name, stream)));
        let target_streams = if is_made {
            names.map(|name| (name, u32::try_from(chance.between(1, 5)).unwrap_or(1))).collect()
        } else {
            Vec::new()
        };
        Self {
            streams,
            sinks,
            config,
            journal: journal(chance),
            // It takes what a sink packs into one record.
            target_journal: Config {
                segment_bytes: 1 << 20,
                group_bytes_max: 384 << 10,
                staged_bytes_max: 512 << 10,
                ..journal(chance)
            },
            target_limits: *chance.pick(&[LimitProfile::None, LimitProfile::Aws]),
            target_streams,
            devices: chance.between(3, 16),
            publish_every_ms: *chance.pick(&[100, 300, 1_000]),
            storm_ms: chance.between(10_000, 30_000) + if has_edge { EDGE_STORM_MS } else { 0 },
            fault_every_ms: *chance.pick(&[300, 1_000, 3_000]),
        }
    }
}

/// Devices gather for ten seconds before they send, and agents are away for as long.
const EDGE_STORM_MS: u64 = 60_000;

/// The target's stream for one of ours.
pub(crate) fn target_of(sink: &str, stream: &str) -> String {
    format!("{sink}-{stream}")
}

fn sinks(chance: &mut Chance, streams: &[String], config: &mut String) -> Vec<Sink> {
    // The first begins with the first stream, which is the devices' where there are any. The second goes on where the first ends, or
    // carries streams that the first has too.
    let split =
        if chance.one_in(3) { streams.len() } else { usize::try_from(chance.between(1, 4)).unwrap_or(1) };
    let end = split.min(streams.len());
    let begin = if chance.one_in(3) { end } else { usize::try_from(chance.below(end as u64)).unwrap_or(0) };
    let (first, second) = (&streams[..end], &streams[begin..]);
    let mut sinks = Vec::new();
    for (name, streams) in [("near", first), ("side", second)] {
        if streams.is_empty() {
            continue;
        }
        let is_ordered = !chance.one_in(5);
        let (quota, may_drop) = match chance.below(7) {
            0 => ("max_waiting = \"32KiB\"\nwhen_full = \"block\"\n", false),
            1 => ("max_waiting = \"32KiB\"\nwhen_full = \"drop_oldest\"\n", true),
            2 => ("max_waiting = \"32KiB\"\nwhen_full = \"drop_newest\"\n", true),
            _ => ("", false),
        };
        let is_required = name == "near" || chance.one_in(2);
        let aggregate = *chance.pick(&["none", "kpl"]);
        let limits = *chance.pick(&["aws", "none"]);
        let calls = chance.between(1, 6);
        let has_poison = chance.one_in(3);
        // Poison is looked for in JSON.
        let format = if has_poison { "json" } else { "auto" };
        let tries = if has_poison { chance.between(2, 5) } else { 20 };
        let order = if is_ordered { "oldest" } else { "newest" };
        let written = write!(
            config,
            "[sinks.{name}]\nstreams = {streams:?}\ntarget = \"{name}-{{stream}}\"\nregion = \"us-east-1\"\n\
             endpoint = \"http://{name}.example\"\ncredentials = \"unchecked\"\ntimeout = \"2s\"\ncreate = true\n\
             required = {is_required}\naggregate = \"{aggregate}\"\nlimits = \"{limits}\"\ncalls = {calls}\n\
             format = \"{format}\"\ntries = {tries}\n{quota}\
             [sinks.{name}.retry]\nbase = \"100ms\"\nmax = \"2s\"\nstable = \"3s\"\n\
             [sinks.{name}.drain]\norder = \"{order}\"\n"
        );
        debug_assert!(written.is_ok(), "a String takes everything");
        sinks.push(Sink {
            name: name.to_owned(),
            streams: streams.to_vec(),
            is_ordered,
            is_required,
            may_drop,
            has_poison,
            tries,
        });
    }
    sinks
}

fn journal(chance: &mut Chance) -> Config {
    Config {
        segment_bytes: *chance.pick(&[64 << 10, 128 << 10, 1 << 20]),
        pool_segments: u32::try_from(chance.between(0, 3)).unwrap_or(1),
        size_bytes_max: 64 << 20,
        reserve_bytes: 0,
        group_bytes_max: 32 << 10,
        staged_bytes_max: *chance.pick(&[32 << 10, 256 << 10]),
        tail_cache_bytes: *chance.pick(&[0, 16 << 10, 256 << 10]),
        compression: *chance.pick(&[Compression::None, Compression::Lz4]),
        ..Config::small()
    }
}
