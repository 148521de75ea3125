//! A server that records what it is asked and answers as a test says, and clients of it.

mod engine;
mod fixture;

pub(crate) use engine::EngineServer;
pub(crate) use fixture::{Act, Fixture, Seen};

use headwater_aws::{
    Clock, Credentials, Environment, FormatChoice, HttpSettings, Kinesis, KinesisSettings, Source,
};
use std::path::Path;
use std::time::Duration;

/// Far longer than anything here takes; it ends a test that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// An environment that knows no files of whoever runs the tests, and no metadata service.
pub(crate) fn environment(pairs: &[(&str, &str)]) -> Environment {
    let none = [
        ("AWS_CONFIG_FILE", "/nonexistent/config"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_REGION", "eu-west-1"),
    ];
    none.iter().chain(pairs).copied().collect()
}

/// Settings with fixed credentials.
pub(crate) fn settings(endpoint: &str) -> KinesisSettings {
    KinesisSettings {
        endpoint: Some(endpoint.to_owned()),
        source: Some(Source::Fixed(Credentials::new("AKIDEXAMPLE", "secret", None))),
        timeout: Duration::from_secs(10),
        ..KinesisSettings::of(environment(&[]))
    }
}

pub(crate) fn client(endpoint: &str) -> Kinesis {
    Kinesis::new(settings(endpoint)).unwrap()
}

pub(crate) fn client_in(endpoint: &str, format: FormatChoice) -> Kinesis {
    Kinesis::new(KinesisSettings { format, ..settings(endpoint) }).unwrap()
}

/// In JSON, so that every request has one reason.
pub(crate) fn client_at(endpoint: &str, clock: Clock) -> Kinesis {
    let http = HttpSettings { clock, ..HttpSettings::default() };
    Kinesis::new(KinesisSettings { http: Some(http), format: FormatChoice::Json, ..settings(endpoint) })
        .unwrap()
}

/// Writes a file into a test's directory and gives its path as text.
pub(crate) fn file(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Says so past the capture of test output, and in the file that skips are counted from: a test that did not run must not
/// look as if it had passed.
pub(crate) fn skip(test: &str, reason: &str) {
    use std::io::Write;
    let line = format!("SKIPPED {test}: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    if let Some(file) = std::env::var_os("HEADWATER_SKIPS") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

/// The Python that `tests/run` has set up.
pub(crate) fn python() -> Option<std::path::PathBuf> {
    let usual = || {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(std::path::PathBuf::from);
        let cache = cache.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache")))?;
        Some(cache.join("headwater/venv/bin/python")).filter(|python| python.exists())
    };
    std::env::var_os("HEADWATER_PYTHON").map(Into::into).or_else(usual)
}

/// Waits until a server listens.
pub(crate) async fn wait_for_port(address: std::net::SocketAddr) {
    let listening = async {
        while tokio::net::TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, listening).await.unwrap_or_else(|_| panic!("nobody listens on {address}"));
}
