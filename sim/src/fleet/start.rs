//! What a fleet consists of, and how it is switched on: devices, publishers of plain JSON, an agent in this process.
//!
//! In: a configuration. Out: running members. Invariant: the same seed gives the same members, and more devices do not change
//! what publishers say. Not here: what becomes of them (`fleet`).

use super::{Fleet, Member};
use crate::config::{SimConfig, SimError};
use crate::device::{DeviceConfig, DeviceHost, Link, Phase as Order};
use crate::faults::device_faults;
use crate::foreign::{self, ForeignConfig, ForeignLedger};
use crate::limits::STARTS_PER_SEC;
use headwater_agent::Agent;
use headwater_relay::{Delays, Seeded};
use headwater_telemetry::DeviceId;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// Devices of one host thread.
const DEVICES_PER_HOST: usize = 1_000;

impl Fleet {
    pub(super) fn start_devices(&mut self, link: Option<SocketAddr>) -> Result<(), SimError> {
        let mut configs = Vec::new();
        let mut seeds = Seeded::new(self.config.seed);
        let faults = device_faults(self.config.faults);
        let start_within = start_within(self.config.devices + self.config.mqtt_devices);
        let links = [("", self.config.devices, link.map(Link::Tcp)), {
            ("m", self.config.mqtt_devices, Some(Link::Mqtt(self.config.mqtt)))
        }];
        for (mark, count, link) in links {
            let Some(link) = link else { continue };
            for number in 1..=count {
                let name = format!("{}{mark}{number:04}", self.prefix);
                let id = DeviceId::parse(&name)
                    .map_err(|error| SimError::Config(format!("device {name}: {error}")))?;
                let seed = seeds.next_u64();
                configs.push(DeviceConfig {
                    faults,
                    start_within,
                    ..DeviceConfig::new(id, seed, self.config.rate_per_sec, link)
                });
            }
        }
        let mut configs = configs.into_iter().peekable();
        while configs.peek().is_some() {
            let host = DeviceHost::start().map_err(|error| SimError::Thread(error.to_string()))?;
            for config in configs.by_ref().take(DEVICES_PER_HOST) {
                let (order, orders) = watch::channel(Order::Run);
                self.devices.push(Member { handle: host.spawn(config, orders), order });
            }
        }
        Ok(())
    }

    pub(super) fn start_foreign(&mut self, order: &watch::Receiver<Order>) {
        // Apart from the devices' seeds, so that more devices do not change what foreign publishers say.
        let mut seeds = Seeded::new(self.config.seed ^ 0xf0_f0_f0_f0);
        for number in 1..=self.config.foreign {
            let name = format!("{}f{number:04}", self.prefix);
            let ledger = Arc::new(ForeignLedger::default());
            let config = ForeignConfig {
                name: name.clone(),
                seed: seeds.next_u64(),
                every: Duration::from_secs_f64(1.0 / self.config.rate_per_sec),
                mqtt: self.config.mqtt,
                count: self.config.count,
                is_plug: number % 2 == 1,
            };
            self.publishers.spawn(foreign::run(config, order.clone(), Arc::clone(&ledger)));
            self.foreign.push((name, ledger));
        }
    }
}

/// In how long so many devices are switched on.
fn start_within(devices: u32) -> Duration {
    Duration::from_millis(500).max(Duration::from_secs(1) * devices / STARTS_PER_SEC)
}

pub(super) async fn start_agent(config: &SimConfig, state: &Path) -> Result<Agent, SimError> {
    let mut agent = headwater_agent::Config::embedded(state.to_owned(), config.mqtt);
    // One client id in one gateway: a second fleet must not take the first one's connection over.
    agent.uplink.client_id = format!("sim-agent-{}", run_name());
    agent.seed = Some(config.seed);
    // A demonstration is no field: nobody wants to wait half a minute for a gateway on the same machine.
    agent.uplink.retry = Delays { base_ms: 100, max_ms: 2_000, stable_ms: 5_000 };
    Agent::start(agent).await.map_err(SimError::Agent)
}

/// A name for this run: seconds and milliseconds of its start in base 36.
pub(super) fn run_name() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (mut rest, mut digits) = (since.as_millis(), Vec::new());
    while rest > 0 {
        let digit = u32::try_from(rest % 36).unwrap_or(0);
        digits.push(char::from_digit(digit, 36).unwrap_or('0'));
        rest /= 36;
    }
    digits.iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_is_switched_on_no_faster_than_a_gateway_lets_one_address_in() {
        for (devices, expected_ms) in [(1, 500), (500, 500), (501, 501), (5_000, 5_000), (10_000, 10_000)] {
            assert_eq!(start_within(devices), Duration::from_millis(expected_ms), "{devices} devices");
        }
    }
}
