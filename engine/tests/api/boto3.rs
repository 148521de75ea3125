//! All operations, driven by boto3 in a process of its own against the example server in another.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Examples lie beside the directory of the test's own executable.
fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().unwrap().parent().unwrap().join("examples").join(name)
}

/// Says so past the capture of test output, and in the file that `tests/run` counts skips from: a test that did not run
/// must not look as if it had passed.
fn skip(reason: &str) {
    let line = format!("SKIPPED boto3_finds_every_operation_as_aws_has_it: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    if let Some(file) = std::env::var_os("HEADWATER_SKIPS") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

#[test]
fn boto3_finds_every_operation_as_aws_has_it() {
    let Some(python) = std::env::var_os("HEADWATER_PYTHON") else {
        return skip("HEADWATER_PYTHON names no Python with boto3");
    };
    let dir = tempfile::tempdir().unwrap();
    let mut server = Command::new(example("serve"));
    server.arg("--dir").arg(dir.path()).args(["--listen", "127.0.0.1:0"]).stdout(Stdio::piped());
    let mut server = Killed(server.spawn().unwrap());
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.split(' ').nth(2).unwrap().to_owned();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/kinesis_boto3.py");
    let outcome = Command::new(python).arg(script).arg(format!("http://{address}")).output().unwrap();
    let text = String::from_utf8_lossy(&outcome.stdout);
    assert!(outcome.status.success(), "{text}{}", String::from_utf8_lossy(&outcome.stderr));
}
