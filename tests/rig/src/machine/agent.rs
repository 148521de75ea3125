//! `headwater-agent run` on the same machine: its spool is on the disk that is cut.

use std::net::SocketAddr;
use std::path::Path;

use system_tests::kinesis::get;
use system_tests::{ports, wait_until};

use super::gateway::START_PATIENCE;
use super::program::Program;

/// The agent's process.
pub(crate) struct Agent {
    /// The process.
    pub(crate) program: Program,
    /// Where devices connect.
    pub(crate) link: SocketAddr,
    http: SocketAddr,
}

impl Agent {
    /// Writes its configuration; starts nothing. `gateway`: where MQTT is.
    pub(crate) fn new(home: &Path, state: &Path, gateway: SocketAddr) -> Result<Self, String> {
        let (link, http) = (ports::free(), ports::free());
        let config = home.join("headwater-agent.toml");
        // Quick to come back: in a life power goes every second.
        let text = format!(
            "[agent]\nname = \"power-rig\"\nstate = {state:?}\nlog = \"text\"\n\n[spool]\nsegment = \"1MiB\"\nreserve = \"1MiB\"\n\n\
             [uplink]\ngateway = \"{gateway}\"\nretry = {{ base = \"20ms\", max = \"500ms\", stable = \"1s\" }}\n\n\
             [http]\nlisten = \"{http}\"\n\n[[links]]\ntype = \"tcp\"\nlisten = \"{link}\"\n",
        );
        std::fs::write(&config, text).map_err(|error| format!("{}: {error}", config.display()))?;
        let program =
            Program::new(&crate::beside("headwater-agent"), &config, home.join("headwater-agent.log"));
        Ok(Self { program, link, http })
    }

    /// Waits until it answers.
    pub(crate) fn answers(&mut self) -> Result<(), String> {
        let mut ended = false;
        let ready = wait_until(START_PATIENCE, || {
            ended = !self.program.runs();
            ended || matches!(get(self.http, "/metrics"), Ok((200, _)))
        });
        if ready && !ended {
            return Ok(());
        }
        let what = if ended { "ended while starting" } else { "does not answer" };
        Err(format!("the agent {what}\n{}", self.program.tail()))
    }
}
