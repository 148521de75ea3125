//! The example server as a process of its own, and a client that sends exactly what a test says.

use serde_json::Value;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Longest that others wait for an answer while somebody means harm: generous, for a machine that has other work.
const DELAY_MAX: Duration = Duration::from_secs(4);

pub(crate) struct Server {
    process: Child,
    pub(crate) address: SocketAddr,
    dir: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start() -> Server {
        let dir = tempfile::tempdir().unwrap();
        let own = std::env::current_exe().unwrap();
        let program = own.parent().unwrap().parent().unwrap().join("examples/serve");
        // As many files as the machine lets it have: a thousand connections need more than the usual 1,024.
        let mut process = Command::new("sh")
            .args(["-c", "ulimit -n $(ulimit -Hn) 2>/dev/null; exec \"$0\" \"$@\""])
            .arg(program)
            .args(["--listen", "127.0.0.1:0", "--dir"])
            .arg(dir.path().join("data"))
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.split(' ').nth(2).unwrap().parse().unwrap();
        Server { process, address, dir }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// A server with a stream of one shard.
    pub(crate) fn with_stream() -> Server {
        let server = Server::start();
        server.client().call("CreateStream", r#"{"StreamName":"s","ShardCount":1}"#);
        server
    }

    /// Somebody who means no harm is served soon, on a connection of its own.
    pub(crate) fn serves_others(&self) {
        let begun = Instant::now();
        let mut client = self.client();
        client.call("PutRecord", r#"{"StreamName":"s","Data":"aGk=","PartitionKey":"k"}"#);
        client.call("ListStreams", "{}");
        assert!(begun.elapsed() < DELAY_MAX, "others waited for {:?}", begun.elapsed());
    }

    /// The most memory the process has had so far, in MiB.
    fn peak_mib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
    }

    /// The process lives, serves, has never had more than so much memory, and has not panicked.
    pub(crate) fn stays_well(mut self, mib_max: u64) {
        self.serves_others();
        let peak = self.peak_mib();
        assert!(peak <= mib_max, "the process had {peak} MiB, may have {mib_max}");
        assert!(self.process.try_wait().unwrap().is_none(), "the server ended");
        let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap();
        assert!(!log.contains("panicked"), "{log}");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) struct Client(pub(crate) TcpStream);

/// The head of a request, up to the field that says how long its body is.
pub(crate) fn head(operation: &str) -> String {
    format!(
        "POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-amz-json-1.1\r\nX-Amz-Target: \
         Kinesis_20131202.{operation}\r\nX-Amz-Date: 20260101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 \
         Credential=a/b, SignedHeaders=host, Signature=0\r\n"
    )
}

impl Client {
    pub(crate) fn connect(address: SocketAddr) -> Client {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
        Client(socket)
    }

    /// Sends a request; that the server closes in the middle is its right.
    pub(crate) fn send(&mut self, operation: &str, body: &[u8]) {
        let head = format!("{}Content-Length: {}\r\n\r\n", head(operation), body.len());
        let _ = self.0.write_all(head.as_bytes()).and_then(|()| self.0.write_all(body));
    }

    /// The status and body of the next answer; nothing when the server closed without one.
    pub(crate) fn receive(&mut self) -> Option<(u16, Vec<u8>)> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            match self.0.read(&mut byte) {
                Ok(0) => return None,
                Ok(_) => head.push(byte[0]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
                Err(error) => panic!("no answer and no end: {error}"),
            }
        }
        let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let mut body = vec![0; length.map_or(0, |length| length.trim().parse().unwrap())];
        self.0.read_exact(&mut body).ok()?;
        Some((head.split(' ').nth(1).unwrap().parse().unwrap(), body))
    }

    /// Asks what must succeed.
    pub(crate) fn call(&mut self, operation: &str, body: &str) -> Value {
        self.send(operation, body.as_bytes());
        let (status, body) = self.receive().unwrap();
        assert_eq!(status, 200, "{operation}: {}", String::from_utf8_lossy(&body));
        if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() }
    }

    /// What the server answers to a request that it must not serve: status and type of the error.
    pub(crate) fn refused(&mut self, operation: &str, body: &[u8]) -> (u16, String) {
        self.send(operation, body);
        let (status, body) = self.receive().expect("an error is answered");
        let body: Value = serde_json::from_slice(&body).unwrap();
        (status, body["__type"].as_str().unwrap().to_owned())
    }
}
