//! Cuts the journal's power at any step and looks at what is left.
//!
//! A naive model runs beside the real core on a simulated disk. After every start all that was acknowledged and may not be
//! retired is there, in order and byte for byte; a set is there whole or not at all; what was not acknowledged may be there, never
//! after a hole; nothing is invented; no alarm is false. The controls break one promise of the disk and must be caught.
//!
//! `HEADWATER_SEEDS=200000` runs that many cuts instead of 10,000; `HEADWATER_SEED=17` runs one world and prints its steps.

#![expect(clippy::unwrap_used, reason = "a panic in a test is the report")]

mod actions;
mod chance;
mod coding;
mod controls;
mod damage;
mod exhaustive;
mod model;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::world::{Honest, Over, World};

/// Cuts per world: enough lives for segments to be sealed, recycled and to run out.
const CUTS_PER_WORLD: u64 = 10;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is {text}, must be a number")))
}

/// Runs one world; a panic inside the journal is a failure with a seed too.
fn run_world<O: Over>(seed: u64, record: bool) -> Result<World<O>, String> {
    let mut world = World::<O>::new(seed);
    if record {
        world.disk.record_steps();
    }
    let result = catch_unwind(AssertUnwindSafe(|| world.run(CUTS_PER_WORLD)));
    let reason = match result {
        Ok(Ok(())) => return Ok(world),
        Ok(Err(reason)) => reason,
        Err(panic) => match panic.downcast_ref::<String>() {
            Some(text) => format!("panicked: {text}"),
            None => format!("panicked: {:?}", panic.downcast_ref::<&str>()),
        },
    };
    let steps = world.disk.steps();
    let last: Vec<String> = steps.iter().rev().take(60).rev().map(|step| format!("{step:?}")).collect();
    Err(format!(
        "world {seed} after {} cuts: {reason}\n  so far:\n    {}\n{}  again: HEADWATER_SEED={seed} cargo test -p headwater-journal --test power_cut acknowledged",
        world.cuts,
        world.log[world.log.len().saturating_sub(if record { 1000 } else { 15 })..].join("\n    "),
        if last.is_empty() { String::new() } else { format!("  disk:\n    {}\n", last.join("\n    ")) },
    ))
}

#[test]
fn acknowledged_records_survive_power_cuts() {
    if let Some(seed) = setting("HEADWATER_SEED") {
        run_world::<Honest>(seed, true).map(|_| ()).unwrap_or_else(|report| panic!("{report}"));
        return;
    }
    let cuts = setting("HEADWATER_SEEDS").unwrap_or(10_000);
    let worlds = cuts.div_ceil(CUTS_PER_WORLD);
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    let start = Instant::now();
    let failures: Vec<String> = std::thread::scope(|scope| {
        let worker = || {
            let mut failures = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= worlds || failures.len() > 2 {
                    return failures;
                }
                match run_world::<Honest>(seed, false) {
                    Ok(world) => done.fetch_add(world.cuts, Ordering::Relaxed),
                    Err(report) => {
                        failures.push(report);
                        0
                    }
                };
            }
        };
        let workers = [scope.spawn(worker), scope.spawn(worker)];
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    });
    let done = done.into_inner();
    println!("{done} cuts in {} worlds, {:.0} a second", worlds, done as f64 / start.elapsed().as_secs_f64());
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn a_seed_repeats_itself() {
    for seed in 0..20 {
        let run = || {
            run_world::<Honest>(seed, true).map(|world| (world.disk.steps(), world.disk.image(), world.log))
        };
        let (first, second) = (run().unwrap(), run().unwrap());
        assert!(first == second, "world {seed} differs from itself");
    }
}
