//! `monitor`: what it shows, and what it leaves to the device.

use super::bench::Kind;
use super::support::broker::Broker;
use super::support::{config, until};
use super::{PROGRAM, agent as agent_tool, desk, on};
use headwater_agent::{Agent, LinkConfig};
use headwater_telemetry::Down;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// A running `monitor`. Dropping it is Ctrl-C.
pub(crate) struct Monitor {
    child: Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Monitor {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut child = Command::new(PROGRAM)
            .arg("monitor")
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let (sender, lines) = mpsc::channel();
        let (out, err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        let err_sender = sender.clone();
        std::thread::spawn(move || {
            BufReader::new(out).lines().try_for_each(|line| sender.send(line.ok()?).ok())
        });
        std::thread::spawn(move || {
            BufReader::new(err).lines().try_for_each(|line| err_sender.send(format!("! {}", line.ok()?)).ok())
        });
        Self { child, lines, seen: Vec::new() }
    }

    /// Reads until a line that begins so.
    pub(crate) fn until(&mut self, begin: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(Duration::from_secs(30));
            let line = line.unwrap_or_else(|_| panic!("no line begins with {begin}: {:#?}", self.seen));
            self.seen.push(line.clone());
            if line.starts_with(begin) {
                return line;
            }
        }
    }

    /// All that was seen, with what comes within `more`.
    fn seen(&mut self, more: Duration) -> &[String] {
        let deadline = std::time::Instant::now() + more;
        while let Ok(line) =
            self.lines.recv_timeout(deadline.saturating_duration_since(std::time::Instant::now()))
        {
            self.seen.push(line);
        }
        &self.seen
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn acks(board: &super::Board) -> usize {
    board.record().downs.iter().filter(|down| matches!(down, Down::Ack { .. })).count()
}

#[test]
fn monitor_shows_frames_as_they_come_and_takes_nothing() {
    let (_dir, _chip, board) = desk(Kind::default());
    let mut monitor = Monitor::start(&["--port", on(&board)]);
    assert!(monitor.until("! ").starts_with("! nothing is taken from the device"));
    monitor.until("fresh-1: bench 1.0, boot 1, started by power, channels air °C, lamp");
    assert_eq!(
        monitor.until("boot 1 info"),
        "boot 1 info at 0 ms: hello ?[31mperson",
        "no escapes reach a terminal"
    );
    assert!(monitor.until("boot 1 seq 0 at ").ends_with(" ms: air 20.01 °C"));
    assert!(monitor.until("boot 1 seq 1 at ").ends_with(" ms: lamp true"));
    // The same batch comes again and again, and is shown once; hellos that say nothing new are not shown.
    let seen = monitor.seen(Duration::from_secs(6));
    assert_eq!(seen.iter().filter(|line| line.starts_with("boot 1 seq 0 ")).count(), 1, "{seen:#?}");
    assert_eq!(seen.iter().filter(|line| line.starts_with("fresh-1:")).count(), 1, "{seen:#?}");
    drop(monitor);
    assert_eq!((acks(&board), board.record().delivered), (0, 0));

    // Whoever comes next gets all of it, from the first place on.
    let mut monitor = Monitor::start(&["--json", "--take", "--port", on(&board)]);
    assert!(monitor.until("! ").contains("kept nowhere else"));
    monitor.until("{\"boot\":1,\"channel\":\"air\",\"seq\":0,");
    let line = monitor.until("{\"boot\":1,\"channel\":\"lamp\",\"seq\":101,");
    let json: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&json["value"], &json["unit"]), (&true.into(), &"".into()));
    assert!(json["utc_ms"].as_u64().unwrap() > 1_700_000_000_000, "the device was told the time");
    let seen = monitor.seen(Duration::ZERO).to_vec();
    let lines = seen.iter().filter(|line| !line.starts_with('!'));
    let places: Vec<u64> = lines
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("every line is JSON"))
        .filter_map(|line| line["seq"].as_u64())
        .collect();
    assert!(places.iter().zip(0..).all(|(place, expected)| *place == expected), "no hole, nothing twice");
    assert!(acks(&board) > 0);
    board.until("the device heard of it", |record| record.delivered >= 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_monitor_showed_the_agent_gets_afterwards_and_has_the_port_alone() {
    let (dir, _chip, board) = desk(Kind::default());
    let mut monitor = Monitor::start(&["--port", on(&board)]);
    monitor.until("boot 1 seq 3 ");
    drop(monitor);
    let broker = Broker::start().await;
    let mut config = config(dir.path(), broker.addr);
    config.links = vec![LinkConfig::Serial { path: board.port.clone(), baud: 115_200 }];
    let agent = Agent::start(config).await.unwrap();
    let first = || {
        let batches = broker.seen().into_iter().filter(|seen| seen.topic == "headwater/fresh-1/batch");
        batches
            .map(|seen| match headwater_telemetry::decode_body(&seen.payload) {
                Ok(headwater_telemetry::Up::Batch(batch)) => (batch.boot.0, batch.first.0),
                other => panic!("{other:?}"),
            })
            .next()
    };
    until("a batch is published", || first().is_some()).await;
    assert_eq!(first(), Some((1, 0)), "the oldest was still there");
    for tool in ["identify", "monitor"] {
        let said = agent_tool(&[tool, "--port", on(&board)], "");
        assert_eq!(said.code, Some(69), "{said:?}");
        assert!(said.err.contains("stop the agent or take the port out of its links"), "{said:?}");
    }
    let said = agent_tool(&["devices", "--port", on(&board)], "");
    assert!(said.out.ends_with("  in use by another program, the agent most likely\n"), "{said:?}");
    agent.stop().await;
}

#[test]
fn monitor_waits_for_a_board_that_is_restarted() {
    let (dir, chip, board) = desk(Kind::default());
    let mut monitor = Monitor::start(&["--port", on(&board)]);
    monitor.until("fresh-1: bench 1.0, boot 1,");
    let busy = agent_tool(&["identify", "--port", on(&board)], "");
    assert_eq!(busy.code, Some(69));
    assert!(busy.err.contains("is in use by another program, expected it free"), "{busy:?}");
    drop(board);
    monitor.until("! port is gone");
    let _board = super::plug(dir.path(), &chip, Kind::default());
    monitor.until("fresh-1: bench 1.0, boot 2,");
}
