//! What sinks find around them: the process, the network, a clock, chance.

use super::settings::SinkSettings;
use headwater_aws::{Clock, Environment, HttpSettings, KinesisSettings, Timestamp, Transport};
use std::collections::BTreeMap;
use tokio::runtime::Handle;

/// Where sinks run. Somebody who gives them all of it has sinks that do the same things for the same seed.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// Variables that say where targets are and whose credentials count.
    pub environment: Environment,
    /// How targets are reached, and the clock that calls are signed by until a target's is known; none: over the network, by the machine's.
    pub transport: Option<(Transport, Clock)>,
    /// Decides all jitter.
    pub seed: u64,
    /// Where a sink runs, by its name; the others run where they are started. Two sinks of one stream wait for the same changes, and tokio
    /// draws whom it wakes first: apart, they go on in an order that somebody else decides.
    pub runtimes: BTreeMap<String, Handle>,
}

impl Surroundings {
    /// This process, the network and the machine's clock.
    #[must_use]
    pub fn of_process() -> Self {
        Self {
            environment: Environment::of_process(),
            transport: None,
            seed: u64::from(std::process::id()) ^ headwater_engine::Clock::system().now_ms(),
            runtimes: BTreeMap::new(),
        }
    }

    /// The client of a sink. It is certainly not earlier than `not_before`.
    pub(super) fn client(&self, settings: &SinkSettings, not_before: Timestamp) -> KinesisSettings {
        let client = settings.client(self.environment.clone(), not_before);
        let Some((transport, clock)) = &self.transport else { return client };
        let http = HttpSettings {
            transport: Some(transport.clone()),
            clock: clock.clone(),
            ..HttpSettings::of(&self.environment)
        };
        KinesisSettings { http: Some(http), ..client }
    }

    /// The seed of one stream's way to one sink.
    pub(super) fn seed_of(&self, sink: &str, stream: &str) -> u64 {
        let mix = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        sink.bytes().chain([0xff]).chain(stream.bytes()).fold(self.seed ^ 0xcbf2_9ce4_8422_2325, mix)
    }
}
