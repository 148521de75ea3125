//! How a fleet in virtual time is doing, and how it did.

use crate::limits::EXAMPLES_MAX;
use std::fmt;
use std::time::Duration;

/// A fleet while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VirtualProgress {
    /// Virtual time since the start.
    pub elapsed: Duration,
    /// Sampling has ended; what devices hold is delivered.
    pub is_draining: bool,
    /// Starts so far.
    pub boots: u64,
    /// Readings taken.
    pub readings: u64,
    /// Batches acknowledged, repeats included.
    pub acked_batches: u64,
    /// Frames that came damaged.
    pub bad_frames: u64,
}

/// What the shards hold, and what is wrong with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// Readings in the shards.
    pub stored: u64,
    /// Entries told as gaps.
    pub gaps: u64,
    /// Log lines.
    pub logs: u64,
    /// Readings without a time, of boots that never learned it.
    pub undated: u64,
    /// How far the time of a reading is off at most, of those that say it is good. A device halves the round trip of up to 2 s.
    pub worst_time_error_ms: u64,
    /// Entries that were stored in flash and are not in a shard, or before one that is. Must be 0.
    pub lost: u64,
    /// Entries that are there twice. Must be 0.
    pub repeated: u64,
    /// Entries that stand after a later one, sequence numbers or arrivals that go back. Must be 0.
    pub misordered: u64,
    /// Entries with a wrong value or time, or that were never taken; devices that did not drain. Must be 0.
    pub wrong: u64,
    /// The first examples of what must not be.
    pub examples: Vec<String>,
}

impl Findings {
    fn example(&mut self, text: impl FnOnce() -> String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(text());
        }
    }

    pub(super) fn lost(&mut self, count: u64, text: impl FnOnce() -> String) {
        self.lost += count;
        self.example(text);
    }

    pub(super) fn repeated(&mut self, text: impl FnOnce() -> String) {
        self.repeated += 1;
        self.example(text);
    }

    pub(super) fn misordered(&mut self, text: impl FnOnce() -> String) {
        self.misordered += 1;
        self.example(text);
    }

    pub(super) fn wrong(&mut self, text: impl FnOnce() -> String) {
        self.wrong += 1;
        self.example(text);
    }
}

/// The end of a fleet in virtual time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VirtualSummary {
    /// Devices.
    pub devices: u32,
    /// Virtual time from the start to the end of the drain.
    pub elapsed: Duration,
    /// Starts of devices.
    pub boots: u64,
    /// Power cuts inside a write or an erase of flash.
    pub cuts_in_write: u64,
    /// Frames that came damaged.
    pub bad_frames: u64,
    /// Entries that came again and were dropped.
    pub repeats_dropped: u64,
    /// Readings taken. Those in RAM when the power went are among them, and nowhere else.
    pub readings: u64,
    /// What the shards hold.
    pub findings: Findings,
    /// SHA-256 over every record in the order of its shard: stream and shard, sequence number, partition key, data, arrival.
    pub digest: String,
}

impl VirtualSummary {
    /// Whether every promise was kept, and there was one.
    pub fn is_good(&self) -> bool {
        let Findings { stored, lost, repeated, misordered, wrong, .. } = self.findings;
        [lost, repeated, misordered, wrong] == [0; 4] && (stored > 0 || self.readings == 0)
    }
}

impl fmt::Display for VirtualSummary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Findings { stored, gaps, lost, repeated, misordered, wrong, .. } = self.findings;
        let (minutes, seconds) = (self.elapsed.as_secs() / 60, self.elapsed.as_secs() % 60);
        writeln!(
            f,
            "{} devices, {minutes}m{seconds:02}s of virtual time, {} boots, {} cuts inside a write, {} bad frames, \
             {} repeats dropped",
            self.devices, self.boots, self.cuts_in_write, self.bad_frames, self.repeats_dropped
        )?;
        writeln!(
            f,
            "{} readings, {stored} stored, {gaps} in gaps, {} without a time, time error at most {} ms, lost = {lost}, \
             repeated = {repeated}, misordered = {misordered}, wrong = {wrong}",
            self.readings, self.findings.undated, self.findings.worst_time_error_ms
        )?;
        write!(f, "digest {}", self.digest)
    }
}
