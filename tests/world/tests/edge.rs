//! Devices and agents against a gateway of routes and an engine alone: many seeds, and planted mistakes.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]

mod gateway;

use gateway::Gateway;
use simulated_world::edge::{Edge, Plan, Planted, Sums};
use simulated_world::{Broken, Chance, Front, Inhabitant, Moment, Phase, Trace};

const TICK_MS: u64 = 5;
/// Virtual time in which things go wrong.
const STORM_MS: u64 = 120_000;
/// Virtual time that it may take until nobody holds anything: a device's whole ring goes up one batch a sync.
const DRAIN_MS_MAX: u64 = 900_000;

struct End {
    digest: u64,
    sums: Sums,
    stored: u64,
    drain_ms: u64,
    result: Result<(), Broken>,
    trace: Trace,
}

fn world(seed: u64, planted: Option<Planted>) -> End {
    let mut chance = Chance::new(seed);
    let mut plan = Plan::of(&mut chance);
    if let Some(planted) = planted {
        plan = plan.with(planted);
    }
    let mut edge = Edge::new(&plan, &chance.fork("edge"));
    let mut gateway = Gateway::new(chance.fork("gateway"));
    let (front, mut trace, mut now_ms) = (Front::default(), Trace::default(), 0);
    let mut live = |edge: &mut Edge, gateway: &mut Gateway, trace: &mut Trace| -> Result<u64, Broken> {
        while now_ms < STORM_MS + DRAIN_MS_MAX {
            now_ms += TICK_MS;
            let phase = if now_ms <= STORM_MS { Phase::Stormy } else { Phase::Calm };
            let moment = Moment { world_ms: now_ms, tick_ms: TICK_MS, phase };
            gateway.tick(moment, &front, trace);
            edge.tick(moment, &front, trace)?;
            if phase == Phase::Calm && now_ms % 1_000 == 0 && edge.is_drained() {
                return Ok(now_ms - STORM_MS);
            }
        }
        Err(Broken("devices and agents hold records long after the storm".to_owned()))
    };
    let lived = live(&mut edge, &mut gateway, &mut trace);
    let result = match &lived {
        Ok(_) => edge.compare(&mut gateway.stored().into_iter()),
        Err(broken) => Err(broken.clone()),
    };
    let sums = edge.sums();
    let stored = edge.findings().map_or(0, |findings| findings.stored + findings.gaps);
    End { digest: trace.digest(), sums, stored, drain_ms: lived.unwrap_or(0), result, trace }
}

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let from = number("HEADWATER_WORLD_FIRST").unwrap_or(0);
    from..from + number("HEADWATER_WORLD_SEEDS").unwrap_or(20)
}

#[test]
fn what_devices_had_in_flash_is_in_the_shards_once_and_in_order() {
    let (mut all, mut longest_drain_ms) = (Sums::default(), 0);
    for seed in seeds() {
        let end = world(seed, None);
        if let Err(broken) = &end.result {
            let lines: Vec<&str> = end.trace.last(60).collect();
            panic!("seed {seed}: {broken}\n{}", lines.join("\n"));
        }
        let (sums, digest) = (end.sums, end.digest);
        eprintln!(
            "seed {seed}: {sums:?}, {} stored, drained in {} ms, digest {digest:x}",
            end.stored, end.drain_ms
        );
        all = all.plus(sums);
        longest_drain_ms = longest_drain_ms.max(end.drain_ms);
        assert!(end.stored > 0, "seed {seed}: nothing arrived");
    }
    eprintln!("all: {all:?}, longest drain {longest_drain_ms} ms");
    let count = seeds().end - seeds().start;
    let happens = [
        all.boots / 2,
        all.lives,
        all.power_cuts * 2,
        all.connections,
        all.repeats,
        all.commands,
        all.periods * 4,
    ];
    assert!(happens.iter().all(|times| *times > count), "things no longer go wrong: {all:?}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let few = || seeds().take(6);
    let digests = few().map(|seed| {
        let (once, again) = (world(seed, None), world(seed, None));
        let lines = |end: &End| end.trace.last(4_000).map(str::to_owned).collect::<Vec<_>>();
        let (once_lines, again_lines) = (lines(&once), lines(&again));
        let differ = once_lines.iter().zip(&again_lines).find(|(once, again)| once != again);
        assert_eq!(once.digest, again.digest, "seed {seed}, first difference {differ:?}");
        once.digest
    });
    let (mut digests, count) = (digests.collect::<Vec<_>>(), few().count());
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), count, "another seed is another world");
}

fn found(planted: Planted, words: &str) {
    for seed in 0..5 {
        let broken = world(seed, Some(planted)).result.expect_err("the mistake is found");
        assert!(broken.0.contains(words), "seed {seed}: {broken}");
    }
}

#[test]
fn an_ack_before_the_sync_is_found() {
    found(Planted::AckBeforeSync, "is acked through");
}

#[test]
fn a_checkpoint_before_the_puback_is_found() {
    found(Planted::CheckpointBeforePuback, "without PUBACK");
}

#[test]
fn a_device_that_lets_go_what_nobody_acked_is_found() {
    found(Planted::ReleaseBeforeAck, "go, acked:");
}

#[test]
fn a_command_that_is_done_twice_is_found() {
    let found = (0..10).find_map(|seed| world(seed, Some(Planted::CommandRenumbered)).result.err());
    let broken = found.expect("a mistake lives through ten worlds");
    eprintln!("found: {broken}");
    assert!(broken.0.contains("that nobody gave") || broken.0.contains("started anew"), "{broken}");
}
