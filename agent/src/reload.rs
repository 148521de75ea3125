//! Another configuration for an agent that runs.
//!
//! In: a configuration that was checked. Out: devices are taken by its list, records go up by its `[uplink]`; everything else waits for a
//! restart, and is named. Invariants: no link of a device that is still taken notices; no record is lost or leaves the order of the spool:
//! what was sent and not acked goes again on the next connection. Not here: reading files, signals (the binary).

use crate::agent::Agent;
use crate::config::{Config, UplinkConfig};
use crate::link::session::Policy;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// What became of a configuration that was taken up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// Sections that are others now.
    pub changed: Vec<&'static str>,
    /// Keys and sections whose new values wait for a restart.
    pub needs_restart: Vec<&'static str>,
}

/// What may be told otherwise while an agent runs.
pub(crate) struct Dials {
    /// What it was started with, with what was taken up since.
    running: Mutex<Config>,
    policy: watch::Sender<Policy>,
    uplink: watch::Sender<UplinkConfig>,
}

impl Dials {
    pub(crate) fn new(
        config: Config,
        policy: watch::Sender<Policy>,
        uplink: watch::Sender<UplinkConfig>,
    ) -> Self {
        Self { running: Mutex::new(config), policy, uplink }
    }
}

impl Agent {
    /// Goes by `config` as far as that is possible without a restart: the devices that are taken, and the connection to the gateway, which
    /// is made anew when its settings have changed. Returns at once.
    ///
    /// A device that is not taken any more is not answered and keeps its data; what it delivered stays in the spool and goes up.
    pub fn reload(&self, config: &Config) -> Reloaded {
        let mut running = self.dials.running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reloaded = Reloaded { needs_restart: waiting(&running, config), ..Reloaded::default() };
        if running.allow != config.allow {
            running.allow = config.allow.clone();
            self.dials.policy.send_replace(Policy { allow: Arc::new(config.allow.clone()) });
            reloaded.changed.push("devices");
        }
        if running.uplink != config.uplink {
            running.uplink = config.uplink.clone();
            self.dials.uplink.send_replace(config.uplink.clone());
            reloaded.changed.push("uplink");
        }
        if running.log_level != config.log_level {
            running.log_level.clone_from(&config.log_level);
            reloaded.changed.push("agent.log_level");
        }
        reloaded
    }
}

/// Keys whose new values wait for a restart.
fn waiting(now: &Config, next: &Config) -> Vec<&'static str> {
    let keys = [
        ("agent.name", now.name != next.name),
        ("agent.state", now.state != next.state),
        ("agent.log", now.log != next.log),
        ("agent.status_every", now.status_every != next.status_every),
        ("agent.time_quality", now.time_quality != next.time_quality),
        ("links", now.links != next.links),
        ("spool", now.spool != next.spool),
        ("http", now.http != next.http),
    ];
    keys.into_iter().filter(|(_, differs)| *differs).map(|(key, _)| key).collect()
}
