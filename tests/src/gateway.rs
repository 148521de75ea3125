//! One `headwater run` on free ports with its state in a directory of the test.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::kinesis::{Kinesis, get};
use crate::netns::Link;
use crate::process::Process;
use crate::{binaries, ports, wait_until};

/// A start from nothing takes a second in a debug build; the rest is for a loaded machine.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// How long a drain on SIGTERM may take.
const STOP_PATIENCE: Duration = Duration::from_secs(30);

/// A gateway of the test's own; its ports stay the same over restarts, as a real one's do.
#[derive(Debug)]
pub struct Gateway {
    process: Process,
    /// MQTT.
    pub mqtt: SocketAddr,
    /// The Kinesis API.
    pub kinesis: SocketAddr,
    /// Health and metrics.
    pub http: SocketAddr,
    /// The configuration file, for `headwater explain`.
    pub config: PathBuf,
}

impl Gateway {
    /// Writes a configuration and starts. `more` is appended to it: streams, routes.
    ///
    /// # Panics
    /// When it does not become healthy; shows its log.
    #[must_use]
    pub fn start(directory: &Path, more: &str) -> Self {
        let process = Process::new("headwater", binaries::headwater(), directory);
        let mut gateway = Self::described(process, directory, Ipv4Addr::LOCALHOST, "", more);
        gateway.restart();
        gateway
    }

    /// The same on the other machine of a link; it listens on all of that one's addresses.
    ///
    /// # Panics
    /// When it does not become healthy; shows its log.
    #[must_use]
    pub fn start_far(directory: &Path, link: &Link, more: &str) -> Self {
        let namespace = format!("--net={}", link.namespace().display());
        // Becomes the gateway: the process that is killed is the gateway's.
        let process = Process::new("headwater", "nsenter", directory).args([
            namespace.as_ref(),
            "--".as_ref(),
            binaries::headwater().as_os_str(),
        ]);
        let open = "allow_anonymous = true\n";
        let mut gateway = Self::described(process, directory, Ipv4Addr::UNSPECIFIED, open, more);
        gateway.moved_to(link.far_address());
        gateway.restart();
        gateway
    }

    /// Writes its configuration; starts nothing.
    fn described(process: Process, directory: &Path, listen: Ipv4Addr, door: &str, more: &str) -> Self {
        let at = || SocketAddr::new(listen.into(), ports::free().port());
        let (mqtt, kinesis, http) = (at(), at(), at());
        let config = directory.join("headwater.toml");
        let text = format!(
            "[gateway]\nname = \"walkthrough\"\nstate = {state:?}\n\n[mqtt]\nlisten = \"{mqtt}\"\n{door}\n\
             [kinesis]\nlisten = \"{kinesis}\"\n{door}\n[http]\nlisten = \"{http}\"\n{door}\n{more}",
            state = directory.join("gateway"),
        );
        std::fs::write(&config, text).expect("the configuration can be written");
        let process = process.args(["run", "--config"]).args([&config]);
        Self { process, mqtt, kinesis, http, config }
    }

    /// It is reached at another address from now on.
    pub fn moved_to(&mut self, address: IpAddr) {
        [&mut self.mqtt, &mut self.kinesis, &mut self.http].into_iter().for_each(|door| door.set_ip(address));
    }

    /// Starts it again after a kill or a stop and waits until it is healthy.
    ///
    /// # Panics
    /// When it does not become healthy; shows its log.
    pub fn restart(&mut self) {
        self.process.start();
        let (http, process) = (self.http, &mut self.process);
        let ready = wait_until(START_PATIENCE, || {
            assert!(process.runs(), "the gateway ended while starting\n{}", process.tail());
            matches!(get(http, "/health"), Ok((200, _)))
        });
        assert!(ready, "the gateway is not healthy after {START_PATIENCE:?}\n{}", self.process.tail());
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
        assert!(status.success(), "headwater run ended with {status}\n{}", self.process.tail());
    }

    /// SIGHUP: it reads its configuration again. Whether it was good is in `/health`.
    pub fn hang_up(&self) {
        self.process.hang_up();
    }

    /// A client of its Kinesis API.
    #[must_use]
    pub fn kinesis(&self) -> Kinesis {
        Kinesis::new(self.kinesis)
    }

    /// Its endpoint as boto3 and the AWS CLI want it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.kinesis)
    }

    /// Its process id, for `/proc`.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id().expect("the gateway runs")
    }

    /// The end of its log.
    #[must_use]
    pub fn tail(&self) -> String {
        self.process.tail()
    }
}
