//! Fleets in virtual time: thousands of devices, days in minutes, one thread, the same world for the same seed.
//!
//! In: a [`VirtualConfig`], a [`Sink`]. Out: a [`VirtualSummary`] that compares what the shards hold with what really happened.
//! Each device is the real device core on a flash model, with its own wrong clock, on a line that loses bytes and flips bits;
//! its power goes at any moment and inside flash writes, its cable is pulled. A receiver at the other end does what an agent's
//! session does, and acknowledges after the sink says that the entries are durable.
//!
//! Always true: nothing here reads the machine's clock or draws chance from anything but the seed, so the publishes that a sink
//! gets, their order, their times and how they are grouped are the same at every run. Sinks that keep this up give the same
//! shards to the byte; [`VirtualSummary::digest`] says so.
//!
//! Half of the devices have 4 KiB pages with words of 4 bytes and a ring that holds about 20 minutes; half have 1 KiB pages with
//! words of 8 bytes that are programmed once, and a ring of about 5 minutes, so that gaps happen.
//! Not here: routes and shards (a gateway's), real sockets ([`Fleet`](crate::Fleet)).

mod check;
mod config;
mod devices;
mod life;
mod limits;
mod power;
mod receiver;
#[cfg(feature = "simulation")]
#[doc(hidden)]
pub mod simulation;
mod sink;
mod summary;
mod truth;
mod wire;
mod world;

pub use config::VirtualConfig;
pub use sink::{Publish, Sink, SinkError, Stored, Verdict};
pub use summary::{Findings, VirtualProgress, VirtualSummary};

use self::check::Check;
use self::devices::Devices;
use self::life::Phase;
use self::limits::{DRAIN_MAX_US, TICK_US};
use self::receiver::{Desk, Receiver};
use crate::SimError;
use headwater_device::testing::Rng;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

/// Virtual time begins on 21 September 2026 at 14:13:20 UTC, at every run.
pub const EPOCH_MS: u64 = 1_790_000_000_000;

/// Runs a fleet to its end, lets everything drain, reads the shards back and compares. `progress` is told once a virtual second
/// and may end sampling early. Blocks: the world is this thread.
///
/// # Errors
/// A setting is out of range, or the sink gave up. Broken promises are no error: see [`VirtualSummary::is_good`].
pub fn run(
    config: VirtualConfig,
    sink: &mut impl Sink,
    progress: &mut dyn FnMut(VirtualProgress) -> ControlFlow<()>,
) -> Result<VirtualSummary, SimError> {
    config.check()?;
    let mut fleet = Fleet::new(config);
    fleet.sample(sink, progress)?;
    fleet.drain(sink, progress)?;
    fleet.compare(sink)
}

struct Fleet {
    devices: Devices,
    desk: Rc<Desk>,
}

impl Fleet {
    fn new(config: VirtualConfig) -> Self {
        let (mut devices, desk) = (Devices::new(config), Rc::<Desk>::default());
        let mut rng = Rng::new(config.seed);
        for number in 1..=config.devices {
            let end = devices.add(number, &mut rng);
            let (world, phase) = (devices.executor.world.clone(), devices.phase.clone());
            let receiver = Receiver::new(world, phase, desk.clone(), end, EPOCH_MS, rng.next_u64());
            devices.executor.spawn(receiver.serve());
        }
        Self { devices, desk }
    }

    /// The world for one tick; what arrived in it is stored at its end.
    fn tick(&mut self, sink: &mut impl Sink) -> Result<(), SimError> {
        let end_us = self.now_us() + TICK_US;
        self.devices.executor.run_until(end_us);
        self.desk.commit(EPOCH_MS + end_us / 1_000, sink).map_err(SimError::Sink)
    }

    fn sample(
        &mut self,
        sink: &mut impl Sink,
        progress: &mut dyn FnMut(VirtualProgress) -> ControlFlow<()>,
    ) -> Result<(), SimError> {
        let end_us = u64::try_from(self.devices.config.duration.as_micros()).unwrap_or(u64::MAX);
        while self.now_us() < end_us {
            self.tick(sink)?;
            if self.is_new_second() && progress(self.progress()).is_break() {
                break;
            }
        }
        Ok(())
    }

    /// Nothing goes wrong any more, until nobody holds anything.
    fn drain(
        &mut self,
        sink: &mut impl Sink,
        progress: &mut dyn FnMut(VirtualProgress) -> ControlFlow<()>,
    ) -> Result<(), SimError> {
        self.devices.calm();
        let end_us = self.now_us() + DRAIN_MAX_US;
        while self.now_us() < end_us {
            self.tick(sink)?;
            if self.is_new_second() {
                // A drain that is broken off would look like loss.
                let _ = progress(self.progress());
                if self.devices.are_drained() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn compare(self, sink: &mut impl Sink) -> Result<VirtualSummary, SimError> {
        let (progress, elapsed) = (self.progress(), self.elapsed());
        let (config, bad_frames) = (self.devices.config, self.desk.bad_frames.get());
        // The chips are of no use any more, and the largest part of a fleet: they go here.
        let subjects = self.devices.subjects();
        let cuts_in_write = subjects.iter().map(|subject| subject.truth.cuts_in_write).sum();
        let mut check = Check::new(subjects, EPOCH_MS);
        sink.read(&mut |stored| check.handle(stored)).map_err(SimError::Sink)?;
        let (findings, digest) = check.end();
        Ok(VirtualSummary {
            devices: config.devices,
            elapsed,
            boots: progress.boots,
            cuts_in_write,
            bad_frames,
            repeats_dropped: sink.repeats_dropped(),
            readings: progress.readings,
            findings,
            digest,
        })
    }

    fn now_us(&self) -> u64 {
        self.devices.executor.world.now_us()
    }

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.now_us())
    }

    fn is_new_second(&self) -> bool {
        self.now_us() % 1_000_000 < TICK_US
    }

    fn progress(&self) -> VirtualProgress {
        VirtualProgress {
            elapsed: self.elapsed(),
            is_draining: self.devices.phase.get() == Phase::Calm,
            boots: self.devices.tally.starts.get(),
            readings: self.devices.tally.readings.get(),
            acked_batches: self.desk.acked.get(),
            bad_frames: self.desk.bad_frames.get(),
        }
    }
}
