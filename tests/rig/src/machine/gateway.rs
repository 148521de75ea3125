//! `headwater run` as a process that can be killed before it learns why.

use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use system_tests::kinesis::{Kinesis, get};
use system_tests::{ports, wait_until};

/// A start takes a second in a debug build; the rest is for a loaded machine.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// How long a drain on SIGTERM may take.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// Lines of its log that are shown when something is wrong.
const TAIL_LINES: usize = 40;

/// The gateway's process.
pub(crate) struct Gateway {
    child: Option<Child>,
    config: PathBuf,
    log: PathBuf,
    /// MQTT.
    pub(crate) mqtt: SocketAddr,
    /// The Kinesis API.
    pub(crate) kinesis: SocketAddr,
    http: SocketAddr,
}

/// What a start found on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Recovery {
    /// Bytes of groups that a cut had torn: never acknowledged.
    pub(crate) torn_bytes: u64,
    /// Ranges of records that are missed. A cut alone must not cause any.
    pub(crate) lost_ranges: u64,
    /// Groups that are missed.
    pub(crate) groups_lost: u64,
    /// Whether metadata is missed.
    pub(crate) metadata_lost: bool,
    /// Files that cannot be read.
    pub(crate) unreadable: usize,
}

impl Recovery {
    /// Whether the gateway believes that something acknowledged is gone.
    pub(crate) fn alarm(&self) -> bool {
        self.lost_ranges > 0 || self.groups_lost > 0 || self.metadata_lost || self.unreadable > 0
    }
}

impl Gateway {
    /// Writes its configuration; starts nothing.
    pub(crate) fn new(home: &Path, state: &Path, segment: &str) -> Result<Self, String> {
        let (mqtt, kinesis, http) = (ports::free(), ports::free(), ports::free());
        let config = home.join("headwater.toml");
        let text = format!(
            "[gateway]\nname = \"power-rig\"\nstate = {state:?}\nlog_format = \"text\"\n\n[mqtt]\nlisten = \"{mqtt}\"\n\n\
             [kinesis]\nlisten = \"{kinesis}\"\n\n[http]\nlisten = \"{http}\"\n\n\
             [journal]\nsegment = \"{segment}\"\nreserve = \"1MiB\"\n\n[streams.flood]\nshards = 4\n\n\
             [[routes]]\nmatch = \"flood/{{client}}\"\ncodec = \"raw\"\nstream = \"flood\"\npartition_key = \"{{client}}\"\n\
             to = [\"stream\"]\n",
        );
        std::fs::write(&config, text).map_err(|error| format!("{}: {error}", config.display()))?;
        Ok(Self { child: None, config, log: home.join("headwater.log"), mqtt, kinesis, http })
    }

    /// Starts it, in another mount namespace if its files are there, and returns at once.
    pub(crate) fn spawn(&mut self, namespace: Option<&str>) -> Result<(), String> {
        assert!(self.child.is_none(), "the gateway runs already");
        let open = || OpenOptions::new().create(true).append(true).open(&self.log);
        let logs = open().and_then(|log| Ok((log.try_clone()?, log)));
        let (out, err) = logs.map_err(|error| format!("{}: {error}", self.log.display()))?;
        let mut command = match namespace {
            None => Command::new(crate::binary()),
            Some(namespace) => {
                // Becomes the gateway: the process that is killed is the gateway's.
                let mut nsenter = Command::new("nsenter");
                nsenter.arg(format!("--mount={namespace}")).arg("--").arg(crate::binary());
                nsenter
            }
        };
        command.args(["run", "--config"]).arg(&self.config);
        let child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn();
        self.child = Some(child.map_err(|error| format!("{}: {error}", crate::binary().display()))?);
        Ok(())
    }

    /// Waits until it takes publishes, or until `give_up` says that it never will. What it found, unless given up.
    pub(crate) fn healthy(&mut self, mut give_up: impl FnMut() -> bool) -> Result<Option<Recovery>, String> {
        let answer = ask_for_health(self.http);
        let (mut found, mut ended, mut given_up) = (None, false, false);
        wait_until(START_PATIENCE, || {
            found = answer.try_recv().ok();
            ended = !self.runs();
            given_up = give_up();
            found.is_some() || ended || given_up
        });
        match found {
            _ if given_up => Ok(None),
            Some(body) => recovery(&body).map(Some),
            None if ended => Err(format!("the gateway ended while starting\n{}", self.tail())),
            None => Err(format!("the gateway is not healthy after {START_PATIENCE:?}\n{}", self.tail())),
        }
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
        let mut child = self.child.take().ok_or("the gateway does not run")?;
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

    /// A client of its API.
    pub(crate) fn kinesis(&self) -> Kinesis {
        Kinesis::new(self.kinesis)
    }

    /// The end of its log.
    pub(crate) fn tail(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.signal_kill();
        self.reap();
    }
}

/// The first answer of 200, asked for in a thread: a gateway that waits for its disk takes connections and answers none.
fn ask_for_health(http: SocketAddr) -> Receiver<String> {
    let (answer, answers) = sync_channel(1);
    std::thread::spawn(move || {
        let started = Instant::now();
        while started.elapsed() < START_PATIENCE {
            match get(http, "/health") {
                // Nobody may be listening any more.
                Ok((200, body)) => return drop(answer.try_send(body)),
                _ => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    });
    answers
}

/// Reads the answer of `/health`.
pub(crate) fn recovery(body: &str) -> Result<Recovery, String> {
    let health: Value =
        serde_json::from_str(body).map_err(|error| format!("/health is not JSON: {error}: {body}"))?;
    let found = &health["recovery"];
    let number =
        |key: &str| found[key].as_u64().ok_or_else(|| format!("/health has no recovery.{key}: {body}"));
    Ok(Recovery {
        torn_bytes: number("torn_bytes")?,
        lost_ranges: number("lost_ranges")?,
        groups_lost: number("groups_lost")?,
        metadata_lost: found["metadata_lost"].as_bool().ok_or("/health has no recovery.metadata_lost")?,
        unreadable: found["unreadable"].as_array().ok_or("/health has no recovery.unreadable")?.len(),
    })
}
