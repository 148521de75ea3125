//! A sector that the disk does not read, under the real gateway: shown while it is waited for, forgotten when it is back, repaired when it
//! is not.
//!
//! In: a home of its own. Out: what was seen, or what was wrong. Always: what lies around the sector is read all the same.
//! Not here: every place of every kind of file (`journal/tests/unread.rs`).

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64_simd::STANDARD;
use serde_json::{Value, json};
use system_tests::kinesis::{Kinesis, get};
use system_tests::wait_until;

use crate::load;
use crate::machine::{Machine, Medium, Setup};

/// Long enough for everything that is looked at while the gateway waits, on a busy machine as well.
const PATIENCE_S: u64 = 60;

/// Records before and behind the sector, and the one in it.
const RECORDS: [&str; 3] = ["in front of the sector", "within the bad sector", "behind the sector"];

/// A disk that does not read a sector of a machine's journal.
pub(crate) fn is_shown_waited_for_and_repaired(home: &Path) -> Result<String, String> {
    std::fs::create_dir(home).map_err(|error| error.to_string())?;
    let journal = format!("segment = \"4MiB\"\ntail_cache = \"0B\"\nunread_patience = \"{PATIENCE_S}s\"\n");
    let setup = Setup { journal, more: load::config(), agent: false };
    let mut machine = Machine::new(Medium::Files, home, &setup)?;
    machine.switch_on()?;
    let seen = look(&mut machine, home);
    // With the log, which says what the gateway made of it.
    let seen = seen.map_err(|why| format!("{why}\n{}", machine.tail()))?;
    machine.switch_off()?;
    Ok(seen)
}

fn look(machine: &mut Machine, home: &Path) -> Result<String, String> {
    machine.start()?.ok_or("power went without being cut")?;
    let mut kinesis = machine.gateway.kinesis();
    for record in RECORDS {
        let data = STANDARD.encode_to_string(record);
        // One key, one shard; one call, one group of the journal.
        kinesis.must("PutRecord", &json!({ "StreamName": load::STREAM, "PartitionKey": "a", "Data": data }));
    }
    expect(&read(&mut kinesis), &RECORDS)?;

    let sector = machine.spoil(RECORDS[1].as_bytes()).ok_or("the record is nowhere on the disk")?;
    expect(&read(&mut kinesis), &RECORDS[..1])?;
    is_shown(machine, home)?;

    machine.heal();
    expect(&read(&mut kinesis), &RECORDS)?;
    let health = health(machine)?;
    must(health["state"] == "ok" && health["journal"]["unread"]["count"] == 0, "it is back", &health)?;

    machine.spoil(RECORDS[1].as_bytes()).ok_or("the record is nowhere on the disk")?;
    expect(&read(&mut kinesis), &RECORDS[..1])?;
    drop(kinesis);
    machine.stop()?;
    let (code, said) = headwater(home, &["buffer", "repair", "--yes"])?;
    must(
        code == 0 && said.contains("repaired: at most 1 records are lost"),
        "headwater buffer repair",
        &json!(said),
    )?;
    let recovery = machine.start()?.ok_or("power went without being cut")?;
    must(recovery.unreadable == 0, "files that cannot be read", &json!(format!("{recovery:?}")))?;
    let mut kinesis = machine.gateway.kinesis();
    expect(&read(&mut kinesis), &[RECORDS[0], RECORDS[2]])?;
    let health = self::health(machine)?;
    must(health["state"] == "ok" && health["journal"]["unread"]["count"] == 0, "repaired", &health)?;
    machine.stop()?;
    Ok(format!(
        "bad sector: {sector} of the disk; shown, back again, and after a repair 1 of 3 records is lost"
    ))
}

/// Everywhere where somebody may look.
fn is_shown(machine: &Machine, home: &Path) -> Result<(), String> {
    let health = health(machine)?;
    let place = &health["journal"]["unread"]["places"][0];
    let is_shown = health["state"] == "degraded"
        && health["journal"]["unread"]["count"] == 1
        && place["stream"] == load::STREAM
        && place["lost_in_s"].as_u64().is_some_and(|left_s| (1..=PATIENCE_S).contains(&left_s))
        && place["error"].as_str().is_some_and(|error| error.contains("os error 5"));
    must(is_shown, "/health does not show it", &health)?;
    must(
        machine.gateway.metric("headwater_journal_unread_places")? == 1,
        "/metrics does not count it",
        &health,
    )?;
    let (code, said) = headwater(home, &["status"])?;
    must(
        code == 1 && said.contains("not well: the gateway is degraded: the disk does not read one place"),
        "headwater status",
        &json!(said),
    )?;
    let (code, said) = headwater(home, &["doctor"])?;
    must(
        code == 1
            && said.contains("FAIL journal: the disk does not read one place")
            && said.contains("headwater buffer repair"),
        "headwater doctor",
        &json!(said),
    )?;
    let (_, page) = get(machine.gateway.http, "/").map_err(|error| error.to_string())?;
    must(
        page.contains("<b>degraded</b>: the disk does not read one place"),
        "the status page",
        &json!(page),
    )?;
    Ok(())
}

/// What can be read: up to the first call that fails, and at least one look at each shard.
fn read(kinesis: &mut Kinesis) -> Vec<String> {
    let mut records = Vec::new();
    for shard in kinesis.shards(load::STREAM) {
        let from =
            json!({ "StreamName": load::STREAM, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON" });
        let mut next = kinesis.must("GetShardIterator", &from)["ShardIterator"].clone();
        while let Ok(page) = kinesis.call("GetRecords", &json!({ "ShardIterator": next })) {
            if page.status != 200 {
                break;
            }
            for record in page.body["Records"].as_array().into_iter().flatten() {
                let data = STANDARD.decode_to_vec(record["Data"].as_str().unwrap_or_default());
                records.push(String::from_utf8_lossy(&data.unwrap_or_default()).into_owned());
            }
            if page.body["MillisBehindLatest"] == 0 {
                break;
            }
            next = page.body["NextShardIterator"].clone();
        }
    }
    records
}

fn health(machine: &Machine) -> Result<Value, String> {
    let mut found = Value::Null;
    // A look at the journal goes by kept time, which moves once a second.
    let answered = wait_until(Duration::from_secs(5), || {
        let answer = get(machine.gateway.http, "/health").ok().filter(|(status, _)| *status == 200);
        found = answer.and_then(|(_, body)| serde_json::from_str(&body).ok()).unwrap_or_default();
        !found.is_null()
    });
    if answered { Ok(found) } else { Err("/health does not answer with 200".to_owned()) }
}

/// Runs `headwater` with the machine's configuration. Its exit code and what it said.
fn headwater(home: &Path, args: &[&str]) -> Result<(i32, String), String> {
    let config: PathBuf = home.join("headwater.toml");
    let mut command = Command::new(crate::binary());
    let output =
        command.args(args).arg("--config").arg(config).output().map_err(|error| error.to_string())?;
    let said = [output.stdout, output.stderr].concat();
    Ok((output.status.code().unwrap_or(-1), String::from_utf8_lossy(&said).into_owned()))
}

fn expect(found: &[String], expected: &[&str]) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("read {found:?}, expected {expected:?}")) }
}

fn must(holds: bool, what: &str, found: &Value) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{what}: found {found:#}")) }
}
