//! The very firmware on an emulated Cortex-M3: over its serial line through agent and gateway to a shard, over Ethernet and TLS
//! straight to the gateway, killed, unplugged, hung, and asked.

mod asked;
mod machine;
mod peer;
mod secrets;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use headwater_telemetry::{
    BootId, ChannelId, Command, CommandId, CommandOutcome, Config, Credentials, DeviceId, Down, Order,
    ResetReason, Secret, Up, Uplink, bounded,
};
use machine::Machine;
use peer::Peer;
use secrets::Secrets;
use system_tests::agent::Agent;
use system_tests::chance::Chance;
use system_tests::fleet::{Entry, census};
use system_tests::gateway::Gateway;
use system_tests::kinesis::Record;
use system_tests::{ports, wait_until};

/// The device is up in a tenth of a second; the rest is for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// Times the device is killed.
const KILLS: u64 = 25;

/// Milliseconds between two readings of a channel.
const PERIOD_MS: u32 = 20;

/// How long the cable is out.
const UNPLUGGED: Duration = Duration::from_secs(30);

fn config(name: &str, uplink: Option<Uplink>) -> Config {
    let device = DeviceId::parse(name).expect("a good name");
    Config { device, network: None, uplink, period_ms: PERIOD_MS, batch_age_ms: 200 }
}

fn readings(gateway: &Gateway) -> Vec<Record> {
    let of_kind = |record: &Record| record.json()["kind"] == "reading";
    gateway.kinesis().read_all("telemetry").into_iter().filter(of_kind).collect()
}

/// The boots in the shard, if the newest has at least `count` readings: what came before is there then, too.
fn boots(gateway: &Gateway, count: usize) -> Option<Vec<u64>> {
    let numbers: Vec<u64> =
        readings(gateway).iter().filter_map(|record| record.json()["boot"].as_u64()).collect();
    let seen: BTreeSet<u64> = numbers.iter().copied().collect();
    let newest = seen.last()?;
    (numbers.iter().filter(|boot| *boot == newest).count() >= count).then(|| seen.into_iter().collect())
}

/// Whether a reading of about `celsius` is in the shard: steps of the thermometer are a sixteenth of a degree.
fn is_warm(gateway: &Gateway, celsius: f64) -> bool {
    readings(gateway).iter().any(|record| {
        let json = record.json();
        let near = json["value"].as_f64().is_some_and(|value| (value - celsius).abs() <= 0.07);
        json["channel"] == "temperature" && json["unit"] == "°C" && near
    })
}

/// What no outage may change: no hole inside a boot, nothing twice, and every count in its place.
fn assert_whole(gateway: &Gateway, name: &str) {
    let records = readings(gateway);
    let named = records.iter().all(|record| record.json()["device"] == name && record.key == name);
    assert!(named, "somebody else reported");
    let census = census(gateway.kinesis().read_all("telemetry").iter().filter_map(Entry::of));
    assert_eq!(census.violations, Vec::<String>::new());
    assert_eq!(census.lost_at_device, 0, "the flash was never full");
    for boot in boots(gateway, 0).expect("there are readings") {
        // The device counts from 0 in every boot.
        let of_boot = records
            .iter()
            .map(Record::json)
            .filter(|json| json["boot"] == boot && json["channel"] == "count");
        let counts: Vec<u64> = of_boot.filter_map(|json| json["value"].as_u64()).collect();
        let expected: Vec<u64> = (0..).take(counts.len()).collect();
        assert_eq!(counts, expected, "boot {boot}");
    }
}

#[test]
fn over_the_serial_line_nothing_is_missing_and_nothing_twice_over_kills_of_the_device() {
    let Some(emulator) = machine::emulator() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut gateway = Gateway::start(directory.path(), "[streams.telemetry]\nshards = 4\n");
    let mut agent = Agent::start(directory.path(), gateway.mqtt);
    let (program, config) = (machine::program(""), config("barn-1", None));
    let mut device = Machine::provisioned(&emulator, directory.path(), &program, agent.link, &config, None);
    device.start();
    let begun = wait_until(PATIENCE, || boots(&gateway, 20).is_some());
    assert!(begun, "the first boot delivered {} readings\n{}", readings(&gateway).len(), gateway.tail());
    device.warm(31_500);
    assert!(wait_until(PATIENCE, || is_warm(&gateway, 31.5)), "what the thermometer feels does not arrive");
    let used = device.stack_high_water(directory.path());
    let kept = machine::stack_budget("-");
    assert!(
        (1_000..=kept).contains(&used),
        "the stack took {used} bytes, firmware/boards/budgets keeps {kept}"
    );

    let mut chance = Chance::new(system_tests::number_from_env("HEADWATER_SEED", 7));
    // For each boot the last place that was in flash when the power went, and that no peer had then.
    let mut kept = BTreeMap::new();
    for round in 0..KILLS {
        // Every other time nobody listens, and what is read piles up in flash.
        let is_heard = round % 2 == 0;
        if !is_heard {
            agent.kill();
        }
        // Long enough for a batch in flash, most of the time.
        std::thread::sleep(chance.millis(300, 1_400));
        device.kill();
        kept.extend(device.undelivered());
        device.start();
        if !is_heard {
            std::thread::sleep(chance.millis(0, 700));
            agent.restart();
        }
    }
    let first = boots(&gateway, 0).expect("there were readings before")[0];
    let delivered = wait_until(PATIENCE, || {
        boots(&gateway, 100).is_some_and(|found| found.last() == Some(&(first + KILLS)))
    });
    assert!(delivered, "the last boot is not there: {:?}\n{}", boots(&gateway, 0), gateway.tail());
    device.kill();
    assert_whole(&gateway, "barn-1");
    assert!(kept.len() > 10, "most kills left something in flash: {kept:?}");
    let mut last = BTreeMap::<u64, u64>::new();
    for record in readings(&gateway) {
        let json = record.json();
        let (boot, seq) = (json["boot"].as_u64().expect("a boot"), json["seq"].as_u64().expect("a place"));
        last.entry(boot).and_modify(|last| *last = seq.max(*last)).or_insert(seq);
    }
    for (boot, through) in kept {
        assert!(
            last.get(&boot) >= Some(&through),
            "boot {boot} had {through} in flash, the shard {:?}",
            last.get(&boot)
        );
    }
    agent.stop();
    gateway.stop();
}

/// A gateway whose TLS listener has certificates of its own, and a device that knows them.
fn over_tls(directory: &Path, name: &str) -> (Gateway, Secrets, Config) {
    let secrets = Secrets::make(directory, name);
    let address = ports::free();
    let files = secrets.directory.display();
    let more = format!(
        "[mqtt.tls]\nlisten = \"{address}\"\ncertificate = \"{files}/server.pem\"\nkey = \"{files}/server.key.pem\"\n\
         clients = \"{files}/authority.pem\"\n"
    );
    let gateway = Gateway::start(directory, &more);
    // The emulated network has the host at this address.
    let host = bounded("10.0.2.2").expect("short enough");
    let uplink =
        Uplink { host, port: address.port(), user: bounded("").expect("empty"), password: Secret::default() };
    (gateway, secrets, config(name, Some(uplink)))
}

#[test]
fn over_ethernet_and_tls_everything_arrives_after_the_cable_was_out() {
    let Some(emulator) = machine::emulator() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (mut gateway, secrets, config) = over_tls(directory.path(), "mill-1");
    let line = Peer::listen();
    let (program, credentials) = (machine::program("tls"), secrets.credentials("gateway.local"));
    let mut device = Machine::provisioned(
        &emulator,
        directory.path(),
        &program,
        line.address(),
        &config,
        Some(&credentials),
    );
    device.start();
    let begun = wait_until(PATIENCE, || boots(&gateway, 20).is_some());
    assert!(begun, "nothing arrives over TLS\n{}", gateway.tail());
    device.warm(-12_250);
    assert!(wait_until(PATIENCE, || is_warm(&gateway, -12.25)), "what the thermometer feels does not arrive");
    let used = device.stack_high_water(directory.path());
    let kept = machine::stack_budget("tls");
    assert!(
        (4_000..=kept).contains(&used),
        "the stack took {used} bytes, firmware/boards/budgets keeps {kept}"
    );

    device.plug(false);
    std::thread::sleep(UNPLUGGED);
    let before = readings(&gateway).len();
    device.plug(true);
    // Two channels, fifty times a second: what was read meanwhile, and some more.
    let meanwhile = 2 * usize::try_from(UNPLUGGED.as_secs()).expect("seconds") * 1_000 / PERIOD_MS as usize;
    let caught_up = wait_until(PATIENCE, || readings(&gateway).len() > before + meanwhile / 2);
    assert!(caught_up, "{} readings before, {} after\n{}", before, readings(&gateway).len(), gateway.tail());
    device.kill();
    device.start();
    let again = wait_until(PATIENCE, || boots(&gateway, 50).is_some_and(|boots| boots.len() == 2));
    assert!(again, "the second boot does not arrive\n{}", gateway.tail());
    device.kill();
    assert_whole(&gateway, "mill-1");
    gateway.stop();
}

#[test]
fn a_device_does_not_talk_to_a_gateway_of_another_authority() {
    let Some(emulator) = machine::emulator() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let (mut gateway, secrets, config) = over_tls(directory.path(), "mill-2");
    let elsewhere = tempfile::tempdir().expect("a temporary directory");
    let foreign = Secrets::make(elsewhere.path(), "mill-2");
    let mut line = Peer::listen();
    // The gateway would let it in: it is the device that must not go.
    let authority = foreign.credentials("gateway.local").authority;
    let credentials = Credentials { authority, ..secrets.credentials("gateway.local") };
    let program = machine::program("tls");
    let mut device = Machine::provisioned(
        &emulator,
        directory.path(),
        &program,
        line.address(),
        &config,
        Some(&credentials),
    );
    device.start();
    // The service port says who it is, and sends no data.
    let hello = line.hello(PATIENCE, |hello| hello.device.as_str() == "mill-2");
    assert!(hello.is_some(), "the service port is silent");
    let said = line.hear(PATIENCE, |message| match message {
        Up::Log(log) if log.text.contains("uplink") => Some(log.text.to_string()),
        Up::Batch(_) => panic!("data went to the service port"),
        _ => None,
    });
    assert_eq!(said.as_deref(), Some("uplink: gateway is not trusted, or does not trust this device"));
    assert_eq!(gateway.kinesis().read_all("telemetry").len(), 0, "it talked to a stranger");
    device.kill();
    gateway.stop();
}

#[test]
fn a_command_is_done_once_and_a_reboot_says_that_it_was_asked_for() {
    let Some(emulator) = machine::emulator() else { return };
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut line = Peer::listen();
    let (program, config) = (machine::program(""), config("shed-1", None));
    let mut device =
        Machine::provisioned(&emulator, directory.path(), &program, line.address(), &config, None);
    device.start();
    let first = line.hello(PATIENCE, |_| true).expect("a hello");
    assert_eq!((first.device.as_str(), first.reset), ("shed-1", ResetReason::Power));

    let ask = |line: &mut Peer, id, order: Order| {
        line.say(&Down::Command(Command { id: CommandId(id), order }));
        line.hear(PATIENCE, |message| match message {
            Up::CommandResult(result) if result.id == CommandId(id) => Some(result.outcome),
            _ => None,
        })
    };
    let slow = Order::Period { channel: Some(ChannelId(1)), period_ms: 60_000 };
    assert_eq!(ask(&mut line, 1, slow), Some(CommandOutcome::Done));
    let absent = Order::Period { channel: Some(ChannelId(9)), period_ms: 60_000 };
    assert_eq!(ask(&mut line, 2, absent), Some(CommandOutcome::Refused));
    assert_eq!(ask(&mut line, 3, Order::Reboot), Some(CommandOutcome::Done));
    let second = line.hello(PATIENCE, |hello| hello.boot > first.boot).expect("a second boot");
    assert_eq!((second.boot, second.reset), (BootId(first.boot.0 + 1), ResetReason::Requested));
    // Its answer was lost, says the sender, and asks again: the device remembers, and stays up.
    assert_eq!(ask(&mut line, 3, Order::Reboot), Some(CommandOutcome::Done));
    let third = line.hello(Duration::from_secs(5), |hello| hello.boot > second.boot);
    assert_eq!(third, None, "the reboot was done twice");
    device.kill();
}

#[test]
fn a_device_that_hangs_or_panics_starts_again_and_says_why() {
    let Some(emulator) = machine::emulator() else { return };
    let program = machine::faulty_program();
    for (name, reason) in [("shed-hang", ResetReason::Watchdog), ("shed-panic", ResetReason::Panic)] {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut line = Peer::listen();
        let config = config(name, None);
        let mut device =
            Machine::provisioned(&emulator, directory.path(), &program, line.address(), &config, None);
        device.start();
        // The first boot may be over before anybody listens.
        let second = line.hello(PATIENCE, |hello| hello.boot > BootId(1)).expect("a second boot");
        assert_eq!((second.device.as_str(), second.boot, second.reset), (name, BootId(2), reason));
        // What was in flash before the fault comes after it.
        let old = line.hear(PATIENCE, |message| match message {
            Up::Batch(batch) if batch.boot == second.boot => Some(()),
            _ => None,
        });
        assert!(old.is_some(), "{name} works again");
        device.kill();
    }
}
