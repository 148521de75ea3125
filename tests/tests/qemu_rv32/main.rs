//! The very firmware on an emulated RISC-V machine: over its serial line through agent and gateway to a shard, killed again
//! and again, half of the time with nobody listening.

mod debugger;
mod machine;
mod resets;

use std::collections::BTreeSet;
use std::time::Duration;

use headwater_telemetry::{Config, DeviceId};
use machine::Machine;
use system_tests::agent::Agent;
use system_tests::chance::Chance;
use system_tests::fleet::{Entry, census};
use system_tests::gateway::Gateway;
use system_tests::kinesis::Record;
use system_tests::wait_until;

/// The device is up in a tenth of a second and delivers twice a second; the rest is for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Times the device is killed. Each takes a second; the other emulated board takes more of them.
const KILLS: u64 = 8;

/// Milliseconds between two readings.
const PERIOD_MS: u32 = 20;

fn config() -> Config {
    let device = DeviceId::parse("shed-5").expect("a good name");
    Config { device, network: None, uplink: None, period_ms: PERIOD_MS, batch_age_ms: 200 }
}

fn readings(gateway: &Gateway) -> Vec<Record> {
    let of_kind = |record: &Record| record.json()["kind"] == "reading";
    gateway.kinesis().read_all("telemetry").into_iter().filter(of_kind).collect()
}

/// The boots in the shard, in their order, if the newest has at least `count` readings: what came before is there then, too.
fn boots(gateway: &Gateway, count: usize) -> Option<Vec<u64>> {
    let numbers: Vec<u64> =
        readings(gateway).iter().filter_map(|record| record.json()["boot"].as_u64()).collect();
    let seen: BTreeSet<u64> = numbers.iter().copied().collect();
    let newest = seen.last()?;
    (numbers.iter().filter(|boot| *boot == newest).count() >= count).then(|| seen.into_iter().collect())
}

#[test]
fn no_hole_inside_any_boot_and_nothing_twice_over_kills() {
    let Some(emulator) = machine::emulator() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut gateway = Gateway::start(directory.path(), "[streams.telemetry]\nshards = 4\n");
    let mut agent = Agent::start(directory.path(), gateway.mqtt);
    let mut device = Machine::provisioned(&emulator, directory.path(), agent.link, &config());
    device.start();
    let begun = wait_until(PATIENCE, || boots(&gateway, 20).is_some());
    assert!(begun, "the first boot delivered {} readings\n{}", readings(&gateway).len(), gateway.tail());

    let mut chance = Chance::new(system_tests::number_from_env("HEADWATER_SEED", 5));
    for round in 0..KILLS {
        // Every other time nobody listens, and what is read piles up in flash.
        let is_heard = round % 2 == 0;
        if !is_heard {
            agent.kill();
        }
        // Long enough for a batch in flash.
        std::thread::sleep(chance.millis(800, 1_500));
        device.kill();
        device.start();
        if !is_heard {
            std::thread::sleep(chance.millis(0, 700));
            agent.restart();
        }
    }
    let first = boots(&gateway, 0).expect("there were readings before")[0];
    let all: Vec<u64> = (first..=first + KILLS).collect();
    let mut found = None;
    let delivered = wait_until(PATIENCE, || {
        found = boots(&gateway, 100).or(found.take());
        found.as_ref().is_some_and(|found| found.last() >= all.last())
    });
    assert!(delivered, "the last boot of {all:?} is not there: {found:?}\n{}", gateway.tail());
    assert_eq!(found.as_ref(), Some(&all), "every boot stored something, and the next one delivered it");
    device.kill();

    let records = readings(&gateway);
    let named = records.iter().all(|record| record.json()["device"] == "shed-5" && record.key == "shed-5");
    assert!(named, "somebody else reported");
    let census = census(gateway.kinesis().read_all("telemetry").iter().filter_map(Entry::of));
    assert_eq!(census.violations, Vec::<String>::new());
    assert_eq!(census.lost_at_device, 0, "the flash was never full");
    // The device counts its readings from 0 in every boot, and every reading takes one number.
    for record in &records {
        let json = record.json();
        assert_eq!(json["value"].as_u64(), json["seq"].as_u64(), "{json}");
    }
    let (used, kept) = (device.stack_high_water(), machine::stack_budget());
    assert!(
        (1_000..=kept).contains(&used),
        "the stack took {used} bytes, firmware/boards/budgets keeps {kept}"
    );
    agent.stop();
    gateway.stop();
}
