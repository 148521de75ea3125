//! All operations, driven by boto3 in a process of its own against the example server in another.

use std::io::{BufRead, BufReader};
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

#[test]
fn boto3_finds_every_operation_as_aws_has_it() {
    let Some(python) = std::env::var_os("HEADWATER_PYTHON") else {
        println!(
            "SKIP: boto3_finds_every_operation_as_aws_has_it: HEADWATER_PYTHON names no Python with boto3"
        );
        return;
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
