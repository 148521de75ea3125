//! The first minutes of a newcomer: plain `headwater`, no configuration, an empty home; then the two lines it prints,
//! pasted into another terminal as they are. They must print records.

use std::path::Path;
use std::time::Duration;

use system_tests::process::Process;
use system_tests::{binaries, python, wait_until};

/// A person gives it this long before doubting.
const PATIENCE: Duration = Duration::from_secs(60);

/// The first line of the demo's output that starts with one of `commands`, as a person would copy it.
fn pasted<'a>(output: &'a str, commands: &[&str]) -> Option<&'a str> {
    output.lines().map(str::trim).find(|line| commands.iter().any(|command| line.starts_with(command)))
}

/// Runs a pasted line in a shell that has the newcomer's tools and no credentials, profile or region.
fn shell(line: &str, name: &str, home: &Path) -> Process {
    let python = python::interpreter().expect("asked before");
    let tools = python.parent().expect("an interpreter is in a folder").display().to_string();
    let path = std::env::var("PATH").unwrap_or_default();
    let mut process = Process::new(name, "sh", home)
        .args(["-c", line])
        .env("PATH", format!("{tools}:{path}"))
        .env("HOME", home)
        .env("AWS_EC2_METADATA_DISABLED", "true");
    process.start();
    process
}

#[test]
fn the_two_printed_lines_read_what_the_devices_send() {
    if python::interpreter().is_none() {
        return python::skip("hour_one", "no Python with boto3 and the AWS CLI; `tests/run` sets one up");
    }
    let home = tempfile::tempdir().expect("a temporary home");
    let mut demo = Process::new("demo", binaries::headwater(), home.path())
        .env("HOME", home.path())
        .env("XDG_STATE_HOME", home.path().join(".local/state"));
    demo.start();
    let told = wait_until(PATIENCE, || {
        assert!(demo.runs(), "the demo ended by itself\n{}", demo.tail());
        let output = demo.output();
        pasted(&output, &["python"]).is_some() && pasted(&output, &["aws ", "AWS_"]).is_some()
    });
    assert!(told, "the demo printed no line for boto3 or none for the AWS CLI\n{}", demo.tail());
    // Twenty devices with a reading a second each: after this long there is something to read.
    std::thread::sleep(Duration::from_secs(5));

    let output = demo.output();
    for (name, commands) in [("boto3", &["python"][..]), ("aws-cli", &["aws ", "AWS_"][..])] {
        let line = pasted(&output, commands).expect("waited for it");
        let mut reader = shell(line, name, home.path());
        // A line that follows the stream does not end; printing records is what counts.
        let printed = wait_until(PATIENCE, || reader.output().contains("device") || !reader.runs());
        let printed = printed && reader.output().contains("device");
        assert!(printed, "pasted: {line}\nprinted no record of a device\n{}\n{}", reader.tail(), demo.tail());
    }
    let status = demo.interrupt(PATIENCE);
    assert!(status.success(), "Ctrl-C must end the demo well: {status}\n{}", demo.tail());
}
