//! Worlds of many seeds; how many and from which on, say `HEADWATER_WORLD_SEEDS` and `HEADWATER_WORLD_FIRST`.

use simulated_world::{Bug, run, run_many, run_planted};

/// Worlds where nobody says how many: for a build that is not optimised.
const SEEDS: u64 = 16;
/// Worlds in which a planted bug must be found, one after another until it is.
const PLANTED_SEEDS: u64 = 12;

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

#[test]
fn no_promise_is_broken_in_the_worlds_of_many_seeds() {
    let first = setting("HEADWATER_WORLD_FIRST", 1);
    let count = setting("HEADWATER_WORLD_SEEDS", SEEDS);
    let failures = run_many(first..first + count, run);
    assert!(
        failures.is_empty(),
        "{} of {count} worlds broke a promise, of the seeds {failures:?}",
        failures.len()
    );
}

#[test]
fn the_same_seed_is_the_same_world_to_the_digest() {
    let mut digests = Vec::new();
    for seed in 1..=6 {
        let (once, again) = (run(seed), run(seed));
        let (Ok(once), Ok(again)) = (once, again) else { panic!("world {seed} broke a promise") };
        let differ = once.last(4_000).zip(again.last(4_000)).find(|(once, again)| once != again);
        assert_eq!(once.digest(), again.digest(), "seed {seed}, first difference {differ:?}");
        digests.push(once.digest());
    }
    digests.sort_unstable();
    digests.dedup();
    assert_eq!(digests.len(), 6, "another seed is another world");
}

fn is_found(bug: Bug, by: &[&str]) {
    let found = (1..=PLANTED_SEEDS).find_map(|seed| run_planted(seed, bug).err());
    let found = found.unwrap_or_else(|| panic!("{bug:?} lived through {PLANTED_SEEDS} worlds"));
    eprintln!("{bug:?} is found: {}", found.broken);
    assert!(by.iter().any(|text| found.broken.to_string().contains(text)), "{bug:?} is found as: {found}");
}

#[test]
fn an_ack_before_the_sync_is_found() {
    is_found(Bug::AckBeforeSync, &["was told that everything before"]);
}

#[test]
fn a_trim_before_the_target_has_it_is_found() {
    is_found(
        Bug::TrimBeforeAck,
        &["is trimmed from", "records expired before they were delivered", "records are lost to a sink"],
    );
}

#[test]
fn a_checkpoint_past_a_hole_is_found() {
    is_found(
        Bug::CheckpointPastHole,
        &["that the target does not have", "are not at the target", "went back", "does not add up"],
    );
}

#[test]
fn a_trim_at_the_faster_of_two_sinks_is_found() {
    is_found(
        Bug::TrimAtTheFaster,
        &["is trimmed from", "records expired before they were delivered", "records are lost to a sink"],
    );
}

#[test]
fn a_dead_letter_that_is_not_written_is_found() {
    is_found(
        Bug::LetterNotWritten,
        &["that are no dead letters", "are not at the target", "are dead letters"],
    );
}
