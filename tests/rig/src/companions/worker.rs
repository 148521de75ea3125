//! A thread that does one thing again and again until its connection breaks, and gives back what it knows.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// A state, with its thread while there is load.
pub(super) enum Worker<T> {
    /// Nobody changes it.
    Idle(T),
    /// A thread has it.
    Busy(Arc<AtomicBool>, JoinHandle<T>),
    /// In between.
    Lent,
}

impl<T: Send + 'static> Worker<T> {
    /// The state, between two loads.
    ///
    /// # Panics
    /// While a thread has it.
    pub(super) fn state(&mut self) -> &mut T {
        match self {
            Self::Idle(state) => state,
            Self::Busy(..) | Self::Lent => unreachable!("asked between two loads"),
        }
    }

    /// Does `step` until it fails, or until [`finish`](Self::finish).
    pub(super) fn begin(&mut self, mut step: impl FnMut(&mut T) -> io::Result<()> + Send + 'static) {
        let Self::Idle(mut state) = std::mem::replace(self, Self::Lent) else {
            unreachable!("begun between two loads")
        };
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            // A broken connection is the end of the load: that is what is done to it.
            while !told.load(Ordering::SeqCst) && step(&mut state).is_ok() {}
            state
        });
        *self = Self::Busy(stop, thread);
    }

    /// Tells the thread to stop and waits for it, if there is one.
    pub(super) fn finish(&mut self) {
        match std::mem::replace(self, Self::Lent) {
            Self::Busy(stop, thread) => {
                stop.store(true, Ordering::SeqCst);
                *self = Self::Idle(thread.join().expect("a companion's thread does not panic"));
            }
            other => *self = other,
        }
    }
}
