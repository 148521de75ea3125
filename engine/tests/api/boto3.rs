//! All operations, driven by boto3 in a process of its own against the example server in another. One test a file of
//! `tests/boto3/`; a new file there needs a line in `subjects!` below.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A process that ends with the test.
pub(crate) struct Killed(pub(crate) Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Examples lie beside the directory of the test's own executable.
pub(crate) fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    own.parent().unwrap().parent().unwrap().join("examples").join(name)
}

/// Says so past the capture of test output, and in the file that `tests/run` counts skips from: a test that did not run
/// must not look as if it had passed.
pub(crate) fn skip(subject: &str, reason: &str) {
    let line = format!("SKIPPED boto3::{subject}: {reason}\n");
    std::io::stderr().write_all(line.as_bytes()).unwrap();
    if let Some(file) = std::env::var_os("HEADWATER_SKIPS") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/boto3")
}

/// Runs the tests of one file against a server of their own, started with these arguments beside the usual ones.
fn run(subject: &str, arguments: &[&str]) {
    let Some(python) = std::env::var_os("HEADWATER_PYTHON") else {
        return skip(subject, "HEADWATER_PYTHON names no Python with boto3");
    };
    let dir = tempfile::tempdir().unwrap();
    let mut server = Command::new(example("serve"));
    server.arg("--dir").arg(dir.path()).args(["--listen", "127.0.0.1:0"]).args(arguments);
    let mut server = Killed(server.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.split(' ').nth(2).unwrap().to_owned();
    let mut script = Command::new(python);
    script.arg("-B").arg(scripts().join("run.py")).arg(format!("http://{address}")).arg(subject);
    let outcome = script.output().unwrap();
    let text = String::from_utf8_lossy(&outcome.stdout);
    assert!(outcome.status.success(), "{text}{}", String::from_utf8_lossy(&outcome.stderr));
}

/// Makes a test of each subject, and one that looks for files that have none.
macro_rules! subjects {
    ($($subject:ident [$($argument:literal),*];)*) => {
        $(
            #[test]
            fn $subject() {
                run(stringify!($subject), &[$($argument),*]);
            }
        )*

        #[test]
        fn every_file_of_scripts_is_run() {
            let mut listed: BTreeSet<String> = [$(stringify!($subject).to_owned()),*].into();
            listed.extend(["run".to_owned(), "support".to_owned()]);
            let files = std::fs::read_dir(scripts()).unwrap().map(|entry| entry.unwrap().path());
            let scripts = files.filter(|path| path.extension().is_some_and(|kind| kind == "py"));
            let found: BTreeSet<_> =
                scripts.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
            assert_eq!(found, listed);
        }
    };
}

// Name of the file, and what its server is started with.
subjects! {
    encryption [];
    fanout [];
    limits ["--limits", "aws"];
    protocol [];
    queues [];
    records [];
    reshard [];
    resizes ["--limits", "aws"];
    settings [];
    shards [];
    states ["--transition-ms", "500"];
    streams [];
    tags [];
}
