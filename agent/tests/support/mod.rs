//! The two ends of an agent, played by tests: a broker whose answers the test decides, and a device of raw frames.
#![allow(dead_code, reason = "every test file uses a part")]

pub(crate) mod broker;
pub(crate) mod device;

use headwater_agent::{Config, SpoolConfig};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

/// How long anything that must happen may take on a loaded machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn config(state: &Path, gateway: SocketAddr) -> Config {
    let mut config = Config::embedded(state.to_owned(), gateway);
    config.seed = Some(1);
    config.uplink.retry.base_ms = 20;
    config.uplink.retry.max_ms = 100;
    config.spool = SpoolConfig {
        size_bytes_max: 16 << 20,
        reserve_bytes: 0,
        segment_bytes: 1 << 20,
        linger: Duration::ZERO,
    };
    config
}

/// Waits until `check` holds.
pub(crate) async fn until(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !check() {
        assert!(tokio::time::Instant::now() < deadline, "waited too long until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
