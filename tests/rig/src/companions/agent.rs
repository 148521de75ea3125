//! Simulated devices, the real device core, on the links of an agent whose spool is on the disk that is cut.
//!
//! Promise: what was acked to a device is in the spool or in a shard after any cut, so in the end it is in a shard, once and in order. The
//! devices live on over all cuts: they let go of what was acked, and nobody sends it again.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use headwater_sim::{AgentAt, Faults, Fleet, Progress, SimConfig, Summary};
use tokio::sync::{oneshot, watch};

use super::Companion;
use crate::machine::Gateway;

/// Devices, and readings of each in a second.
const DEVICES: u32 = 8;
const READINGS_PER_SEC: f64 = 10.0;

/// Each loses its own power about once in half a minute too.
const REBOOTS_PER_HOUR: f64 = 120.0;

/// After the last cut: what devices and agent hold is delivered and the shards are read.
const DRAIN_PATIENCE: Duration = Duration::from_secs(60);

/// The devices.
pub(super) struct Devices {
    link: SocketAddr,
    home: PathBuf,
    seed: u64,
    running: Option<Running>,
}

/// The word to stop, and the thread.
type Running = (oneshot::Sender<()>, JoinHandle<Result<Summary, String>>);

impl Devices {
    pub(super) fn new(link: SocketAddr, home: &Path, seed: u64) -> Self {
        Self { link, home: home.join("fleet"), seed, running: None }
    }
}

impl Companion for Devices {
    fn check(&mut self, _gateway: &Gateway) -> Result<(), String> {
        match &self.running {
            Some((_, fleet)) if fleet.is_finished() => Err("the devices ended early".to_owned()),
            _ => Ok(()),
        }
    }

    /// The first time only: devices outlive the machine they send to.
    fn begin(&mut self, gateway: &Gateway) -> Result<(), String> {
        if self.running.is_some() {
            return Ok(());
        }
        let config = SimConfig {
            devices: DEVICES,
            seed: self.seed,
            rate_per_sec: READINGS_PER_SEC,
            agent: AgentAt::External(self.link),
            drain: DRAIN_PATIENCE,
            faults: Faults { reboots_per_hour: REBOOTS_PER_HOUR, ..Faults::default() },
            ..SimConfig::new(self.home.clone(), gateway.mqtt, gateway.kinesis)
        };
        let (stop, stopped) = oneshot::channel();
        let fleet = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| error.to_string())?;
            let (progress, _) = watch::channel(Progress::default());
            // A rig that fails forgets the devices; they end too.
            let fleet = Fleet::run(config, progress, async { drop(stopped.await) });
            runtime.block_on(fleet).map_err(|error| error.to_string())
        });
        self.running = Some((stop, fleet));
        Ok(())
    }

    fn finish(&mut self) {}

    fn end(&mut self, _gateway: &Gateway) -> Result<String, String> {
        let Some((stop, fleet)) = self.running.take() else { return Ok("no devices".to_owned()) };
        // Nobody listens when it has ended already.
        let _ = stop.send(());
        let summary = fleet.join().map_err(|_| "the devices panicked, see above".to_owned())??;
        if summary.is_good() && summary.waiting == 0 {
            return Ok(format!("agent: {} acked to devices, {} missing", summary.acked, summary.lost));
        }
        Err(format!("devices: {summary}: {:#?}", summary.examples))
    }
}
