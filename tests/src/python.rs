//! The Python with boto3, the AWS CLI and paho-mqtt that `tests/run` has set up, and what to do where there is none.
//! Invariant: a test that could not run says so on standard error and in the counts of `tests/run`; it never passes quietly.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::binaries::workspace;
use crate::process::Process;

/// The interpreter: `HEADWATER_PYTHON`, else the venv that an earlier `tests/run` left in the user's cache.
#[must_use]
pub fn interpreter() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("HEADWATER_PYTHON") {
        return Some(PathBuf::from(given));
    }
    cached("venv/bin/python")
}

/// A file that `tests/run` has left in the user's cache.
pub(crate) fn cached(file: &str) -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache")))?;
    Some(cache.join("headwater").join(file)).filter(|file| file.exists())
}

/// The AWS CLI beside the interpreter.
#[must_use]
pub fn aws() -> Option<PathBuf> {
    interpreter()?.parent().map(|bin| bin.join("aws")).filter(|aws| aws.exists())
}

/// A program of the machine, found in `PATH`.
#[must_use]
pub fn installed(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Describes one run of `tests/clients/<script>`, not started. The environment holds dummy credentials and no profile,
/// so that nobody's real account is ever asked.
///
/// # Panics
/// When there is no interpreter; ask [`interpreter`] first.
#[must_use]
pub fn client(script: &str, name: &str, directory: &Path, args: &[&str]) -> Process {
    let python = interpreter().expect("asked before");
    let script = workspace().join("tests/clients").join(script);
    let process = Process::new(name, python, directory).args([script.as_os_str()]).args(args);
    with_dummy_credentials(process).env("PYTHONUNBUFFERED", "1")
}

/// Credentials no account has, and no configuration file of the user.
#[must_use]
pub fn with_dummy_credentials(process: Process) -> Process {
    process
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_PAGER", "")
}

/// Says that a test cannot run here, and why: on standard error (uncaptured) and in the file `HEADWATER_SKIPS` for the counts.
pub fn skip(test: &str, reason: &str) {
    let line = format!("SKIPPED {test}: {reason}\n");
    // If even standard error is gone there is nobody to tell.
    let _ = std::io::stderr().write_all(line.as_bytes());
    if let Some(file) = std::env::var_os("HEADWATER_SKIPS") {
        let file = OpenOptions::new().create(true).append(true).open(file);
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}
