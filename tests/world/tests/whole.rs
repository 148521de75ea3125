//! The whole world: devices, lines, agents, network, gateway, sinks, target. How many, and from which seed on, say
//! `HEADWATER_WORLD_SEEDS` and `HEADWATER_WORLD_FIRST`.

use simulated_world::{Kind, Stage, run_many, run_whole};
use std::sync::LazyLock;

/// Worlds where nobody says how many: for a build that is not optimised.
const SEEDS: u64 = 6;
/// Worlds of the stage that are lived again, in two processes.
const TWINS_MAX: u64 = 20;

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

static STAGE: LazyLock<Stage> = LazyLock::new(|| {
    let first = setting("HEADWATER_WORLD_FIRST", 1);
    run_many(first..first + setting("HEADWATER_WORLD_SEEDS", SEEDS), run_whole)
});

#[test]
fn what_devices_had_in_flash_arrives_at_the_target() {
    let failures = &STAGE.failures;
    assert!(failures.is_empty(), "{} worlds broke a promise, of the seeds {failures:?}", failures.len());
}

#[test]
fn the_same_seed_is_the_same_whole_world_in_every_process() {
    let lived = setting("HEADWATER_WORLD_SEEDS", SEEDS);
    let twins = setting("HEADWATER_WORLD_TWINS", TWINS_MAX.min(lived / 8).max(2));
    let compared = STAGE.relive(Kind::Whole, usize::try_from(twins).unwrap(), env!("CARGO_BIN_EXE_life"));
    assert!(compared.unwrap_or_else(|found| panic!("{found}")) > 0, "no world was lived");
}
