//! Devices and agents against a gateway of routes and an engine alone: many seeds, and planted mistakes.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]

use simulated_world::edge::alone::{End, live};
use simulated_world::edge::{Planted, Sums};
use simulated_world::{Failure, Kind, Stage, Trace, run_many};
use std::sync::{LazyLock, Mutex};

/// Worlds of the stage that are lived again, in two processes.
const TWINS_MAX: u64 = 20;

/// What happened in all of them, and the longest drain.
static ALL: Mutex<(Sums, u64)> = Mutex::new((Sums::NONE, 0));

static STAGE: LazyLock<Stage> = LazyLock::new(|| {
    run_many(seeds(), |seed| {
        let End { sums, stored, drain_ms, result, trace } = live(seed, None, Trace::default());
        result.map_err(|broken| Failure { seed, broken, trace: trace.clone() })?;
        eprintln!("seed {seed}: {sums:?}, {stored} stored, drained in {drain_ms} ms");
        assert!(stored > 0, "seed {seed}: nothing arrived");
        let mut all = ALL.lock().unwrap();
        *all = (all.0.plus(sums), all.1.max(drain_ms));
        Ok(trace)
    })
});

fn seeds() -> std::ops::Range<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let from = number("HEADWATER_WORLD_FIRST").unwrap_or(0);
    from..from + number("HEADWATER_WORLD_SEEDS").unwrap_or(20)
}

#[test]
fn what_devices_had_in_flash_is_in_the_shards_once_and_in_order() {
    let failures = &STAGE.failures;
    assert!(failures.is_empty(), "{} worlds broke a promise, of the seeds {failures:?}", failures.len());
    let (all, longest_drain_ms) = *ALL.lock().unwrap();
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
fn the_same_seed_gives_the_same_trace_in_every_process() {
    let lived = seeds().end - seeds().start;
    let twins = std::env::var("HEADWATER_WORLD_TWINS").ok().and_then(|twins| twins.parse().ok());
    let twins = twins.unwrap_or(TWINS_MAX.min(lived / 8).max(2));
    let compared = STAGE.relive(Kind::Edge, usize::try_from(twins).unwrap(), env!("CARGO_BIN_EXE_life"));
    assert!(compared.unwrap_or_else(|found| panic!("{found}")) > 0, "no world was lived");
}

fn found(planted: Planted, words: &str) {
    for seed in 0..5 {
        let broken = live(seed, Some(planted), Trace::default()).result.expect_err("the mistake is found");
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
    let found =
        (0..10).find_map(|seed| live(seed, Some(Planted::CommandRenumbered), Trace::default()).result.err());
    let broken = found.expect("a mistake lives through ten worlds");
    eprintln!("found: {broken}");
    assert!(broken.0.contains("that nobody gave") || broken.0.contains("started anew"), "{broken}");
}
