//! `headwater run` on a machine whose power can be cut.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use serde_json::Value;
use system_tests::kinesis::{Kinesis, get};
use system_tests::{ports, wait_until};

use super::program::Program;

/// A start takes a second in a debug build; the rest is for a loaded machine.
pub(super) const START_PATIENCE: Duration = Duration::from_secs(60);

/// The gateway's process.
pub(crate) struct Gateway {
    /// The process.
    pub(crate) program: Program,
    /// MQTT.
    pub(crate) mqtt: SocketAddr,
    /// The Kinesis API.
    pub(crate) kinesis: SocketAddr,
    /// Health and metrics.
    pub(crate) http: SocketAddr,
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
    /// Writes its configuration, `journal` inside of that section and `more` behind it; starts nothing.
    pub(crate) fn new(home: &Path, state: &Path, journal: &str, more: &str) -> Result<Self, String> {
        let (mqtt, kinesis, http) = (ports::free(), ports::free(), ports::free());
        let config = home.join("headwater.toml");
        let text = format!(
            "[gateway]\nname = \"power-rig\"\nstate = {state:?}\nlog_format = \"text\"\n\n[mqtt]\nlisten = \"{mqtt}\"\n\n\
             [kinesis]\nlisten = \"{kinesis}\"\nmake_master_keys = true\n\n[http]\nlisten = \"{http}\"\n\n\
             [journal]\nreserve = \"1MiB\"\n{journal}\n{more}",
        );
        std::fs::write(&config, text).map_err(|error| format!("{}: {error}", config.display()))?;
        let program = Program::new(crate::binary(), &config, home.join("headwater.log"));
        Ok(Self { program, mqtt, kinesis, http })
    }

    /// Waits until it takes publishes, or until `give_up` says that it never will. What it found, unless given up.
    pub(crate) fn healthy(&mut self, mut give_up: impl FnMut() -> bool) -> Result<Option<Recovery>, String> {
        let answer = ask_for_health(self.http);
        let (mut found, mut ended, mut given_up) = (None, false, false);
        wait_until(START_PATIENCE, || {
            found = answer.try_recv().ok();
            ended = !self.program.runs();
            given_up = give_up();
            found.is_some() || ended || given_up
        });
        match found {
            _ if given_up => Ok(None),
            Some(body) => recovery(&body).map(Some),
            None if ended => Err(format!("the gateway ended while starting\n{}", self.program.tail())),
            None => {
                Err(format!("the gateway is not healthy after {START_PATIENCE:?}\n{}", self.program.tail()))
            }
        }
    }

    /// A client of its API.
    pub(crate) fn kinesis(&self) -> Kinesis {
        Kinesis::new(self.kinesis)
    }

    /// A number of its `/metrics`.
    pub(crate) fn metric(&self, name: &str) -> Result<u64, String> {
        let (_, text) = get(self.http, "/metrics").map_err(|error| format!("/metrics: {error}"))?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse().ok())
            .ok_or_else(|| format!("/metrics has no number {name}"))
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
