//! A program of the machine, as a process that can be killed before it learns why.

use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use system_tests::wait_until;

/// How long a drain on SIGTERM may take.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// Lines of its log that are shown when something is wrong.
const TAIL_LINES: usize = 40;

/// A program, its arguments, and its process while it runs.
pub(crate) struct Program {
    child: Option<Child>,
    file: PathBuf,
    args: Vec<PathBuf>,
    log: PathBuf,
}

impl Program {
    /// `<file> run --config <config>`; starts nothing. It writes to the log, over all its starts.
    pub(crate) fn new(file: &Path, config: &Path, log: PathBuf) -> Self {
        let args = vec![PathBuf::from("run"), PathBuf::from("--config"), config.to_owned()];
        Self { child: None, file: file.to_owned(), args, log }
    }

    /// Starts it, in another mount namespace if its files are there, and returns at once.
    pub(crate) fn spawn(&mut self, namespace: Option<&str>) -> Result<(), String> {
        assert!(self.child.is_none(), "{} runs already", self.file.display());
        let open = || OpenOptions::new().create(true).append(true).open(&self.log);
        let logs = open().and_then(|log| Ok((log.try_clone()?, log)));
        let (out, err) = logs.map_err(|error| format!("{}: {error}", self.log.display()))?;
        let mut command = match namespace {
            None => Command::new(&self.file),
            Some(namespace) => {
                // Becomes the program: the process that is killed is the program's.
                let mut nsenter = Command::new("nsenter");
                nsenter.arg(format!("--mount={namespace}")).arg("--").arg(&self.file);
                nsenter
            }
        };
        let child = command.args(&self.args).stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        self.child = Some(child.map_err(|error| format!("{}: {error}", self.file.display()))?);
        Ok(())
    }

    /// SIGKILL, without waiting: a thread that waits for the disk ends only when the disk answers.
    pub(crate) fn signal_kill(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself; either way nothing of it runs on.
            let _ = child.kill();
        }
    }

    /// Waits until it is gone.
    pub(crate) fn reap(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Nothing but an interrupted call can fail here, and the library repeats that.
            let _ = child.wait();
        }
    }

    /// SIGTERM; must end well.
    pub(crate) fn stop(&mut self) -> Result<(), String> {
        let mut child = self.child.take().ok_or_else(|| format!("{} does not run", self.file.display()))?;
        let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let signalled = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM));
        let mut status = None;
        wait_until(STOP_PATIENCE, || {
            status = child.try_wait().ok().flatten();
            status.is_some()
        });
        match status {
            Some(status) if status.success() => Ok(()),
            other => {
                self.child = Some(child);
                Err(format!("SIGTERM ({signalled:?}) ended it with {other:?}\n{}", self.tail()))
            }
        }
    }

    /// The end of its log.
    pub(crate) fn tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    /// Whether it runs now.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.signal_kill();
        self.reap();
    }
}
