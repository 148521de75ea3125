//! The program itself and its signals.

use crate::far::{Far, read_all};
use crate::gateway_support::PATIENCE;
use crate::house::Load;
use headwater_engine::{Engine, EngineConfig};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

struct Program {
    home: tempfile::TempDir,
    child: Child,
    manager: UnixDatagram,
    ports: [SocketAddr; 3],
}

impl Program {
    /// Starts `headwater run` as a service manager would, with `more` in its file.
    fn start(more: &str) -> Self {
        let home = tempfile::tempdir().unwrap();
        let address = home.path().join("notify");
        let manager = UnixDatagram::bind(&address).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let free: [std::net::TcpListener; 3] =
            std::array::from_fn(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let ports = free.each_ref().map(|port| port.local_addr().unwrap());
        drop(free);
        write(home.path(), ports, more);
        let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
        command.args(["run", "--config"]).arg(file(home.path())).env("NOTIFY_SOCKET", address);
        let log = std::fs::File::create(home.path().join("log")).unwrap();
        command.env_remove("WATCHDOG_USEC").stdout(Stdio::null()).stderr(log);
        let child = command.spawn().unwrap();
        Self { child, manager, ports, home }
    }

    fn write(&self, more: &str) {
        write(self.home.path(), self.ports, more);
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Waits until the service manager is told something that begins so.
    fn told(&self, beginning: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let mut message = [0; 4096];
            let length = self.manager.recv(&mut message).expect("the service manager is told something");
            let message = String::from_utf8(message[..length].to_vec()).unwrap();
            if message.starts_with(beginning) {
                return message;
            }
        }
        panic!("the service manager is not told {beginning}");
    }

    /// Hangs up, and waits until the gateway has read its file.
    fn reload(&self) {
        self.signal("-HUP");
        let reloading = self.told("RELOADING=1\n");
        let micros: u64 = reloading.split_once("MONOTONIC_USEC=").unwrap().1.parse().unwrap();
        assert!(micros > 0);
        self.told("READY=1\n");
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.home.path().join("log")).unwrap()
    }

    /// Waits for its end, which must come and be a good one.
    fn ended(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.child.try_wait().unwrap() {
                Some(status) => return assert!(status.success(), "{status}: {}", self.log()),
                None => assert!(Instant::now() < deadline, "it hangs: {}", self.log()),
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn file(home: &Path) -> PathBuf {
    home.join("headwater.toml")
}

fn write(home: &Path, [mqtt, kinesis, http]: [SocketAddr; 3], more: &str) {
    let state = home.join("state");
    let text = format!(
        "[gateway]\nstate = {state:?}\nlog = \"LEVEL\"\n[mqtt]\nlisten = \"{mqtt}\"\n[kinesis]\nlisten = \"{kinesis}\"\n\
         [http]\nlisten = \"{http}\"\n[journal]\nsegment = \"8MiB\"\nmax = \"256MiB\"\nreserve = \"0B\"\n{more}"
    );
    let level = if more.contains("# quiet") { "error" } else { "info" };
    // As editors and package managers do it: the file is whole at any time.
    let next = home.join("next");
    std::fs::write(&next, text.replace("LEVEL", level)).unwrap();
    std::fs::rename(next, file(home)).unwrap();
}

/// Whether the program catches hangups by now: bit 0 of the signals it has a handler for.
fn catches_hangups(child: &Child) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).map(str::trim).unwrap_or("0");
    u64::from_str_radix(caught, 16).unwrap() & 1 == 1
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_hung_up_on_under_load_loses_no_connection_and_no_record() {
    let far = Far::start(2).await;
    let route = |stream: &str| {
        format!(
            "[[routes]]\nmatch = \"#\"\ncodec = \"raw\"\nstream = \"{stream}\"\npartition_key = \"${{topic()}}\"\n"
        )
    };
    let sink = far.sink("streams = [\"telemetry\", \"other\"]\ntarget = \"telemetry\"\n");
    let mut program = Program::start(&format!("{}{sink}", route("telemetry")));
    program.told("READY=1\n");
    let load = Load::start(program.ports[0], "a", 6);
    for round in 0..24 {
        match round % 4 {
            0 => program.write(&route("other")),
            1 => program.write(&format!("{}{sink}", route("telemetry"))),
            2 => program.write(&format!("{}{sink}calls = 0\n", route("other"))),
            _ => program.write(&format!("{}{sink}calls = 8\n", route("other"))),
        }
        tokio::task::block_in_place(|| program.reload());
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    let acked = load.stop().await;
    assert!(acked.len() > 500, "there was load: {}", acked.len());
    let refused = program.log().matches("configuration refused").count();
    assert_eq!(refused, 6, "every wrong file is told: {}", program.log());
    assert!(
        program.log().contains("sinks.far.calls is 0, expected a whole number from 1 to 16"),
        "{}",
        program.log()
    );
    tokio::task::block_in_place(|| until_delivered(&program, acked.len()));
    program.signal("-TERM");
    tokio::task::block_in_place(|| program.ended());

    let state = program.home.path().join("state/journal");
    let journal = headwater_journal::Config {
        segment_bytes: 8 << 20,
        reserve_bytes: 0,
        ..headwater_journal::Config::small()
    };
    let (engine, _) = Engine::open(EngineConfig { journal, ..EngineConfig::new(state) }).unwrap();
    let mut stored: BTreeMap<String, usize> = BTreeMap::new();
    for stream in ["telemetry", "other"] {
        for (_, data) in read_all(&engine, stream).await {
            *stored.entry(String::from_utf8(data).unwrap()).or_default() += 1;
        }
    }
    assert!(acked.iter().all(|payload| stored.get(payload) == Some(&1)), "every one is there, and once");
    let arrived = far.raw().await;
    let arrived: std::collections::BTreeSet<String> =
        arrived.into_iter().map(|(_, data)| String::from_utf8(data).unwrap()).collect();
    assert!(acked.iter().all(|payload| arrived.contains(payload)), "and all of them at the target");
}

/// Waits until the sink has delivered so many, as the program's own status says.
fn until_delivered(program: &Program, count: usize) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let output = Command::new(env!("CARGO_BIN_EXE_headwater"))
            .args(["status", "--json", "--config"])
            .arg(file(program.home.path()))
            .output()
            .unwrap();
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let sinks = status["health"]["sinks"].as_array().cloned().unwrap_or_default();
        let delivered: u64 = sinks.iter().filter_map(|sink| sink["delivered"].as_u64()).sum();
        if delivered >= count as u64 {
            return;
        }
        assert!(Instant::now() < deadline, "{delivered} of {count} are delivered");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn hangups_during_the_start_and_the_stop_neither_kill_nor_hang() {
    for _ in 0..3 {
        let mut program = Program::start("");
        let deadline = Instant::now() + PATIENCE;
        while !catches_hangups(&program.child) {
            assert!(Instant::now() < deadline && program.child.try_wait().unwrap().is_none());
        }
        // Its journal is not open yet, and nothing listens.
        for _ in 0..5 {
            program.signal("-HUP");
        }
        program.told("READY=1\n");
        program.told("RELOADING=1\n");
        program.told("READY=1\n");
        program.signal("-HUP");
        program.signal("-TERM");
        while program.child.try_wait().unwrap().is_none() && Instant::now() < deadline {
            let pid = program.child.id().to_string();
            // It may be gone by now.
            let _ = Command::new("kill").args(["-HUP", &pid]).stderr(Stdio::null()).status();
        }
        program.ended();
    }
}

#[test]
fn the_level_of_the_log_changes_with_the_file() {
    let mut program = Program::start("# quiet\n");
    program.told("READY=1\n");
    assert_eq!(program.log(), "");
    program.write("");
    program.reload();
    program.reload();
    let log = program.log();
    assert!(log.contains("configuration taken up"), "{log}");
    program.write("# quiet\n");
    program.reload();
    let length = program.log().len();
    program.reload();
    assert_eq!(program.log().len(), length, "nothing more is said");
    program.write("[mqqt]\n");
    program.reload();
    assert!(program.log().contains("mqqt is an unknown key"), "{}", program.log());
    program.signal("-TERM");
    program.ended();
}
