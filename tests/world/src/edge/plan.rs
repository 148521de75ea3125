//! What an edge is, and what goes wrong with it.
//!
//! In: chance. Out: numbers of devices and agents, rates of faults. Not here: when a fault happens (`station`, `network`).

use crate::chance::Chance;
use headwater_agent::Config as AgentConfig;
use headwater_sim::Faults as DeviceFaults;
use headwater_sim::virtual_time::VirtualConfig;
use std::time::Duration;

/// A mistake planted on this half of the world, which its checks must find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Planted {
    /// The agent acks a batch before it is durable.
    AckBeforeSync,
    /// The agent moves its checkpoint, and trims, before the gateway has answered.
    CheckpointBeforePuback,
    /// A device lets a batch go before the agent has acked it.
    ReleaseBeforeAck,
    /// The agent gives a device a command that comes again under another number.
    CommandRenumbered,
}

/// Devices and agents, and their faults. Periods are mean times in ms; 0 is never.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(super) fleet: VirtualConfig,
    pub(super) agents: usize,
    pub(super) spool_bytes: u64,
    /// Something happens to an agent or its disk.
    pub(super) agent_fault_ms: u64,
    /// A network goes silent.
    pub(super) partition_ms: u64,
    /// A connection breaks by itself.
    pub(super) break_ms: u64,
    /// One PUBACK in so many is lost with its connection.
    pub(super) puback_lost_1_in: u64,
    /// One packet in so many comes twice.
    pub(super) twice_1_in: u64,
    /// A device is told to do something.
    pub(super) command_ms: u64,
    pub(super) planted: Option<Planted>,
}

impl Plan {
    /// What a seed gives.
    #[must_use]
    pub fn of(chance: &mut Chance) -> Self {
        let agents = usize::from(chance.one_in(2)) + 1;
        let devices = u32::try_from(chance.between(3, 7)).unwrap_or(3);
        let minutes = |chance: &mut Chance, from: u64, to: u64| chance.between(from * 1_000, to * 1_000);
        let faults = DeviceFaults {
            offline: *chance.pick(&[0.0, 0.1, 0.3]),
            reboots_per_hour: *chance.pick(&[0.0, 30.0, 60.0]),
            clock_skew: Duration::from_millis(*chance.pick(&[0, 4_320, 90_000])),
        };
        let fleet = VirtualConfig {
            rate_per_sec: *chance.pick(&[1.0, 5.0, 20.0]),
            seed: chance.draw(),
            faults,
            damaged_1_in: *chance.pick(&[0, 500, 2_000, 10_000]),
            ..VirtualConfig::new(devices, Duration::from_secs(3_600))
        };
        Self {
            fleet,
            agents,
            spool_bytes: *chance.pick(&[256 << 10, 1 << 20]),
            agent_fault_ms: *chance.pick(&[0, 15_000, 30_000, 60_000]),
            partition_ms: if chance.one_in(2) { minutes(chance, 20, 90) } else { 0 },
            break_ms: if chance.one_in(2) { minutes(chance, 5, 60) } else { 0 },
            puback_lost_1_in: *chance.pick(&[0, 20, 100]),
            twice_1_in: *chance.pick(&[0, 50, 300]),
            command_ms: *chance.pick(&[0, 3_000, 8_000, 20_000]),
            planted: None,
        }
    }

    /// The same with a mistake in it, and with the faults that it takes to see one.
    #[must_use]
    pub fn with(mut self, planted: Planted) -> Self {
        self.planted = Some(planted);
        self
    }
}

/// The configuration of an agent: a small spool, a small window, and the shortest times it may have.
pub(super) fn agent_config(index: usize, spool_bytes: u64) -> AgentConfig {
    let text = format!(
        "[agent]\nname = \"agent-{index}\"\n[spool]\nmax = \"16MiB\"\nreserve = \"0B\"\nsegment = \"1MiB\"\n[uplink]\n\
         gateway = \"127.0.0.1:1883\"\nkeep_alive = \"5s\"\nconnect_timeout = \"2s\"\nin_flight = 16\n\
         retry = {{ base = \"100ms\", max = \"2s\", stable = \"5s\" }}\n"
    );
    let mut config = AgentConfig::parse(&text).expect("the text above is a configuration");
    // Smaller than a person may ask for, so that segments end and the spool fills within minutes.
    (config.spool.segment_bytes, config.spool.size_bytes_max) = (64 << 10, spool_bytes);
    config
}
