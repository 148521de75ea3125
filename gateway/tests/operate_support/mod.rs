//! A gateway in this process, and the program beside it.

use headwater::{Gateway, config};
use headwater_engine::{Engine, StreamHandle, StreamName};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcgetattr, tcsetwinsize};
use serde_json::json;
use std::fs::File;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Far longer than anything here takes; it ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn exit(output: &Output) -> i32 {
    output.status.code().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Asks until `check` holds; the gateway runs on other threads meanwhile.
pub(crate) fn until(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn signal(child: &Child, signal: &str) -> bool {
    let line = format!("kill -{signal} {}", child.id());
    Command::new("sh").args(["-c", &line]).status().unwrap().success()
}

/// The directory and the configuration of a gateway.
pub(crate) struct Place {
    dir: tempfile::TempDir,
    pub(crate) file: PathBuf,
}

impl Place {
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a configuration with these ports, and what is `more`.
    pub(crate) fn write(&self, ports: [SocketAddr; 3], more: &str) {
        let [mqtt, kinesis, http] = ports;
        let state = self.dir.path().join("state");
        let text = format!(
            "[gateway]\nstate = {state:?}\n[mqtt]\nlisten = \"{mqtt}\"\n[kinesis]\nlisten = \"{kinesis}\"\n\
             [http]\nlisten = \"{http}\"\n[journal]\nsegment = \"8MiB\"\nmax = \"256MiB\"\nreserve = \"0B\"\n\
             [streams.telemetry]\nshards = 2\n{more}"
        );
        std::fs::write(&self.file, text).unwrap();
    }

    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("h.toml");
        Self { dir, file }
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
        command.args(arguments).arg("--config").arg(&self.file).env_clear();
        // What the tools of this machine are found by, and nothing that says who its owner is at AWS.
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", self.dir.path());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }
}

pub(crate) struct Operated {
    pub(crate) place: Place,
    gateway: Gateway,
}

impl Operated {
    /// Starts a gateway with this besides its ports, and writes down which ports it took.
    pub(crate) async fn start(more: &str) -> Self {
        let place = Place::new();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        place.write([any; 3], more);
        let gateway = Gateway::start(&config::load(Some(&place.file)).unwrap().config).await.unwrap();
        place.write([gateway.mqtt_addr(), gateway.kinesis_addr(), gateway.http_addr()], more);
        Self { place, gateway }
    }

    /// Ends; what is left is the place.
    pub(crate) async fn stop(self) -> Place {
        self.gateway.stop().await;
        self.place
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.place.command(arguments)
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.place.run(arguments)
    }

    pub(crate) fn kinesis_addr(&self) -> SocketAddr {
        self.gateway.kinesis_addr()
    }

    fn engine(&self) -> &Engine {
        self.gateway.engine()
    }

    fn telemetry(&self) -> StreamHandle {
        self.engine().stream(&StreamName::parse("telemetry").unwrap()).unwrap()
    }

    /// Puts `numbers` of so many keys, durably.
    pub(crate) async fn put(&self, keys: usize, numbers: Range<u64>) {
        for number in numbers {
            let mut batch = self.engine().batch();
            for key in 0..keys {
                let data = json!({"number": number}).to_string();
                batch.put(&self.telemetry(), &format!("k{key}"), None, data.as_bytes()).unwrap();
            }
            self.engine().append_within(&batch, PATIENCE).await.unwrap().await.unwrap();
        }
    }

    /// Gives the stream so many open shards.
    pub(crate) async fn resize(&self, shards: usize) {
        while self.telemetry().state().shards.open_count() != shards {
            // A call may double the shards at most, as AWS has it.
            let next = shards.min(self.telemetry().state().shards.open_count() * 2);
            let body = json!({
                "StreamName": "telemetry", "TargetShardCount": next, "ScalingType": "UNIFORM_SCALING",
            });
            let answer = self.engine().call("UpdateShardCount", body.to_string().as_bytes()).await;
            assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
            let stream = self.telemetry();
            until("the stream has its shards", || stream.state().shards.open_count() == next);
        }
        let stream = self.telemetry();
        until("the stream is at rest", || stream.state().definition.status.is_usable());
    }
}

/// A terminal, seen from the side of the person.
pub(crate) struct Terminal {
    person: File,
    program: File,
    text: Arc<Mutex<Vec<u8>>>,
}

impl Terminal {
    pub(crate) fn open(columns: u16, rows: u16) -> Self {
        let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&person).unwrap();
        unlockpt(&person).unwrap();
        let name = ptsname(&person, Vec::new()).unwrap();
        let program = File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&person, size).unwrap();
        let (person, text) = (File::from(person), Arc::new(Mutex::new(Vec::new())));
        let (mut from, to) = (person.try_clone().unwrap(), Arc::clone(&text));
        std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(len @ 1..) = from.read(&mut piece) {
                to.lock().unwrap().extend(&piece[..len]);
            }
        });
        Self { person, program, text }
    }

    pub(crate) fn spawn(&self, mut command: Command) -> Child {
        let end = || self.program.try_clone().unwrap();
        command.stdin(end()).stdout(end()).stderr(end()).spawn().unwrap()
    }

    pub(crate) fn press(&self, keys: &[u8]) {
        (&self.person).write_all(keys).unwrap();
    }

    /// How the terminal is set, as text that can be compared.
    pub(crate) fn mode(&self) -> String {
        let mode = tcgetattr(&self.program).unwrap();
        format!("{:?} {:?}", mode.local_modes, mode.special_codes)
    }

    /// Everything that was shown, once `what` is among it.
    pub(crate) fn shown(&self, what: &str) -> String {
        let text = || String::from_utf8_lossy(&self.text.lock().unwrap()).into_owned();
        until(what, || text().contains(what));
        text()
    }
}
