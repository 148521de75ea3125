//! What a fleet is.

use crate::limits::{DEVICES_MAX, FOREIGN_MAX, RATE_PER_SEC_MAX};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// A fleet and where it sends.
#[derive(Debug, Clone)]
pub struct SimConfig {
    /// Devices on TCP links of an agent.
    pub devices: u32,
    /// Devices with an MQTT connection of their own.
    pub mqtt_devices: u32,
    /// Publishers of plain JSON, as Tasmota and Zigbee2MQTT do.
    pub foreign: u32,
    /// Readings of one device a second, above 0, at most [`RATE_PER_SEC_MAX`].
    pub rate_per_sec: f64,
    /// Sampling ends after this time; none means after `count`, or when told.
    pub duration: Option<Duration>,
    /// Sampling of a device ends after so many readings; none means after `duration`, or when told.
    pub count: Option<u64>,
    /// Same seed, same readings.
    pub seed: u64,
    /// Goes into every device's name, so that two fleets in one stream are two fleets: `sim-{run}-0001`.
    /// 1 to 16 of `a-z 0-9`. None: made from the time of the start.
    pub run: Option<String>,
    /// What goes wrong.
    pub faults: Faults,
    /// The agent of `devices`.
    pub agent: AgentAt,
    /// MQTT address of the gateway.
    pub mqtt: SocketAddr,
    /// Address of the Kinesis API, to read the shards back.
    pub kinesis: SocketAddr,
    /// Longest wait, after sampling has ended, until everything acked is in the shards.
    pub drain: Duration,
}

/// What goes wrong with devices, by chance from the seed.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Faults {
    /// Share of time a device has no link, 0 to below 1.
    pub offline: f64,
    /// Power cuts of a device an hour.
    pub reboots_per_hour: f64,
    /// Clocks of devices run wrong by up to this in a day, either way: 4.3 s is a usual crystal (50 ppm), 90 s a bad
    /// one. None drifts is 0.
    pub clock_skew: Duration,
}

/// Where devices connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentAt {
    /// An agent in this process with its spool in this folder.
    InProcess(PathBuf),
    /// An agent that runs already, at this TCP link.
    External(SocketAddr),
}

impl SimConfig {
    /// Twenty devices with one reading a second, until told to stop, through an agent in this process.
    pub fn new(state: PathBuf, mqtt: SocketAddr, kinesis: SocketAddr) -> Self {
        Self {
            devices: 20,
            mqtt_devices: 0,
            foreign: 0,
            rate_per_sec: 1.0,
            duration: None,
            count: None,
            seed: 1,
            run: None,
            faults: Faults::default(),
            agent: AgentAt::InProcess(state),
            mqtt,
            kinesis,
            drain: Duration::from_secs(60),
        }
    }

    pub(crate) fn check(&self) -> Result<(), SimError> {
        let wrong = |text: String| Err(SimError::Config(text));
        let devices = u64::from(self.devices) + u64::from(self.mqtt_devices);
        if devices > u64::from(DEVICES_MAX) {
            return wrong(format!("{devices} devices are asked for, at most {DEVICES_MAX} fit"));
        }
        if self.foreign > FOREIGN_MAX {
            return wrong(format!(
                "{} foreign publishers are asked for, at most {FOREIGN_MAX} fit",
                self.foreign
            ));
        }
        if devices == 0 && self.foreign == 0 {
            return wrong("no devices are asked for".to_owned());
        }
        if !(self.rate_per_sec > 0.0 && self.rate_per_sec <= RATE_PER_SEC_MAX) {
            return wrong(format!(
                "rate is {}/s, must be above 0 and at most {RATE_PER_SEC_MAX}/s",
                self.rate_per_sec
            ));
        }
        if !(self.faults.offline >= 0.0 && self.faults.offline < 1.0) {
            return wrong(format!("offline share is {}, must be 0 to below 1", self.faults.offline));
        }
        if !(self.faults.reboots_per_hour >= 0.0 && self.faults.reboots_per_hour.is_finite()) {
            return wrong(format!("reboots an hour are {}, must be 0 or more", self.faults.reboots_per_hour));
        }
        let is_run_good = |run: &String| {
            (1..=16).contains(&run.len())
                && run.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        match &self.run {
            Some(run) if !is_run_good(run) => wrong(format!("run is \"{run}\", must be 1 to 16 of a-z 0-9")),
            _ => Ok(()),
        }
    }
}

/// Why a fleet did not run, or could not be checked. What it found wrong is in the [`Summary`](crate::Summary).
#[derive(Debug, thiserror::Error)]
pub enum SimError {
    /// A setting out of range.
    #[error("fleet: {0}")]
    Config(String),
    /// The agent in this process does not start.
    #[error("agent in this process does not start")]
    Agent(#[source] headwater_agent::StartError),
    /// The fleet's thread does not start, or its runtime.
    #[error("fleet does not start: {0}")]
    Thread(String),
    /// The shards cannot be read back.
    #[error("shards cannot be read back: {0}")]
    Kinesis(String),
    /// The shards of a fleet in virtual time gave up.
    #[error("shards of the fleet")]
    Sink(#[source] crate::virtual_time::SinkError),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_out_of_range_are_named() {
        let addr = "127.0.0.1:1".parse().unwrap();
        let good = SimConfig::new(PathBuf::from("/x"), addr, addr);
        assert!(good.check().is_ok());
        for (config, expected) in [
            (SimConfig { devices: 0, ..good.clone() }, "no devices are asked for"),
            (
                SimConfig { devices: DEVICES_MAX + 1, ..good.clone() },
                "10001 devices are asked for, at most 10000 fit",
            ),
            (SimConfig { rate_per_sec: 0.0, ..good.clone() }, "rate is 0/s"),
            (SimConfig { rate_per_sec: f64::NAN, ..good.clone() }, "rate is NaN/s"),
            (SimConfig { run: Some("A b".into()), ..good.clone() }, "run is \"A b\""),
            (
                SimConfig { faults: Faults { offline: 1.0, ..Faults::default() }, ..good.clone() },
                "offline share is 1",
            ),
        ] {
            let text = config.check().unwrap_err().to_string();
            assert!(text.contains(expected), "{text}");
        }
    }
}
