//! The operator's commands beside a gateway that runs: status, top, tap, doctor.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]

#[expect(dead_code, reason = "shared with the tests of doctor")]
mod operate_support;

use operate_support::{Operated, Terminal, exit, stdout, until};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::Duration;

/// The program's tap, begun: what is put from now on is shown.
fn tap(near: &Operated, arguments: &[&str]) -> Child {
    let mut command = near.command(arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let notes = BufReader::new(child.stderr.take().unwrap()).lines();
    let (sender, receiver) = std::sync::mpsc::channel();
    // Reads on, so that the program never waits for whoever reads its notes.
    std::thread::spawn(move || notes.map_while(Result::ok).for_each(|note| drop(sender.send(note))));
    while !receiver.recv_timeout(Duration::from_secs(60)).unwrap().contains("telemetry: ") {}
    child
}

fn lines(child: Child) -> Vec<String> {
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    stdout(&output).lines().map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn status_is_0_beside_a_gateway_that_is_well_and_69_without_one() {
    let near = Operated::start("").await;
    near.put(20, 0..2).await;
    let text = near.run(&["status"]);
    assert_eq!(exit(&text), 0, "{text:?}");
    let text = stdout(&text);
    assert!(text.starts_with("headwater: ok, version "), "{text}");
    assert!(text.contains("\n  telemetry: 2 shards, 40 records, "), "{text}");
    assert!(text.contains("\nledger: received 0 = stored 0 + "), "{text}");
    let json: Value = serde_json::from_str(&stdout(&near.run(&["status", "--json"]))).unwrap();
    assert_eq!((json["well"].as_bool(), json["health"]["state"].as_str()), (Some(true), Some("ok")));
    assert_eq!(json["streams"][1]["open_shards"].as_object().unwrap().len(), 2, "{json}");
    let stopped = near.stop().await;
    let nobody = stopped.run(&["status"]);
    assert_eq!(exit(&nobody), 69);
    assert!(
        String::from_utf8_lossy(&nobody.stderr).starts_with("no gateway runs: nothing answers at 127.0.0.1:")
    );
    let json: Value = serde_json::from_str(&stdout(&stopped.run(&["status", "--json"]))).unwrap();
    assert_eq!(json["running"].as_bool(), Some(false));
    for command in [&["top"][..], &["tap", "telemetry"]] {
        assert_eq!(exit(&stopped.run(command)), 69, "{command:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sink_whose_target_is_away_is_not_well_and_its_backlog_is_shown() {
    let far = "[sinks.far]\nendpoint = \"http://127.0.0.1:9\"\nregion = \"us-east-1\"\ncredentials = \"unchecked\"\n";
    let near = Operated::start(far).await;
    near.put(10, 0..3).await;
    until("the sink says what is wrong", || exit(&near.run(&["status"])) == 1);
    until("the backlog is known", || stdout(&near.run(&["status"])).contains("not connected, 30 waiting"));
    let text = stdout(&near.run(&["status"]));
    assert!(text.contains("\nnot well: sink far of telemetry: "), "{text}");
    assert!(text.contains("sink far of telemetry: stored 30 = delivered 0 + waiting 30 "), "{text}");
    let table = stdout(&near.run(&["top"]));
    let row = table.lines().find(|line| line.starts_with("far: telemetry")).unwrap();
    assert_eq!(row.split_whitespace().skip(2).collect::<Vec<_>>(), ["30", "0.0", "never", "away"]);
    near.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn top_without_a_terminal_is_one_table_with_the_rates_of_that_second() {
    let near = Operated::start("").await;
    near.put(30, 0..2).await;
    let child = near.command(&["top"]).stdout(Stdio::piped()).spawn().unwrap();
    for number in 0..20 {
        near.put(30, number..number + 1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let table = lines(child);
    assert!(table.iter().all(|line| line.chars().count() <= 80), "{table:#?}");
    assert!(table[0].starts_with("headwater  ok  up "), "{table:#?}");
    let at = table.iter().position(|line| line.starts_with("telemetry ")).unwrap();
    let rows: Vec<Vec<&str>> = table[at..].iter().map(|row| row.split_whitespace().collect()).collect();
    let names: Vec<&str> = rows.iter().map(|row| row[0]).collect();
    assert_eq!(names, ["telemetry", "shardId-000000000000", "shardId-000000000001"], "{table:#?}");
    let rate = |row: &[&str]| row[2].parse::<f64>().unwrap();
    assert!(rate(&rows[0]) > 50.0 && rate(&rows[0]) < 1_000.0, "{table:#?}");
    assert!((rate(&rows[0]) - rate(&rows[1]) - rate(&rows[2])).abs() < 1.0, "{table:#?}");
    near.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn top_on_a_terminal_fits_it_and_gives_it_back_as_it_was() {
    let near = Operated::start("").await;
    near.resize(40).await;
    for end in ["q", "INT"] {
        let terminal = Terminal::open(80, 24);
        let before = terminal.mode();
        let mut child = terminal.spawn(near.command(&["top"]));
        terminal.shown("more streams and shards in a taller terminal");
        assert_ne!(terminal.mode(), before, "keys come one by one");
        match end {
            "q" => terminal.press(b"q"),
            signal => assert!(operate_support::signal(&child, signal)),
        }
        assert_eq!(child.wait().unwrap().code(), Some(0), "{end}");
        assert_eq!(terminal.mode(), before, "{end}");
        let text = terminal.shown("\x1b[?25h\x1b[?1049l");
        assert!(text.starts_with("\x1b[?1049h\x1b[?25l\x1b[H"), "{text:?}");
        let first = text.split("\x1b[H").nth(1).unwrap().split("\x1b[J").next().unwrap();
        let rows: Vec<&str> = first.split("\r\n").collect();
        assert_eq!(rows.len(), 24, "{rows:#?}");
        let width =
            |row: &&str| row.replace("\x1b[K", "").replace("\x1b[7m", "").replace("\x1b[0m", "").len();
        assert!(rows.iter().all(|row| width(row) <= 80), "{rows:#?}");
    }
    near.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tap_shows_every_key_in_order_through_reshards() {
    let near = Operated::start("").await;
    // More than a call gives, so that a shard that did not wait for its parents would be ahead of them.
    near.put(10, 0..300).await;
    near.resize(4).await;
    near.put(10, 300..305).await;
    let child = tap(&near, &["tap", "telemetry", "--from", "oldest", "--limit", "3200", "--format", "json"]);
    for (round, shards) in [(0, 3), (1, 5), (2, 4)] {
        near.resize(shards).await;
        near.put(10, 305 + round * 5..310 + round * 5).await;
    }
    let mut numbers: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    for line in lines(child) {
        let record: Value = serde_json::from_str(&line).unwrap();
        assert!(record["shard"].as_str().unwrap().starts_with("shardId-"), "{line}");
        let key = record["partition_key"].as_str().unwrap().to_owned();
        numbers.entry(key).or_default().push(record["data"]["number"].as_u64().unwrap());
    }
    assert_eq!(numbers.len(), 10);
    for (key, numbers) in numbers {
        assert_eq!(numbers, (0..320).collect::<Vec<_>>(), "{key}");
    }
    near.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tap_from_newest_shows_what_comes_and_of_a_device_only_its_own() {
    let near = Operated::start("").await;
    near.put(10, 0..5).await;
    let all = tap(&near, &["tap", "telemetry", "--limit", "10"]);
    let device = tap(&near, &["tap", "k3", "--limit", "2"]);
    near.put(10, 7..9).await;
    let all = lines(all);
    assert_eq!(all.len(), 10);
    assert!(
        all.iter().all(|line| line.ends_with("{\"number\":7}") || line.ends_with("{\"number\":8}")),
        "{all:#?}"
    );
    let device = lines(device);
    assert_eq!(device.len(), 2);
    for (line, number) in device.iter().zip([7, 8]) {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(words[0].ends_with('Z') && words[1].starts_with("telemetry/shardId-"), "{line}");
        assert!(words[2].len() == 56 && words[3] == "k3", "{line}");
        assert_eq!(words[4], format!("{{\"number\":{number}}}"));
    }
    let hex = lines(tap(&near, &["tap", "k3", "--limit", "1", "--from", "oldest", "--format", "hex"]));
    assert!(hex[0].ends_with(" k3 7b226e756d626572223a307d"), "{hex:?}");
    near.stop().await;
}
