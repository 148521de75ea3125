//! A fleet of fifty simulated devices, running the real device core, goes through agent and gateway for a minute while at
//! seeded moments both are killed and both links are cut: every acknowledged reading is in its shard, in order per device, once.
//! `HEADWATER_FLEET_SECONDS` makes it shorter or longer, `HEADWATER_SEED` makes it another one.

#![expect(clippy::print_stdout, reason = "a panic in a test is its report, and so is what it prints")]

use std::path::Path;
use std::time::{Duration, Instant};

use system_tests::agent::Agent;
use system_tests::chance::Chance;
use system_tests::fleet::{Census, Entry, census};
use system_tests::gateway::Gateway;
use system_tests::process::Process;
use system_tests::proxy::Proxy;
use system_tests::{binaries, number_from_env};

/// Devices in the fleet.
const DEVICES: usize = 50;

/// After the last fault: the devices stop, everything on the way arrives, the simulator reads the shards back.
const DRAIN_PATIENCE: Duration = Duration::from_secs(120);

/// The world of this test: device links ─ agent ─ uplink ─ gateway, with a plug to pull in both links.
struct World {
    devices: Proxy,
    agent: Agent,
    uplink: Proxy,
    gateway: Gateway,
    faults: [u32; 4],
}

impl World {
    fn start(directory: &Path) -> Self {
        let gateway = Gateway::start(directory, "");
        let uplink = Proxy::start(gateway.mqtt);
        let agent = Agent::start(directory, uplink.address());
        let devices = Proxy::start(agent.link);
        Self { devices, agent, uplink, gateway, faults: [0; 4] }
    }

    fn hurt(&mut self, chance: &mut Chance) {
        let kind = usize::try_from(chance.between(0, 3)).expect("below four");
        let away = chance.millis(0, 1500);
        match kind {
            0 => {
                self.agent.kill();
                std::thread::sleep(away);
                self.agent.restart();
            }
            1 => {
                self.gateway.kill();
                std::thread::sleep(away);
                self.gateway.restart();
            }
            2 => {
                self.uplink.set_down(true);
                std::thread::sleep(away);
                self.uplink.set_down(false);
            }
            _ => {
                self.devices.cut();
            }
        }
        self.faults[kind] += 1;
    }
}

fn fleet(world: &World, directory: &Path, seed: u64, seconds: u64) -> Process {
    Process::new("headwater-sim", binaries::headwater(), directory).args([
        "sim".to_owned(),
        format!("--devices={DEVICES}"),
        format!("--seed={seed}"),
        format!("--duration={seconds}s"),
        format!("--agent={}", world.devices.address()),
        format!("--kinesis={}", world.gateway.kinesis),
    ])
}

fn assert_whole(census: &Census, faults: [u32; 4]) {
    let readings: u64 = census.readings.values().sum();
    let [agent, gateway, uplink, devices] = faults;
    println!(
        "{readings} readings of {} devices; killed the agent {agent} times, the gateway {gateway}, cut the uplink {uplink}, the device links {devices}; {} lost in full flash rings",
        census.readings.len(),
        census.lost_at_device,
    );
    assert!(census.violations.is_empty(), "{} violations: {:#?}", census.violations.len(), census.violations);
    assert_eq!(census.readings.len(), DEVICES, "every device arrived");
}

#[test]
fn fifty_devices_lose_nothing_while_everything_around_them_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let (seed, seconds) =
        (number_from_env("HEADWATER_SEED", 7), number_from_env("HEADWATER_FLEET_SECONDS", 60));
    let mut world = World::start(directory.path());
    let mut fleet = fleet(&world, directory.path(), seed, seconds);
    let mut chance = Chance::new(seed);
    fleet.start();
    let started = Instant::now();
    // The last fifth of the time is calm, so that the end of the fleet is its own and not a fault's.
    while started.elapsed() < Duration::from_secs(seconds) * 4 / 5 {
        std::thread::sleep(chance.millis(500, 3000));
        assert!(fleet.runs(), "the fleet ended early\n{}", fleet.tail());
        world.hurt(&mut chance);
    }
    let status = fleet.wait(Duration::from_secs(seconds) + DRAIN_PATIENCE);
    assert!(status.success(), "the simulator's own check failed: {status}\n{}", fleet.tail());
    assert!(
        world.uplink.carried_bytes() > 0 && world.devices.carried_bytes() > 0,
        "the links carried the readings"
    );

    let entries: Vec<Entry> =
        world.gateway.kinesis().read_all("telemetry").iter().filter_map(Entry::of).collect();
    assert_whole(&census(entries.clone()), world.faults);

    // The control: the same entries with one taken out of the middle, and with one twice, are not whole.
    let mut missing = entries.clone();
    missing.remove(entries.len() / 2);
    assert!(!census(missing).violations.is_empty(), "a missing entry must be seen");
    let mut twice = entries.clone();
    twice.push(entries[entries.len() / 2].clone());
    assert!(!census(twice).violations.is_empty(), "a second copy must be seen");
    world.agent.stop();
    world.gateway.stop();
}
