//! A fleet of fifty simulated devices, running the real device core, goes through agent and gateway for a minute while at
//! seeded moments both are killed and both links are cut: every acknowledged reading is in its shard, in order per device, once.
//! `HEADWATER_FLEET_SECONDS` makes it shorter or longer, `HEADWATER_SEED` makes it another one.

#![expect(clippy::print_stdout, reason = "a panic in a test is its report, and so is what it prints")]

use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use headwater_sim::{AgentAt, Faults, Fleet, Progress, SimConfig, Summary};

use system_tests::agent::Agent;
use system_tests::chance::Chance;
use system_tests::fleet::{Census, Entry, census};
use system_tests::gateway::Gateway;
use system_tests::number_from_env;
use system_tests::proxy::Proxy;
use tokio::sync::watch;

/// Devices in the fleet.
const DEVICES: u32 = 50;

/// Readings of a device each second: four times what a real one takes, so that every fault finds some on the way.
const READINGS_PER_SEC: f64 = 4.0;

/// Power cuts of a device: each reboots about once in the minute.
const REBOOTS_PER_HOUR: f64 = 60.0;

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

/// The fleet in a thread of its own, its devices on the near end of the device links.
fn fleet(world: &World, directory: &Path, seed: u64, seconds: u64) -> JoinHandle<Summary> {
    let config = SimConfig {
        devices: DEVICES,
        seed,
        rate_per_sec: READINGS_PER_SEC,
        duration: Some(Duration::from_secs(seconds)),
        agent: AgentAt::External(world.devices.address()),
        drain: DRAIN_PATIENCE,
        faults: Faults { reboots_per_hour: REBOOTS_PER_HOUR, ..Faults::default() },
        ..SimConfig::new(directory.join("fleet"), world.gateway.mqtt, world.gateway.kinesis)
    };
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (progress, _) = watch::channel(Progress::default());
        let fleet = Fleet::run(config, progress, std::future::pending());
        runtime.block_on(fleet).expect("the fleet runs and the shards can be read back")
    })
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
    assert_eq!(census.readings.len(), DEVICES as usize, "every device arrived");
}

#[test]
fn fifty_devices_lose_nothing_while_everything_around_them_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let (seed, seconds) =
        (number_from_env("HEADWATER_SEED", 7), number_from_env("HEADWATER_FLEET_SECONDS", 60));
    let mut world = World::start(directory.path());
    let fleet = fleet(&world, directory.path(), seed, seconds);
    let mut chance = Chance::new(seed);
    let started = Instant::now();
    // The last fifth of the time is calm, so that the end of the fleet is its own and not a fault's.
    while started.elapsed() < Duration::from_secs(seconds) * 4 / 5 {
        std::thread::sleep(chance.millis(500, 3000));
        assert!(!fleet.is_finished(), "the fleet ended early");
        world.hurt(&mut chance);
    }
    let summary = fleet.join().expect("the fleet ends");
    println!("the fleet's own check: {summary}");
    assert!(summary.is_good(), "{summary}: {:#?}", summary.examples);
    assert_eq!(summary.waiting, 0, "everything arrived in the end");
    assert!(
        summary.acked > u64::from(DEVICES) * seconds,
        "{} acked is too few to prove anything",
        summary.acked
    );
    assert!(
        world.uplink.carried_bytes() > 0 && world.devices.carried_bytes() > 0,
        "the links carried the readings"
    );

    let entries: Vec<Entry> =
        world.gateway.kinesis().read_all("telemetry").iter().filter_map(Entry::of).collect();
    assert_whole(&census(entries.clone()), world.faults);

    // The control: the same entries with one taken out of the middle of a boot, and with one twice, are not whole.
    let place = inside_a_boot(&entries);
    let mut missing = entries.clone();
    missing.remove(place);
    assert_eq!(census(missing).violations.len(), 1, "a missing entry must be seen");
    let mut twice = entries.clone();
    twice.insert(place, entries[place].clone());
    assert_eq!(census(twice).violations.len(), 1, "a second copy must be seen");
    world.agent.stop();
    world.gateway.stop();
}

/// An entry whose device has an earlier and a later one in the same boot.
fn inside_a_boot(entries: &[Entry]) -> usize {
    let same = |a: &Entry, b: &Entry| (&a.device, a.boot) == (&b.device, b.boot);
    (0..entries.len())
        .find(|place| {
            let entry = &entries[*place];
            entries[..*place].iter().any(|other| same(entry, other))
                && entries[place + 1..].iter().any(|other| same(entry, other))
        })
        .expect("a boot with three entries")
}
