//! What `kill -9` of the gateway costs: repeats, and nothing else.

use std::time::{Duration, Instant};

use system_tests::chance::Chance;
use system_tests::gateway::Gateway;
use system_tests::target::read_once;
use system_tests::{number_from_env, python};

use crate::check::assert_forwarded;
use crate::load::Load;
use crate::world::World;

/// Kills, at moments of chance.
const KILLS: u32 = 24;

/// How long devices sample; programs go on until the last kill.
const SECONDS: u64 = 14;

/// Milliseconds between a start and the next kill: from amid the first look at the target to steady forwarding.
const PAUSE_MS: (u64, u64) = (0, 700);

#[test]
fn kills_at_any_moment_cost_repeats_and_nothing_else() {
    if python::interpreter().is_none() {
        return python::skip("kills of a forwarder", "no Python with boto3; `tests/run` sets one up");
    }
    let directory = tempfile::tempdir().unwrap();
    let mut far = Gateway::start(directory.path(), "[streams.telemetry]\nshards = 3\n");
    let seed = number_from_env("HEADWATER_SEED", 101);
    let mut world = World::start(far.kinesis, seed, "");
    let mut chance = Chance::new(seed);
    let load = Load::start(&world.near, world.directory.path(), seed, SECONDS, 2);
    let (mut longest, started) = (Duration::ZERO, Instant::now());
    for _ in 0..KILLS {
        std::thread::sleep(chance.millis(PAUSE_MS.0, PAUSE_MS.1));
        world.near.kill();
        let was = Instant::now();
        world.near.restart();
        longest = longest.max(was.elapsed());
    }
    let killed = started.elapsed().as_secs_f32();
    let acked = load.finish();
    let seen =
        assert_forwarded(&mut world.near, acked, || read_once(far.kinesis, "telemetry", directory.path()));
    let repeats = seen.iter().filter(|seen| seen.is_repeat).count();
    println!(
        "{KILLS} kills in {killed:.1} s: 0 of {} missing, {repeats} again, {} for each kill; the longest start took {} ms",
        seen.len() - repeats,
        repeats / KILLS as usize,
        longest.as_millis()
    );
    far.stop();
}
