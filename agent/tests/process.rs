//! The real program: killed in the middle, its command line, its status port.

mod support;

use rumqttc::v5::mqttbytes::v5::PubAckReason;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use support::broker::Broker;
use support::device::Device;
use support::until;

const PROGRAM: &str = env!("CARGO_BIN_EXE_headwater-agent");

struct Running {
    child: Child,
    link: SocketAddr,
    status: SocketAddr,
}

impl Running {
    fn start(dir: &Path, gateway: SocketAddr) -> Self {
        let path = dir.join("agent.toml");
        let text = format!(
            "agent = {{ state = \"{}\", log = \"json\" }}\n\
             links = [{{ type = \"tcp\", listen = \"127.0.0.1:0\" }}]\n\
             spool = {{ max = \"16MiB\", segment = \"1MiB\", reserve = \"0B\" }}\n\
             uplink = {{ gateway = \"{gateway}\", retry = {{ base = \"20ms\", max = \"100ms\" }} }}\n\
             http = {{ listen = \"127.0.0.1:0\" }}\n",
            dir.join("state").display()
        );
        std::fs::write(&path, text).expect("a test's process, pipe or file works");
        let mut child = Command::new(PROGRAM)
            .args(["run", "--config"])
            .arg(&path)
            .stderr(Stdio::piped())
            .spawn()
            .expect("a test's process, pipe or file works");
        let mut lines =
            BufReader::new(child.stderr.take().expect("a test's process, pipe or file works")).lines();
        let started = lines
            .by_ref()
            .map(|line| line.expect("a test's process, pipe or file works"))
            .find(|line| line.contains("agent started"));
        let started = started.expect("the agent starts");
        // Keep the pipe empty, or the agent would wait for us.
        std::thread::spawn(move || lines.for_each(drop));
        let addrs: Vec<SocketAddr> =
            started.split(['[', ']', '(', ')', '"']).filter_map(|word| word.parse().ok()).collect();
        Self { child, link: addrs[0], status: addrs[1] }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.status).expect("a test's process, pipe or file works");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
            .expect("a test's process, pipe or file works");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("a test's process, pipe or file works");
        answer
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn what_was_acked_to_a_device_survives_kill_9() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    broker.hold();
    let mut first = 0;
    for round in 0..4 {
        let running = Running::start(dir.path(), broker.addr);
        let mut device = Device::connect(running.link, "d", 1).await;
        for _ in 0..10 {
            device.send_batch(first, 5).await;
            device.acked_through(first + 4).await;
            first += 5;
        }
        // One more without waiting, then the power goes.
        device.send_batch(first, 5).await;
        if round == 2 {
            broker.release();
        }
        drop(running);
        let running = Running::start(dir.path(), broker.addr);
        let mut device = Device::connect(running.link, "d", 1).await;
        device.send_batch(first, 5).await;
        device.acked_through(first + 4).await;
        first += 5;
    }
    let running = Running::start(dir.path(), broker.addr);
    let acked = |broker: &Broker| {
        let seen = broker.seen().into_iter().filter(|seen| seen.reason == Some(PubAckReason::Success));
        let firsts = seen.filter(|seen| seen.topic.ends_with("/batch")).map(|seen| {
            match headwater_telemetry::decode_body(&seen.payload) {
                Ok(headwater_telemetry::Up::Batch(batch)) => batch.first.0,
                other => panic!("{other:?}"),
            }
        });
        firsts.collect::<std::collections::BTreeSet<u32>>()
    };
    let expected: std::collections::BTreeSet<u32> = (0..first).step_by(5).collect();
    until("everything is delivered", || acked(&broker) == expected).await;
    drop(running);
}

#[tokio::test]
async fn the_status_port_answers_and_sigterm_stops_in_order() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    let mut running = Running::start(dir.path(), broker.addr);
    assert!(running.get("/health").starts_with("HTTP/1.1 200 OK"));
    assert!(running.get("/metrics").contains("\nheadwater_agent_spooled_total 0\n"));
    assert!(running.get("/").starts_with("HTTP/1.1 404"));
    let killed = Command::new("kill").args(["-TERM", &running.child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(running.child.wait().unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_hangup_takes_up_a_good_file_and_a_wrong_one_changes_nothing() {
    let (dir, broker) = (tempfile::tempdir().unwrap(), Broker::start().await);
    let nowhere = "127.0.0.1:1".parse().unwrap();
    let mut running = Running::start(dir.path(), nowhere);
    let mut device = Device::connect(running.link, "d", 1).await;
    device.send_batch(0, 5).await;
    device.acked_through(4).await;
    let hang_up = |text: &str| {
        std::fs::write(dir.path().join("agent.toml"), text).unwrap();
        let hung_up = Command::new("kill").args(["-HUP", &running.child.id().to_string()]).status().unwrap();
        assert!(hung_up.success());
    };
    let good = std::fs::read_to_string(dir.path().join("agent.toml")).unwrap();
    let good = good.replace(&nowhere.to_string(), &broker.addr.to_string());
    hang_up(&format!("{good}[nonsense]\n"));
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(broker.connections(), 0, "half of it was good, and is not taken up");
    device.send_batch(5, 5).await;
    device.acked_through(9).await;
    hang_up(&good);
    until("both batches are up", || {
        broker.seen().iter().filter(|seen| seen.topic.ends_with("/batch")).count() == 2
    })
    .await;
    device.send_batch(10, 5).await;
    device.acked_through(14).await;
    assert!(running.child.try_wait().unwrap().is_none());
}

fn run(arguments: &[&str], dir: &Path) -> Output {
    Command::new(PROGRAM)
        .args(arguments)
        .current_dir(dir)
        .env("HOME", dir)
        .output()
        .expect("the program runs")
}

#[test]
fn exit_codes_are_those_of_sysexits() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(&["validate"], dir.path()).status.code(), Some(0), "the defaults are good");
    assert_eq!(run(&["config", "init"], dir.path()).status.code(), Some(0));
    assert_eq!(run(&["validate"], dir.path()).status.code(), Some(0), "so is the sample");
    assert_eq!(run(&["config", "init"], dir.path()).status.code(), Some(73), "it is not overwritten");
    assert_eq!(run(&["fly"], dir.path()).status.code(), Some(64));
    std::fs::write(dir.path().join("bad.toml"), "[uplink]\ngatway = \"x\"\n").unwrap();
    let output = run(&["validate", "--config", "bad.toml"], dir.path());
    assert_eq!(output.status.code(), Some(78));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("bad.toml: line 2, column 1") && text.contains("did you mean `gateway`?"),
        "{text}"
    );
}
