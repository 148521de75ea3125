//! The page of metrics after known traffic, read with Prometheus' own parser by `metrics.py`.

#![expect(clippy::unwrap_used, reason = "a panic in a test is its report")]

use headwater::{Gateway, config};
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Says so past the capture of test output, and in the file that `tests/run` counts skips from.
fn skip(reason: &str) {
    let line = format!("SKIPPED metrics: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    if let Some(file) = std::env::var_os("HEADWATER_SKIPS") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

#[test]
fn kinesis_metrics_are_exact_and_in_the_format_of_prometheus() {
    let Some(python) = std::env::var_os("HEADWATER_PYTHON") else {
        return skip("HEADWATER_PYTHON names no Python with boto3 and prometheus_client");
    };
    let state = tempfile::tempdir().unwrap();
    let text = format!(
        "[gateway]\nstate = {:?}\n[mqtt]\nlisten = \"127.0.0.1:0\"\n[kinesis]\nlisten = \"127.0.0.1:0\"\nlimits = \"aws\"\n\
         [http]\nlisten = \"127.0.0.1:0\"\n[journal]\nsegment = \"4MiB\"\nmax = \"64MiB\"\nreserve = \"0B\"\n",
        state.path()
    );
    let config = config::parse("test", &text).unwrap().config;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let gateway = runtime.block_on(Gateway::start(&config)).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metrics.py");
    let (api, page) = (gateway.kinesis_addr(), gateway.http_addr());
    let mut command = Command::new(python);
    command.arg("-B").arg(script).arg(format!("http://{api}")).arg(format!("http://{page}/metrics"));
    let outcome = command.output().unwrap();
    runtime.block_on(gateway.stop());
    assert!(outcome.status.success(), "{}", String::from_utf8_lossy(&outcome.stderr));
}
