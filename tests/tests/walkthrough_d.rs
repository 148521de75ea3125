//! `kill -9` of the gateway under full load: everything it acknowledged is found after the restart.
//! Twenty QoS 1 publishers, then four PutRecords producers; three rounds each, killed at a seeded moment.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a panic in a test is its report, and so is what it prints"
)]

use std::time::Duration;

use system_tests::chance::Chance;
use system_tests::flood::{Flood, id_of};
use system_tests::gateway::Gateway;
use system_tests::ledger::{Report, compare};
use system_tests::{number_from_env, wait_until};

/// Rounds of start, flood, kill. The same segment files are recovered again and again.
const ROUNDS: u64 = 3;

/// A round is worth something only when this many were acknowledged before the kill.
const ACKED_MIN: u64 = 500;

/// The stream that every publish of these tests is routed to.
const CONFIG: &str = "[streams.flood]\nshards = 4\n\n[[routes]]\nmatch = \"flood/{client}\"\ncodec = \"raw\"\nstream = \"flood\"\n\
                      partition_key = \"{client}\"\nto = [\"stream\"]\n";

/// Kills the gateway under each flood, restarts it, and returns what was acknowledged and what is there.
fn kill_under_load(start: impl Fn(&Gateway, &str) -> Flood) -> (Vec<String>, Vec<String>) {
    let directory = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(directory.path(), CONFIG);
    let mut chance = Chance::new(number_from_env("HEADWATER_SEED", 20));
    let mut acked = Vec::new();
    for round in 0..ROUNDS {
        let flood = start(&gateway, &format!("round-{round}"));
        let flowing = wait_until(Duration::from_secs(60), || flood.acked() >= ACKED_MIN);
        assert!(flowing, "only {} acknowledged in a minute\n{}", flood.acked(), gateway.tail());
        std::thread::sleep(chance.millis(100, 1500));
        gateway.kill();
        acked.extend(flood.finish());
        gateway.restart();
    }
    let found = gateway.kinesis().read_all("flood").iter().map(|record| id_of(&record.data)).collect();
    gateway.stop();
    (acked, found)
}

fn report(acked: &[String], found: &[String]) -> Report {
    compare(acked.iter().map(String::as_str), found.iter().map(String::as_str))
}

fn assert_nothing_lost(acked: &[String], found: &[String]) {
    let outcome = report(acked, found);
    assert!(outcome.nothing_lost(), "{} acknowledged, {} found: {outcome:?}", acked.len(), found.len());
    // The control: the same comparison with one acknowledgement that never was must complain about exactly that one.
    let invented = [acked, &["never-sent".to_owned()]].concat();
    assert_eq!(report(&invented, found).missing, ["never-sent"]);
    println!("{} acknowledged over {ROUNDS} kills, {} found, none missing", acked.len(), found.len());
}

#[test]
fn every_puback_is_kept_when_the_gateway_is_killed_under_twenty_publishers() {
    let (acked, found) = kill_under_load(|gateway, name| Flood::publish(gateway.mqtt, 20, name));
    assert_nothing_lost(&acked, &found);
}

#[test]
fn every_put_records_answer_is_kept_when_the_gateway_is_killed_under_four_producers() {
    let (acked, found) =
        kill_under_load(|gateway, name| Flood::put_records(gateway.kinesis, 4, name, "flood"));
    assert_nothing_lost(&acked, &found);
}
