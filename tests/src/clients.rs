//! The programs that drive a gateway with somebody else's client: where their runtimes are, and what they must have said.
//! In: what `tests/run` has set up. Out: a process to start, or nothing where its runtime is absent.
//! Invariant: a program that says nothing, or less than it should, has not passed.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::binaries::workspace;
use crate::process::Process;
use crate::python::{cached, with_dummy_credentials};

/// Node.js with the packages of `tests/clients/js`: `HEADWATER_NODE` and `HEADWATER_NODE_MODULES`, both set by `tests/run`.
#[must_use]
pub fn node(name: &str, directory: &Path, script: &str, args: &[&str]) -> Option<Process> {
    let program = PathBuf::from(std::env::var_os("HEADWATER_NODE")?);
    let modules = std::env::var_os("HEADWATER_NODE_MODULES")?;
    let script = workspace().join("tests/clients/js").join(script);
    let process = Process::new(name, program, directory).args([script.as_os_str()]).args(args);
    // Warnings about the version of Node.js would stand between what the script says.
    Some(with_dummy_credentials(process).env("NODE_PATH", modules).env("NODE_NO_WARNINGS", "1"))
}

/// The program of `tests/clients/rust`: `HEADWATER_RUST_CLIENT`, built by `tests/run`.
#[must_use]
pub fn sdk_rust(name: &str, directory: &Path, args: &[&str]) -> Option<Process> {
    let program = PathBuf::from(std::env::var_os("HEADWATER_RUST_CLIENT")?);
    Some(Process::new(name, program, directory).args(args))
}

/// A script of `tests/clients/async_kinesis`, run by the interpreter that has that package: `HEADWATER_ASYNC_KINESIS`, else
/// the venv that an earlier `tests/run` left in the user's cache.
#[must_use]
pub fn async_kinesis(name: &str, directory: &Path, script: &str, args: &[&str]) -> Option<Process> {
    let given = std::env::var_os("HEADWATER_ASYNC_KINESIS").map(PathBuf::from);
    let program = given.or_else(|| cached("async-kinesis/bin/python"))?;
    let script = workspace().join("tests/clients/async_kinesis").join(script);
    let process = Process::new(name, program, directory).args([script.as_os_str()]).args(args);
    Some(with_dummy_credentials(process).env("PYTHONUNBUFFERED", "1"))
}

/// The second version of the AWS CLI: the first `aws` in `PATH` that says it is one.
#[must_use]
pub fn aws_version_2() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join("aws")).filter(|aws| aws.is_file()).find(|aws| {
        let said = Command::new(aws).arg("--version").output();
        said.is_ok_and(|said| said.stdout.starts_with(b"aws-cli/2"))
    })
}

/// Runs a program to its end: each of its claims holds, and it makes at least so many.
///
/// # Panics
/// When one does not hold, when it makes fewer, or when it does not end within `patience`.
pub fn assert_claims(process: &mut Process, least: usize, patience: Duration) {
    process.start();
    let status = process.wait(patience);
    let output = process.output();
    let held = output.lines().filter(|line| line.starts_with("ok ")).count();
    assert!(status.success(), "{status}, {held} claims held\n{}", process.tail());
    assert!(held >= least && !output.contains("FAILED"), "{held} claims held, expected {least}\n{output}");
}

/// The control of a program: with `HEADWATER_CONTROL` one record that it says it put is not what it says, and it finds that
/// out by this claim.
///
/// # Panics
/// When it does not.
pub fn assert_refutes(process: Process, claim: &str, patience: Duration) {
    let mut process = process.env("HEADWATER_CONTROL", "1");
    process.start();
    let status = process.wait(patience);
    let output = process.output();
    assert!(!status.success(), "the program passed although a record is missing\n{output}");
    assert!(
        !output.contains(&format!("ok {claim}\n")),
        "{claim} holds although a record is missing\n{output}"
    );
    assert!(output.contains(claim), "the program did not come as far as {claim}\n{output}");
}
