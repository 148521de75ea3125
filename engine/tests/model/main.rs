//! The engine beside a model of it that is too simple to be wrong: the same random operations, the same answers.
//!
//! The model keeps every record in a list per shard and knows no disk, no paging and no restart. A world is one engine on one
//! directory under a clock of its own; its seed decides everything. `HEADWATER_SEEDS` sets how many worlds are run,
//! `HEADWATER_SEED` runs one.

#![expect(clippy::unwrap_used, reason = "a test may panic: that is its report")]

mod naive;
mod reading;
mod world;

use world::World;

/// Worlds in a usual run; each takes about a tenth of a second, most of it restarts.
const SEEDS: u64 = 40;
/// Operations of one world.
const STEPS: u64 = 250;

fn number(name: &str) -> Option<u64> {
    std::env::var(name)
        .ok()
        .map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
}

#[test]
fn random_operations_are_answered_as_the_model_answers_them() {
    let seeds = match number("HEADWATER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("HEADWATER_SEEDS").unwrap_or(SEEDS),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for seed in seeds {
        // Shown only when the world fails.
        println!("HEADWATER_SEED={seed}");
        runtime.block_on(async {
            let mut world = World::new(seed);
            for _ in 0..STEPS {
                world.step().await;
            }
            world.check_everything().await;
            world.close().await;
        });
    }
}

/// A model that agrees with everything would be of no use: one that forgets a record must be noticed.
#[test]
#[should_panic(expected = "records of")]
fn a_record_that_the_engine_did_not_take_is_noticed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut world = World::new(1);
        for _ in 0..STEPS {
            world.step().await;
        }
        world.forget_one();
        world.check_everything().await;
    });
}
