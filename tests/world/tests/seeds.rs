//! Worlds of many seeds; how many and from which on, say `HEADWATER_WORLD_SEEDS` and `HEADWATER_WORLD_FIRST`.

use simulated_world::{
    Broken, Bug, Front, Inhabitant, Kind, Moment, Stage, Stored, Trace, Twin, compare, run, run_many,
    run_planted, run_with,
};
use std::collections::{BTreeSet, HashMap};
use std::sync::LazyLock;

/// Worlds where nobody says how many: for a build that is not optimised.
const SEEDS: u64 = 16;
/// Worlds in which a planted bug must be found, one after another until it is.
const PLANTED_SEEDS: u64 = 12;
/// Worlds of the stage that are lived again, in two processes.
const TWINS_MAX: u64 = 20;
/// When an order is drawn that no seed gives, ms of the world.
const DRAWN_AT_MS: u64 = 5_000;

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

static STAGE: LazyLock<Stage> = LazyLock::new(|| {
    let first = setting("HEADWATER_WORLD_FIRST", 1);
    run_many(first..first + setting("HEADWATER_WORLD_SEEDS", SEEDS), run)
});

#[test]
fn no_promise_is_broken_in_the_worlds_of_many_seeds() {
    let failures = &STAGE.failures;
    assert!(failures.is_empty(), "{} worlds broke a promise, of the seeds {failures:?}", failures.len());
}

#[test]
fn the_same_seed_is_the_same_world_in_every_process() {
    let lived = setting("HEADWATER_WORLD_SEEDS", SEEDS);
    let twins = setting("HEADWATER_WORLD_TWINS", TWINS_MAX.min(lived / 8).max(2));
    let compared = STAGE.relive(Kind::Sinks, usize::try_from(twins).unwrap(), env!("CARGO_BIN_EXE_life"));
    assert!(compared.unwrap_or_else(|found| panic!("{found}")) > 0, "no world was lived");
    let digests: BTreeSet<u64> = STAGE.kept.values().copied().collect();
    assert_eq!(digests.len(), STAGE.kept.len(), "another seed is another world");
}

/// Somebody who publishes in an order that the process draws.
struct Drawn(HashMap<u32, &'static str>);

impl Inhabitant for Drawn {
    fn tick(&mut self, moment: Moment, _: &Front, trace: &mut Trace) -> Result<(), Broken> {
        #[expect(clippy::disallowed_methods, reason = "the order that is to be found")]
        if moment.world_ms == DRAWN_AT_MS {
            self.0.values().for_each(|name| trace.fold(name, name.as_bytes()));
        }
        Ok(())
    }

    fn is_drained(&self) -> bool {
        true
    }

    fn compare(&mut self, _: &mut dyn Iterator<Item = Stored>) -> Result<(), Broken> {
        Ok(())
    }
}

#[test]
fn an_order_that_a_hash_map_draws_is_found_where_it_shows() {
    let life = |trace: Trace| {
        let drawn = Drawn((0..).zip(["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]).collect());
        run_with(1, trace, |world| world.settle(drawn)).ok();
    };
    let found = compare(&Twin::in_thread("once", life), &Twin::in_thread("again", life));
    let found = found.expect_err("two maps give ten entries in one order");
    eprintln!("found: {found}");
    assert_eq!(found.at_ms, DRAWN_AT_MS);
    let of_each = found.of_each.map(|(_, lines)| lines[0].clone());
    assert!(
        of_each.iter().all(|line| line.contains(": 1 bytes ")) && of_each[0] != of_each[1],
        "{of_each:?}"
    );
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
