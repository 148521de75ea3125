//! The gateway that forwards, the link, and whoever breaks both and the calls: `near ─ link ─ way ─ far`.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use system_tests::chance::Chance;
use system_tests::gateway::Gateway;
use system_tests::kinesis::get;
use system_tests::proxy::Proxy;
use system_tests::target_http::{Fault, FaultyTarget};
use system_tests::{number_from_env, wait_until};
use tempfile::TempDir;

use crate::load::Load;

/// From the last fault until everything is at the target, and how long `/health` may take to show it.
const DRAIN_PATIENCE: Duration = Duration::from_secs(90);

/// The time with faults; the rest of a test is start, drain and reading.
const SECONDS: u64 = 16;

/// One test's world. The target is the test's own.
pub(crate) struct World {
    pub(crate) directory: TempDir,
    pub(crate) near: Gateway,
    pub(crate) link: Proxy,
    pub(crate) way: FaultyTarget,
    chance: Chance,
    seed: u64,
    /// What was done how often.
    pub(crate) faults: Vec<(String, u64)>,
}

/// What may be done to a world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Harm {
    /// `kill -9` of the gateway, and a start.
    Kill,
    /// Nobody can be reached.
    Down,
    /// Connections end at both ends.
    Cut,
    /// The way to the target ends.
    HalfClose,
    /// Bytes vanish.
    Silent,
    /// Bytes take their time.
    Slow,
    /// The target breaks calls.
    Call(Fault),
}

/// What can happen on any link.
pub(crate) const LINK: [Harm; 6] =
    [Harm::Kill, Harm::Down, Harm::Cut, Harm::HalfClose, Harm::Silent, Harm::Slow];

impl World {
    /// A gateway that forwards to `target`; `more` goes into its sink.
    pub(crate) fn start(target: SocketAddr, seed: u64, more: &str) -> Self {
        let seed = number_from_env("HEADWATER_SEED", seed);
        let directory = tempfile::tempdir().unwrap();
        let way = FaultyTarget::start(target, seed);
        let link = Proxy::start(way.address());
        let config = format!(
            "[streams.telemetry]\nshards = 2\n\n[sinks.far]\nendpoint = \"http://{}\"\nregion = \"us-east-1\"\n\
             credentials = \"unchecked\"\ntimeout = \"2s\"\nretry = {{ base = \"20ms\", max = \"500ms\" }}\n{more}",
            link.address()
        );
        let near = Gateway::start(directory.path(), &config);
        Self { directory, near, link, way, chance: Chance::new(seed), seed, faults: Vec::new() }
    }

    /// Sends and does harm of these kinds in turn, at moments of chance; `between` comes after each. Then waits until everything is at
    /// the target. Returns what was acknowledged to devices and to programs.
    pub(crate) fn suffer(&mut self, harms: &[Harm], mut between: impl FnMut(u64)) -> (u64, u64) {
        let seconds = number_from_env("HEADWATER_FORWARD_SECONDS", SECONDS);
        let load = Load::start(&self.near, self.directory.path(), self.seed, seconds, 2);
        let started = Instant::now();
        for round in 0.. {
            std::thread::sleep(self.chance.millis(150, 700));
            // The last quarter is calm, so that the devices can end.
            if started.elapsed() > Duration::from_secs(seconds) * 3 / 4 {
                break;
            }
            let index = usize::try_from(round).unwrap() % harms.len();
            self.harm(harms[index]);
            between(round);
        }
        let acked = load.finish();
        println!("{:?}, and to calls {:?}", self.faults, self.way.struck());
        acked
    }

    fn harm(&mut self, harm: Harm) {
        let (away, short) = (self.chance.millis(100, 1_000), self.chance.millis(20, 60));
        match harm {
            Harm::Kill => {
                self.near.kill();
                std::thread::sleep(short);
                self.near.restart();
            }
            Harm::Down => {
                self.link.set_down(true);
                std::thread::sleep(away);
                self.link.set_down(false);
            }
            Harm::Cut => drop(self.link.cut()),
            Harm::HalfClose => drop(self.link.half_close()),
            Harm::Silent => {
                self.link.set_silent(true);
                std::thread::sleep(away);
                self.link.set_silent(false);
            }
            Harm::Slow => {
                self.link.set_delay(short);
                std::thread::sleep(away);
                self.link.set_delay(Duration::ZERO);
            }
            Harm::Call(fault) => {
                self.way.set(Some(fault));
                std::thread::sleep(away);
                self.way.set(None);
            }
        }
        let name = format!("{harm:?}");
        match self.faults.iter_mut().find(|(one, _)| *one == name) {
            Some((_, count)) => *count += 1,
            None => self.faults.push((name, 1)),
        }
    }

    /// The sink's entry in `/health`; nothing as long as it has not begun.
    pub(crate) fn sink(&self) -> Option<Value> {
        sink(&self.near)
    }
}

/// Waits until `count` records have been delivered and none waits; the sink's entry then.
pub(crate) fn delivered(near: &Gateway, count: u64) -> Value {
    let mut last = None;
    let done = wait_until(DRAIN_PATIENCE, || {
        last = sink(near);
        last.as_ref()
            .is_some_and(|sink| sink["waiting"] == 0 && sink["stored"] == count && sink["delivered"] == count)
    });
    assert!(
        done,
        "{count} records are there, after {DRAIN_PATIENCE:?} the sink says {last:#?}\n{}",
        near.tail()
    );
    last.expect("it was looked at")
}

/// Of the metric `headwater_sink_<name>` of the sink `far`, with this outcome where it has outcomes.
pub(crate) fn metric(near: &Gateway, name: &str, outcome: Option<&str>) -> u64 {
    let (_, text) = get(near.http, "/metrics").unwrap();
    let wanted = outcome.map(|outcome| format!("outcome=\"{outcome}\"")).unwrap_or_default();
    let start = format!("headwater_sink_{name}{{");
    let line = text
        .lines()
        .find(|line| line.starts_with(&start) && line.contains("sink=\"far\"") && line.contains(&wanted));
    let line = line.unwrap_or_else(|| panic!("no {name} {wanted} in\n{text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// The entry of a gateway's sink of `telemetry` in `/health`.
pub(crate) fn sink(near: &Gateway) -> Option<Value> {
    let (_, body) = get(near.http, "/health").ok()?;
    let health: Value = serde_json::from_str(&body).unwrap();
    health["sinks"].as_array()?.iter().find(|sink| sink["stream"] == "telemetry").cloned()
}
