//! A gateway is killed, and two thousand clients want to come back at once.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use headwater_sim::device::{DeviceConfig, DeviceHandle, DeviceHost, Link, Phase, Waits};
use headwater_telemetry::DeviceId;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use system_tests::fleet::{Entry, census};
use system_tests::gateway::Gateway;
use system_tests::kinesis::Record;
use system_tests::python::skip;
use system_tests::wait_until;
use tokio::sync::watch;

use crate::agents::{self, Agents, Known};
use crate::rate::{Count, Watch, peak};

/// Devices with a connection of their own, and agents. More devices than this may not subscribe to one gateway.
const DEVICES: usize = 1_000;
const AGENTS: usize = 1_000;

/// `mqtt.connects_per_second` of the storm: everybody needs seven seconds at least.
const CAP: u64 = 300;

/// How long the gateway lives between its two deaths: nobody's session is stable by then.
const SHORT_LIFE: Duration = Duration::from_secs(3);

/// Until all are back: as long as the rate takes, twice, and the longest wait of an agent. A board that was refused so often that it waits
/// longer would be too late, and the rate leaves none that long outside.
const BACK_WITHIN: Duration = Duration::from_secs(45);

/// Until devices have delivered what they hold.
const DRAIN_PATIENCE: Duration = Duration::from_secs(60);

/// Open files of this process and some to spare.
const FILES: u64 = 2 * (DEVICES + AGENTS) as u64;

#[test]
fn two_thousand_clients_come_back_no_faster_than_the_cap_and_lose_nothing() {
    let found = getrlimit(Resource::Nofile);
    if found.maximum.is_some_and(|most| most < FILES) {
        return skip("storm", &format!("{FILES} open files are needed, {found:?} is allowed"));
    }
    if found.current.is_some_and(|current| current < FILES) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(FILES), ..found }).unwrap();
    }
    let directory = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(directory.path(), "");
    let host = DeviceHost::start().unwrap();
    let (phase, phases) = watch::channel(Phase::Run);
    let mut devices: Vec<_> = (0..DEVICES).map(|number| device(&host, &gateway, number, &phases)).collect();
    let agents = Agents::start(gateway.mqtt, AGENTS);
    let began = Instant::now();
    until_all_are_inside(&gateway, began);
    println!("all inside {:.1} s after the start", began.elapsed().as_secs_f64());

    let text = std::fs::read_to_string(&gateway.config).unwrap();
    let capped = text.replacen("[mqtt]\n", &format!("[mqtt]\nconnects_per_second = {CAP}\n"), 1);
    std::fs::write(&gateway.config, capped).unwrap();
    gateway.kill();
    gateway.restart();
    let watch = Watch::start(gateway.http);
    std::thread::sleep(SHORT_LIFE);
    gateway.kill();
    let first = watch.stop();
    let tried_before = attempts(&agents, &devices);

    gateway.restart();
    let watch = Watch::start(gateway.http);
    let back = until_all_are_inside(&gateway, Instant::now());
    let second = watch.stop();
    judge(&first, &second, back);
    println!(
        "{} connects before the second restart, {} after",
        tried_before,
        attempts(&agents, &devices) - tried_before
    );

    phase.send_replace(Phase::Drain);
    let ended = wait_until(DRAIN_PATIENCE, || devices.iter().all(DeviceHandle::is_ended));
    assert!(ended, "devices deliver what they hold");
    let agents = agents.stop();
    let records = gateway.kinesis().read_all("telemetry");
    gateway.stop();
    let delivered = check_devices(&mut devices, &records);
    let published = check_agents(&agents, &records);
    println!(
        "{delivered} readings of devices and {published} publishes of agents are acknowledged and there"
    );
}

fn device(
    host: &DeviceHost,
    gateway: &Gateway,
    number: usize,
    phases: &watch::Receiver<Phase>,
) -> DeviceHandle {
    let id = DeviceId::parse(&format!("device-{number:04}")).unwrap();
    let config = DeviceConfig {
        waits: Waits::OfBoards,
        batch_age_ms: 4_000,
        start_within: Duration::from_secs(2),
        ..DeviceConfig::new(id, number as u64, 0.5, Link::Mqtt(gateway.mqtt))
    };
    host.spawn(config, phases.clone())
}

/// How long it took.
fn until_all_are_inside(gateway: &Gateway, since: Instant) -> Duration {
    let all = (DEVICES + AGENTS) as u64;
    let mut inside = 0;
    let done = wait_until(BACK_WITHIN, || {
        inside = Count::ask(gateway.http).map_or(0, |count| count.inside);
        inside == all
    });
    assert!(done, "{inside} of {all} are inside after {BACK_WITHIN:?}\n{}", gateway.tail());
    since.elapsed()
}

/// Connections that were tried by agents and refused, and those that devices made.
fn attempts(agents: &Agents, devices: &[DeviceHandle]) -> u64 {
    let of_agents = |known: &Known| known.refusals.len() + known.failures_at_ends.len();
    let of_devices: u64 = devices.iter().map(|device| device.ledger.totals().connections).sum();
    agents.known().iter().map(of_agents).sum::<usize>() as u64 + of_devices
}

/// What the gateway counted in its two lives.
fn judge(first: &[Count], second: &[Count], back: Duration) {
    let mut knocks = 0;
    for (life, counts) in [("first", first), ("second", second)] {
        let ((admitted, knocked), last) = (peak(counts), counts.last().unwrap());
        println!(
            "{life} restart: at most {admitted} let in within a second of {knocked} that knocked; {} of {} in all",
            last.admitted, last.knocked
        );
        assert!(admitted <= CAP, "{admitted} were let in within a second, {CAP} are allowed");
        assert!(admitted > CAP / 2, "there was no storm: {admitted} in the second with the most");
        knocks += last.knocked;
    }
    println!("all back {:.1} s after the second restart", back.as_secs_f64());
    let all = (DEVICES + AGENTS) as u64;
    assert!(knocks > all + CAP, "nobody was refused: {knocks}");
    // Without jitter that grows everybody knocks twice a second.
    assert!(knocks < 8 * all, "clients hammer: {knocks} connections of {all}");
}

/// Every device is there once and in order, with everything that was acknowledged to it.
fn check_devices(devices: &mut [DeviceHandle], records: &[Record]) -> u64 {
    let found =
        census(records.iter().filter(|record| record.key.starts_with("device-")).filter_map(Entry::of));
    assert!(found.violations.is_empty(), "{:#?}", &found.violations[..found.violations.len().min(10)]);
    let mut delivered = 0;
    for device in devices.iter() {
        let totals = device.ledger.totals();
        let there = found.readings.get(device.id.as_str()).copied().unwrap_or(0);
        assert_eq!(
            (totals.acked, totals.waiting(), totals.gap_entries),
            (there, 0, 0),
            "{}: {totals:?}",
            device.id
        );
        delivered += there;
    }
    assert_eq!(found.lost_at_device, 0);
    let told = devices.iter().filter(|device| device.ledger.totals().refusal == Some(0x9F)).count();
    assert!(told > 0, "devices that are refused are told that connects come too fast");
    delivered
}

/// Every publish that was acknowledged is there, the first ones of each in order; one that was not may be.
fn check_agents(agents: &[Known], records: &[Record]) -> u64 {
    let mut firsts: BTreeMap<String, u64> = BTreeMap::new();
    for record in records.iter().filter(|record| record.key.starts_with("agent-")) {
        let payload = String::from_utf8(record.data.clone()).unwrap();
        let (name, number) = payload.split_once(' ').unwrap();
        let (next, number) = (firsts.entry(name.to_owned()).or_default(), number.parse::<u64>().unwrap());
        assert!(number <= *next, "{payload} comes before {next}");
        *next = (*next).max(number + 1);
    }
    let mut published = 0;
    for (number, known) in agents.iter().enumerate() {
        let there = firsts.get(&agents::name(number)).copied().unwrap_or(0);
        assert!((known.acked..=known.acked + 1).contains(&there), "{number}: {there} are there of {known:?}");
        assert!(known.refusals.iter().all(|reason| *reason == 0x9F), "{number}: {known:?}");
        // The second session was short, so its end was not taken for a first failure.
        if let [_, second, ..] = known.failures_at_ends[..] {
            assert!(second > 1, "{number}: {known:?}");
        }
        published += known.acked;
    }
    assert!(agents.iter().any(|known| known.failures_at_ends.len() == 2), "some were back and lost it again");
    assert!(agents.iter().any(|known| !known.refusals.is_empty()), "some were told that they come too fast");
    published
}
