//! Devices whose lines end with somebody else, for the tests of the whole.
//!
//! In: a [`VirtualConfig`], the time, bytes for devices. Out: their bytes, and in the end a comparison of what shards hold with what
//! really happened. Not here: who is at the other ends of the lines.

use super::EPOCH_MS;
use super::check::{Check, NAME};
use super::config::VirtualConfig;
use super::devices::Devices;
use super::sink::Stored;
use super::summary::Findings;
use super::wire::End;
use crate::SimError;
use headwater_device::testing::Rng;

/// See the module.
pub struct Fleet {
    devices: Devices,
    ends: Vec<End>,
}

impl Fleet {
    /// Devices that are off until the time comes.
    ///
    /// # Errors
    /// A setting is out of range.
    pub fn new(config: VirtualConfig) -> Result<Self, SimError> {
        config.check()?;
        let (mut devices, mut rng) = (Devices::new(config), Rng::new(config.seed));
        let ends = (1..=config.devices).map(|number| devices.add(number, &mut rng)).collect();
        Ok(Self { devices, ends })
    }

    /// Devices there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none; there is one at least.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The name of a device, counted from 0 on.
    pub fn name(index: usize) -> String {
        format!("{NAME}{:05}", index + 1)
    }

    /// Channels of each device.
    pub fn channels() -> u32 {
        u32::try_from(crate::device::CHANNELS.len()).unwrap_or(u32::MAX)
    }

    /// Lets devices live until `ms` since the world began.
    pub fn run_until(&mut self, ms: u64) {
        self.devices.executor.run_until(ms.saturating_mul(1_000));
    }

    /// What came over the line of a device.
    pub fn take(&self, index: usize) -> Vec<u8> {
        self.ends[index].take()
    }

    /// Sends bytes down the line of a device; not all of them need arrive.
    pub fn give(&self, index: usize, bytes: &[u8]) {
        self.ends[index].give(bytes);
    }

    /// Boot and last place of what a device let go, because it was told to be stored, since this was last asked.
    pub fn take_released(&self, index: usize) -> Vec<(u32, u32)> {
        self.devices.take_released(index)
    }

    /// Boots of a device that somebody asked for, and when they began, ms since the world did.
    pub fn restarts(&self, index: usize) -> Vec<(u32, u64)> {
        self.devices.restarts(index)
    }

    /// Boots of a device, each with the times of its readings, ms since the world began.
    pub fn taken(&self, index: usize) -> Vec<(u32, Vec<u32>)> {
        self.devices.taken(index)
    }

    /// From now on nothing goes wrong any more, and nothing is sampled.
    pub fn calm(&self) {
        self.devices.calm();
    }

    /// Whether no device holds anything that it was not told to be stored.
    pub fn are_drained(&self) -> bool {
        self.devices.are_drained()
    }

    /// Boots and readings so far.
    pub fn sums(&self) -> (u64, u64) {
        (self.devices.tally.starts.get(), self.devices.tally.readings.get())
    }

    /// Ends the devices; what they know is compared with what is found from now on.
    pub fn compare(self) -> Comparison {
        Comparison(Check::new(self.devices.subjects(), EPOCH_MS))
    }
}

/// Compares shards with what really happened.
pub struct Comparison(Check);

impl Comparison {
    /// The next record: shards in any order, the records of each in theirs.
    pub fn handle(&mut self, stored: Stored<'_>) {
        self.0.handle(stored);
    }

    /// What is wrong, and one digest of everything that was shown.
    pub fn end(self) -> (Findings, String) {
        self.0.end()
    }
}
