//! Faults to order, in builds for tests only: the name of the device says which.
//!
//! In: readings taken. Out: a panic, or a sampler that never comes back. Not here: anything in a build without `faults`.

use core::cell::Cell;

/// The reading at which it happens: some batches are in flash by then.
const AT: i32 = 40;

/// What happens at that reading.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    Panic,
    Hang,
}

/// Whether this start has faults, and which: chosen once a start by the device's name.
pub(crate) struct Faults(Cell<Option<Fault>>);

impl Faults {
    /// A device whose name ends in `-panic` or `-hang` does so, at its first start after power came on.
    pub(crate) fn of(name: &str, after_power: bool) -> Self {
        let fault = match name.rsplit_once('-') {
            Some((_, "panic")) => Some(Fault::Panic),
            Some((_, "hang")) => Some(Fault::Hang),
            _ => None,
        };
        Self(Cell::new(fault.filter(|_| after_power)))
    }

    /// A reading was taken.
    pub(crate) fn handle_reading(&self, count: i32) {
        if count != AT {
            return;
        }
        match self.0.take() {
            Some(Fault::Panic) => panic!("ordered"),
            Some(Fault::Hang) => loop {
                cortex_m::asm::nop();
            },
            None => {}
        }
    }
}
