//! Running totals, counted without locks.

use std::sync::atomic::{AtomicU64, Ordering};

#[derive(Default)]
pub(super) struct Total(AtomicU64);

impl Total {
    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Default)]
pub(super) struct Totals {
    pub(super) bytes_received: Total,
    pub(super) bytes_written: Total,
    pub(super) bytes_zeroed: Total,
    pub(super) bytes_copied: Total,
    pub(super) flushes: Total,
    pub(super) device_writes: Total,
    pub(super) groups: Total,
    pub(super) records: Total,
    pub(super) refused_full: Total,
    pub(super) refused_busy: Total,
    pub(super) late_segments: Total,
}
