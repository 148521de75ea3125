//! The devices of a fleet in virtual time, with their lines and cables.
//!
//! In: a configuration, the phase. Out: bytes at the other ends of their lines, the truth about each device.
//! Invariant: what devices do follows from the seed and from what comes down their lines. Not here: who is at the other ends.

use super::check::{NAME, Subject};
use super::config::VirtualConfig;
use super::life::{Life, Phase, cable, live};
use super::truth::{Tally, Truth, Watcher};
use super::wire::{self, End};
use super::world::Executor;
use crate::device::period_ms;
use headwater_device::testing::Rng;
use headwater_telemetry::DeviceId;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Ring pages of a chip with 4 KiB pages, and of one with 1 KiB pages.
const RING_PAGES: (u32, u32) = (4, 4);

/// See the module.
pub(super) struct Devices {
    pub(super) config: VirtualConfig,
    pub(super) executor: Executor,
    pub(super) phase: Rc<Cell<Phase>>,
    pub(super) tally: Rc<Tally>,
    members: Vec<Member>,
}

struct Member {
    seed: u64,
    truth: Rc<RefCell<Truth>>,
    end: End,
}

impl Devices {
    /// None yet.
    pub(super) fn new(config: VirtualConfig) -> Self {
        let phase = Rc::new(Cell::new(Phase::Rough));
        Self { config, executor: Executor::new(), phase, tally: Rc::default(), members: Vec::new() }
    }

    /// Adds the device with this number, from 1 on; returns the other end of its line.
    pub(super) fn add(&mut self, number: u32, rng: &mut Rng) -> End {
        let Self { config, executor, phase, tally, .. } = self;
        let (world, faults) = (executor.world.clone(), config.faults);
        let ppm_max = crate::faults::device_faults(faults).clock_ppm;
        let ppm = i64::try_from(rng.below(u64::from(ppm_max) * 2 + 1)).unwrap_or(0) - i64::from(ppm_max);
        let truth = Rc::new(RefCell::new(Truth { ppm, ..Truth::default() }));
        let (device_end, other_end) = wire::line(rng.next_u64(), config.damaged_1_in);
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
        executor.spawn(cable(world, phase.clone(), device_end.clone(), faults, rng.next_u64()));
        if number.is_multiple_of(2) {
            executor.spawn(live::<4096, 4>(life, RING_PAGES.0));
        } else {
            executor.spawn(live::<1024, 8>(life, RING_PAGES.1));
        }
        self.members.push(Member { seed, truth, end: device_end });
        other_end
    }

    /// From now on nothing goes wrong any more, and nothing is sampled.
    pub(super) fn calm(&self) {
        self.phase.set(Phase::Calm);
        self.executor.wake_all();
        self.members.iter().for_each(|member| member.end.mend());
    }

    /// Whether nobody holds anything that was not delivered.
    pub(super) fn are_drained(&self) -> bool {
        self.members.iter().all(|member| member.truth.borrow().is_drained)
    }

    /// The truth about each of them, to be compared. Ends them.
    pub(super) fn subjects(self) -> Vec<Subject> {
        let subject = |member: &Member| Subject { seed: member.seed, truth: member.truth.take() };
        self.members.iter().map(subject).collect()
    }

    /// Boot and last place of what a device was told to be stored, and let go, since it was last asked.
    #[cfg(feature = "simulation")]
    pub(super) fn take_released(&self, index: usize) -> Vec<(u32, u32)> {
        std::mem::take(&mut self.members[index].truth.borrow_mut().released)
    }

    /// Boots of a device that somebody asked for, and when they began, ms since the world did.
    #[cfg(feature = "simulation")]
    pub(super) fn restarts(&self, index: usize) -> Vec<(u32, u64)> {
        self.members[index].truth.borrow().restarts.clone()
    }

    /// All boots of a device that took a reading, each with the times of its readings, ms since the world began.
    #[cfg(feature = "simulation")]
    pub(super) fn taken(&self, index: usize) -> Vec<(u32, Vec<u32>)> {
        let truth = self.members[index].truth.borrow();
        truth.boots.iter().map(|boot| (boot.number, boot.taken_ms.clone())).collect()
    }
}
