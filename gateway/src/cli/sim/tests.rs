//! Fleets in virtual time against real routes and shards: what is promised holds, and what is broken on purpose is found.

use super::shards::{Shards, inbound};
use crate::config::{Config, DurabilityMode};
use crate::ingest::Inbound;
use headwater_sim::virtual_time::{
    Findings, Publish, Sink, SinkError, Stored, Verdict, VirtualConfig, VirtualSummary, run,
};
use headwater_sim::{Faults, virtual_time};
use headwater_telemetry::{BootId, Hello, Up, decode_body, encode_body};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

fn fleet(devices: u32, minutes: u64, seed: u64) -> VirtualConfig {
    let config = VirtualConfig::new(devices, Duration::from_secs(minutes * 60));
    let faults = Faults { offline: 0.2, reboots_per_hour: 12.0, ..config.faults };
    VirtualConfig { seed, faults, ..config }
}

/// Runs a fleet into shards of its own, through a sink that `wrap` makes around them.
fn ran<S: Sink>(config: VirtualConfig, wrap: impl FnOnce(Shards) -> S) -> VirtualSummary {
    ran_on(DurabilityMode::Interval(Duration::from_secs(1)), config, wrap)
}

fn ran_on<S: Sink>(
    durability: DurabilityMode,
    config: VirtualConfig,
    wrap: impl FnOnce(Shards) -> S,
) -> VirtualSummary {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Config::default();
    settings.journal.reserve_bytes = 0;
    settings.journal.durability = durability;
    let shards = runtime.block_on(Shards::open(&settings, dir.path())).unwrap();
    run(config, &mut wrap(shards), &mut |_| ControlFlow::Continue(())).unwrap()
}

#[test]
fn a_rough_fleet_leaves_no_hole_and_every_gap_is_counted() {
    let summary = ran(fleet(200, 10, 7), |shards| shards);
    let VirtualSummary { boots, cuts_in_write, bad_frames, repeats_dropped, readings, findings, .. } =
        &summary;
    let Findings { stored, gaps, worst_time_error_ms, .. } = findings;
    let happens = [*boots > 500, *cuts_in_write > 50, *bad_frames > 200, *repeats_dropped > 1_000];
    assert_eq!(happens, [true; 4], "a fault no longer happens:\n{summary}");
    assert!(stored + gaps <= *readings && stored * 20 > readings * 19 && *gaps > 200, "{summary}");
    assert!((1..1_200).contains(worst_time_error_ms), "{summary}");
    assert!(summary.is_good(), "{summary}\n{:?}", findings.examples);
}

/// Rings of a few minutes, outages of many: whole boots are lost, more of them than a device can tell apart.
#[test]
fn boots_that_are_lost_whole_are_counted() {
    let config = fleet(40, 40, 1);
    let faults = Faults { offline: 0.6, reboots_per_hour: 50.0, ..config.faults };
    let summary = ran(VirtualConfig { faults, damaged_1_in: 500, ..config }, |shards| shards);
    assert!(summary.findings.gaps * 20 > summary.readings, "too few are lost to try it: {summary}");
    assert!(summary.is_good(), "{summary}\n{:?}", summary.findings.examples);
}

#[test]
fn the_same_seed_gives_the_same_shards_to_the_byte() {
    let [first, again, other] = [5, 5, 6].map(|seed| ran(fleet(40, 5, seed), |shards| shards));
    assert_eq!(first, again);
    assert_ne!(first.digest, other.digest);
}

/// A machine that is slow now and then, and never twice at the same place.
struct Slow(Shards);

impl Sink for Slow {
    fn store(&mut self, now_ms: u64, publishes: &[Publish<'_>]) -> Result<Vec<Verdict>, SinkError> {
        let now = Instant::now();
        let verdicts = self.0.store(now_ms, publishes);
        std::thread::sleep(now.elapsed() * 3);
        verdicts
    }

    fn read(&mut self, visit: &mut dyn FnMut(Stored<'_>)) -> Result<(), SinkError> {
        self.0.read(visit)
    }

    fn repeats_dropped(&self) -> u64 {
        self.0.repeats_dropped()
    }
}

#[test]
fn how_fast_machine_and_disk_are_shows_nowhere_in_the_shards() {
    let fast = ran(fleet(40, 5, 5), |shards| shards);
    assert_eq!(fast, ran_on(DurabilityMode::Sync, fleet(40, 5, 5), Slow));
}

/// Breaks a promise between a fleet and its shards, once in so many publishes of batches.
struct Broken {
    shards: Shards,
    how: How,
    every: u64,
    batches: u64,
    /// Acknowledged and not stored yet.
    waiting: Vec<(String, Vec<u8>)>,
    /// What devices said of themselves, by topic.
    hellos: BTreeMap<String, Hello>,
}

#[derive(Clone, Copy)]
enum How {
    /// Acknowledges before the commit, and then the commit never comes: a crash of the gateway.
    LosesCommits,
    /// Takes a batch not, and says that it did.
    AcknowledgesRefused,
    /// Forgets what it has of a device, so that the batch that comes again is stored again.
    StoresTwice,
    /// Stores a batch after the one that came next.
    Swaps,
    /// Takes a batch not and says so: nothing is broken, the device sends it again.
    Refuses,
    /// Shows a record twice.
    ShowsTwice,
    /// Tells the wrong time of arrival: before the reading was taken.
    ArrivesEarly,
}

impl Sink for Broken {
    fn store(&mut self, now_ms: u64, publishes: &[Publish<'_>]) -> Result<Vec<Verdict>, SinkError> {
        match self.how {
            How::LosesCommits => self.store_later(now_ms, publishes),
            How::AcknowledgesRefused | How::Refuses => self.store_some(now_ms, publishes),
            How::StoresTwice => self.store_twice(now_ms, publishes),
            How::Swaps => self.store_swapped(now_ms, publishes),
            How::ShowsTwice | How::ArrivesEarly => self.shards.store(now_ms, publishes),
        }
    }

    fn read(&mut self, visit: &mut dyn FnMut(Stored<'_>)) -> Result<(), SinkError> {
        let (how, every, mut records) = (self.how, self.every, 0);
        self.shards.read(&mut |mut stored| {
            records += 1;
            let is_hit = records % every == 0 && stored.data.starts_with(b"{\"kind\":\"reading\"");
            if is_hit && matches!(how, How::ArrivesEarly) {
                stored.arrived_ms = virtual_time::EPOCH_MS;
            }
            visit(stored);
            if is_hit && matches!(how, How::ShowsTwice) {
                visit(stored);
            }
        })
    }

    fn repeats_dropped(&self) -> u64 {
        self.shards.repeats_dropped()
    }
}

impl Broken {
    fn is_hit(&mut self, publish: &Publish<'_>) -> bool {
        self.batches += u64::from(publish.topic.ends_with("/batch"));
        publish.topic.ends_with("/batch") && self.batches.is_multiple_of(self.every)
    }

    /// What it said is stored is stored one call later, unless it crashes in between.
    fn store_later(&mut self, now_ms: u64, publishes: &[Publish<'_>]) -> Result<Vec<Verdict>, SinkError> {
        let before = std::mem::take(&mut self.waiting);
        let is_crash = publishes.iter().any(|publish| self.is_hit(publish));
        if !is_crash {
            let before: Vec<Publish<'_>> =
                before.iter().map(|(topic, payload)| Publish { topic, payload }).collect();
            self.shards.store(now_ms, &before)?;
        }
        self.waiting =
            publishes.iter().map(|publish| (publish.topic.to_owned(), publish.payload.to_vec())).collect();
        Ok(vec![Verdict::Stored; publishes.len()])
    }

    fn store_some(&mut self, now_ms: u64, publishes: &[Publish<'_>]) -> Result<Vec<Verdict>, SinkError> {
        let (mut verdicts, mut taken) = (Vec::new(), Vec::new());
        for publish in publishes {
            let is_refused = self.is_hit(publish);
            let claims = !is_refused || matches!(self.how, How::AcknowledgesRefused);
            verdicts.push(if claims { Verdict::Stored } else { Verdict::Refused });
            taken.extend((!is_refused).then_some(*publish));
        }
        self.shards.store(now_ms, &taken)?;
        Ok(verdicts)
    }

    /// A device that says itself that it is in an earlier boot was erased: all that is known of it is forgotten.
    fn store_twice(&mut self, now_ms: u64, publishes: &[Publish<'_>]) -> Result<Vec<Verdict>, SinkError> {
        let verdicts = self.shards.store(now_ms, publishes)?;
        for publish in publishes {
            if let Ok(Up::Hello(hello)) = decode_body(publish.payload) {
                self.hellos.insert(publish.topic.replace("/birth", "/batch"), hello);
            }
            if !self.is_hit(publish) {
                continue;
            }
            let Some(hello) = self.hellos.get(publish.topic) else { continue };
            let erased = Up::Hello(Hello { boot: BootId(0), ..hello.clone() });
            let (client_id, topic) = (hello.device.as_str(), publish.topic.replace("/batch", "/birth"));
            let mut buf = [0; 1024];
            let payload = encode_body(&erased, &mut buf).unwrap();
            let own = Inbound { client_id, ..inbound(&Publish { topic: &topic, payload }) };
            self.shards.take(&[own])?;
            self.shards.store(now_ms, &[*publish])?;
        }
        Ok(verdicts)
    }

    fn store_swapped(&mut self, now_ms: u64, publishes: &[Publish<'_>]) -> Result<Vec<Verdict>, SinkError> {
        for publish in publishes {
            let before = self.waiting.iter().position(|(topic, _)| topic == publish.topic);
            if before.is_none() && self.is_hit(publish) {
                self.waiting.push((publish.topic.to_owned(), publish.payload.to_vec()));
                continue;
            }
            self.shards.store(now_ms, &[*publish])?;
            if let Some((topic, payload)) = before.map(|at| self.waiting.remove(at)) {
                self.shards.store(now_ms, &[Publish { topic: &topic, payload: &payload }])?;
            }
        }
        Ok(vec![Verdict::Stored; publishes.len()])
    }
}

fn broken(how: How, every: u64) -> VirtualSummary {
    let (waiting, hellos) = Default::default();
    ran(fleet(40, 5, 11), |shards| Broken { shards, how, every, batches: 0, waiting, hellos })
}

#[test]
fn an_ack_before_a_commit_that_is_lost_is_found() {
    let summary = broken(How::LosesCommits, 400);
    assert!(summary.findings.lost > 0 && !summary.is_good(), "{summary}");
    assert!(summary.findings.examples[0].starts_with("virtual-000"), "{:?}", summary.findings.examples);
}

#[test]
fn an_ack_for_what_was_not_taken_is_found() {
    let summary = broken(How::AcknowledgesRefused, 400);
    assert!(summary.findings.lost > 0 && !summary.is_good(), "{summary}");
}

#[test]
fn a_batch_that_comes_again_and_is_stored_again_is_found() {
    let summary = broken(How::StoresTwice, 400);
    let Findings { lost, repeated, misordered, wrong, .. } = summary.findings;
    assert!(repeated > 0 && [lost, misordered, wrong] == [0; 3] && !summary.is_good(), "{summary}");
}

#[test]
fn batches_in_another_order_are_found() {
    let summary = broken(How::Swaps, 400);
    let Findings { repeated, misordered, wrong, .. } = summary.findings;
    assert!(misordered > 0 && [repeated, wrong] == [0; 2] && !summary.is_good(), "{summary}");
    let text = summary.findings.examples.concat();
    assert!(text.contains("stands after a later one"), "{text}");
}

#[test]
fn what_is_refused_is_sent_again_and_nothing_is_lost() {
    let summary = broken(How::Refuses, 10);
    assert!(summary.is_good(), "{summary}\n{:?}", summary.findings.examples);
}

#[test]
fn what_is_there_twice_and_what_came_too_early_is_found() {
    let twice = broken(How::ShowsTwice, 1_000);
    assert!(twice.findings.repeated > 0 && !twice.is_good(), "{twice}");
    let early = broken(How::ArrivesEarly, 1_000);
    assert!(early.findings.wrong > 0 && !early.is_good(), "{early}");
}
