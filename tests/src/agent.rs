//! One `headwater-agent run` with a TCP device link on a free port and its spool in a directory of the test.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use crate::kinesis::get;
use crate::process::Process;
use crate::{binaries, ports, wait_until};

/// As for the gateway.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// How long a drain on SIGTERM may take.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// An agent of the test's own; its ports stay the same over restarts.
#[derive(Debug)]
pub struct Agent {
    process: Process,
    /// Where devices connect.
    pub link: SocketAddr,
    /// Status and metrics.
    pub http: SocketAddr,
}

impl Agent {
    /// Writes a configuration and starts; `uplink` is the MQTT address of the gateway, or of a link to it.
    ///
    /// # Panics
    /// When it does not become healthy; shows its log.
    #[must_use]
    pub fn start(directory: &Path, uplink: SocketAddr) -> Self {
        Self::start_with(directory, uplink, "")
    }

    /// The same with `more` keys of `[uplink]`. Its name is `walkthrough`.
    ///
    /// # Panics
    /// When it does not become healthy; shows its log.
    #[must_use]
    pub fn start_with(directory: &Path, uplink: SocketAddr, more: &str) -> Self {
        let (link, http) = (ports::free(), ports::free());
        let config = directory.join("headwater-agent.toml");
        let text = format!(
            "[agent]\nname = \"walkthrough\"\nstate = {state:?}\n\n[uplink]\ngateway = \"{uplink}\"\n{more}\n\
             [http]\nlisten = \"{http}\"\n\n[[links]]\ntype = \"tcp\"\nlisten = \"{link}\"\n",
            state = directory.join("agent"),
        );
        std::fs::write(&config, text).expect("the configuration can be written");
        let process = Process::new("headwater-agent", binaries::headwater_agent(), directory)
            .args(["run", "--config"])
            .args([&config]);
        let mut agent = Self { process, link, http };
        agent.restart();
        agent
    }

    /// Starts it again after a kill or a stop and waits until it answers.
    ///
    /// # Panics
    /// When it does not; shows its log.
    pub fn restart(&mut self) {
        self.process.start();
        let (http, process) = (self.http, &mut self.process);
        let ready = wait_until(START_PATIENCE, || {
            assert!(process.runs(), "the agent ended while starting\n{}", process.tail());
            matches!(get(http, "/metrics"), Ok((200, _)))
        });
        assert!(ready, "the agent does not answer after {START_PATIENCE:?}\n{}", self.process.tail());
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// SIGTERM; must end with exit code 0.
    ///
    /// # Panics
    /// When it does not.
    pub fn stop(&mut self) {
        let status = self.process.terminate(STOP_PATIENCE);
        assert!(status.success(), "headwater-agent run ended with {status}\n{}", self.process.tail());
    }
}
