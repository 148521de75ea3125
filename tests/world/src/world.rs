//! The world: its time, and who lives in it.

use crate::clock::WorldClock;
use crate::front::Front;
use crate::inhabitant::{Broken, Inhabitant, Moment, Phase};
use crate::trace::Trace;

/// How far time moves at once, ms. Nothing that crosses from one machine to another is faster.
pub(crate) const TICK_MS: u64 = 5;

/// A world. Nothing happens in it but by [`World::advance`].
pub struct World {
    clock: WorldClock,
    front: Front,
    trace: Trace,
    phase: Phase,
    inhabitants: Vec<Box<dyn Inhabitant>>,
}

impl World {
    /// A world in which nobody lives yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            clock: WorldClock::start(),
            front: Front::default(),
            trace: Trace::default(),
            phase: Phase::Stormy,
            inhabitants: Vec::new(),
        }
    }

    /// Somebody more lives here from now on.
    pub fn settle(&mut self, inhabitant: impl Inhabitant) {
        self.inhabitants.push(Box::new(inhabitant));
    }

    /// Lets at least `ms` of virtual time pass.
    ///
    /// # Errors
    /// The first promise that is broken.
    pub fn advance(&mut self, ms: u64) -> Result<(), Broken> {
        let until = self.clock.world_ms() + ms;
        while self.clock.world_ms() < until {
            self.clock.advance(TICK_MS);
            let moment = Moment { world_ms: self.clock.world_ms(), tick_ms: TICK_MS, phase: self.phase };
            for inhabitant in &mut self.inhabitants {
                inhabitant.tick(moment, &self.front, &mut self.trace)?;
            }
        }
        Ok(())
    }

    /// The way to the gateway.
    #[must_use]
    pub fn front(&self) -> &Front {
        &self.front
    }

    /// What has happened.
    #[must_use]
    pub fn trace(&self) -> &Trace {
        &self.trace
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}
