//! One child process that a test starts, kills, restarts, and whose log it keeps.
//! Invariant: dropping it kills it; nothing outlives the test.

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::wait_until;

/// Lines of log shown when something fails: enough for a panic with its backtrace.
const TAIL_LINES: usize = 60;

/// A program, its arguments and its environment; started as often as wanted.
#[derive(Debug)]
pub struct Process {
    name: String,
    program: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    log: PathBuf,
    child: Option<Child>,
}

impl Process {
    /// Describes a process without starting it. Standard output and error are appended to `<directory>/<name>.log`.
    #[must_use]
    pub fn new(name: &str, program: impl Into<PathBuf>, directory: &Path) -> Self {
        let log = directory.join(format!("{name}.log"));
        Self {
            name: name.to_owned(),
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            log,
            child: None,
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Adds one environment variable.
    #[must_use]
    pub fn env(mut self, key: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((key.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Starts it.
    ///
    /// # Panics
    /// When it runs already or cannot be started.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "{} runs already", self.name);
        let log =
            OpenOptions::new().create(true).append(true).open(&self.log).expect("the log file can be opened");
        let copy = log.try_clone().expect("a file handle can be cloned");
        let mut command = Command::new(&self.program);
        command.args(&self.args).envs(self.env.iter().map(|(key, value)| (key, value)));
        command.stdin(Stdio::null()).stdout(log).stderr(copy);
        let child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", self.program.display()));
        self.child = Some(child);
    }

    /// `kill -9`, and waits until the kernel has let go of its ports and locks.
    ///
    /// # Panics
    /// When it does not run, or died by itself before: that is a failure the test must see.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap_or_else(|| panic!("{} does not run", self.name));
        let early = child.try_wait().expect("a child can be asked");
        assert!(early.is_none(), "{} ended by itself: {early:?}\n{}", self.name, self.tail());
        child.kill().expect("a running child can be killed");
        child.wait().expect("a killed child can be waited for");
    }

    /// SIGTERM, then waits for the end. This is how a service manager stops it.
    ///
    /// # Panics
    /// When it does not end within `patience`.
    pub fn terminate(&mut self, patience: Duration) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.wait(patience)
    }

    /// Ctrl-C, then waits for the end.
    ///
    /// # Panics
    /// When it does not end within `patience`.
    pub fn interrupt(&mut self, patience: Duration) -> ExitStatus {
        self.signal(rustix::process::Signal::INT);
        self.wait(patience)
    }

    /// SIGHUP: it shall read its configuration again.
    ///
    /// # Panics
    /// When it does not run.
    pub fn hang_up(&self) {
        self.signal(rustix::process::Signal::HUP);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let child = self.child.as_ref().unwrap_or_else(|| panic!("{} does not run", self.name));
        let raw = i32::try_from(child.id()).expect("a Linux process id fits in 31 bits");
        let pid = rustix::process::Pid::from_raw(raw).expect("a child's id is not zero");
        rustix::process::kill_process(pid, signal).expect("a child can be signalled");
    }

    /// Waits for the end.
    ///
    /// # Panics
    /// When it does not end within `patience`; shows the end of its log.
    pub fn wait(&mut self, patience: Duration) -> ExitStatus {
        let mut child = self.child.take().unwrap_or_else(|| panic!("{} does not run", self.name));
        let mut status = None;
        let ended = wait_until(patience, || {
            status = child.try_wait().expect("a child can be asked");
            status.is_some()
        });
        if !ended {
            // Put it back so that dropping kills it.
            self.child = Some(child);
            panic!("{} did not end within {patience:?}\n{}", self.name, self.tail());
        }
        status.expect("it ended")
    }

    /// Whether it runs now.
    pub fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// Its process id, for `/proc`.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Everything it has written so far, over all its starts.
    #[must_use]
    pub fn output(&self) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(&self.log) {
            // A log that cannot be read is an empty one: it is only ever shown to a person.
            let _ = file.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines of its log, headed by its name.
    #[must_use]
    pub fn tail(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        let shown = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        format!("--- last {} lines of {} ---\n{}\n---", shown.len(), self.name, shown.join("\n"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended meanwhile; either way it is gone afterwards.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            let name = self.tail();
            // Not println!: the harness of the standard library shows captured output only for the failing thread.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{name}\n").as_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_process_is_gone_and_its_log_is_kept() {
        let directory = tempfile::tempdir().unwrap();
        let mut process =
            Process::new("sleeper", "sh", directory.path()).args(["-c", "echo awake; exec sleep 600"]);
        process.start();
        assert!(wait_until(Duration::from_secs(10), || process.output() == "awake\n"));
        let proc = format!("/proc/{}", process.id().unwrap());
        assert!(Path::new(&proc).exists());
        drop(process);
        assert!(!Path::new(&proc).exists());
    }

    #[test]
    #[should_panic(expected = "ended by itself")]
    fn a_process_that_died_before_the_kill_is_a_failure() {
        let directory = tempfile::tempdir().unwrap();
        let mut process = Process::new("short", "true", directory.path());
        process.start();
        assert!(wait_until(Duration::from_secs(10), || !process.runs()));
        process.kill();
    }
}
