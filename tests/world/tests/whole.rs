//! The whole world: devices, lines, agents, network, gateway, sinks, target. How many, and from which seed on, say
//! `HEADWATER_WORLD_SEEDS` and `HEADWATER_WORLD_FIRST`.

use simulated_world::{run_many, run_whole};

/// Worlds where nobody says how many: for a build that is not optimised.
const SEEDS: u64 = 6;

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn what_devices_had_in_flash_arrives_at_the_target() {
    let first = setting("HEADWATER_WORLD_FIRST", 1);
    let count = setting("HEADWATER_WORLD_SEEDS", SEEDS);
    let failures = run_many(first..first + count, run_whole);
    assert!(
        failures.is_empty(),
        "{} of {count} worlds broke a promise, of the seeds {failures:?}",
        failures.len()
    );
}

#[test]
fn the_same_seed_is_the_same_whole_world() {
    for seed in [3, 5] {
        let (once, again) = (run_whole(seed), run_whole(seed));
        let (Ok(once), Ok(again)) = (once, again) else { panic!("world {seed} broke a promise") };
        let differ = once.last(4_000).zip(again.last(4_000)).find(|(once, again)| once != again);
        assert_eq!(once.digest(), again.digest(), "seed {seed}, first difference {differ:?}");
    }
}
