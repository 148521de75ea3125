//! The world's time, and what a machine's own clock makes of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// When every world begins, UTC ms: 21 September 2026, 14:13:20.
pub const EPOCH_MS: u64 = 1_790_000_000_000;

/// One machine's clock: the world's time, and how far this machine is beside it. Cheap to clone; clones are one clock.
#[derive(Debug, Clone)]
pub struct WorldClock {
    /// ms since the world began; shared by all machines.
    now_ms: Arc<AtomicU64>,
    /// ms that this machine is ahead.
    ahead_ms: Arc<AtomicI64>,
}

impl WorldClock {
    /// The clock of a new world: right, and at its beginning.
    #[must_use]
    pub fn start() -> Self {
        Self { now_ms: Arc::default(), ahead_ms: Arc::default() }
    }

    /// Another machine's clock in the same world, right until it is [set](Self::set_ahead).
    #[must_use]
    pub fn of_other(&self) -> Self {
        Self { now_ms: Arc::clone(&self.now_ms), ahead_ms: Arc::default() }
    }

    /// ms since the world began: what nothing can set.
    #[must_use]
    pub fn world_ms(&self) -> u64 {
        self.now_ms.load(Relaxed)
    }

    /// What this machine takes for the time, UTC ms.
    #[must_use]
    pub fn utc_ms(&self) -> u64 {
        (EPOCH_MS + self.world_ms()).saturating_add_signed(self.ahead_ms.load(Relaxed))
    }

    /// Makes this machine's clock wrong by so much; 0 is right.
    pub fn set_ahead(&self, ms: i64) {
        self.ahead_ms.store(ms, Relaxed);
    }

    /// Moves the world's time; whoever owns the world does.
    pub(crate) fn advance(&self, ms: u64) {
        self.now_ms.fetch_add(ms, Relaxed);
    }
}
