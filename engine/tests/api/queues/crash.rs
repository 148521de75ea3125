//! What a crash changes about who gets which record: nothing that was answered.

use super::{acknowledge, handles, make_queue, make_stream, number, put, receive};
use crate::boto3::{Killed, example};
use crate::support::{Ahead, Client, Server, small};
use headwater_engine::{Engine, EngineConfig, limits};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

/// Copies the journal as a crash would leave it: what was answered is in its files.
fn copy(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    copy_all(from, to.path());
    to
}

fn copy_all(from: &Path, to: &Path) {
    for file in std::fs::read_dir(from).unwrap().map(|file| file.unwrap().path()) {
        let target = to.join(file.file_name().unwrap());
        if file.is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy_all(&file, &target);
        } else if let Err(error) = std::fs::copy(&file, target) {
            // A spare segment that got its name meanwhile: nothing is in it.
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{}", file.display());
        }
    }
}

/// Everything a queue still gives after a crash, by number, with its count of receives.
fn left_after_crash(dir: &Path, queue: &str) -> BTreeMap<usize, u64> {
    let dir = copy(dir);
    let ahead = Ahead::default();
    // All that was in flight is visible again.
    ahead.advance(3_600_000);
    let config = EngineConfig { journal: small(), clock: ahead.clock(), ..EngineConfig::new(dir.path()) };
    let server = Server::start(Engine::open(config).unwrap().0);
    let mut client = server.client();
    let mut left = BTreeMap::new();
    loop {
        let records = receive(&mut client, queue, 1, &json!({ "VisibilityTimeoutSeconds": 600 }));
        left.extend(
            records.iter().map(|record| (number(record), record["ReceiveCount"].as_u64().unwrap() - 1)),
        );
        // All of them are visible, so a receive that is not full took the last.
        if records.len() < limits::QUEUE_RECEIVE_MAX {
            break;
        }
    }
    server.stop();
    left
}

#[test]
fn after_a_crash_at_any_step_the_queue_is_as_it_was_answered() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::open(dir.path());
    let mut client = server.client();
    let stream = make_stream(&mut client, "s");
    let letters = json!({ "TargetType": "NONE" });
    let attributes = json!({ "VisibilityTimeoutSeconds": 600, "DeadLetterConfiguration": letters });
    let queue = make_queue(&mut client, &stream, &attributes);
    put(&mut client, &stream, 0..30);
    let mut truth: BTreeMap<usize, u64> = (0..30).map(|n| (n, 0)).collect();
    assert_eq!(left_after_crash(dir.path(), &queue), truth);
    for step in 0..6 {
        let records = receive(&mut client, &queue, 1, &json!({ "Limit": 7 }));
        records.iter().for_each(|record| *truth.get_mut(&number(record)).unwrap() += 1);
        assert_eq!(left_after_crash(dir.path(), &queue), truth, "received, step {step}");
        let Some((first, others)) = records.split_first() else { break };
        let hidden = json!({ "ReceiptHandle": first["ReceiptHandle"], "VisibilityTimeoutSeconds": 0 });
        client.call("UpdateQueueRecordsVisibility", &json!({ "QueueARN": queue, "Entries": [hidden] }));
        assert_eq!(left_after_crash(dir.path(), &queue), truth, "shown, step {step}");
        let done: Vec<Value> = others.iter().step_by(2).cloned().collect();
        if !done.is_empty() {
            assert_eq!(acknowledge(&mut client, &queue, &done), 0);
            truth.retain(|&left, _| done.iter().all(|record| number(record) != left));
        }
        assert_eq!(left_after_crash(dir.path(), &queue), truth, "acknowledged, step {step}");
    }
    client.call("DeleteQueue", &json!({ "QueueARN": queue }));
    let copied = copy(dir.path());
    let again = Server::open(copied.path());
    assert_eq!(again.client().call("ListQueues", &json!({}))["QueueSummaries"], json!([]));
    again.stop();
    server.stop();
}

/// The server in a process of its own.
fn spawn(dir: &Path) -> (Killed, SocketAddr) {
    let mut server = Command::new(example("serve"));
    server.arg("--dir").arg(dir).args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped());
    let mut server = Killed(server.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.split(' ').nth(2).unwrap().parse().unwrap();
    (server, address)
}

/// One round: receivers that acknowledge three records of four until the server is killed under them. What was answered
/// goes into `acknowledged`; what was under way when the server died into `unknown`.
fn round(
    address: SocketAddr,
    queue: &str,
    acknowledged: &Mutex<BTreeSet<usize>>,
    unknown: &Mutex<BTreeSet<usize>>,
    server: Killed,
) {
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = Client::connect(address);
                loop {
                    let asked = json!({ "QueueARN": queue, "WaitTimeSeconds": 1 });
                    let Some(answer) = client.try_ask("ReceiveQueueRecords", &asked) else { return };
                    let records = answer.json()["QueueRecords"].as_array().unwrap().clone();
                    let again: Vec<_> = records
                        .iter()
                        .map(number)
                        .filter(|n| acknowledged.lock().unwrap().contains(n))
                        .collect();
                    assert!(again.is_empty(), "acknowledged and received again: {again:?}");
                    let taken: Vec<Value> =
                        records.into_iter().filter(|record| number(record) % 4 != 3).collect();
                    if taken.is_empty() {
                        continue;
                    }
                    let numbers: Vec<usize> = taken.iter().map(number).collect();
                    unknown.lock().unwrap().extend(&numbers);
                    let asked = json!({ "QueueARN": queue, "Entries": handles(&taken) });
                    let Some(answer) = client.try_ask("AcknowledgeQueueRecords", &asked) else { return };
                    // On a slow machine a record may have come back to another receiver before this was said.
                    let answer = answer.json();
                    let taken_off = |record: &&Value| {
                        let done = answer["Successful"].as_array().unwrap().iter();
                        done.into_iter().any(|entry| entry["ReceiptHandle"] == record["ReceiptHandle"])
                    };
                    acknowledged.lock().unwrap().extend(taken.iter().filter(taken_off).map(number));
                    unknown.lock().unwrap().retain(|n| !numbers.contains(n));
                }
            });
        }
        std::thread::sleep(Duration::from_millis(400));
        drop(server);
    });
}

#[test]
fn a_killed_server_forgets_no_acknowledgement_and_no_other_record() {
    const RECORDS: usize = 20_000;
    const ROUNDS: usize = 6;
    let dir = tempfile::tempdir().unwrap();
    let (server, address) = spawn(dir.path());
    let mut client = Client::connect(address);
    let stream = make_stream(&mut client, "s");
    let letters = json!({ "TargetType": "NONE" });
    let queue = make_queue(
        &mut client,
        &stream,
        &json!({ "VisibilityTimeoutSeconds": 1, "DeadLetterConfiguration": letters }),
    );
    put(&mut client, &stream, 0..RECORDS);
    drop(client);
    let (acknowledged, unknown) = (Mutex::default(), Mutex::default());
    let mut running = Some((server, address));
    for _ in 0..ROUNDS {
        let (server, address) = running.take().unwrap_or_else(|| spawn(dir.path()));
        round(address, &queue, &acknowledged, &unknown, server);
    }
    let (acknowledged, unknown) = (acknowledged.into_inner().unwrap(), unknown.into_inner().unwrap());
    // What is left is everything else: received and acknowledged here until nothing comes.
    let (_server, address) = spawn(dir.path());
    let mut client = Client::connect(address);
    let mut left = BTreeSet::new();
    loop {
        let records = receive(&mut client, &queue, 3, &json!({}));
        if records.is_empty() {
            break;
        }
        left.extend(records.iter().map(number));
        assert_eq!(acknowledge(&mut client, &queue, &records), 0);
    }
    assert!(!acknowledged.is_empty());
    assert_eq!(left.intersection(&acknowledged).count(), 0, "acknowledged ones never come back");
    let missing: Vec<_> = (0..RECORDS).filter(|n| !left.contains(n) && !acknowledged.contains(n)).collect();
    // An acknowledgement whose answer the kill cut off may or may not have been taken.
    assert!(missing.iter().all(|n| unknown.contains(n)), "neither acknowledged nor there: {missing:?}");
    println!(
        "{} acknowledged before the kills, {} after, {} cut off",
        acknowledged.len(),
        left.len(),
        unknown.len()
    );
}
