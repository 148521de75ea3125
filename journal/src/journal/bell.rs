//! What wakes the threads of a journal.
//!
//! In: rings, hurry and a stop, from any thread. Out: one thread that sleeps until then.
//! Invariant: no ring is lost that comes before the sleep it is for. Not here: what the thread does when it is awake (`journal`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Wakes one thread. Ringing while it is awake costs one atomic write.
#[derive(Default)]
pub(super) struct Bell {
    rung: AtomicBool,
    hurried: AtomicBool,
    stopped: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Bell {
    pub(super) fn ring(&self) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            // Under the lock, so that a thread that has just found `rung` false is already waiting.
            let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.changed.notify_one();
        }
    }

    /// Ends the [lingering](Self::linger) of now, or the next one.
    pub(super) fn hurry(&self) {
        if !self.hurried.swap(true, Ordering::AcqRel) {
            let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
            self.changed.notify_one();
        }
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        let _guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        self.changed.notify_all();
    }

    pub(super) fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Sleeps until rung, stopped or `period` is over.
    pub(super) fn sleep(&self, period: Option<Duration>) {
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.rung.load(Ordering::Acquire) && !self.stopped() {
            match period {
                None => guard = self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner),
                Some(period) => {
                    let (_guard, _) =
                        self.changed.wait_timeout(guard, period).unwrap_or_else(PoisonError::into_inner);
                    break;
                }
            }
        }
        self.rung.store(false, Ordering::Release);
    }

    /// Sleeps for `period`, or until hurried or stopped; ringing does not end it.
    pub(super) fn linger(&self, period: Duration) {
        let until = Instant::now() + period;
        let mut guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.hurried.load(Ordering::Acquire) && !self.stopped() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            (guard, _) = self.changed.wait_timeout(guard, left).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// What is staged from now on hurries anew.
    pub(super) fn calm(&self) {
        self.hurried.store(false, Ordering::Release);
    }
}
