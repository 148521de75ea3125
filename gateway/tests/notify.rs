//! What the programs tell a service manager: real processes, real sockets, and a file system that really hangs.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Short, so that a test takes seconds; signs come every 200 ms.
const WATCHDOG: Duration = Duration::from_millis(600);
/// Far longer than anything here takes; it ends a test that hangs.
const PATIENCE: Duration = Duration::from_secs(30);

struct Gateway {
    child: Child,
    manager: UnixDatagram,
    kinesis: SocketAddr,
}

impl Gateway {
    /// Starts `headwater run` with its state in `state`, as a service manager would.
    fn start(home: &Path, state: &Path) -> Gateway {
        let address = home.join("notify");
        let manager = UnixDatagram::bind(&address).unwrap();
        manager.set_read_timeout(Some(PATIENCE)).unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let kinesis = port.local_addr().unwrap();
        drop(port);
        let config = home.join("headwater.toml");
        let text = format!(
            "[gateway]\nstate = {state:?}\nlog = \"error\"\n[mqtt]\nlisten = \"127.0.0.1:0\"\n[kinesis]\nlisten = \"{kinesis}\"\n\
             [http]\nlisten = \"127.0.0.1:0\"\n[journal]\nsegment = \"4MiB\"\npool = 1\nmax = \"64MiB\"\nreserve = \"0B\"\n"
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_headwater"));
        command.args(["run", "--config"]).arg(config).env("NOTIFY_SOCKET", address);
        command.env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string()).env_remove("WATCHDOG_PID");
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        Gateway { child, manager, kinesis }
    }

    fn told(&self) -> String {
        let mut message = [0; 4096];
        let length = self.manager.recv(&mut message).expect("the service manager is told something");
        String::from_utf8(message[..length].to_vec()).unwrap()
    }

    /// Signs of life within `time`, and the last message.
    fn signs(&self, time: Duration) -> (usize, String) {
        let (began, mut signs, mut last) = (Instant::now(), 0, String::new());
        while began.elapsed() < time {
            self.manager.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            let mut message = [0; 4096];
            if let Ok(length) = self.manager.recv(&mut message) {
                last = String::from_utf8(message[..length].to_vec()).unwrap();
                signs += usize::from(last.starts_with("WATCHDOG=1\n"));
            }
        }
        self.manager.set_read_timeout(Some(PATIENCE)).unwrap();
        (signs, last)
    }

    /// Sends a record and does not wait for the answer.
    fn put(&self) -> TcpStream {
        let body = r#"{"StreamName":"telemetry","PartitionKey":"k","Data":"MjEuNQ=="}"#;
        let mut socket = TcpStream::connect(self.kinesis).unwrap();
        write!(
            socket,
            "POST / HTTP/1.1\r\nHost: x\r\nX-Amz-Target: Kinesis_20131202.PutRecord\r\nContent-Type: application/x-amz-json-1.1\r\n\
             Authorization: AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=0\r\n\
             X-Amz-Date: 20260101T000000Z\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    }

    fn terminate(&mut self) -> std::process::ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn answer(mut socket: TcpStream) -> String {
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn ready_comes_when_it_serves_then_signs_of_life_while_idle_then_stopping() {
    let home = tempfile::tempdir().unwrap();
    let mut gateway = Gateway::start(home.path(), &home.path().join("state"));
    let ready = gateway.told();
    assert!(ready.starts_with("READY=1\nSTATUS=received 0 = stored 0 "), "{ready}");
    assert!(TcpStream::connect(gateway.kinesis).is_ok(), "ready means that it listens");
    let (signs, last) = gateway.signs(10 * WATCHDOG);
    assert!(signs >= 10, "at least one sign in each period of an idle gateway, and {signs} came");
    assert!(last.contains("STATUS=received 0 "), "{last}");
    assert!(answer(gateway.put()).starts_with("HTTP/1.1 200"));
    assert!(gateway.terminate().success());
    while !gateway.told().starts_with("STOPPING=1\n") {}
}

/// Says so past the capture of test output, and in the file that `tests/run` counts skips from.
fn skip(reason: &str) {
    let line = format!("SKIPPED watchdog of a gateway on a file system that hangs: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    if let Some(file) = std::env::var_os("HEADWATER_SKIPS") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

/// An ext4 of its own in a file, which `fsfreeze` can stop: from then on every write to it waits.
struct Freezer(PathBuf);

impl Freezer {
    fn mount(home: &Path) -> Result<Freezer, String> {
        let (image, mount) = (home.join("image"), home.join("mount"));
        std::fs::File::create(&image).unwrap().set_len(128 << 20).unwrap();
        std::fs::create_dir(&mount).unwrap();
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        run("mkfs.ext4", &["-q", "-F", &text(&image)])?;
        run("mount", &["-o", "loop", &text(&image), &text(&mount)])?;
        Ok(Freezer(mount))
    }

    fn freeze(&self) {
        run("fsfreeze", &["--freeze", self.0.to_str().unwrap()]).unwrap();
    }

    fn thaw(&self) -> Result<(), String> {
        run("fsfreeze", &["--unfreeze", self.0.to_str().unwrap()])
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        // A test that failed may have left it frozen, and a frozen file system cannot be unmounted.
        let _ = self.thaw();
        let _ = run("umount", &["--lazy", self.0.to_str().unwrap()]);
    }
}

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output =
        Command::new(program).args(arguments).output().map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

#[test]
fn a_gateway_whose_commits_hang_shows_no_signs_of_life_until_they_go_on() {
    let home = tempfile::tempdir().unwrap();
    let disk = match Freezer::mount(home.path()) {
        Ok(disk) => disk,
        Err(reason) => return skip(&reason),
    };
    let mut gateway = Gateway::start(home.path(), &disk.0.join("state"));
    assert!(gateway.told().starts_with("READY=1\n"));
    assert!(answer(gateway.put()).starts_with("HTTP/1.1 200"));

    // A disk that hangs under a gateway that has nothing to write is nobody's trouble.
    disk.freeze();
    assert!(gateway.signs(4 * WATCHDOG).0 >= 4);

    let waiting = gateway.put();
    gateway.signs(WATCHDOG);
    let (signs, last) = gateway.signs(4 * WATCHDOG);
    assert_eq!(signs, 0, "a service manager would have started it again");
    assert!(last.starts_with("STATUS=a commit has been waiting for the disk for "), "{last}");

    disk.thaw().unwrap();
    assert!(answer(waiting).starts_with("HTTP/1.1 200"), "what hung was not lost");
    assert!(gateway.signs(4 * WATCHDOG).0 >= 4);
    assert!(gateway.terminate().success());
}
