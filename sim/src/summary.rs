//! How a fleet is doing, and how it did.

use std::fmt;

/// What a fleet does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    /// Devices are being made.
    #[default]
    Starting,
    /// Devices sample and send.
    Sampling,
    /// Sampling has ended; what devices hold is sent.
    Draining,
    /// The shards are read back and compared.
    Checking,
    /// Nothing more comes.
    Done,
}

/// A fleet while it runs. Counts are since the start.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Progress {
    /// What it does.
    pub phase: Phase,
    /// Devices of all kinds.
    pub devices: u64,
    /// Links and connections made since the start: rises when they are lost and made again.
    pub connections: u64,
    /// Readings taken, foreign messages included.
    pub readings: u64,
    /// Of these, acked to the device.
    pub acked: u64,
    /// Of these, found in the shards so far. Behind `acked` by what the agent holds and the last reading of the shards.
    pub stored: u64,
    /// Readings that devices hold and nobody has acked.
    pub waiting: u64,
    /// Readings that devices lost and report as a gap: a full flash ring. A promise is broken only by
    /// [`Summary::lost`].
    pub gaps: u64,
    /// Power cuts so far.
    pub reboots: u64,
    /// Acked and not in a shard. Known only at the end: until then what is missing may be on its way.
    pub lost: u64,
}

/// The end of a fleet.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Summary {
    /// Devices of all kinds.
    pub devices: u64,
    /// Readings taken, foreign messages included. Readings in the RAM of a device whose power was cut are among them,
    /// and among no other number.
    pub readings: u64,
    /// Readings, gaps' entries and foreign messages acked to their device.
    pub acked: u64,
    /// Of this fleet, found in the shards, each place once.
    pub stored: u64,
    /// Readings that devices still held at the end.
    pub waiting: u64,
    /// Entries that devices reported as lost.
    pub gaps: u64,
    /// Acked and not in a shard. Must be 0.
    pub lost: u64,
    /// Readings of devices that are in the shards more than once. Must be 0.
    pub repeated: u64,
    /// Readings of devices that stand after a later one of the same boot, or boots after a later one. Must be 0.
    pub misordered: u64,
    /// Foreign messages that are in the shards more than once: QoS 1 allows it, and plain JSON has no identity.
    pub foreign_repeated: u64,
    /// Power cuts.
    pub reboots: u64,
    /// Devices that have stored readings and delivered none of them. Must be 0.
    pub silent: u64,
    /// First examples of what is lost, repeated, misordered or silent.
    pub examples: Vec<String>,
}

impl Summary {
    /// Whether every promise was kept, and there was one: readings of which none was ever acked reached nobody.
    pub fn is_good(&self) -> bool {
        let reached_somebody = self.acked > 0 || self.readings == 0;
        self.lost == 0 && self.repeated == 0 && self.misordered == 0 && self.silent == 0 && reached_somebody
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} devices, {} readings, {} acked, {} stored, {} waiting, {} in gaps, lost = {}, repeated = {}, misordered = {}",
            self.devices,
            self.readings,
            self.acked,
            self.stored,
            self.waiting,
            self.gaps,
            self.lost,
            self.repeated,
            self.misordered
        )?;
        match self.silent {
            0 => Ok(()),
            silent => write!(f, ", {silent} devices delivered nothing"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_that_reached_nobody_is_not_good() {
        let silent = Summary { readings: 100, waiting: 100, ..Summary::default() };
        assert!(!silent.is_good());
        assert!(Summary { acked: 1, ..silent.clone() }.is_good());
        assert!(!Summary { acked: 1, silent: 1, ..silent }.is_good());
        assert!(Summary::default().is_good(), "no devices, no promise");
    }
}
