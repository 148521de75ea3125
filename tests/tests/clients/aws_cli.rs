//! The AWS CLI in both versions: waiters, pages, files, base64 as each version has it, shards, consumers, refusals.

use std::path::{Path, PathBuf};

use system_tests::binaries::workspace;
use system_tests::clients::{assert_claims, assert_refutes, aws_version_2};
use system_tests::gateway::Gateway;
use system_tests::process::Process;
use system_tests::python::{aws, interpreter, skip};

use crate::PATIENCE;

fn flow(cli: &Path, gateway: &Gateway, directory: &Path) -> Process {
    let python = interpreter().expect("asked before");
    let script = workspace().join("tests/clients/aws_cli/flow.py");
    Process::new("aws-cli", python, directory)
        .args([&script, cli])
        .args([&gateway.endpoint()])
        .args([directory])
}

/// Runs the flow with a version of the program, or says why not.
fn with(version: &str, cli: Option<PathBuf>, hint: &str, check: impl FnOnce(Process)) {
    let Some(cli) = cli.filter(|_| interpreter().is_some()) else {
        return skip(&format!("aws_cli version {version}"), hint);
    };
    let directory = tempfile::tempdir().expect("a directory");
    let gateway = Gateway::start(directory.path(), "");
    check(flow(&cli, &gateway, directory.path()));
}

#[test]
fn version_1_does_everything() {
    let hint = "no AWS CLI beside HEADWATER_PYTHON; `tests/run` sets one up";
    with("1", aws(), hint, |mut program| assert_claims(&mut program, 6, PATIENCE));
}

#[test]
fn version_2_does_everything() {
    let hint = "no `aws` in PATH says it is aws-cli/2; Debian has it as `awscli`";
    with("2", aws_version_2(), hint, |mut program| assert_claims(&mut program, 6, PATIENCE));
}

#[test]
fn a_record_that_is_another_one_is_found_out() {
    let hint = "no AWS CLI beside HEADWATER_PYTHON; `tests/run` sets one up";
    with("1, its control", aws(), hint, |program| {
        assert_refutes(program, "data_arrives_as_each_version_takes_it", PATIENCE);
    });
}
