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
mod life;
mod limits;
mod power;
mod receiver;
mod sink;
mod summary;
mod truth;
mod wire;
mod world;

pub use config::VirtualConfig;
pub use sink::{Publish, Sink, SinkError, Stored, Verdict};
pub use summary::{Findings, VirtualProgress, VirtualSummary};

use self::check::{Check, NAME, Subject};
use self::life::{Life, Phase, cable, live};
use self::limits::{DRAIN_MAX_US, TICK_US};
use self::receiver::{Desk, Receiver};
use self::truth::{Tally, Truth, Watcher};
use self::wire::End;
use self::world::Executor;
use crate::SimError;
use crate::device::period_ms;
use headwater_device::testing::Rng;
use headwater_telemetry::DeviceId;
use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::time::Duration;

/// Virtual time begins on 21 September 2026 at 14:13:20 UTC, at every run.
pub const EPOCH_MS: u64 = 1_790_000_000_000;

/// Ring pages of a chip with 4 KiB pages, and of one with 1 KiB pages.
const RING_PAGES: (u32, u32) = (4, 4);

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

struct Member {
    seed: u64,
    truth: Rc<RefCell<Truth>>,
    end: End,
}

struct Fleet {
    config: VirtualConfig,
    executor: Executor,
    phase: Rc<Cell<Phase>>,
    desk: Rc<Desk>,
    tally: Rc<Tally>,
    members: Vec<Member>,
}

impl Fleet {
    fn new(config: VirtualConfig) -> Self {
        let phase = Rc::new(Cell::new(Phase::Rough));
        let (desk, tally) = Default::default();
        let mut fleet = Self { config, executor: Executor::new(), phase, desk, tally, members: Vec::new() };
        let mut rng = Rng::new(config.seed);
        for number in 1..=config.devices {
            fleet.add(number, &mut rng);
        }
        fleet
    }

    fn add(&mut self, number: u32, rng: &mut Rng) {
        let Self { config, executor, phase, desk, tally, .. } = self;
        let (world, faults) = (executor.world.clone(), config.faults);
        let ppm_max = crate::faults::device_faults(faults).clock_ppm;
        let ppm = i64::try_from(rng.below(u64::from(ppm_max) * 2 + 1)).unwrap_or(0) - i64::from(ppm_max);
        let truth = Rc::new(RefCell::new(Truth { ppm, ..Truth::default() }));
        let (device_end, receiver_end) = wire::line(rng.next_u64(), config.damaged_1_in);
        let seed = rng.next_u64();
        let life = Life {
            world: world.clone(),
            phase: phase.clone(),
            watcher: Watcher { world: world.clone(), tally: tally.clone(), truth: truth.clone() },
            end: device_end.clone(),
            id: DeviceId::parse(&format!("{NAME}{number:05}")).expect("letters, digits and a dash"),
            seed,
            period_ms: period_ms(config.rate_per_sec),
            faults,
        };
        executor.spawn(cable(world.clone(), phase.clone(), device_end.clone(), faults, rng.next_u64()));
        if number.is_multiple_of(2) {
            executor.spawn(live::<4096, 4>(life, RING_PAGES.0));
        } else {
            executor.spawn(live::<1024, 8>(life, RING_PAGES.1));
        }
        let receiver =
            Receiver::new(world, phase.clone(), desk.clone(), receiver_end, EPOCH_MS, rng.next_u64());
        executor.spawn(receiver.serve());
        self.members.push(Member { seed, truth, end: device_end });
    }

    /// The world for one tick; what arrived in it is stored at its end.
    fn tick(&mut self, sink: &mut impl Sink) -> Result<(), SimError> {
        let end_us = self.executor.world.now_us() + TICK_US;
        self.executor.run_until(end_us);
        self.desk.commit(EPOCH_MS + end_us / 1_000, sink).map_err(SimError::Sink)
    }

    fn sample(
        &mut self,
        sink: &mut impl Sink,
        progress: &mut dyn FnMut(VirtualProgress) -> ControlFlow<()>,
    ) -> Result<(), SimError> {
        let end_us = u64::try_from(self.config.duration.as_micros()).unwrap_or(u64::MAX);
        while self.executor.world.now_us() < end_us {
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
        self.phase.set(Phase::Calm);
        self.executor.wake_all();
        self.members.iter().for_each(|member| member.end.mend());
        let end_us = self.executor.world.now_us() + DRAIN_MAX_US;
        while self.executor.world.now_us() < end_us {
            self.tick(sink)?;
            if self.is_new_second() {
                // A drain that is broken off would look like loss.
                let _ = progress(self.progress());
                if self.members.iter().all(|member| member.truth.borrow().is_drained) {
                    break;
                }
            }
        }
        Ok(())
    }

    fn compare(self, sink: &mut impl Sink) -> Result<VirtualSummary, SimError> {
        let (progress, elapsed) = (self.progress(), self.elapsed());
        let (config, bad_frames) = (self.config, self.desk.bad_frames.get());
        let subject = |member: &Member| Subject { seed: member.seed, truth: member.truth.take() };
        let subjects: Vec<Subject> = self.members.iter().map(subject).collect();
        // The chips are of no use any more, and the largest part of a fleet.
        drop(self);
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

    fn elapsed(&self) -> Duration {
        Duration::from_micros(self.executor.world.now_us())
    }

    fn is_new_second(&self) -> bool {
        self.executor.world.now_us() % 1_000_000 < TICK_US
    }

    fn progress(&self) -> VirtualProgress {
        VirtualProgress {
            elapsed: self.elapsed(),
            is_draining: self.phase.get() == Phase::Calm,
            boots: self.tally.starts.get(),
            readings: self.tally.readings.get(),
            acked_batches: self.desk.acked.get(),
            bad_frames: self.desk.bad_frames.get(),
        }
    }
}
