//! What really happened at a device, for the check at the end.
//!
//! In: the device's own observations and the virtual time. Out: when each place of each boot was taken, and how many of them
//! are surely in flash. Not here: what the shards hold (`check`).

use super::world::World;
use headwater_device::Observer;
use headwater_telemetry::{Batch, BootId, Hello, Seq};
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// One boot.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Boot {
    pub(super) number: u32,
    /// When each place was given away, ms since the world began: to a reading, or to one that flash had no room for.
    pub(super) taken_ms: Vec<u32>,
    /// Places that are surely in flash, all from 0 on.
    pub(super) stored: u32,
}

/// One device.
#[derive(Debug, Default, Clone)]
pub(super) struct Truth {
    /// In the order in which they happened.
    pub(super) boots: Vec<Boot>,
    pub(super) cuts_in_write: u64,
    /// A draining device holds nothing any more.
    pub(super) is_drained: bool,
    /// How wrong its clock runs.
    pub(super) ppm: i64,
    /// Boot and last place of what it let go.
    #[cfg(feature = "simulation")]
    pub(super) released: Vec<(u32, u32)>,
    /// Boots that somebody asked for, and when they began, ms since the world did.
    #[cfg(feature = "simulation")]
    pub(super) restarts: Vec<(u32, u64)>,
}

impl Truth {
    /// Whether everything taken in this boot is in flash.
    pub(super) fn all_stored(&self, number: u32) -> bool {
        let boot = self.boots.iter().find(|boot| boot.number == number);
        boot.is_none_or(|boot| boot.stored as usize >= boot.taken_ms.len())
    }

    fn boot(&mut self, number: u32) -> &mut Boot {
        let at = self.boots.iter().rposition(|boot| boot.number == number).unwrap_or_else(|| {
            self.boots.push(Boot { number, ..Boot::default() });
            self.boots.len() - 1
        });
        &mut self.boots[at]
    }
}

/// Sums over all devices: progress asks for them too often to ask each device.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Starts, those included that took no reading.
    pub(super) starts: Cell<u64>,
    /// Readings taken.
    pub(super) readings: Cell<u64>,
}

/// Writes the truth down.
#[derive(Clone)]
pub(super) struct Watcher {
    pub(super) world: Rc<World>,
    pub(super) tally: Rc<Tally>,
    pub(super) truth: Rc<RefCell<Truth>>,
}

impl Watcher {
    pub(super) fn started(&self) {
        self.tally.starts.set(self.tally.starts.get() + 1);
    }

    /// A boot has begun, and says why.
    pub(super) fn opened(&self, hello: &Hello) {
        #[cfg(feature = "simulation")]
        if hello.reset == headwater_telemetry::ResetReason::Requested {
            self.truth.borrow_mut().restarts.push((hello.boot.0, self.world.now_ms()));
        }
        #[cfg(not(feature = "simulation"))]
        let _ = hello;
    }

    /// The place that the next reading of `boot` gets.
    pub(super) fn next(&self, boot: u32) -> Seq {
        let len = self.truth.borrow_mut().boot(boot).taken_ms.len();
        Seq(u32::try_from(len).unwrap_or(u32::MAX))
    }

    fn taken(&self, boot: BootId) {
        let now_ms = u32::try_from(self.world.now_ms()).unwrap_or(u32::MAX);
        self.truth.borrow_mut().boot(boot.0).taken_ms.push(now_ms);
        self.tally.readings.set(self.tally.readings.get() + 1);
    }
}

impl Observer for Watcher {
    fn sampled(&self, boot: BootId, _: Seq) {
        self.taken(boot);
    }

    fn refused(&self, boot: BootId) {
        self.taken(boot);
    }

    #[cfg(feature = "simulation")]
    fn delivered(&self, item: &headwater_device::Item) {
        self.truth.borrow_mut().released.push((item.boot.0, item.through.0));
    }

    fn stored(&self, batch: &Batch) {
        if let Some(through) = batch.through() {
            self.truth.borrow_mut().boot(batch.boot.0).stored = through.0 + 1;
        }
    }
}
